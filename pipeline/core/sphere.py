"""Places on the sphere: distances, centres and extents."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

EARTH_RADIUS_KM = 6371.0  # mean radius, Moritz (2000), doi:10.1007/s001900050278

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]


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


def unit_vectors(latitude: FloatArray, longitude: FloatArray) -> FloatArray:
    """From the Earth's centre to places in degrees, shape (…, 3)."""
    φ, λ = np.radians(latitude), np.radians(longitude)
    return np.stack([np.cos(φ) * np.cos(λ), np.cos(φ) * np.sin(λ), np.sin(φ)], axis=-1)


def centre(latitude: FloatArray, longitude: FloatArray) -> tuple[float, float]:
    """Latitude and longitude of the mean of places, right across the date line and at the poles."""
    x, y, z = unit_vectors(latitude, longitude).mean(axis=0)
    return float(np.degrees(np.arctan2(z, np.hypot(x, y)))), float(np.degrees(np.arctan2(y, x)))


def tile_centres(
    latitude: FloatArray, longitude: FloatArray, places: IntArray, tile_size: int
) -> tuple[FloatArray, FloatArray]:
    """Latitude and longitude of the middles of tiles, each (tile,).

    The middle of a tile of even size lies between four pixels; those off the Earth do not count.

    Args:
        latitude: Degrees, shape (row, column); NaN is off the Earth.
        longitude: Likewise.
        places: First (row, column) of each tile, shape (tile, 2).
        tile_size: Pixels along its edge.

    >>> tile_centres(np.array([[1., 1.], [0., 0.]]), np.array([[179., -180.]] * 2),
    ...              np.array([[0, 0]]), 2)[1].tolist()
    [179.5]
    """
    inner = np.array([(tile_size - 1) // 2, tile_size // 2])
    row = places[:, 0, None] + np.repeat(inner, 2)
    column = places[:, 1, None] + np.tile(inner, 2)
    towards = unit_vectors(latitude[row, column], longitude[row, column])
    x, y, z = np.moveaxis(np.nansum(towards, axis=1), -1, 0)
    is_known = np.isfinite(towards[..., 0]).any(axis=1)
    middle = np.degrees([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)])
    middle[:, ~is_known] = np.nan
    return middle[0].astype(latitude.dtype), middle[1].astype(longitude.dtype)


def lattice(latitude: FloatArray, longitude: FloatArray, n_points: int) -> FloatArray:
    """Unit vectors of places on a regular lattice of a scene, shape (place, 3).

    Args:
        latitude: Shape (row, column); NaN is off the Earth.
        longitude: Likewise.
        n_points: Along the longer edge, fewer where the scene has fewer pixels.
    """
    step = max(1, max(latitude.shape) // n_points)
    some = slice(step // 2, None, step), slice(step // 2, None, step)
    vectors = unit_vectors(latitude[some].ravel(), longitude[some].ravel())
    return np.asarray(vectors[np.isfinite(vectors).all(axis=1)])


def overlap(places: FloatArray, others: FloatArray) -> float:
    """Share of `places` that lie within the area of `others`, both from `lattice`.

    A place lies within where one of the others is no farther than their own spacing.
    """
    if len(others) < 2 or not len(places):
        return 0.0
    tree = cKDTree(others)
    spacing = tree.query(others, k=2)[0][:, 1].max()
    distance, _ = tree.query(places)
    return float((distance <= spacing).mean())
