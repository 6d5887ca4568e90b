"""Where sun and satellite stand, seen from a place.

Zenith angles are 0 overhead and above 90 below the horizon, azimuths run clockwise from north;
angles are in degrees.
"""

import numpy as np
from numpy.typing import NDArray
from pyorbital.astronomy import get_alt_az, sun_earth_distance_correction

# WGS84, National Geospatial-Intelligence Agency (2014), NGA.STND.0036.
EQUATORIAL_RADIUS_M = 6_378_137.0
FLATTENING = 1 / 298.257223563
SQUARED_ECCENTRICITY = FLATTENING * (2 - FLATTENING)

LATTICE_STEP = 8  # pixels between the points at which a scene holds its angles

FloatArray = NDArray[np.floating]


def solar_angles(
    time: np.datetime64 | NDArray[np.datetime64], latitude: FloatArray, longitude: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Zenith angle and azimuth of the sun in degrees, at `time` in UTC.

    Args:
        time: One for all places, or an array of their shape.
        latitude: Degrees north, any shape; NaN is no place.
        longitude: Degrees east, same shape.
    """
    altitude, azimuth = get_alt_az(time, longitude, latitude)
    return 90 - np.degrees(altitude), np.degrees(azimuth)


def sun_distance(time: np.datetime64) -> float:
    """Distance of the sun in astronomical units."""
    return float(sun_earth_distance_correction(time))


def glint_angle(
    solar_zenith: FloatArray,
    solar_azimuth: FloatArray,
    view_zenith: FloatArray,
    view_azimuth: FloatArray,
) -> FloatArray:
    """Angle between the satellite and the mirror image of the sun on a level sea, degrees.

    0 in the middle of the glint, up to 180. At night, where the sun is lower than the horizon,
    there is nothing to mirror and the angle says nothing.

    Args:
        solar_zenith: In degrees, any shape.
        solar_azimuth: Likewise.
        view_zenith: Of the satellite seen from the place, likewise.
        view_azimuth: Likewise.

    Source: Cox and Munk (1954), doi:10.1364/JOSA.44.000838; cos(glint) = cos(solar zenith)
    cos(view zenith) - sin(solar zenith) sin(view zenith) cos(relative azimuth), written with half
    angles to stay exact at small ones.

    >>> sun, west, east = np.array([40.0]), np.array([270.0]), np.array([90.0])
    >>> float(glint_angle(sun, west, sun + 10, east)[0].round(6))
    10.0
    """
    sun, view = np.radians(solar_zenith), np.radians(view_zenith)
    apart = np.radians(relative_azimuth(solar_azimuth, view_azimuth))
    squared_half_sine = (
        np.sin((sun - view) / 2) ** 2 + np.sin(sun) * np.sin(view) * np.cos(apart / 2) ** 2
    )
    return np.asarray(2 * np.degrees(np.arcsin(np.sqrt(np.clip(squared_half_sine, 0, 1)))))


def relative_azimuth(solar_azimuth: FloatArray, view_azimuth: FloatArray) -> FloatArray:
    """Angle between the azimuths of sun and satellite, 0 to 180 degrees.

    0 where both stand in the same direction, 180 where they face each other across the place.

    >>> relative_azimuth(np.array([10.0, 90.0]), np.array([350.0, -90.0]))
    array([ 20., 180.])
    """
    return np.asarray(np.abs((solar_azimuth - view_azimuth + 180) % 360 - 180))


def local_solar_time(time: NDArray[np.datetime64], longitude: FloatArray) -> FloatArray:
    """Hours from 0 to below 24 of mean solar time, which knows no equation of time.

    The sun itself is up to 17 minutes ahead or behind.

    Args:
        time: UTC, any shape.
        longitude: Degrees east in any turn of the circle, of a shape that fits `time`.

    >>> noon = np.array("2020-06-01T12:00", "M8[s]")
    >>> local_solar_time(noon, np.array([-90.0, 0.0, 180.0, -180.0]))
    array([ 6., 12.,  0.,  0.])
    """
    utc = (time - time.astype("M8[D]")) / np.timedelta64(1, "h")
    hours = (utc + longitude / 15) % 24
    return np.asarray(np.where(hours < 24, hours, hours - 24))  # a tiny negative one rounds to 24


def geostationary_view(
    latitude: FloatArray,
    longitude: FloatArray,
    *,
    satellite_latitude: float,
    satellite_longitude: float,
    satellite_height_m: float,
) -> tuple[FloatArray, FloatArray]:
    """Zenith angle and azimuth of a satellite that stands still, seen from places on WGS84.

    Args:
        latitude: Geodetic, degrees north, any shape; NaN is no place.
        longitude: Degrees east, same shape.
        satellite_latitude: Geodetic, degrees north.
        satellite_longitude: Degrees east.
        satellite_height_m: Above the ellipsoid, in metres.

    Returns:
        Zenith angle, above 90 where the satellite is below the horizon, and azimuth from 0 to 360,
        both float64 in the shape of the places and NaN where there is none. The azimuth is of no
        use at the satellite's nadir and at the poles.
    """
    axis_m, height_m = _from_axis(satellite_latitude, satellite_height_m)
    φ = np.radians(np.asarray(latitude, np.float64))
    λ = np.radians(np.asarray(longitude, np.float64) - satellite_longitude)
    sin_φ, cos_φ = np.sin(φ), np.cos(φ)
    flattened = np.sqrt(1 - SQUARED_ECCENTRICITY * sin_φ**2)
    towards_m = axis_m * np.cos(λ)  # from the axis, in the meridian of the place
    polewards_m = height_m + EQUATORIAL_RADIUS_M * SQUARED_ECCENTRICITY * sin_φ / flattened
    east_m = -axis_m * np.sin(λ)
    north_m = cos_φ * polewards_m - sin_φ * towards_m
    up_m = cos_φ * towards_m + sin_φ * height_m - EQUATORIAL_RADIUS_M * flattened
    zenith = np.degrees(np.arctan2(np.hypot(east_m, north_m), up_m))
    azimuth = np.degrees(np.arctan2(east_m, north_m))
    return zenith, np.where(azimuth < 0, azimuth + 360, azimuth)


def _from_axis(latitude: float, height_m: float) -> tuple[float, float]:
    """Distances of a point from the Earth's axis and from the plane of its equator, m."""
    φ = np.radians(latitude)
    radius_m = EQUATORIAL_RADIUS_M / np.sqrt(1 - SQUARED_ECCENTRICITY * np.sin(φ) ** 2)
    along_m = radius_m * (1 - SQUARED_ECCENTRICITY) + height_m
    return float((radius_m + height_m) * np.cos(φ)), float(along_m * np.sin(φ))
