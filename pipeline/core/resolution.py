"""The pixel size of tiles, from their corners."""

import numpy as np
from numpy.typing import NDArray

from pipeline.core.sphere import great_circle_km

FloatArray = NDArray[np.floating]


def pixel_sizes_km(
    latitude_bounds: FloatArray, longitude_bounds: FloatArray, *, tile_size: int
) -> FloatArray:
    """Edge of each tile's pixels in km: the root of their mean height times their mean width.

    Args:
        latitude_bounds: Centres of the corner pixels in order around the tile, shape
            (tile, vertex), in degrees.
        longitude_bounds: Likewise.
        tile_size: Edge of a tile in pixels.
    """
    latitude, longitude = latitude_bounds.astype(float), longitude_bounds.astype(float)
    edges = great_circle_km(
        latitude, longitude, np.roll(latitude, -1, axis=1), np.roll(longitude, -1, axis=1)
    )  # (tile, edge)
    first, second = edges[:, ::2].mean(axis=1), edges[:, 1::2].mean(axis=1)
    return np.asarray(np.sqrt(first * second) / (tile_size - 1))
