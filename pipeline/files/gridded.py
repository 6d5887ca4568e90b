"""Gridded variables of the user, such as ERA5, CERES or cloud products in netCDF."""

import warnings
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat

from pipeline.files.base.decoding import decoded, tidied, undecodable
from pipeline.files.base.places import tells_degrees
from pipeline.files.base.sidecars import list_data
from pipeline.files.base.time_choice import SeveralTimesError, choose_time
from pipeline.files.base.units import known_unit
from pipeline.files.base.valid_range import within_valid_range

IntArray = NDArray[np.integer]

DIMENSIONS = ("time", "latitude", "longitude")


@dataclass(frozen=True)
class GriddedVariable:
    """An entry of a list of gridded variables in params.yaml."""

    name: Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_]*$")]  # in the products
    files: str  # a path or a glob
    variable: str  # in the files
    select: dict[str, float | str]  # of dimensions beyond time, latitude and longitude
    max_hours: NonNegativeFloat  # from a tile to the closest time


def open_gridded(wanted: GriddedVariable) -> xr.DataArray:
    """The variable on (time,) latitude, longitude, its axes by these names, read when used.

    Raises:
        FileNotFoundError: If no file matches.
        ValueError: If the files do not hold the variable on such axes, or do not fit together.
    """
    paths = list_data(wanted.files, of=f"{wanted.name} in composite.gridded")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what real files are like
            joined = xr.open_mfdataset(
                paths,
                engine="netcdf4",
                preprocess=_Parts(wanted).add,
                combine="by_coords",
                chunks="auto",
                data_vars="minimal",
                coords="minimal",
                compat="override",
                join="exact",
                combine_attrs="override",
                decode_cf=False,
            )
    except NotUsableError as error:
        raise ValueError(str(error)) from None
    except (ValueError, OSError) as error:
        raise ValueError(
            f"the files {wanted.files} of {wanted.name} in composite.gridded cannot be read as "
            f"one grid in netCDF: {error}"
        ) from error
    return joined[wanted.variable]


class NotUsableError(ValueError):
    """A sentence for the user, which xarray passes on."""


class _Parts:
    """The parts of a variable in several files, read one after the other.

    Attributes:
        wanted: The variable.
        first: The first file and its units, to which the others are converted.
        held: File that holds each time on each grid.
    """

    def __init__(self, wanted: GriddedVariable) -> None:
        self.wanted = wanted
        self.first: tuple[str, str] | None = None
        self.held: dict[tuple[Any, ...], str] = {}

    def add(self, raw: xr.Dataset) -> xr.Dataset:
        """The variable of one more file, in the units of the first.

        Raises:
            NotUsableError: If it is not on a grid, repeats a time, or its units do not convert.
        """
        source = raw.encoding["source"]
        part = _pick(raw, self.wanted, source)
        places = part.latitude.values.tobytes(), part.longitude.values.tobytes()
        for time in part.time.values if "time" in part.coords else [None]:
            other = self.held.setdefault((time, *places), source)
            if other != source:
                at = f"at {np.datetime_as_string(time, 'm')}" if time is not None else "of one grid"
                raise NotUsableError(
                    f"{other} and {source} both hold {self.wanted.variable} {at}; leave one of "
                    f"them out of files of {self.wanted.name} in composite.gridded"
                )
        return self._in_units(part, source).to_dataset(name=self.wanted.variable)

    def _in_units(self, part: xr.DataArray, source: str) -> xr.DataArray:
        own = part.attrs.get("units", "")
        self.first = self.first or (source, own)
        (first, target), name = self.first, self.wanted.variable
        if own == target:
            return part
        unit, target_unit = known_unit(own), known_unit(target)
        if unit is None or target_unit is None or not unit.is_convertible(target_unit):
            raise NotUsableError(
                f"{name} is in {target or 'no units'} in {first}, but in {own or 'none'} in "
                f"{source}; give all files of {self.wanted.name} in composite.gridded the same"
            )
        zero, one = map(float, unit.convert(np.array([0.0, 1.0]), target_unit))
        converted: xr.DataArray = part * (one - zero) + zero
        return converted.assign_attrs({**part.attrs, "units": target})


def _pick(raw: xr.Dataset, wanted: GriddedVariable, source: str) -> xr.DataArray:
    """The variable of one file, with plain names for its axes and without any others."""
    for variable in raw.variables.values():
        variable.attrs = tidied(variable.attrs)
    part = decoded(raw)
    if wanted.variable in raw.variables and wanted.variable not in part.variables:
        reason = undecodable(raw, wanted.variable)
        raise NotUsableError(
            f"{wanted.variable} in {source} cannot be decoded: {reason}; correct it in the file or "
            f"leave {wanted.name} out of composite.gridded"
        )
    if wanted.variable not in part.data_vars:
        raise NotUsableError(
            f"{source} has no variable {wanted.variable}, but "
            f"{', '.join(map(str, part.data_vars))}; change variable of {wanted.name} in "
            "composite.gridded"
        )
    field = _along_times(within_valid_range(part[wanted.variable]), wanted, source)
    names = {found: kind for kind in DIMENSIONS if (found := _find(field, kind)) is not None}
    if lacking := {"latitude", "longitude"} - set(names.values()):
        raise NotUsableError(
            f"{wanted.variable} in {source} has no {' and no '.join(sorted(lacking))} of one "
            f"dimension, but ({', '.join(map(str, field.dims))}); put it on a "
            f"latitude-longitude grid or leave {wanted.name} out of composite.gridded"
        )
    field = field.rename({old: new for old, new in names.items() if old != new})
    if "time" in field.coords and field.time.dtype.kind != "M":
        raise NotUsableError(
            f"the times of {source} are of the calendar {field.time.encoding.get('calendar')}, "
            f"in which tiles have no date; leave {wanted.name} out of composite.gridded"
        )
    if "time" in field.coords and "time" not in field.dims:
        field = field.expand_dims("time")
    others = sorted(map(str, set(field.dims) - set(names.values())))
    field = _select(field, others, wanted, source)
    field = field.transpose(*(name for name in DIMENSIONS if name in field.dims))
    return field.drop_vars(set(field.coords) - set(field.dims))


def _along_times(field: xr.DataArray, wanted: GriddedVariable, source: str) -> xr.DataArray:
    """The field with its times called time, on a dimension of that name if they have one."""
    try:
        name = choose_time({**field.coords, wanted.variable: field})
    except SeveralTimesError as error:
        raise NotUsableError(
            f"in {source} {error}, or leave {wanted.name} out of composite.gridded"
        ) from error
    if name is None:
        return field.drop_vars("time", errors="ignore")
    if field[name].ndim and field[name].dims != (name,):
        field = field.swap_dims({field[name].dims[0]: name})
    if name != "time":
        field = field.drop_vars("time", errors="ignore").rename({name: "time"})
    return field


def _find(field: xr.DataArray, kind: str) -> Any:
    """Name of the coordinate that tells the latitude, longitude or time, if one does."""
    for name, coordinate in field.coords.items():
        if name == kind == "time":
            return name
        if kind != "time" and coordinate.dims == (name,) and tells_degrees(name, coordinate, kind):
            return name
    return None


def _select(
    field: xr.DataArray, dimensions: list[str], wanted: GriddedVariable, source: str
) -> xr.DataArray:
    """The field at one step of each of `dimensions`."""
    for dimension in dimensions:
        steps = field[dimension].values
        if dimension in wanted.select:
            value = wanted.select[dimension]
            found = np.flatnonzero(_same(steps, value))
        else:
            found = np.arange(len(steps))
        if len(found) != 1:
            some = ", ".join(map(str, steps[:8])) + (" …" if len(steps) > 8 else "")
            raise NotUsableError(
                f"{wanted.variable} in {source} has the dimension {dimension} of {some}; choose "
                f"one of these by select: {{{dimension}: …}} of {wanted.name} in composite.gridded"
            )
        field = field.isel({dimension: found[0]})
    return field


def _same(steps: NDArray[Any], value: float | str) -> NDArray[np.bool_]:
    """Where the steps of a dimension are `value`, which may be a time or words."""
    if steps.dtype.kind in "iuf":
        return np.asarray(np.isclose(steps, float(value)))
    if steps.dtype.kind == "M":
        return np.asarray(steps == np.datetime64(str(value)))
    return np.asarray(steps == str(value))


def read_points(
    field: xr.DataArray, time: IntArray | None, latitude: IntArray, longitude: IntArray
) -> NDArray[np.float64]:
    """Values at points (point,), given by indices along the axes; each block is read but once."""
    along = {"time": time, "latitude": latitude, "longitude": longitude}
    indices = {
        name: xr.DataArray(index, dims="point")
        for name, index in along.items()
        if index is not None
    }
    points = field.isel(indices).astype(np.float64)
    return np.asarray(points.compute(scheduler="synchronous").values)
