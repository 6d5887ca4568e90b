import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.colors import to_rgba_array
from small_products import TILE_SIZE, K, write_atlas, write_products

from pipeline.files import atlases, stores
from pipeline.files.base.palette import cluster_colours


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory, granule_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("products")
    write_products(folder, granule_folder)
    return folder


@pytest.fixture(scope="module")
def atlas(products: Path) -> Path:
    write_atlas(products, products / "atlas")
    return products / "atlas"


def test_the_manifest_says_what_the_atlas_is(atlas: Path) -> None:
    manifest = atlases.read_manifest(atlas)
    assert manifest["version"] == "1.0"
    assert manifest["k"] == K
    assert manifest["preset"] == "visible_infrared"
    assert manifest["channels"] == ["visible", "near_infrared", "infrared_window"]
    assert (manifest["minimum"], manifest["maximum"]) == ([0.0, 0.0, 300.0], [100.0, 100.0, 200.0])
    assert manifest["tile_size"] == manifest["stride"] == TILE_SIZE
    assert manifest["days"] == [f"2020-01-{day}" for day in (10, 11, 12, 13)]
    # pixels of 0.02° about 19° north
    np.testing.assert_allclose(manifest["pixel_km"], 2.224 * np.sqrt(np.cos(np.radians(19))), 0.01)
    names = {path.relative_to(atlas).as_posix() for path in atlas.rglob("*") if path.is_file()}
    assert set(manifest["sha256"]) == names - {"atlas.json"}
    assert {"openTSNE", "torch"} <= set(manifest["software"])


def test_settings_are_those_that_made_the_products(atlas: Path, products: Path) -> None:
    settings = yaml.safe_load((atlas / "params.yaml").read_text())
    for name, product in (("ingest", "scenes.zarr"), ("embed", "embeddings.zarr")):
        made_by = stores.open_product(products / product).attrs["parameters"]
        assert settings[name] == json.loads(made_by)


def test_clusters_and_layout_are_kept(atlas: Path, products: Path) -> None:
    clusters = stores.open_product(atlas / "clusters.nc").load()
    found = stores.open_product(products / "clusters.zarr")
    np.testing.assert_array_equal(clusters.centroid, found.centroid.sel(k=K))
    assert clusters.colour.values[1].startswith("#")
    np.testing.assert_allclose(to_rgba_array(clusters.colour.values), cluster_colours(K), atol=2e-3)
    layout = stores.open_product(atlas / "tsne.nc").load()
    placed = stores.open_product(products / "tsne.zarr").load()
    np.testing.assert_array_equal(layout.position, placed.position[placed.in_sample.values])


def test_the_threshold_is_a_quantile_of_training_tiles(atlas: Path, products: Path) -> None:
    reference = stores.open_product(atlas / "reference.nc").load()
    assert reference.sizes["tile"] == 120
    assert reference.attrs["threshold"] > 1
    assert reference.attrs["layer"] == "layer2"
    write_atlas(products, products / "stricter", novelty_quantile=0.5)
    stricter = stores.open_product(products / "stricter/reference.nc")
    assert stricter.attrs["threshold"] < reference.attrs["threshold"]


def test_freezing_again_gives_the_same_atlas(atlas: Path, products: Path) -> None:
    write_atlas(products, products / "again")
    again = atlases.read_manifest(products / "again")
    assert again == atlases.read_manifest(atlas)


def test_a_k_that_was_not_computed_is_refused(products: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"freeze\.k is 7, but .* k = 4 to 4"):
        write_atlas(products, tmp_path / "atlas", k=7)
