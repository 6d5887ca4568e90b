import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.metrics import roc_auc_score
from small_products import K, read_section, write_atlas, write_products
from tiny_flow import run_stage

from pipeline import apply
from pipeline.core.synthetic import MORPHOLOGIES
from pipeline.files import stores

ROOT = Path(__file__).parents[1]
UNSEEN_CODE = len(MORPHOLOGIES)


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory, granule_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("products")
    write_products(folder, granule_folder)
    write_atlas(folder, folder / "atlas")
    return folder


@pytest.fixture
def look_up(
    products: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], Path]:
    def look_up(granules: Path) -> Path:
        monkeypatch.chdir(ROOT)
        params = read_section("apply", apply.ApplyParams)
        applied = Path(os.path.relpath(tmp_path / "applied"))  # as dvc.yaml names paths
        apply.run(params, products / "atlas", granules, applied)
        return tmp_path / "applied"

    return look_up


def _apply_here(words: list[str]) -> int:
    return run_stage(ROOT, shlex.join(["-m", "pipeline.apply", *words]))


def _apply_in_processes(words: list[str]) -> int:
    """As people do: apply is a process, and so are the stages that it starts."""
    return subprocess.run([sys.executable, "-m", "pipeline.apply", *words], cwd=ROOT).returncode


@pytest.mark.parametrize(
    "start",
    [_apply_here, pytest.param(_apply_in_processes, marks=pytest.mark.slow("flow"))],
)
def test_granules_of_the_run_get_the_same_clusters_and_places(
    products: Path, granule_folder: Path, tmp_path: Path, start: Callable[[list[str]], int]
) -> None:
    options = {"atlas": products / "atlas", "granules": granule_folder, "applied": tmp_path / "new"}
    words = [word for name, path in options.items() for word in (f"--{name}", str(path))]
    assert start(words) == 0
    tiles = stores.open_product(tmp_path / "new/tiles.zarr").load()
    own = stores.open_product(products / "embeddings.zarr").load()
    clusters = stores.open_product(products / "clusters.zarr").sel(k=K).load()
    np.testing.assert_array_equal(tiles.row, own.row)
    np.testing.assert_array_equal(tiles.cluster, clusters.cluster)
    np.testing.assert_allclose(tiles.distance, clusters.distance, atol=1e-6)
    tsne = stores.open_product(products / "tsne.zarr").load()
    rest = ~tsne.in_sample.values
    np.testing.assert_allclose(tiles.position[rest], tsne.position[rest], atol=1e-3)
    assert tiles.attrs["atlas"] == "1.0"
    for name in ("cluster", "distance", "position", "novelty", "is_novel"):
        assert tiles[name].attrs["long_name"]
        assert tiles[name].attrs["units"] == "1"
    assert tiles.attrs["novel_share"] == tiles.is_novel.mean()
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "metrics.json",
        "novel.nc",
        "rejected.csv",
        "tiles.zarr",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_scenes_that_were_ingested_before_do_too(
    products: Path, look_up: Callable[[Path], Path]
) -> None:
    tiles = stores.open_product(look_up(products / "scenes.zarr") / "tiles.zarr")
    clusters = stores.open_product(products / "clusters.zarr").sel(k=K)
    np.testing.assert_array_equal(tiles.cluster, clusters.cluster)


def test_the_pixels_of_the_most_novel_tiles_are_kept(
    products: Path, look_up: Callable[[Path], Path]
) -> None:
    applied = look_up(products / "scenes.zarr")
    tiles = stores.open_product(applied / "tiles.zarr").load()
    novel = stores.open_product(applied / "novel.nc").load()
    assert novel.colour.dims == ("tile", "channel", "row", "column")
    assert novel.colour.dtype == np.uint8
    assert json.loads(novel.attrs["parameters"])["n_novel"] >= novel.sizes["tile"] > 0
    assert novel.attrs["novelty_threshold"] == tiles.attrs["novelty_threshold"]
    assert novel.novelty[0] == tiles.novelty[tiles.is_novel].max()
    assert novel.is_novel.all()
    index = np.array([np.argmax(tiles.novelty.values == each) for each in novel.novelty.values])
    np.testing.assert_array_equal(novel.granule, tiles.granule[tiles.scene.values[index]])
    np.testing.assert_array_equal(novel.time, tiles.time[index])
    cut = stores.cut_embedded_tiles(products / "scenes.zarr", tiles.isel(tile=index))
    np.testing.assert_array_equal(novel.colour, cut)


def test_a_stage_takes_the_granules_that_its_parameters_name(
    products: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    given = str(products / "scenes.zarr")
    params = replace(read_section("apply", apply.ApplyParams), granules=given)
    apply.run(params, products / "atlas", None, tmp_path / "applied")
    tiles = stores.open_product(tmp_path / "applied/tiles.zarr")
    assert tiles.sizes["tile"] == stores.open_product(products / "embeddings.zarr").sizes["tile"]


def test_a_damaged_atlas_is_refused(
    products: Path, granule_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    shutil.copytree(products / "atlas", tmp_path / "atlas")
    with (tmp_path / "atlas/clusters.nc").open("ab") as file:
        file.write(b"0")
    params = read_section("apply", apply.ApplyParams)
    with pytest.raises(ValueError, match=r"is damaged: clusters\.nc was changed"):
        apply.run(params, tmp_path / "atlas", granule_folder, tmp_path / "applied")
    assert not (tmp_path / "applied").exists()


def test_granules_without_a_channel_are_refused(
    tmp_path: Path, write_geotiff: Callable[..., Path], look_up: Callable[[Path], Path]
) -> None:
    values = np.random.default_rng(1).uniform(10, 60, (64, 64))
    write_geotiff(tmp_path / "raw/one.tif", {"visible": values})
    with pytest.raises(ValueError, match=r"raw does not suit the atlas .*has no infrared_window"):
        look_up(tmp_path / "raw")


def test_scenes_of_another_preset_are_refused(
    products: Path, tmp_path: Path, look_up: Callable[[Path], Path]
) -> None:
    scenes = stores.open_product(products / "scenes.zarr").load()
    parameters = json.loads(scenes.attrs["parameters"])
    parameters["presets"] = {"cloud_phase": parameters["presets"]["visible_infrared"]}
    other = scenes.assign_attrs(preset="cloud_phase", parameters=json.dumps(parameters))
    other.to_zarr(tmp_path / "scenes.zarr", zarr_format=3, consolidated=False)
    stores.consolidate(tmp_path / "scenes.zarr")
    with pytest.raises(ValueError, match=r"its preset is cloud_phase, the atlas's visible_infr"):
        look_up(tmp_path / "scenes.zarr")


def test_granules_of_another_resolution_are_refused(
    products: Path, tmp_path: Path, look_up: Callable[[Path], Path]
) -> None:
    scenes = stores.open_product(products / "scenes.zarr").load()
    scenes["latitude"], scenes["longitude"] = 2 * scenes.latitude, 2 * scenes.longitude
    scenes.to_zarr(tmp_path / "scenes.zarr", zarr_format=3, consolidated=False, mode="w")
    stores.consolidate(tmp_path / "scenes.zarr")
    with pytest.raises(ValueError, match=r"has pixels of 3\.\d\d km, the atlas of 2\.\d\d to"):
        look_up(tmp_path / "scenes.zarr")


def test_missing_granules_and_earlier_results_are_refused(
    tmp_path: Path, look_up: Callable[[Path], Path]
) -> None:
    with pytest.raises(FileNotFoundError, match="gone does not exist; name a folder of granules"):
        look_up(tmp_path / "gone")
    (tmp_path / "applied").mkdir()
    with pytest.raises(ValueError, match="applied is there already; remove it or name another"):
        look_up(tmp_path / "gone")


@pytest.mark.slow("flow")
def test_the_default_run_flags_the_morphology_it_has_never_seen(default_flow: Path) -> None:
    tiles = stores.open_product(default_flow / "data/applied/tiles.zarr").load()
    truth = _true_morphology(tiles, default_flow / "data/granules/truth")
    seen, unseen = (truth >= 0) & (truth < UNSEEN_CODE), truth == UNSEEN_CODE
    assert min(seen.sum(), unseen.sum()) > 200
    scores, flagged = tiles.novelty.values, tiles.is_novel.values
    assert roc_auc_score(unseen[seen | unseen], scores[seen | unseen]) > 0.97
    assert flagged[unseen].mean() > 0.9
    assert flagged[seen].mean() < 0.03
    rejected = pd.read_csv(default_flow / "data/applied/rejected.csv")
    assert set(rejected.reason) == {"night"}


def _true_morphology(tiles: xr.Dataset, truth: Path) -> np.ndarray:
    """Morphology of nine tenths of each tile's pixels, shape (tile,); -1 for mixed ones."""
    size = tiles.attrs["tile_size"]
    codes = [
        stores.open_product(truth / str(name)).morphology.values for name in tiles.granule.values
    ]
    found = []
    places = (tiles.scene.values, tiles.row.values, tiles.column.values)
    for scene, row, column in zip(*places, strict=True):
        window = codes[scene][row : row + size, column : column + size]
        counts = np.bincount(window.astype(int).ravel())
        found.append(counts.argmax() if counts.max() >= 0.9 * size**2 else -1)
    return np.array(found)


def test_scenes_without_a_complete_tile_are_told() -> None:
    source = xr.Dataset(
        coords={"scene": ("tile", [0, 0, 2]), "granule": ("scene", ["a.nc", "b.nc", "c.nc"])},
        attrs={"tile_size": 64},
    )
    (found,) = apply._list_without_tiles(source)
    assert (found.granule, found.reason) == ("b.nc", "no tile")
