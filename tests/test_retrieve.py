import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from pipeline import retrieve
from pipeline.files import stores

PARAMS = retrieve.RetrieveParams(
    queries_per_cluster=3, n_nearest=5, exclude="granule", search="exact", seed=0
)


@pytest.fixture(scope="module")
def folder(
    toy_embeddings: Path,
    toy_clusters: Path,
    toy_scenes: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    path = tmp_path_factory.mktemp("retrieve") / "nearest"
    retrieve.run(PARAMS, toy_embeddings, toy_clusters, toy_scenes, path)
    return path


@pytest.fixture
def product(folder: Path) -> xr.Dataset:
    return stores.open_product(folder / "nearest.nc").load()


def test_queries_of_every_cluster_find_tiles_of_their_texture(
    product: xr.Dataset, toy_textures: np.ndarray
) -> None:
    assert product.sizes == {"query": 12, "rank": 5}
    np.testing.assert_array_equal(product.query_cluster, np.repeat(np.arange(4), 3))
    np.testing.assert_array_equal(
        toy_textures[product.tile], np.tile(toy_textures[product.query_tile], (5, 1)).T
    )
    assert (product.cluster == product.query_cluster).all()


def test_places_are_those_of_the_tiles(product: xr.Dataset, toy_embeddings: Path) -> None:
    source = stores.open_product(toy_embeddings).load()
    for prefix in ("", "query_"):
        tiles = product[f"{prefix}tile"].values
        for name in ("row", "column", "latitude", "longitude", "time"):
            np.testing.assert_array_equal(product[prefix + name], source[name].values[tiles])
        granules = source.granule.values[source.scene.values[tiles]]
        np.testing.assert_array_equal(product[f"{prefix}granule"], granules)
    assert product.latitude.attrs["units"] == "degrees_north"
    assert all(
        "long_name" in v.attrs or "standard_name" in v.attrs for v in product.variables.values()
    )


def test_every_cluster_has_a_sheet(folder: Path) -> None:
    sheets = sorted(path.name for path in folder.glob("*.png"))

    assert sheets == [f"cluster_{number:02d}.png" for number in range(4)]


@pytest.mark.parametrize("exclude", retrieve.EXCLUDE)
def test_the_querys_own_are_excluded(exclude: retrieve.Exclude, toy_embeddings: Path) -> None:
    source = stores.open_product(toy_embeddings).load()
    queries = np.arange(source.sizes["tile"])

    found = retrieve.search(source, queries, n_nearest=20, exclude=exclude)

    days = (
        found.time.values.astype("datetime64[D]"),
        found.query_time.values.astype("datetime64[D]"),
    )
    same = {
        "tile": found.tile == found.query_tile,
        "granule": found.granule == found.query_granule,
        "day": xr.DataArray(days[0] == days[1][:, None]),
    }
    assert not same[exclude].any()
    assert (np.diff(found.distance) >= 0).all()
    if exclude != "day":
        assert same["day"].any()


@pytest.mark.parametrize("exclude", retrieve.EXCLUDE)
def test_an_approximate_search_tells_its_recall(
    exclude: retrieve.Exclude, toy_embeddings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieve, "RECALL_QUERIES", 50)
    source = stores.open_product(toy_embeddings).load()
    params = dataclasses.replace(PARAMS, search="approximate", exclude=exclude)
    queries = np.arange(source.sizes["tile"])

    found = retrieve.find_nearest(params, source, queries)

    # So few tiles are in so few lists that all of them are looked into.
    exact = retrieve.find_nearest(dataclasses.replace(params, search="exact"), source, queries)
    assert found.attrs.pop("search") == "approximate"
    assert exact.attrs.pop("search") == "exact"
    assert found.attrs.pop("recall") == 1
    assert found.attrs.pop("recall_queries") == 43
    xr.testing.assert_identical(found, exact)


def test_an_approximate_search_is_written_as_one(
    toy_embeddings: Path, toy_clusters: Path, toy_scenes: Path, tmp_path: Path
) -> None:
    params = dataclasses.replace(PARAMS, search="approximate")

    retrieve.run(params, toy_embeddings, toy_clusters, toy_scenes, tmp_path / "nearest")

    product = stores.open_product(tmp_path / "nearest/nearest.nc")
    assert product.attrs["search"] == "approximate"
    assert product.attrs["recall"] == 1
    assert product.attrs["recall_queries"] == 12


def test_a_small_cluster_is_asked_for_whole() -> None:
    queries = retrieve.draw_queries(np.array([1, 0, 0, 0, 0, 1]), PARAMS)

    assert sorted(queries[3:]) == [0, 5]
    assert len(set(queries[:3])) == 3


def test_too_many_nearest_are_refused(toy_embeddings: Path) -> None:
    source = stores.open_product(toy_embeddings).load()

    with pytest.raises(ValueError, match=r"96 tiles only, .* 97 wanted; lower retrieve\.n_nearest"):
        retrieve.search(source, np.array([0]), n_nearest=97, exclude="day")


@pytest.fixture
def workplace(toy_embeddings: Path, toy_clusters: Path, toy_scenes: Path, tmp_path: Path) -> Path:
    for path in (toy_embeddings, toy_clusters, toy_scenes):
        shutil.copytree(path, tmp_path / path.name)
    command = (
        "python -m pipeline.retrieve --embeddings embeddings.zarr --clusters clusters.zarr "
        "--scenes scenes.zarr --nearest nearest"
    )
    flow = {"stages": {"retrieve": {"cmd": command, "outs": ["nearest"]}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(flow))
    params = {"retrieve": dataclasses.asdict(PARAMS)}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    return tmp_path


def _answer(workplace: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.chdir(workplace)
    retrieve.answer(arguments)


def test_ones_own_query_prints_the_nearest_tiles_and_writes_a_sheet(
    workplace: Path,
    toy_textures: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = "--granule granule_2.nc --row 16 --column 32 -n 4 --exclude day --output own.png"

    _answer(workplace, monkeypatch, *words.split())

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "distance", "granule", "row", "column", "latitude", "longitude", "time",
    ]  # fmt: skip
    rows = [line.split() for line in lines[2:6]]
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4]
    query = 2 * 16 + 1 * 4 + 2
    for _, _, granule, row, column, *_ in rows:
        scene = int(granule.removeprefix("granule_").removesuffix(".nc"))
        assert scene not in (2, 3)  # those of the query's day
        tile = scene * 16 + int(row) // 16 * 4 + int(column) // 16
        assert toy_textures[tile] == toy_textures[query]
    assert lines[6] == "Wrote own.png."
    assert (workplace / "own.png").exists()


def test_a_place_off_the_grid_stands_for_the_tile_nearest_to_it(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _answer(workplace, monkeypatch, "--granule=granule_2.nc", "--row=20", "--column=30")

    assert capsys.readouterr().out.startswith(
        "No tile starts at row 20, column 30; took the one at row 16, column 32.\n"
    )


def test_an_unknown_granule_ends_with_one_sentence(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"^retrieve: granule 'x\.nc' has no embedded tile; name"):
        _answer(workplace, monkeypatch, "--granule", "x.nc", "--row", "0", "--column", "0")


def test_the_module_answers_a_query_where_a_granule_is_named(workplace: Path) -> None:
    words = "-m pipeline.retrieve --granule granule_0.nc --row 0 --column 0"
    root = str(Path(__file__).parents[1])

    done = subprocess.run(
        [sys.executable, *words.split()],
        cwd=workplace,
        env={"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "Wrote nearest.png." in done.stdout
    assert not (workplace / "nearest").exists()
