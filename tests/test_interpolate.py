import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pipeline import interpolate
from pipeline.files import stage, stores

GIVEN = interpolate.Pair(
    interpolate.Place("granule_1.nc", 0, 16), interpolate.Place("granule_5.nc", 30, 47)
)
PARAMS = interpolate.InterpolateParams(n_steps=7, n_far_apart=2, pairs=(GIVEN,), seed=1)


@pytest.fixture(scope="module")
def folder(
    toy_embeddings: Path,
    toy_clusters: Path,
    toy_scenes: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    path = tmp_path_factory.mktemp("interpolate") / "paths"
    interpolate.run(PARAMS, toy_embeddings, toy_clusters, toy_scenes, path)
    return path


@pytest.fixture
def product(folder: Path) -> xr.Dataset:
    return stores.open_product(folder / "paths.nc").load()


def test_given_pairs_are_gone_between_from_the_tiles_nearest_to_their_places(
    product: xr.Dataset,
) -> None:
    given = product.isel(path=0)

    assert product.sizes == {"path": 3, "step": 7}
    assert [str(given.granule[step].values) for step in (0, -1)] == ["granule_1.nc", "granule_5.nc"]
    assert given.row.values[[0, -1]].tolist() == [0, 32]
    assert given.column.values[[0, -1]].tolist() == [16, 48]


def test_chosen_paths_join_the_tiles_typical_of_four_clusters(
    product: xr.Dataset, toy_clusters: Path
) -> None:
    clusters = stores.open_product(toy_clusters).sel(k=4).load()
    ends = product.tile.values[1:, [0, -1]].ravel()

    assert sorted(clusters.cluster.values[ends]) == [0, 1, 2, 3]
    for end in ends:
        members = clusters.cluster == clusters.cluster[end]
        assert clusters.distance[end] == clusters.distance.values[members].min()


def test_tiles_never_repeat_and_their_distances_are_told(
    product: xr.Dataset, toy_embeddings: Path
) -> None:
    embeddings = stores.open_product(toy_embeddings).embedding.values.astype(float)
    for path in product.path.values:
        found = product.sel(path=path)
        tiles = found.tile.values
        assert len(set(tiles)) == 7
        start, end = embeddings[tiles[[0, -1]]]
        angle = np.arccos(start @ end)
        turned = np.arange(7)[:, None] / 6 * angle
        points = (np.sin(angle - turned) * start + np.sin(turned) * end) / np.sin(angle)
        np.testing.assert_allclose(
            found.distance, np.linalg.norm(embeddings[tiles] - points, axis=1), atol=1e-6
        )
    assert (product.distance_from_circle <= product.distance + 1e-6).all()
    assert product.latitude.attrs["units"] == "degrees_north"
    through = product.tile_through.values
    np.testing.assert_array_equal(through[:, 0], product.tile[:, 0])
    assert all(end in way for way, end in zip(through, product.tile.values[:, -1], strict=True))


def test_the_table_holds_one_line_a_step(folder: Path, product: xr.Dataset) -> None:
    table = pd.read_csv(folder / "paths.csv")

    assert len(table) == 21
    assert list(table.columns[:2]) == ["path", "step"]
    np.testing.assert_array_equal(table.tile, product.tile.values.ravel())
    np.testing.assert_allclose(table.distance, product.distance.values.ravel(), rtol=1e-6)
    assert (folder / "paths.png").exists()


def _run(changes: dict[str, object], products: list[Path], folder: Path) -> None:
    interpolate.run(dataclasses.replace(PARAMS, **changes), *products, folder / "paths")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pairs": (), "n_far_apart": 0}, r"interpolate\.pairs is empty and .* name pairs or"),
        ({"n_far_apart": 3}, r"3 pairs need 6 clusters, there are 4; lower interpolate\.n_far"),
        ({"n_steps": 200}, r"200 steps .* there are 128 tiles; change interpolate\.n_steps"),
        (
            {"pairs": (interpolate.Pair(GIVEN.start, GIVEN.start),)},
            r"the same embedding, .* other tiles in interpolate\.pairs",
        ),
        (
            {"pairs": (interpolate.Pair(GIVEN.start, interpolate.Place("x.nc", 0, 0)),)},
            r"granule 'x\.nc' has no embedded tile; name one of the 8",
        ),
    ],
)
def test_impossible_paths_are_refused(
    changes: dict[str, object],
    sentence: str,
    toy_embeddings: Path,
    toy_clusters: Path,
    toy_scenes: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=sentence):
        _run(changes, [toy_embeddings, toy_clusters, toy_scenes], tmp_path)

    assert not any(tmp_path.iterdir())


def test_pairs_are_read_strictly() -> None:
    section = dataclasses.asdict(PARAMS)

    assert stage.parse_params("interpolate", section, interpolate.InterpolateParams) == PARAMS
    del section["pairs"][0]["end"]["row"]
    with pytest.raises(ValueError, match=r"lacks the key interpolate\.pairs\.0\.end\.row"):
        stage.parse_params("interpolate", section, interpolate.InterpolateParams)
