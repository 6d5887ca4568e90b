"""Tiles cut from the scenes product."""

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.files.stores.products import open_product


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
    for index in np.unique(scene):
        chosen = np.flatnonzero(scene == index)
        top, left = int(row[chosen].min()), int(column[chosen].min())
        window = scenes.colour.isel(
            scene=int(index),
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
