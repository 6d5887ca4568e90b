"""Outlines of tiles on Earth."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


def own_cells(tiles: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Latitude and longitude (tile, vertex) of the middle of each tile that no other shares.

    Args:
        tiles: Middles, and corners `latitude_bounds` and `longitude_bounds` (tile, vertex), in
            degrees; attributes `stride` and `tile_size` in pixels.
    """
    share = min(1.0, tiles.attrs["stride"] / tiles.attrs["tile_size"])
    latitude, longitude = (
        tiles[name].values[:, None]
        + share * ((tiles[f"{name}_bounds"].values - tiles[name].values[:, None] + 180) % 360 - 180)
        for name in ("latitude", "longitude")
    )
    return latitude, longitude
