"""Which variables of a netCDF file tell places, by CF-1.11, sections 4.1, 4.2 and 5.6."""

from collections.abc import Hashable, Mapping

import xarray as xr

UNITS = {
    "latitude": {"degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"},
    "longitude": {"degrees_east", "degree_east", "degree_e", "degrees_e", "degreee", "degreese"},
}
NAMES = {"latitude": {"latitude", "lat"}, "longitude": {"longitude", "lon"}}
PLAIN = {*NAMES["latitude"], *NAMES["longitude"], "x", "y"}  # and not of a satellite
AXES = {"latitude": "Y", "longitude": "X"}
PROJECTED = {
    AXES[place]: {
        f"projection_{name}_coordinate",
        f"projection_{name}_angular_coordinate",
        f"grid_{place}",
    }
    for name, place in (("x", "longitude"), ("y", "latitude"))
}


def tells_degrees(name: Hashable, variable: xr.Variable | xr.DataArray, kind: str) -> bool:
    """Whether the values are of this `kind`, latitude or longitude."""
    attributes = variable.attrs
    if "standard_name" in attributes:
        return bool(attributes["standard_name"] == kind)
    units = str(attributes.get("units", "")).lower()
    if units in UNITS["latitude"] | UNITS["longitude"]:
        return units in UNITS[kind]
    by_axis = attributes.get("axis") == AXES[kind] and units.startswith("degree")
    return by_axis or _last_part(name) in NAMES[kind]


def tells_projected(name: Hashable, variable: xr.Variable | xr.DataArray, axis: str) -> bool:
    """Whether the values are coordinates of a projection along this `axis`, X or Y."""
    attributes = variable.attrs
    if "axis" in attributes or "standard_name" in attributes:
        said = attributes.get("axis"), attributes.get("standard_name")
        return said[0] == axis or said[1] in PROJECTED[axis]
    return _last_part(name) == axis.lower()


def tells_place(name: Hashable, variable: xr.Variable | xr.DataArray) -> bool:
    """Whether the values are latitudes, longitudes or coordinates of a projection."""
    return any(
        tells_degrees(name, variable, kind) or tells_projected(name, variable, axis)
        for kind, axis in AXES.items()
    )


def rows_and_columns(variables: Mapping[Hashable, xr.Variable | xr.DataArray]) -> set[Hashable]:
    """Dimensions of the rows and columns of fields, as far as places tell them.

    These are the dimensions of coordinates of one dimension, and the last two of those that
    latitudes and longitudes share. Places along one dimension that both share are those of a track.
    """
    places = {name: each for name, each in variables.items() if tells_place(name, each)}
    latitudes, longitudes = (
        {each.dims for name, each in places.items() if tells_degrees(name, each, kind)}
        for kind in AXES
    )
    shared = latitudes & longitudes
    single = {
        each.dims
        for name, each in places.items()
        if each.ndim == 1 and (each.dims == (name,) or _last_part(name) in PLAIN)
    }
    planes = {dimension for dims in shared if len(dims) > 1 for dimension in dims[-2:]}
    return planes | {dimension for (dimension,) in single - shared}


def _last_part(name: Hashable) -> str:
    """The name of a variable inside its group, in lower case."""
    return str(name).rpartition("/")[2].lower()
