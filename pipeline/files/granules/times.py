"""Times of plain netCDF files, whatever their calendar."""

from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np
import xarray as xr

from pipeline.files.granules.granule import UnusableGranuleError

YEARS = range(1678, 2262)  # those that nanoseconds since 1970 reach


def time_axis(file: xr.Dataset) -> str | None:
    """Name of the axis along which the file has its times: the longest one of dates.

    Raises:
        UnusableGranuleError: If two axes have several.
    """
    axes = [
        str(name) for name, each in file.variables.items() if is_time(each) and each.dims == (name,)
    ]
    several = [name for name in axes if file.sizes[name] > 1]
    if len(several) > 1:
        detail = f"{' and '.join(several)} are axes of several times each; keep one of them"
        raise UnusableGranuleError("unreadable", detail)
    return max(axes, key=lambda name: file.sizes[name], default=None)


def find_times(file: xr.Dataset) -> list[datetime]:
    """Times of the file in UTC: of its time axis, else the start of its coverage, else its one.

    A day of another calendar is the day of the same name.

    Raises:
        UnusableGranuleError: If a time is missing, or no day of any year that products can hold.
    """
    if axis := time_axis(file):
        return list(map(_as_datetime, file[axis].values))
    if "time_coverage_start" in file.attrs:
        start = datetime.fromisoformat(file.attrs["time_coverage_start"])
        return [start.astimezone(UTC).replace(tzinfo=None) if start.tzinfo else start]
    single = (each for each in file.variables.values() if is_time(each) and not each.dims)
    return [_as_datetime(each.values[()]) for each in islice(single, 1)]


def is_time(variable: xr.Variable | xr.DataArray) -> bool:
    """Whether the values are dates of some calendar."""
    return variable.dtype.kind == "M" or (
        variable.dtype.kind == "O" and hasattr(next(variable.values.flat, None), "calendar")
    )


def _as_datetime(time: Any) -> datetime:
    if isinstance(time, np.datetime64):
        time = time.astype("datetime64[us]").item()
    if time is None:
        raise UnusableGranuleError("unreadable", "one of its times is missing")
    if time.year not in YEARS:
        detail = f"its time {time} is not in the years {YEARS[0]} to {YEARS[-1]}"
        raise UnusableGranuleError("unreadable", detail)
    try:
        clock = time.hour, time.minute, time.second, time.microsecond
        return datetime(time.year, time.month, time.day, *clock)
    except ValueError as error:
        detail = f"its time {time} is no day outside of its calendar {time.calendar}"
        raise UnusableGranuleError("unreadable", detail) from error
