"""Plain netCDF granules: level-2 products and model output, one granule a time."""

import warnings
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from pipeline.files.base.decoding import decoded, undecodable
from pipeline.files.base.places import tells_place, tells_projected
from pipeline.files.base.units import known_unit
from pipeline.files.base.valid_range import within_valid_range
from pipeline.files.granules.checks import (
    refuse_absurd_scale,
    refuse_torn_places,
    scale_of,
)
from pipeline.files.granules.granule import (
    Bands,
    FloatArray,
    Granule,
    Reading,
    UnusableGranuleError,
    choose_bands,
    refuse_without,
)
from pipeline.files.granules.groups import groups_around, open_groups, path_in
from pipeline.files.granules.orientation import north_up
from pipeline.files.granules.projection import in_degrees
from pipeline.files.granules.times import find_time, time_axis, times_at
from pipeline.files.granules.units import in_known_units

PERCENT_OR_K = {"percent", "%", "K"}  # units in which the span of all counts is known


@dataclass(frozen=True)
class NetcdfConventions:
    """How plain netCDF files name things.

    Attributes:
        units: Of variables that serve as bands and state none, or are meant to be of another
            quantity than reflectance or brightness temperature.
        latitude: Variable, along the rows or (row, column).
        longitude: Likewise, along the columns or (row, column).
        projection: Instead of the two: a grid-mapping variable, or a code such as EPSG:3857, of
            the coordinates along rows and columns. Empty without.
        platform: Satellite or model, where the attribute `platform` does not name it.
    """

    units: Mapping[str, str]
    latitude: str
    longitude: str
    projection: str
    platform: str


def describe_netcdf(path: Path) -> list[Granule]:
    """The granules in `path`, one a time; without a time where the file does not tell it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual calendars
            with open_groups(path) as raw:
                file = raw.assign(decoded(raw[_in_time(raw)]).variables)
                likely = {
                    str(name): each
                    for name, each in raw.variables.items()
                    if each.ndim > 1 and not tells_place(name, each)
                }
                name = find_time(file, likely)
                found, created = times_at(file, name, likely), _created(raw)
    except Exception:  # a damaged file can fail anywhere; ingest says what is wrong with it
        return [Granule(path.name, (path,), "netcdf", "unknown", None, step=-1)]
    times = [time if isinstance(time, datetime) else None for time in found]
    if len(times) < 2:
        time = times[0] if times else None
        return [Granule(path.name, (path,), "netcdf", "unknown", time, created=created)]
    names = [f"{path.name}@{time:%Y%m%dT%H%M%S}" if time else path.name for time in times]
    taken = Counter(names)
    return [
        Granule(
            f"{name}-{step}" if taken[name] > 1 or not time else name,
            (path,),
            "netcdf",
            "unknown",
            time,
            step,
            created=created,
        )
        for step, (name, time) in enumerate(zip(names, times, strict=True))
    ]


def _created(file: xr.Dataset) -> datetime | None:
    """When the file was made, by the words of the conventions for discovery (ACDD-1.3)."""
    try:
        time = datetime.fromisoformat(str(file.attrs["date_created"]))
    except (KeyError, ValueError):
        return None
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def read_netcdf(
    path: Path, bands: Bands, conventions: NetcdfConventions, step: int, *, key: str
) -> Reading:
    """The variables that serve as bands at one time, north up and east to the right.

    `key` is where the parameters hold the conventions.
    """
    with open_groups(path) as raw:
        file = decoded(raw)
        chosen = _choose_bands(raw, file, bands, key)
        used = {name: file[name] for name in chosen.values()}
        time_name = find_time(file, used)
        times = times_at(file, time_name, used)
        if not times:
            raise UnusableGranuleError("unreadable", _lacks_time(raw, file))
        axis = time_axis(file, time_name, used)
        if (step < 0 and len(times) > 1) or step >= len(times):
            detail = f"it has {len(times)} times, which could not be listed by fetch"
            raise UnusableGranuleError("unreadable", detail)
        if not isinstance(time := times[step], datetime):
            raise time
        planes = {wanted: _at(file[name], axis, step) for wanted, name in chosen.items()}
        plane = next(iter(planes.values()))
        if projection := conventions.projection or _own_projection(file, plane, conventions):
            latitude, longitude = _unprojected(file, plane, projection)
        else:
            latitude, longitude = _places(file, conventions, axis, step, key)
        values, attributes = {}, {}
        for wanted, plane in planes.items():
            values[wanted], units = in_known_units(
                _along(plane, latitude.dims),
                wanted=wanted,
                name=chosen[wanted],
                stated=plane.attrs.get("units"),
                declared=conventions.units.get(chosen[wanted]),
                key=f"{key}.units",
            )
            is_corrected = "sunz_corrected" in plane.attrs.get("modifiers", "sunz_corrected")
            attributes[wanted] = {"units": units, "sun_corrected": is_corrected}
        said = file.attrs.get("platform") or plane.attrs.get("platform_name")
        platform = str(said or conventions.platform or "unknown")
    refuse_torn_places(latitude.values, longitude.values)
    turn = north_up(latitude.values, longitude.values)
    return Reading(
        {wanted: plane[turn] for wanted, plane in values.items()},
        attributes,
        latitude.values[turn],
        (longitude.values[turn] + 180) % 360 - 180,
        time,
        platform,
    )


def _choose_bands(raw: xr.Dataset, file: xr.Dataset, bands: Bands, key: str) -> dict[str, str]:
    """For each wanted name the variable that serves as it.

    Raises:
        UnusableGranuleError: If no band is found, or a band is not numeric, cannot be decoded or
            has an absurd scale.
    """
    chosen = choose_bands(bands, map(str, file.data_vars))
    for wanted, name in choose_bands(bands, map(str, raw.variables)).items():
        if np.dtype(raw[name].dtype).kind not in "biuf":
            raise UnusableGranuleError("unreadable", f"its {name} holds no numbers; take another")
        if wanted not in chosen and (reason := undecodable(raw, name)):
            detail = f"its {name} cannot be decoded: {reason}; correct it in the file"
            raise UnusableGranuleError("unreadable", detail)
    refuse_without(
        chosen, bands, key="ingest.bands" if key == "ingest.netcdf" else f"variable in {key}"
    )
    for name in chosen.values():
        scale = scale_of(raw[name].dtype, raw[name].attrs)
        if scale and raw[name].attrs.get("units") in PERCENT_OR_K:
            refuse_absurd_scale(name, *scale)
    return chosen


def _in_time(raw: xr.Dataset) -> list[Hashable]:
    """Variables in units of time since a date."""
    return [
        name for name, each in raw.variables.items() if " since " in str(each.attrs.get("units"))
    ]


def _lacks_time(raw: xr.Dataset, file: xr.Dataset) -> str:
    """Why nothing in the file tells a time."""
    if odd := [name for name in _in_time(raw) if name not in file.variables]:
        return (
            f"it has no time that is a date: its {odd[0]} is in {raw[odd[0]].attrs['units']}; give "
            "it in days or hours since a date"
        )
    if parts := [name for name in _in_time(raw) if file[name].size > 1]:
        along = ", ".join(map(str, file[parts[0]].dims))
        return (
            f"it has no time of a whole field, since its {parts[0]} lies along {along}; give it "
            "the attribute time_coverage_start"
        )
    return (
        "it has no time; give it a variable in hours since a date, or the attribute "
        "time_coverage_start"
    )


def _own_projection(
    file: xr.Dataset, plane: xr.DataArray, conventions: NetcdfConventions
) -> str | None:
    """The grid mapping of a band, where the file has no latitude and longitude."""
    has_places = {conventions.latitude, conventions.longitude} <= set(map(str, file.variables))
    mapping = plane.attrs.get("grid_mapping", plane.encoding.get("grid_mapping"))
    if has_places or mapping is None:
        return None
    reachable = (path_in(group, mapping) for group in groups_around(str(plane.name)))
    return next((name for name in reachable if name in file.variables), None)


def _at(variable: xr.DataArray, axis: str | None, step: int) -> xr.DataArray:
    """`variable` at one time, without axes of one point, NaN where it is not valid."""
    if axis in variable.dims:
        variable = variable.isel({axis: step})
    return within_valid_range(variable.squeeze(drop=True))


def _along(plane: xr.DataArray, dimensions: tuple[Hashable, ...]) -> NDArray[Any]:
    """Values of `plane` in the order of `dimensions`."""
    if set(plane.dims) != set(dimensions) or plane.ndim != 2:
        found, wanted = (", ".join(map(str, each)) for each in (plane.dims, dimensions))
        detail = f"its {plane.name} lies along {found}, its places along {wanted}, not the same two"
        raise UnusableGranuleError("unreadable", detail)
    return plane.transpose(*dimensions).values


def _places(
    file: xr.Dataset, conventions: NetcdfConventions, axis: str | None, step: int, key: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Latitude and longitude (row, column) as the file has them."""
    names = conventions.latitude, conventions.longitude
    _refuse_without_variables(file, names, f"; name them by {key}, or its projection")
    latitude, longitude = xr.broadcast(*(_at(file[name], axis, step) for name in names))
    return latitude, longitude


def _unprojected(
    file: xr.Dataset, plane: xr.DataArray, projection: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Latitude and longitude (row, column) of a projected grid."""
    _refuse_without_variables(file, map(str, plane.dims), ", of which its projection makes places")
    mapping = file[projection].attrs if projection in file.variables else {}
    try:
        crs = CRS.from_cf(mapping) if mapping else CRS.from_user_input(projection)
    except CRSError as error:
        detail = f"{projection} is neither a grid mapping of it nor the code of a projection"
        raise UnusableGranuleError("unreadable", detail) from error
    rows, columns = _rows_and_columns(file, plane)
    height = mapping.get("perspective_point_height")  # by which scanning angles grow
    northings, eastings = (_in_projection(file[name], crs, height) for name in (rows, columns))
    longitude, latitude = in_degrees(crs, *np.meshgrid(eastings, northings))
    dimensions = rows, columns
    return xr.DataArray(latitude, dims=dimensions), xr.DataArray(longitude, dims=dimensions)


def _rows_and_columns(file: xr.Dataset, plane: xr.DataArray) -> tuple[Hashable, Hashable]:
    """Dimensions along which northings and eastings grow; rows first where nothing tells."""
    if plane.ndim != 2:
        detail = f"its {plane.name} lies along {', '.join(map(str, plane.dims))}, not along two"
        raise UnusableGranuleError("unreadable", detail)
    first, second = plane.dims
    is_turned = tells_projected(first, file[first], "X") or tells_projected(
        second, file[second], "Y"
    )
    return (second, first) if is_turned else (first, second)


def _in_projection(coordinate: xr.DataArray, crs: CRS, height: float | None) -> FloatArray:
    """A coordinate in what `crs` is in, which is metres in most, and degrees of a rotated pole.

    Args:
        coordinate: In any unit of length or angle, metres where it has none.
        crs: Of the coordinates.
        height: Of a satellite in metres, whose coordinates are scanning angles.
    """
    stated = str(coordinate.attrs.get("units", "degrees" if crs.is_geographic else "m"))
    unit = known_unit(stated)
    target = "degrees" if crs.is_geographic else "m"
    values = coordinate.values.astype(float)
    if unit is not None and unit.is_convertible(target):
        own = 1.0 if crs.is_geographic else crs.axis_info[0].unit_conversion_factor  # feet, say
        return np.asarray(unit.convert(values, target) / own)
    if unit is not None and height is not None and "rad" in unit.definition:  # and no bare number
        return np.asarray(unit.convert(values, "radian") * height)
    detail = f"its {coordinate.name} is in {stated}, of which the projection makes no place"
    raise UnusableGranuleError("other units", detail)


def _refuse_without_variables(file: xr.Dataset, names: Iterable[str], remedy: str) -> None:
    if absent := [name for name in names if name not in file.variables]:
        alike = [str(each) for each in file.variables if str(each).rsplit("/")[-1] in absent]
        there = f" but {' and '.join(alike)}" if alike else ""
        detail = f"it has no {' and no '.join(absent)}{there}{remedy}"
        raise UnusableGranuleError("lacks its geolocation", detail)
