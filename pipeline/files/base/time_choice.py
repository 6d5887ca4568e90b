"""Which variable of a netCDF file tells its times, by the rules of CF-1.11, section 4.4."""

import re
from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr

PLACES = re.compile("lat(itude)?|lon(gitude)?|x|y", re.IGNORECASE)  # names of their coordinates


class SeveralTimesError(ValueError):
    """More than one variable may be meant."""


def is_time(variable: xr.Variable | xr.DataArray) -> bool:
    """Whether the values are dates of some calendar."""
    return variable.dtype.kind == "M" or (
        variable.dtype.kind == "O" and hasattr(next(variable.values.flat, None), "calendar")
    )


def tells_place(name: str, variable: xr.Variable | xr.DataArray) -> bool:
    """Whether the values are latitudes, longitudes or coordinates of a projection."""
    said = f"{variable.attrs.get('standard_name', '')} {variable.attrs.get('units', '')}"
    by_words = any(word in said for word in ("latitude", "longitude", "projection_", "degrees_"))
    return by_words or bool(PLACES.fullmatch(name.rpartition("/")[2]))


def choose_time(variables: Mapping[Hashable, xr.Variable | xr.DataArray]) -> str | None:
    """Name of the variable that tells when what a file holds was seen or is valid.

    That is one whose standard name is time, else of the axis T, else the valid_time of GRIB, else
    one called time, else a coordinate of a dimension of its own, else any other that is single, or
    along a dimension of fields but not of their places, as times of a scan's lines are. One of
    another standard name, as the forecast reference time, never is.

    Args:
        variables: Of a file, or one of them and its coordinates.

    Raises:
        SeveralTimesError: If two that differ are left.
    """
    found = {
        str(name): each
        for name, each in variables.items()
        if is_time(each) and each.ndim < 2 and each.attrs.get("standard_name", "time") == "time"
    }
    places = {name for name, each in variables.items() if tells_place(str(name), each)}
    lines = {dimension for name in places for dimension in variables[name].dims}
    fields = [each for name, each in variables.items() if each.ndim > 1 and name not in places]
    steps = {dimension for each in fields for dimension in each.dims} - lines
    groups = (
        [name for name, each in found.items() if "standard_name" in each.attrs],
        [name for name, each in found.items() if each.attrs.get("axis") == "T"],
        [name for name in found if name == "valid_time"],
        [name for name in found if name == "time"],
        [name for name, each in found.items() if each.dims == (name,)],
        [name for name, each in found.items() if steps.issuperset(each.dims)],
    )
    names = next(filter(None, groups), [])
    for other in names[1:]:
        if not np.array_equal(found[names[0]].values, found[other].values):
            raise SeveralTimesError(
                f"{names[0]} and {other} tell different times; give one of them the standard_name "
                "time"
            )
    return names[0] if names else None
