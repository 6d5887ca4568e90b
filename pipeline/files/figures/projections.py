"""Projections that fit the data, and footprints carried across the seam of a projection."""

from dataclasses import dataclass
from typing import Any

import cartopy.crs as ccrs
import numpy as np
import numpy.typing as npt

from pipeline.files.figures.style import FloatArray

POLAR_LATITUDE = 50.0  # degrees: data all round the globe beyond it are mapped from the pole
HIGH_LATITUDE = 65.0  # degrees: so are all data beyond it
GLOBAL_WIDTH = 180.0  # degrees of longitude
GLOBAL_HEIGHT = 60.0  # degrees of latitude
SEAM_MARGIN = 1e-6  # degrees: a point on the seam itself could fall on either side
GEODETIC = ccrs.PlateCarree()


@dataclass(frozen=True)
class Window:
    """Where the data lie, in degrees; `east` may exceed 180, and `east - west` is at most 360."""

    south: float
    north: float
    west: float
    east: float

    @property
    def width(self) -> float:
        """Degrees of longitude."""
        return self.east - self.west

    @property
    def height(self) -> float:
        """Degrees of latitude."""
        return self.north - self.south

    @property
    def centre_longitude(self) -> float:
        """Longitude half-way, in -180..180, to a thousandth of a degree."""
        return round((self.west + self.width / 2 + 180) % 360 - 180, 3)


def find_window(latitude: FloatArray, longitude: FloatArray) -> Window:
    """Return the smallest window that holds all positions (degrees), across the date line or not.

    Raises:
        ValueError: If no position is finite.

    >>> find_window(np.array([-17.0, -15.0]), np.array([178.0, -179.0]))
    Window(south=-17.0, north=-15.0, west=178.0, east=181.0)
    """
    latitude, longitude = np.ravel(latitude), np.ravel(longitude)
    finite = np.isfinite(latitude) & np.isfinite(longitude)
    if not finite.any():
        raise ValueError(f"a map needs a position, but none of {len(finite)} is finite")
    around = np.unique((longitude[finite].astype(np.float64) + 180) % 360 - 180)
    gaps = np.diff(around, append=around[0] + 360)
    widest = int(np.argmax(gaps))
    west = float(around[(widest + 1) % len(around)])
    east = west + 360 - float(gaps[widest])
    return Window(float(latitude[finite].min()), float(latitude[finite].max()), west, east)


def widen(window: Window, *, share: float = 0.05, least: float = 0.5) -> Window:
    """Return `window` with margins: a share of its size on every side, at least `least` degrees."""
    vertical = max(share * window.height, least)
    sideways = min(max(share * window.width, least), (360 - window.width) / 2)
    return Window(
        max(window.south - vertical, -90.0),
        min(window.north + vertical, 90.0),
        window.west - sideways,
        window.east + sideways,
    )


def is_polar(window: Window) -> bool:
    """Tell whether data are best seen from above a pole."""
    lowest = max(window.south, -window.north)
    return lowest >= HIGH_LATITUDE or (lowest >= POLAR_LATITUDE and window.width > GLOBAL_WIDTH)


def is_global(window: Window) -> bool:
    """Tell whether data need a map of the whole globe."""
    return window.width > GLOBAL_WIDTH and window.height > GLOBAL_HEIGHT


def choose_projection(window: Window) -> Any:
    """Return polar stereographic, Robinson or, for a region, equidistant cylindrical."""
    if is_polar(window):
        if window.south > 0:
            return ccrs.NorthPolarStereo(central_longitude=window.centre_longitude)
        return ccrs.SouthPolarStereo(central_longitude=window.centre_longitude)
    # Data all round the globe have no centre, and a map around Greenwich is read at a glance.
    centre = 0.0 if window.width > 300 else window.centre_longitude
    if is_global(window):
        return ccrs.Robinson(central_longitude=centre)
    return ccrs.PlateCarree(central_longitude=centre)


def project(projection: Any, longitude: FloatArray, latitude: FloatArray) -> FloatArray:
    """Return map positions, shape (..., 2), of longitude and latitude (degrees)."""
    flat = projection.transform_points(GEODETIC, np.ravel(longitude), np.ravel(latitude))
    placed: FloatArray = flat[:, :2].reshape(*np.shape(longitude), 2)
    return placed


def central_longitude(projection: Any) -> float | None:
    """Return the longitude opposite the seam, or None for a projection without a seam."""
    parameters = projection.proj4_params
    if parameters["proj"] == "stere":
        return None
    # Releases of cartopy differ in how they centre the cylindrical projection.
    return float(parameters.get("lon_0", 0.0)) + float(parameters.get("pm", 0.0))


def place_rings(
    projection: Any, latitude: FloatArray, longitude: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Return closed outlines on the map and, for each, the ring it came from.

    A ring which crosses the seam appears at both edges of the map, cut at the seam. Its sides
    follow great circles; a ring around a pole is closed along it.

    Args:
        projection: Of the map.
        latitude: Corners in order, shape (ring, vertex), degrees.
        longitude: Likewise.

    Returns:
        Outlines, shape (outline, point, 2), and the index of the ring of each outline.
    """
    latitude, longitude = _subdivide(latitude, longitude)
    centre = central_longitude(projection)
    if centre is None:
        return project(projection, longitude, latitude), np.arange(len(latitude))
    turned = (longitude[:, :1] - centre + 180) % 360 - 180
    steps = (np.diff(longitude, axis=1, append=longitude[:, :1]) + 180) % 360 - 180
    relative = turned + np.cumsum(np.pad(steps, ((0, 0), (1, 0))), axis=1)  # (ring, point + 1)
    closing = np.concatenate([latitude, latitude[:, :1]], axis=1)
    # Around a pole the longitudes do not come back: the outline is closed along the pole.
    pole = np.where(latitude.mean(axis=1, keepdims=True) > 0, 90.0, -90.0)
    encloses = np.abs(relative[:, -1:] - relative[:, :1]) > 180
    ends = np.where(encloses, relative[:, [-1, 0]], relative[:, :1])
    relative = np.concatenate([relative, ends], axis=1)
    closing = np.concatenate(
        [closing, np.where(encloses, pole, latitude[:, :1]).repeat(2, axis=1)], axis=1
    )
    outlines, rings = [], []
    for shift in (-360.0, 0.0, 360.0):
        shifted = relative + shift
        seen = (shifted.min(axis=1) < 180) & (shifted.max(axis=1) > -180)
        limit = 180 - SEAM_MARGIN
        inside = np.clip(shifted[seen], -limit, limit)
        outlines.append(project(projection, inside + centre, closing[seen]))
        rings.append(np.flatnonzero(seen))
    return np.concatenate(outlines), np.concatenate(rings)


def _subdivide(
    latitude: FloatArray, longitude: FloatArray, n_steps: int = 6
) -> tuple[FloatArray, FloatArray]:
    latitude, longitude = np.deg2rad(latitude), np.deg2rad(longitude)
    corners = np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ],
        axis=-1,
    )  # (ring, vertex, 3)
    weight = np.linspace(0, 1, n_steps, endpoint=False)[:, None]
    following = np.roll(corners, -1, axis=1)
    sides = corners[:, :, None] * (1 - weight) + following[:, :, None] * weight
    sides = sides.reshape(len(corners), -1, 3)
    sides /= np.linalg.norm(sides, axis=-1, keepdims=True)
    return (
        np.rad2deg(np.arcsin(np.clip(sides[..., 2], -1, 1))),
        np.rad2deg(np.arctan2(sides[..., 1], sides[..., 0])),
    )
