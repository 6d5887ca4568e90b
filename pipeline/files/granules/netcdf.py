"""Plain netCDF granules: level-2 products and model output, one granule a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from pipeline.files.granules.granule import (
    Bands,
    Granule,
    Reading,
    UnusableGranuleError,
    choose_bands,
    refuse_without,
)


@dataclass(frozen=True)
class NetcdfConventions:
    """How plain netCDF files name things.

    Attributes:
        units: Of each variable that serves as a band; a file with others is refused.
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
        with xr.open_dataset(path, engine="netcdf4") as file:
            times = _times(file)
    except Exception:  # a damaged file can fail anywhere; ingest says what is wrong with it
        times = []
    if len(times) < 2:
        time = times[0] if times else None
        return [Granule(path.name, (path,), "netcdf", "unknown", time)]
    return [
        Granule(f"{path.name}@{time:%Y%m%dT%H%M%S}", (path,), "netcdf", "unknown", time, step)
        for step, time in enumerate(times)
    ]


def read_netcdf(path: Path, bands: Bands, conventions: NetcdfConventions, step: int) -> Reading:
    """The variables that serve as bands at one time, the first row in the north."""
    with xr.open_dataset(path, engine="netcdf4") as file:
        chosen = choose_bands(bands, map(str, file.data_vars))
        refuse_without(chosen, bands)
        times = _times(file)
        if not times:
            raise UnusableGranuleError("unreadable", "it has no time")
        fields = {wanted: _plane(file[name], step) for wanted, name in chosen.items()}
        for name in chosen.values():
            _check_units(file[name], conventions)
        first = next(iter(fields.values()))
        latitude, longitude = _places(file, first, conventions)
        values = {wanted: plane.values for wanted, plane in fields.items()}
        platform = str(file.attrs.get("platform", conventions.platform or "unknown"))
    attributes = {
        wanted: {"units": conventions.units[name], "sun_corrected": True}
        for wanted, name in chosen.items()
    }
    if latitude[0].mean() < latitude[-1].mean():
        latitude, longitude = latitude[::-1], longitude[::-1]
        values = {wanted: plane[::-1] for wanted, plane in values.items()}
    return Reading(values, attributes, latitude, longitude, times[step], platform)


def _times(file: xr.Dataset) -> list[datetime]:
    """Times of the file in UTC: of its time axis, its one time, or its coverage."""
    for name, variable in file.variables.items():
        if variable.dtype.kind == "M" and (variable.dims == (name,) or not variable.dims):
            return list(np.atleast_1d(variable.values).astype("datetime64[us]").tolist())
    if "time_coverage_start" in file.attrs:
        return [datetime.fromisoformat(file.attrs["time_coverage_start"]).replace(tzinfo=None)]
    return []


def _plane(variable: xr.DataArray, step: int) -> xr.DataArray:
    """`variable` (row, column) at one time."""
    for name in variable.dims:
        if name in variable.coords and variable[name].dtype.kind == "M":
            variable = variable.isel({name: step})
    plane = variable.squeeze(drop=True)
    if plane.ndim != 2:
        raise UnusableGranuleError(
            "unreadable",
            f"its {variable.name} has the dimensions {', '.join(map(str, plane.dims))}",
        )
    return plane


def _check_units(variable: xr.DataArray, conventions: NetcdfConventions) -> None:
    name = str(variable.name)
    if name not in conventions.units:
        raise UnusableGranuleError(
            "other units", f"ingest.netcdf.units has no {name}; add what it is to be in"
        )
    found, wanted = variable.attrs.get("units"), conventions.units[name]
    if found is not None and found != wanted:
        raise UnusableGranuleError("other units", f"its {name} is in {found}, not in {wanted}")


def _places(
    file: xr.Dataset, plane: xr.DataArray, conventions: NetcdfConventions
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Latitude and longitude (row, column), longitudes from -180 to 180."""
    if conventions.projection:
        latitude, longitude = _unprojected(file, plane, conventions.projection)
    else:
        names = conventions.latitude, conventions.longitude
        if absent := [name for name in names if name not in file.variables]:
            raise UnusableGranuleError("unreadable", f"it has no {' and no '.join(absent)}")
        latitude, longitude = (file[name].squeeze(drop=True).values for name in names)
        if latitude.ndim == 1:
            longitude, latitude = np.meshgrid(longitude, latitude)
    return latitude, (longitude + 180) % 360 - 180


def _unprojected(
    file: xr.Dataset, plane: xr.DataArray, projection: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    northings, eastings = (file[name] for name in plane.dims)
    x, y = eastings.values, northings.values
    if projection in file.variables:
        mapping = file[projection].attrs
        crs = CRS.from_cf(mapping)
        if eastings.attrs.get("units") in ("rad", "radian"):  # scanning angles
            height = mapping["perspective_point_height"]
            x, y = x * height, y * height
    else:
        crs = CRS.from_user_input(projection)
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(*np.meshgrid(x, y))
    return latitude, longitude
