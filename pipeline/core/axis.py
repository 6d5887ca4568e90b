"""Places along an axis, such as latitude, longitude and time."""

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

ROUNDING = 1 + 1e-6  # of places on the edge of a cell


def closest_points(
    points: FloatArray, wanted: FloatArray, *, period: float = np.inf
) -> tuple[IntArray, FloatArray]:
    """Index of the point closest to each wanted place along an axis, and the distance to it.

    Of two equally close the one before, going up, is taken.

    Args:
        points: In any order, shape (point,).
        wanted: Shape (place,).
        period: Of the axis, such as 360 degrees.

    >>> closest_points(np.array([0.0, 90.0, 180.0, 270.0]), np.array([-80.0, 350.0]), period=360)
    (array([3, 0]), array([10., 10.]))
    """
    if np.isfinite(period):
        points, wanted = points % period, wanted % period
    order = np.argsort(points, kind="stable")
    after = np.searchsorted(points[order], wanted)
    around = order.take([after - 1, after], mode="wrap" if np.isfinite(period) else "clip")
    apart = np.abs(points[around] - wanted)  # (before and after, place)
    apart = np.minimum(apart, period - apart)
    best = apart.argmin(axis=0)
    place = np.arange(len(wanted))
    return around[best, place], apart[best, place]


def closest_cells(
    latitudes: FloatArray,
    longitudes: FloatArray,
    to_latitude: FloatArray,
    to_longitude: FloatArray,
) -> tuple[IntArray, IntArray, NDArray[np.bool_]]:
    """Row and column of the cell each place is in, and whether it is in any, all (place,).

    A cell reaches half the widest step of its axis around its point; longitudes may be of any
    turn of the circle.

    Args:
        latitudes: Of the points, in degrees and any order, shape (row,).
        longitudes: Likewise, shape (column,).
        to_latitude: Of the places, shape (place,).
        to_longitude: Likewise.
    """
    row, rows_off = closest_points(latitudes, to_latitude)
    column, columns_off = closest_points(longitudes, to_longitude, period=360.0)
    around = np.sort(longitudes % 360)
    # The widest gap round the circle is no step: there a regional grid ends.
    steps = np.sort(np.diff(around, append=around[:1] + 360))[:-1]
    reach = np.diff(np.sort(latitudes)).max(initial=0) / 2, steps.max(initial=0) / 2
    inside = (rows_off <= reach[0] * ROUNDING) & (columns_off <= reach[1] * ROUNDING)
    return row, column, inside
