"""Which variable of a netCDF file tells its times, by the rules of CF-1.11, section 4.4."""

from collections.abc import Collection, Hashable, Mapping

import numpy as np
import xarray as xr

from pipeline.files.base.places import rows_and_columns


class SeveralTimesError(ValueError):
    """More than one variable may be meant."""


def is_time(variable: xr.Variable | xr.DataArray) -> bool:
    """Whether the values are dates of some calendar."""
    return variable.dtype.kind == "M" or (
        variable.dtype.kind == "O" and hasattr(next(variable.values.flat, None), "calendar")
    )


def choose_time(
    variables: Mapping[Hashable, xr.Variable | xr.DataArray],
    among: Collection[Hashable] | None = None,
) -> str | None:
    """Name of the variable that tells when what a file holds was seen or is valid.

    That is one whose standard name is time, else of the axis T, else the valid_time of GRIB, else
    one called time, else a coordinate of a dimension of its own, else any other. One of another
    standard name, as the forecast reference time, never is. Nor is one of several times that are
    not those of whole fields, but of the lines or scans of one.

    Args:
        variables: Of a file, or a field with its coordinates, by name or path.
        among: Names of those that may be chosen, by default all.

    Raises:
        SeveralTimesError: If two that differ are left.
    """
    steps = _steps(variables)
    found = {
        str(name): each
        for name, each in variables.items()
        if (among is None or name in among) and each.ndim < 2 and is_time(each)
        if each.attrs.get("standard_name", "time") == "time"
        if each.size == 1 or steps.issuperset(each.dims)
    }
    groups = (
        [name for name, each in found.items() if "standard_name" in each.attrs],
        [name for name, each in found.items() if each.attrs.get("axis") == "T"],
        [name for name in found if name.rpartition("/")[2] == "valid_time"],
        [name for name in found if name.rpartition("/")[2] == "time"],
        [name for name, each in found.items() if each.dims == (name,)],
        list(found),
    )
    names = next(filter(None, groups), [])
    for other in names[1:]:
        if not np.array_equal(found[names[0]].values, found[other].values):
            raise SeveralTimesError(
                f"{names[0]} and {other} tell different times; give one of them the standard_name "
                "time"
            )
    return names[0] if names else None


def _steps(variables: Mapping[Hashable, xr.Variable | xr.DataArray]) -> set[Hashable]:
    """Dimensions of fields beyond their rows and columns."""
    fields = [each for each in variables.values() if each.ndim > 2]
    return {name for each in fields for name in each.dims} - rows_and_columns(variables)
