"""Places on the sphere: distances, centres and extents."""

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS_KM = 6371.0  # mean radius, Moritz (2000), doi:10.1007/s001900050278

FloatArray = NDArray[np.floating]


def great_circle_km(
    latitude: FloatArray, longitude: FloatArray, to_latitude: FloatArray, to_longitude: FloatArray
) -> FloatArray:
    """Distances in km along the sphere between places in degrees, by the haversine formula.

    >>> float(np.round(great_circle_km(*map(np.array, (0.0, 179.5, 0.0, -179.5))), 1))
    111.2
    """
    φ, λ, to_φ, to_λ = map(np.radians, (latitude, longitude, to_latitude, to_longitude))
    half_chord = (
        np.sin((to_φ - φ) / 2) ** 2 + np.cos(φ) * np.cos(to_φ) * np.sin((to_λ - λ) / 2) ** 2
    )
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(half_chord, 0, 1))))


def centre(latitude: FloatArray, longitude: FloatArray) -> tuple[float, float]:
    """Latitude and longitude of the mean of places, right across the date line and at the poles."""
    φ, λ = np.radians(latitude), np.radians(longitude)
    x, y, z = np.mean([np.cos(φ) * np.cos(λ), np.cos(φ) * np.sin(λ), np.sin(φ)], axis=1)
    return float(np.degrees(np.arctan2(z, np.hypot(x, y)))), float(np.degrees(np.arctan2(y, x)))
