"""Swaths of orbiting imagers on a local equal-area grid.

A cell has the mean of all pixels that lie in it: what an imager with pixels of that size would have
measured. The nearest pixel alone would keep the noise and the contrast of the smaller ones, by
which imagers are told apart.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import Transformer
from pyresample.geometry import AreaDefinition, SwathDefinition
from pyresample.kd_tree import get_neighbour_info

from pipeline.core import planck, sphere

MOST_PIXELS = 20_000  # along an edge; 400 million pixels fill the memory of most computers

PLANE = ("row", "column")
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class LocalGrid:
    """Square pixels of equal area, north up where the grid is centred.

    Attributes:
        latitude: Of the pixels' centres in degrees, shape (row, column); NaN off the Earth.
        longitude: Likewise, from -180 to 180.
        area: Its projection and extent, in metres.
    """

    latitude: FloatArray
    longitude: FloatArray
    area: AreaDefinition


def local_grid(latitude: FloatArray, longitude: FloatArray, *, resolution_km: float) -> LocalGrid:
    """Lambert azimuthal equal-area grid on WGS84 that just covers all places.

    It is centred where the mean direction of the places meets the Earth, so that the date line
    and the poles are places as any other.

    Args:
        latitude: Degrees north, any shape; NaN, or beyond 90, is no place.
        longitude: Degrees east, same shape.
        resolution_km: Edge of a pixel.

    Raises:
        ValueError: If there is no place, or the grid has more than 20000 rows or columns.

    Source: Snyder (1987), doi:10.3133/pp1395.
    """
    on_earth = _on_earth(latitude, longitude)
    if not on_earth.any():
        raise ValueError(
            f"none of {on_earth.size} pixels of a swath has a latitude and longitude on the Earth"
        )
    places = latitude[on_earth].astype(np.float64), longitude[on_earth].astype(np.float64)
    middle = sphere.centre(*places)
    projection = {"proj": "laea", "lat_0": middle[0], "lon_0": middle[1], "ellps": "WGS84"}
    to_metres = Transformer.from_crs("EPSG:4326", projection)
    eastings, northings = to_metres.transform(*places)
    left, right, n_columns = _cover(eastings, resolution_km)
    bottom, top, n_rows = _cover(northings, resolution_km)
    area = AreaDefinition(
        "local", "", "", projection, n_columns, n_rows, (left, bottom, right, top)
    )
    grid_longitude, grid_latitude = area.get_lonlats(dtype=np.float64)
    on_map = np.isfinite(grid_latitude)  # the corners can leave it when places span the globe
    return LocalGrid(
        np.where(on_map, grid_latitude, np.nan), np.where(on_map, grid_longitude, np.nan), area
    )


def nearest_pixels(
    latitude: FloatArray, longitude: FloatArray, grid: LocalGrid, *, radius_km: float
) -> IntArray:
    """Flat index into the swath of the pixel nearest to each pixel of the grid, -1 without one.

    Distances are chords through a sphere, with an error of 0.3 % from the Earth's flattening.

    Args:
        latitude: Of the swath in degrees, shape (row, column), rows in any order; NaN, or
            beyond 90, is no place.
        longitude: Likewise, in any turn of the circle.
        grid: Where the swath is wanted.
        radius_km: Pixels farther away do not count.

    Returns:
        Shape (row, column) of the grid; to be used by `take`.
    """
    on_earth = _on_earth(latitude, longitude)
    indices = np.full(grid.latitude.shape, -1, np.int64)
    if not on_earth.any():
        return indices
    swath = SwathDefinition(
        lats=latitude[on_earth].astype(np.float64),
        lons=(longitude[on_earth].astype(np.float64) + 180) % 360 - 180,
    )
    # There is nothing to reduce: the grid covers the swath and little more.
    _, on_map, nearest, _ = get_neighbour_info(
        swath, grid.area, radius_km * 1000, neighbours=1, reduce_data=False
    )
    found = nearest < swath.size  # the tree counts on where it finds none
    indices.reshape(-1)[np.flatnonzero(on_map)[found]] = np.flatnonzero(on_earth)[nearest[found]]
    return indices


def take(values: NDArray[Scalar], indices: IntArray) -> NDArray[Scalar]:
    """Values of a swath on the grid; NaN, 0 or False where no pixel is near.

    Args:
        values: Shape (row, column) of the swath.
        indices: Of `nearest_pixels`, shape (row, column) of the grid.
    """
    missing = np.nan if np.issubdtype(values.dtype, np.floating) else 0
    taken = np.full(indices.shape, missing, values.dtype)
    taken[indices >= 0] = values.reshape(-1)[indices[indices >= 0]]
    return taken


def cell_means(
    values: FloatArray, latitude: FloatArray, longitude: FloatArray, grid: LocalGrid
) -> FloatArray:
    """Mean of a swath's values in each pixel of the grid, NaN where none lies in it.

    Args:
        values: Shape (row, column) of the swath; NaN is missing.
        latitude: Of the swath in degrees, same shape; NaN, or beyond 90, is no place.
        longitude: Likewise, in any turn of the circle.
        grid: Where the means are wanted.

    Returns:
        Shape (row, column) of the grid, float64.
    """
    used = _on_earth(latitude, longitude) & np.isfinite(values)
    around = (longitude[used] + 180) % 360 - 180
    columns, rows = grid.area.get_array_indices_from_lonlat(around, latitude[used])
    inside = ~np.ma.getmaskarray(columns)
    shape = grid.latitude.shape
    cells = np.ravel_multi_index((rows.data[inside], columns.data[inside]), shape)
    sums = np.bincount(cells, values[used][inside], minlength=grid.latitude.size)
    counts = np.bincount(cells, minlength=grid.latitude.size)
    with np.errstate(invalid="ignore"):
        return np.asarray((sums / counts).reshape(shape))


def on_equal_area_grid(
    granule: xr.Dataset, *, resolution_km: float, radius_km: float
) -> xr.Dataset:
    """`granule` on a local equal-area grid.

    Bands are means of what was measured in a pixel of the grid, brightness temperatures of the
    radiances; pixels of the grid that none lies in, and all other variables, have the nearest one.

    Args:
        granule: Variables (row, column), `latitude` and `longitude` among them; bands have the
            attribute `units` and perhaps a `wavelength` (µm).
        resolution_km: Edge of a pixel of the grid.
        radius_km: Pixels of the grid without a measured one so near, or in them, are empty.

    Raises:
        ValueError: If the grid is too large.
    """
    radius_km = max(radius_km, resolution_km / np.sqrt(2))
    places = granule.latitude.values, granule.longitude.values
    grid = local_grid(*places, resolution_km=resolution_km)
    indices = nearest_pixels(*places, grid, radius_km=radius_km)
    measured = _measured(granule)
    if not measured.all():  # the rows that VIIRS deletes on board lie among those of other scans
        latitude = np.where(measured, places[0], np.nan)
        nearest = nearest_pixels(latitude, places[1], grid, radius_km=radius_km)
        indices = np.where(nearest >= 0, nearest, indices)
    gridded = xr.Dataset(
        {
            name: (PLANE, take(variable.values, indices), variable.attrs)
            for name, variable in granule.data_vars.items()
        },
        attrs=granule.attrs,
    )
    for name, band in granule.data_vars.items():
        if "units" in band.attrs:
            means = _band_means(band, *places, grid)
            gridded[name] = gridded[name].where(np.isnan(means), means.astype(band.dtype))
    seen = indices >= 0
    gridded["latitude"] = (PLANE, np.where(seen, grid.latitude, np.nan).astype(np.float32))
    gridded["longitude"] = (PLANE, np.where(seen, grid.longitude, np.nan).astype(np.float32))
    return gridded


def _band_means(
    band: xr.DataArray, latitude: FloatArray, longitude: FloatArray, grid: LocalGrid
) -> FloatArray:
    wavelength = band.attrs.get("wavelength")
    if band.attrs["units"] != "K" or not wavelength:
        return cell_means(band.values, latitude, longitude, grid)
    with np.errstate(over="ignore", divide="ignore"):  # at 0 K, where there was only noise
        radiances = planck.radiance(wavelength, band.values.astype(np.float64))
        means = cell_means(radiances, latitude, longitude, grid)
        return planck.brightness_temperature(wavelength, means)


def _measured(granule: xr.Dataset) -> BoolArray:
    """Where any band was measured; bands are the variables with units."""
    bands = [each.values for each in granule.data_vars.values() if "units" in each.attrs]
    return np.asarray(np.logical_or.reduce([np.isfinite(band) for band in bands]))


def _on_earth(latitude: FloatArray, longitude: FloatArray) -> BoolArray:
    return np.asarray((np.abs(latitude) <= 90) & np.isfinite(longitude))


def _cover(metres: FloatArray, resolution_km: float) -> tuple[float, float, int]:
    """Ends of a row of pixels around all places, in metres, and how many pixels it has."""
    edge, first, last = resolution_km * 1000, metres.min(), metres.max()
    n_pixels = int((last - first) / edge) + 1
    if n_pixels > MOST_PIXELS:
        raise ValueError(
            f"a swath {(last - first) / 1000:.0f} km across needs {n_pixels} pixels of "
            f"{resolution_km:g} km, more than {MOST_PIXELS}; raise ingest.grid.resolution_km"
        )
    margin = (n_pixels * edge - (last - first)) / 2
    return float(first - margin), float(last + margin), n_pixels
