"""Tiles of a scene: which are complete, where a regular grid puts them, what they hold.

A tile is named by the (row, column) of its first pixel; lengths are in pixels.
"""

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.floating]


def window_sums(values: NDArray[np.generic], tile_size: int) -> FloatArray:
    """Sum of `values` over every tile, shape (row - tile_size + 1, column - tile_size + 1).

    Empty when the tile is larger than the scene.
    """
    rows, columns = values.shape
    if tile_size > min(rows, columns):
        return np.zeros((0, 0))
    sums = np.zeros((rows + 1, columns + 1))
    sums[1:, 1:] = values.cumsum(0, dtype=np.float64).cumsum(1)
    t = tile_size
    return np.asarray(sums[t:, t:] - sums[:-t, t:] - sums[t:, :-t] + sums[:-t, :-t])


def complete_tiles(
    valid: BoolArray, tile_size: int, *, max_invalid_share: float = 0.0
) -> BoolArray:
    """Whether the tile which starts at each pixel lies on valid ones.

    Args:
        valid: Shape (row, column).
        tile_size: Edge of a tile.
        max_invalid_share: So many of its pixels may be invalid.

    Returns:
        Shape (row - tile_size + 1, column - tile_size + 1).
    """
    return np.asarray(window_sums(~valid, tile_size) <= max_invalid_share * tile_size**2)


def shape_on_earth(latitude: FloatArray) -> tuple[int, int]:
    """Rows and columns of a scene without those that make all scenes one size.

    Args:
        latitude: Of each pixel, (row, column); NaN where there is none.
    """
    on_earth = np.isfinite(latitude)
    row, column = (int(np.flatnonzero(on_earth.any(axis=axis))[-1]) + 1 for axis in (1, 0))
    return row, column


def grid_tiles(
    valid: BoolArray, *, tile_size: int, stride: int, max_invalid_share: float = 0.0
) -> IntArray:
    """(row, column) of every complete tile on a regular grid, shape (tile, 2)."""
    complete = complete_tiles(valid, tile_size, max_invalid_share=max_invalid_share)
    return np.argwhere(complete[::stride, ::stride]) * stride


def tile_sums(values: NDArray[np.generic], places: IntArray, tile_size: int) -> FloatArray:
    """Sum of `values` over each tile; pixels are added up once, however far tiles overlap.

    Args:
        values: Shape (row, column).
        places: (row, column) of each tile, shape (tile, 2).
        tile_size: Edge of a tile.
    """
    if not len(places):
        return np.zeros(0)
    # The edges of tiles divide the scene into blocks; a tile is a rectangle of whole ones.
    rows, row = np.unique([places[:, 0], places[:, 0] + tile_size], return_inverse=True)
    columns, column = np.unique([places[:, 1], places[:, 1] + tile_size], return_inverse=True)
    inside = values[: rows[-1], : columns[-1]]
    strips = np.add.reduceat(inside, columns[:-1], axis=1, dtype=np.float64)
    sums = np.zeros((len(rows), len(columns)))  # of all blocks above and to the left
    sums[1:, 1:] = np.add.reduceat(strips, rows[:-1], axis=0).cumsum(0).cumsum(1)
    (top, bottom), (left, right) = row, column
    return np.asarray(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])


def tile_means(values: FloatArray, places: IntArray, tile_size: int) -> FloatArray:
    """Mean of `values` over each tile, without its missing pixels; NaN where all are.

    Args:
        values: Shape (row, column); NaN is missing.
        places: (row, column) of each tile, shape (tile, 2).
        tile_size: Edge of a tile.
    """
    present = np.isfinite(values)
    sums = tile_sums(np.where(present, values, 0), places, tile_size)
    counts = tile_sums(present, places, tile_size)
    means: FloatArray = np.divide(sums, counts, out=np.full(len(places), np.nan), where=counts > 0)
    return means


def tile_spreads(values: FloatArray, places: IntArray, tile_size: int) -> FloatArray:
    """Standard deviation of `values` over each tile, without missing pixels; NaN where all are.

    Rounding adds about a millionth of the standard deviation of the whole scene.

    Args:
        values: Shape (row, column); NaN is missing.
        places: (row, column) of each tile, shape (tile, 2).
        tile_size: Edge of a tile.
    """
    present = np.isfinite(values)
    # Around 0 the squares lose no digits; a sum without terms has no mean.
    mean = values.mean(dtype=np.float64, where=present) if present.any() else 0.0
    deviations = np.where(present, values.astype(np.float64) - mean, np.nan)
    mean_squares = tile_means(deviations**2, places, tile_size)
    variances = mean_squares - tile_means(deviations, places, tile_size) ** 2
    return np.sqrt(np.maximum(variances, 0))


def orientations(tiles: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Tiles as they are, turned by 90, 180 and 270 degrees, and the mirrored ones likewise.

    Args:
        tiles: Shape (…, row, column).
    """
    return [
        np.rot90(each, turns, axes=(-2, -1))
        for each in (tiles, tiles[..., ::-1])
        for turns in range(4)
    ]


def pure_tiles(
    codes: NDArray[np.integer], *, tile_size: int, stride: int, min_share: float
) -> tuple[IntArray, IntArray]:
    """Tiles of a regular grid which one code fills, and that code.

    Args:
        codes: Class of every pixel, shape (row, column).
        tile_size: Edge of a tile.
        stride: Distance between tiles.
        min_share: Smallest share of a tile's pixels that have the code, above one half.

    Returns:
        (row, column) of each tile, shape (tile, 2), and its code, shape (tile,).
    """
    found = [
        (place, code)
        for code in np.unique(codes)
        for place in np.argwhere(
            window_sums(codes == code, tile_size)[::stride, ::stride] >= min_share * tile_size**2
        )
        * stride
    ]
    places = np.array([place for place, _ in found], np.int64).reshape(-1, 2)
    return places, np.array([code for _, code in found], np.int64)
