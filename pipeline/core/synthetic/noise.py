"""Random fields: smooth, of one wavelength, and the cells around scattered points.

Lengths are in pixels; every field has the shape (row, column).
"""

from collections.abc import Callable

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

FloatArray = NDArray[np.float32]


def plane(
    shape: tuple[int, int], *, angle: float, stretch: float = 1.0
) -> tuple[FloatArray, FloatArray]:
    """Coordinates along and across a direction, the first divided and the second multiplied.

    Args:
        shape: Rows and columns.
        angle: Of the direction, in radians.
        stretch: How much longer than wide a circle of these coordinates appears.
    """
    rows, columns = np.indices(shape, dtype=np.float32)
    along = np.cos(angle) * columns + np.sin(angle) * rows
    across = np.cos(angle) * rows - np.sin(angle) * columns
    root = np.sqrt(stretch)
    return (along / root).astype(np.float32), (across * root).astype(np.float32)


def smooth_noise(
    shape: tuple[int, int],
    *,
    length: float,
    rng: np.random.Generator,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> FloatArray:
    """Gaussian noise of mean 0 and deviation 1, smooth over `length`, drawn out along `angle`."""

    def response(along: FloatArray, across: FloatArray) -> FloatArray:
        square = (stretch * along) ** 2 + across**2
        return np.asarray(np.exp(-2 * (np.pi * length) ** 2 * square))

    return _filtered_noise(shape, response, angle=angle, rng=rng)


def wave_noise(
    shape: tuple[int, int], *, wavelength: float, spread: float, rng: np.random.Generator
) -> FloatArray:
    """Gaussian noise of mean 0 and deviation 1 whose waves are all about one length.

    Args:
        shape: Rows and columns.
        wavelength: Of the strongest waves.
        spread: Width of the peak of the spectrum, relative to its wavenumber.
        rng: Source of randomness.
    """

    def response(along: FloatArray, across: FloatArray) -> FloatArray:
        wavenumber = np.hypot(along, across) * wavelength
        return np.asarray(np.exp(-0.5 * ((wavenumber - 1) / spread) ** 2))

    return _filtered_noise(shape, response, angle=0.0, rng=rng)


def cell_distances(
    shape: tuple[int, int],
    *,
    spacing: float,
    rng: np.random.Generator,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Distance of every pixel to the nearest, second and third of jittered points, in spacings.

    The nearest point minus the second is zero on the walls between the cells.

    Source: Worley (1996), doi:10.1145/237170.237267.
    """
    along, across = plane(shape, angle=angle, stretch=stretch)
    wobble = 0.12 * spacing
    along = along + wobble * smooth_noise(shape, length=spacing / 4, rng=rng)
    across = across + wobble * smooth_noise(shape, length=spacing / 4, rng=rng)
    pixels = np.stack([along.ravel(), across.ravel()], axis=1)
    points = jittered_points(pixels.min(axis=0), pixels.max(axis=0), spacing=spacing, rng=rng)
    distances, _ = cKDTree(points).query(pixels, k=3)
    first, second, third = (distances / spacing).astype(np.float32).T.reshape(3, *shape)
    return first, second, third


def local_normal(field: FloatArray, *, length: float) -> FloatArray:
    """`field` less its mean over the surroundings, over its deviation there.

    Args:
        field: Shape (row, column).
        length: Of the Gaussian that weighs the surroundings.
    """
    anomaly = field - gaussian_filter(field, length, truncate=3)
    deviation = np.sqrt(gaussian_filter(anomaly**2, length, truncate=3))
    return np.asarray(anomaly / np.maximum(deviation, 1e-6))


def step(values: FloatArray, low: float, high: float) -> FloatArray:
    """0 below `low`, 1 above `high`, smooth between."""
    part = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(part * part * (3 - 2 * part))


def jittered_points(
    low: NDArray[np.floating],
    high: NDArray[np.floating],
    *,
    spacing: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Points of a hexagonal grid, each moved a little, shape (point, 2).

    Args:
        low: Least value of both coordinates, shape (2,); the grid starts two spacings before.
        high: Greatest values, shape (2,).
        spacing: Of the grid.
        rng: Source of randomness.
    """
    first, second = low - 2 * spacing, high + 2 * spacing
    lines = np.arange(first[1], second[1], spacing * np.sqrt(0.75))
    places = np.arange(first[0], second[0], spacing)
    grid = np.stack(np.meshgrid(places, lines), axis=-1)
    grid[1::2, :, 0] += spacing / 2
    grid += rng.uniform(-0.3, 0.3, grid.shape) * spacing
    return grid.reshape(-1, 2)


def _filtered_noise(
    shape: tuple[int, int],
    response: Callable[[FloatArray, FloatArray], FloatArray],
    *,
    angle: float,
    rng: np.random.Generator,
) -> FloatArray:
    """White noise whose waves are weighed by a function of wavenumber along and across."""
    fast = tuple(scipy.fft.next_fast_len(n, real=True) for n in shape)
    spectrum = scipy.fft.rfft2(rng.standard_normal(fast, dtype=np.float32))
    rows = scipy.fft.fftfreq(fast[0]).astype(np.float32)[:, None]
    columns = scipy.fft.rfftfreq(fast[1]).astype(np.float32)[None, :]
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    weights = response(columns * cosine + rows * sine, rows * cosine - columns * sine)
    weights[0, 0] = 0
    noise = scipy.fft.irfft2(spectrum * weights, s=fast)[: shape[0], : shape[1]]
    return np.asarray(noise / noise.std(), dtype=np.float32)
