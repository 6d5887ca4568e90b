"""Regular grids for the pixels of a scene, as geographic information systems need them."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pyresample.geometry import AreaDefinition

from pipeline.core import sphere
from pipeline.core.swath import LocalGrid, nearest_pixels

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)
Angle = TypeVar("Angle", float, FloatArray)  # one or many

LATITUDE_LONGITUDE, MERCATOR = "EPSG:4326", "EPSG:3857"
MERCATOR_METRES = 6378137.0 * np.pi / 180  # to a degree of longitude, by definition of EPSG:3857
KM_PER_DEGREE = sphere.EARTH_RADIUS_KM * np.pi / 180
TOLERANCE = 0.05  # of a pixel, by which places may miss an even grid, since they are rounded
REACH = 0.75  # of the widest spacing: a little more than half the diagonal of a pixel
WIDEST = 99  # percentile of spacings, so that a gap between two lines is none


@dataclass(frozen=True)
class RasterGrid:
    """Rows from north to south, columns from west to east.

    Attributes:
        crs: EPSG:4326 or, for a scene in Mercator's projection, EPSG:3857.
        transform: Places of pixels' corners in its units: column step, 0, west edge, 0, row step,
            north edge.
        latitude_edges: Descending, shape (row + 1,).
        longitude_edges: Ascending, across the date line beyond 180, shape (column + 1,).
        pixels: Flat index of the scene's pixel, -1 for none, shape (row, column).
        is_own: They are the scene's own; else each is the nearest of the scene.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]
    latitude_edges: FloatArray
    longitude_edges: FloatArray
    pixels: IntArray
    is_own: bool

    def lay(self, values: NDArray[Scalar], missing: float) -> NDArray[Scalar]:
        """Values (row, column, …) of the scene on this grid, `missing` where it has no pixel."""
        laid = values.reshape(-1, *values.shape[2:])[self.pixels]
        laid[self.pixels < 0] = missing
        return laid


def raster_grid(latitude: FloatArray, longitude: FloatArray) -> RasterGrid:
    """The grid of a scene: its own where that is even in latitude and longitude or in Mercator's.

    Else it is one in EPSG:4326 whose pixels are, in the middle latitude, as large as the median
    of the scene's.

    Args:
        latitude: Degrees north, shape (row, column), at least two of each; NaN is no place.
        longitude: Degrees east, in any turn of the circle.
    """
    columns = _even_steps(longitude, axis=1)
    for crs, northings in ((LATITUDE_LONGITUDE, latitude), (MERCATOR, _stretch(latitude))):
        rows = _even_steps(northings, axis=0)
        if rows is not None and columns is not None:
            return _own_grid(crs, rows, columns, np.isfinite(latitude))
    return _nearest_grid(latitude, longitude)


def _stretch(latitude: FloatArray) -> FloatArray:
    """Northings of Mercator's projection of the sphere, in degrees of the equator."""
    with np.errstate(divide="ignore"):  # the poles are infinitely far
        return np.asarray(np.degrees(np.arctanh(np.sin(np.radians(latitude.astype(np.float64))))))


def _even_steps(degrees: FloatArray, *, axis: int) -> tuple[float, float] | None:
    """First value and step where values grow evenly along `axis` and along no other, else None."""
    number = np.arange(degrees.shape[axis])
    numbers = np.broadcast_to(number[:, None] if axis == 0 else number, degrees.shape)
    known = np.isfinite(degrees)
    first = degrees[known][0]
    steps = _turned(np.diff(degrees.astype(np.float64), axis=axis))
    if not np.isfinite(steps).any() or (step := float(np.nanmedian(steps))) == 0:
        return None
    start = first - step * numbers[known][0]
    offsets = _turned(degrees[known] - start - step * numbers[known])
    slope, offset = np.polyfit(numbers[known], offsets, 1)
    misses = offsets - slope * numbers[known] - offset
    if np.abs(misses).max() > TOLERANCE * abs(step):
        return None
    return float(start + offset), float(step + slope)


def _own_grid(
    crs: str, rows: tuple[float, float], columns: tuple[float, float], is_known: NDArray[np.bool_]
) -> RasterGrid:
    pixels = np.where(is_known, np.arange(is_known.size).reshape(is_known.shape), -1)
    (north, down), (west, across) = rows, columns
    if down > 0:
        pixels, north, down = pixels[::-1], north + down * (len(pixels) - 1), -down
    if across < 0:
        pixels, west, across = pixels[:, ::-1], west + across * (pixels.shape[1] - 1), -across
    west = _turned(west)
    return _grid(crs, (north - down / 2, down), (west - across / 2, across), pixels, is_own=True)


def _nearest_grid(latitude: FloatArray, longitude: FloatArray) -> RasterGrid:
    spacings_km = _spacings_km(latitude, longitude)
    known = np.isfinite(latitude) & np.isfinite(longitude)
    middle = sphere.centre(latitude[known], longitude[known])[1]
    eastings = _turned(longitude[known] - middle)
    south, north = float(latitude[known].min()), float(latitude[known].max())
    down = float(np.nanmedian(spacings_km)) / KM_PER_DEGREE
    across = down / float(np.cos(np.radians((south + north) / 2)))
    n_rows, n_columns = int((north - south) / down) + 1, int(np.ptp(eastings) / across) + 1
    top, left = (
        (south + north + n_rows * down) / 2,
        float(eastings.min() + eastings.max() - n_columns * across) / 2,
    )
    # On a sphere whose degree is a metre long this projection is latitude and longitude.
    projection = {"proj": "eqc", "lon_0": middle, "R": np.degrees(1)}
    extent = (left, top - n_rows * down, left + n_columns * across, top)
    area = AreaDefinition("raster", "", "", projection, n_columns, n_rows, extent)
    eastward, northward = area.get_lonlats()
    target = LocalGrid(northward, eastward, area)
    radius = REACH * float(np.nanpercentile(spacings_km, WIDEST))
    pixels = nearest_pixels(latitude, longitude, target, radius_km=radius)
    return _grid(
        LATITUDE_LONGITUDE, (top, -down), (_turned(middle + left), across), pixels, is_own=False
    )


def _spacings_km(latitude: FloatArray, longitude: FloatArray) -> FloatArray:
    """Distances from each pixel to the next one down and to the next one across."""
    down, across = (
        sphere.great_circle_km(
            latitude[one], longitude[one], latitude[next_one], longitude[next_one]
        )
        for one, next_one in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:]))
    )
    return np.concatenate([down.ravel(), across.ravel()])


def _grid(
    crs: str,
    rows: tuple[float, float],
    columns: tuple[float, float],
    pixels: IntArray,
    *,
    is_own: bool,
) -> RasterGrid:
    """Of the northern and western edge and the steps, in degrees of latitude or of the equator."""
    (north, down), (west, across) = rows, columns
    unit = MERCATOR_METRES if crs == MERCATOR else 1.0
    latitude = north + down * np.arange(len(pixels) + 1)
    if crs == MERCATOR:
        latitude = np.degrees(np.arctan(np.sinh(np.radians(latitude))))
    return RasterGrid(
        crs,
        (across * unit, 0.0, west * unit, 0.0, down * unit, north * unit),
        latitude,
        west + across * np.arange(pixels.shape[1] + 1),
        pixels,
        is_own,
    )


def _turned(degrees: Angle) -> Angle:
    """Degrees from -180 to 180."""
    return (degrees + 180) % 360 - 180
