"""Outlines of tiles on Earth."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.core.sphere import unit_vectors

FloatArray = NDArray[np.floating]

FARTHEST_PIXEL = 0.25  # from a tile's middle, as a share of the way to its corners


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


def means_within(
    values: FloatArray,
    latitude: FloatArray,
    longitude: FloatArray,
    latitude_bounds: FloatArray,
    longitude_bounds: FloatArray,
) -> FloatArray:
    """Mean of the known values at the pixels within each tile, shape (tile,).

    It is NaN where there are none, or no pixel is near the middle: a swath that only touches a tile
    does not describe it.

    Args:
        values: NaN where missing, shape (row, column).
        latitude: Of the pixels in degrees, NaN off the Earth, shape (row, column).
        longitude: Of the pixels in degrees, same shape.
        latitude_bounds: Of the corners in turn, in degrees, shape (tile, vertex).
        longitude_bounds: Of the corners in turn, in degrees, same shape.
    """
    on_earth = np.isfinite(latitude) & np.isfinite(longitude)
    pixels = unit_vectors(latitude[on_earth].astype(float), longitude[on_earth].astype(float))
    values = values[on_earth].astype(float)
    corners = unit_vectors(latitude_bounds.astype(float), longitude_bounds.astype(float))
    middles = corners.mean(axis=1)
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    reach = np.linalg.norm(corners - middles[:, None], axis=2).max(axis=1)
    # A place is within if it is on the side of every edge, a great circle, on which the middle is.
    edges = np.cross(corners, np.roll(corners, -1, axis=1))
    edges *= np.sign(np.einsum("tvx,tx->tv", edges, middles))[..., None]
    tree = cKDTree(pixels)
    means = np.full(len(middles), np.nan)
    for tile in np.flatnonzero(np.isfinite(reach)):
        if tree.query(middles[tile])[0] > FARTHEST_PIXEL * reach[tile]:
            continue
        around = tree.query_ball_point(middles[tile], reach[tile], return_sorted=True)
        is_within = (pixels[around] @ edges[tile].T >= 0).all(axis=1)
        inside = values[around][is_within]
        if np.isfinite(inside).any():
            means[tile] = np.nanmean(inside)
    return means
