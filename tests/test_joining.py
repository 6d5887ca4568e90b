"""Products of tiles are joined by what a tile is, and never by its position."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline.core.clustering import assign
from pipeline.files import stores


def _write_part(source: Path, kept: np.ndarray, path: Path) -> xr.Dataset:
    """Some of the tiles of a product, perhaps in another order."""
    part = stores.open_product(source).load().isel(tile=kept)
    stores.write_product(part.drop_dims("turned", errors="ignore").drop_encoding(), path, None)
    return stores.open_product(path).load()


def test_tiles_find_their_own_cluster(
    toy_embeddings: Path, toy_clusters: Path, tmp_path: Path
) -> None:
    everything = stores.open_product(toy_clusters).load()
    n_tiles = everything.sizes["tile"]
    order = np.random.default_rng(0).permutation(n_tiles)
    for number, kept in enumerate((np.arange(n_tiles), order, order[: n_tiles // 3])):
        tiles = _write_part(toy_embeddings, kept, tmp_path / f"{number}.zarr")
        joined = stores.open_joined(toy_clusters, tiles)
        for name in ("cluster", "distance"):
            np.testing.assert_array_equal(joined[name], everything[name][:, kept])
        for name in ("scene", "row", "column", "granule"):
            np.testing.assert_array_equal(joined[name], tiles[name])
        assert joined.attrs == everything.attrs


def test_scenes_may_be_numbered_otherwise(toy_embeddings: Path, toy_clusters: Path) -> None:
    tiles = stores.open_product(toy_embeddings).load()
    turned = tiles.isel(scene=slice(None, None, -1))
    last = turned.sizes["scene"] - 1
    turned = turned.assign_coords(scene=("tile", last - tiles.scene.values))
    joined = stores.open_joined(toy_clusters, turned)
    np.testing.assert_array_equal(joined.cluster, stores.open_product(toy_clusters).cluster)
    np.testing.assert_array_equal(joined.scene, turned.scene)


def test_a_product_of_other_tiles_is_refused(
    toy_embeddings: Path, toy_clusters: Path, tmp_path: Path
) -> None:
    tiles = stores.open_product(toy_embeddings).load()
    fewer = tmp_path / "fewer.zarr"
    _write_part(toy_clusters, np.arange(5, tiles.sizes["tile"]), fewer)
    message = r"fewer\.zarr is of other tiles: it lacks 5 of \d+, such as row 0, column 0 of granul"
    with pytest.raises(ValueError, match=message):
        stores.open_joined(fewer, tiles)
    moved = tiles.assign_coords(column=tiles.column + 1)
    with pytest.raises(ValueError, match="is of other tiles: it lacks"):
        stores.open_joined(toy_clusters, moved)
    stores.write_product(xr.Dataset({"cluster": ("tile", [0])}), tmp_path / "bare.zarr", None)
    with pytest.raises(ValueError, match=r"does not tell which tiles it is of .*no granule, scene"):
        stores.open_joined(tmp_path / "bare.zarr", tiles)


def test_centroids_that_fill_up_a_product_are_no_clusters() -> None:
    embeddings, centroids = np.eye(3), np.vstack([np.eye(3), np.full((2, 3), np.nan)])
    with pytest.raises(ValueError, match="2 of 5 centroids are not finite; take those of one k"):
        assign(embeddings, centroids)
    np.testing.assert_array_equal(assign(embeddings, centroids[:3])[0], [0, 1, 2])


def test_tiles_of_another_size_are_others(toy_embeddings: Path, toy_clusters: Path) -> None:
    tiles = stores.open_product(toy_embeddings).load()
    wider = tiles.assign_coords(tile_size=2 * tiles.tile_size)
    with pytest.raises(ValueError, match=r"is of tiles of \d+ pixels, not of \d+; make it"):
        stores.open_joined(toy_clusters, wider)
