"""Tiles cut from the scenes product."""

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.files.stores.products import open_product
from pipeline.files.stores.scenes import CHUNKS


def cut_tiles(
    scenes: xr.Dataset,
    scene: NDArray[np.integer],
    row: NDArray[np.integer],
    column: NDArray[np.integer],
    tile_size: int,
    *,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Tiles (tile, channel, row, column) cut from the scenes product, whatever their order.

    Tiles that begin in one chunk are cut from one window, so that few of a large scene do not
    have all of it read.

    Args:
        scenes: The product `scenes.zarr`.
        scene: Index of each tile's scene, shape (tile,).
        row: First row of each tile.
        column: First column of each tile.
        tile_size: Edge of a tile in pixels.
        out: To be filled, instead of a new array.
    """
    shape = (len(scene), scenes.sizes["channel"], tile_size, tile_size)
    tiles = np.empty(shape, np.uint8) if out is None else out
    begins_in = np.stack([scene, row // CHUNKS["row"], column // CHUNKS["column"]])
    _, chunk, n_tiles = np.unique(begins_in, axis=1, return_inverse=True, return_counts=True)
    for chosen in np.split(np.argsort(chunk, kind="stable"), n_tiles.cumsum()[:-1]):
        top, left = int(row[chosen].min()), int(column[chosen].min())
        window = scenes.colour.isel(
            scene=int(scene[chosen[0]]),
            row=slice(top, int(row[chosen].max()) + tile_size),
            column=slice(left, int(column[chosen].max()) + tile_size),
        ).values  # (channel, row, column)
        for tile in chosen:
            rows = slice(int(row[tile]) - top, int(row[tile]) - top + tile_size)
            columns = slice(int(column[tile]) - left, int(column[tile]) - left + tile_size)
            tiles[tile] = window[:, rows, columns]
    return tiles


def cut_embedded_tiles(scenes: Path, embedded: xr.Dataset) -> NDArray[np.uint8]:
    """Tiles (tile, channel, row, column) of a part of the embeddings, cut from `scenes`."""
    return cut_tiles(
        open_product(scenes),
        embedded.scene.values,
        embedded.row.values,
        embedded.column.values,
        embedded.attrs["tile_size"],
    )
