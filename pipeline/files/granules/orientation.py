"""Which way up a picture is stored."""

import numpy as np

from pipeline.files.granules.granule import FloatArray


def north_up(latitude: FloatArray, longitude: FloatArray) -> tuple[slice, slice]:
    """Rows and columns in the order that puts north up and east to the right.

    Args:
        latitude: Degrees, shape (row, column).
        longitude: Likewise.
    """
    return (
        slice(None, None, -1 if _mean_step(latitude, axis=0) > 0 else 1),
        slice(None, None, -1 if _mean_step(longitude, axis=1) < 0 else 1),
    )


def _mean_step(degrees: FloatArray, *, axis: int) -> float:
    steps = np.diff(np.where(np.isfinite(degrees), degrees, np.nan), axis=axis)
    return float(np.nanmean((steps + 180) % 360 - 180))
