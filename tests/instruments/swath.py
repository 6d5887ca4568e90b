"""Places of a plain swath: straight on the sphere, so right at the poles and the date line."""

import numpy as np
from numpy.typing import NDArray

from pipeline.core.sphere import EARTH_RADIUS_KM

FloatArray = NDArray[np.floating]


def swath_places(
    *,
    latitude: float,
    longitude: float,
    n_rows: int,
    n_columns: int,
    resolution_km: float,
    heading: float = 190.0,
) -> tuple[FloatArray, FloatArray]:
    """Latitudes and longitudes of a swath in degrees, each of shape (row, column).

    Rows follow the track, a great circle through the place; columns go right of it, along great
    circles at right angles to the track.

    Args:
        latitude: Of the centre, degrees; not a pole itself, where no heading is defined.
        longitude: Of the centre, degrees.
        n_rows: Lines along the track.
        n_columns: Pixels across the track.
        resolution_km: Distance of rows and of columns at the centre.
        heading: Of the track at the centre, degrees clockwise from north; 190 is a descending
            sun-synchronous satellite near the equator.

    Returns:
        Latitudes, and longitudes from -180 to below 180.
    """
    latitude, longitude, heading = np.deg2rad([latitude, longitude, heading])
    up = np.array(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ]
    )
    east = np.array([-np.sin(longitude), np.cos(longitude), 0.0])
    north = np.cross(up, east)
    forward = np.cos(heading) * north + np.sin(heading) * east
    right = np.cross(forward, up)
    along = (np.arange(n_rows) - (n_rows - 1) / 2) * resolution_km / EARTH_RADIUS_KM
    across = (np.arange(n_columns) - (n_columns - 1) / 2) * resolution_km / EARTH_RADIUS_KM
    track = np.cos(along)[:, None] * up + np.sin(along)[:, None] * forward  # (row, xyz)
    x, y, z = np.moveaxis(
        np.cos(across)[:, None] * track[:, None] + np.sin(across)[:, None] * right, -1, 0
    )
    longitudes = (np.rad2deg(np.arctan2(y, x)) + 180) % 360 - 180
    return np.rad2deg(np.arctan2(z, np.hypot(x, y))), longitudes
