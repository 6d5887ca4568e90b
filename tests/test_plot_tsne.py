from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline import plot_tsne
from pipeline.files import figures as draw
from pipeline.files import stores

PARAMS = plot_tsne.PlotTsneParams(n_thumbnails=10)


@pytest.fixture(scope="module")
def tsne(
    toy_textures: np.ndarray, toy_embeddings: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A plane on which the tiles of a texture lie together."""
    rng = np.random.default_rng(0)
    angle = 2 * np.pi * toy_textures / 4
    positions = np.column_stack([np.cos(angle), np.sin(angle)])
    positions += 0.3 * rng.normal(size=positions.shape)
    path = tmp_path_factory.mktemp("plane") / "tsne.zarr"
    product = xr.Dataset({"position": (("tile", "axis"), positions.astype(np.float32))})
    product = product.assign_coords(stores.tile_places(stores.open_product(toy_embeddings)))
    stores.write_product(product, path, None)
    return path


@pytest.mark.parametrize("warmth", ["brightness_temperature", "brightness"])
def test_every_figure_is_drawn(
    warmth: str,
    toy_embeddings: Path,
    toy_clusters: Path,
    toy_scenes: Path,
    tsne: Path,
    tmp_path: Path,
) -> None:
    source = stores.open_product(toy_embeddings).load().drop_encoding()
    without = source.drop_vars({"brightness_temperature"} - {warmth})
    stores.write_product(without, tmp_path / "embeddings.zarr", None)

    plot_tsne.run(
        PARAMS,
        tmp_path / "embeddings.zarr",
        toy_clusters,
        toy_scenes,
        tsne,
        tmp_path / "figures",
    )

    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{warmth}.png",
        "clusters.png",
        "latitude.png",
        "thumbnails.png",
    }


def test_thumbnails_are_tiles_in_the_colours_of_their_clusters(
    toy_embeddings: Path,
    toy_clusters: Path,
    toy_scenes: Path,
    tsne: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sheets: list[tuple[Any, ...]] = []
    for name in ("scatter_values", "scatter_clusters"):
        monkeypatch.setattr(draw, name, lambda *_, **__: None)
    monkeypatch.setattr(
        draw, "thumbnails", lambda *shown, colours, **_: sheets.append((*shown[1:3], colours))
    )

    plot_tsne.run(PARAMS, toy_embeddings, toy_clusters, toy_scenes, tsne, tmp_path)

    [(picked, tiles, colours)] = sheets
    source = stores.open_product(toy_embeddings).isel(tile=picked)
    numbers = stores.open_product(toy_clusters).cluster.sel(k=4).values[picked]
    np.testing.assert_array_equal(tiles, stores.cut_embedded_tiles(toy_scenes, source))
    np.testing.assert_array_equal(colours, draw.cluster_colours(4)[numbers])
