"""Shallow clouds which differ only in their organisation: cells, sugar, gravel, streets.

Each is a random field ranked within its region, so that all take every value equally often.
Scales are well below a tile of 64 pixels and the field is normalised over the surroundings
first: tiles have nearly equal histograms too, not regions alone.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from pipeline.core.synthetic.noise import (
    FloatArray,
    cell_distances,
    jittered_points,
    local_normal,
    plane,
    smooth_noise,
    step,
    wave_noise,
)

BoolArray = NDArray[np.bool_]

SURROUNDINGS = 11.0  # pixels
REACH = 26  # pixels, beyond the largest gust front


def ranked_texture(morphology: str, inside: BoolArray, *, rng: np.random.Generator) -> FloatArray:
    """Development of the cloud at every pixel of a region, uniform on 0 to 1 over the region.

    Args:
        morphology: One of `TEXTURES`.
        inside: Whether a pixel counts, shape (row, column).
        rng: Source of randomness.

    Returns:
        Shape (row, column), 0 outside.
    """
    scale = rng.uniform(0.85, 1.15)
    angle = rng.uniform(0, np.pi)
    field = TEXTURES[morphology](inside.shape, scale=scale, angle=angle, rng=rng)
    everywhere = np.ones_like(inside)
    for _ in range(2):
        field = ndtri(_ranks(local_normal(field, length=SURROUNDINGS), everywhere))
    return _ranks(local_normal(field, length=SURROUNDINGS), inside)


def _ranks(field: FloatArray, inside: BoolArray) -> FloatArray:
    """Rank of every pixel among those inside, between 0 and 1; 0 for the others."""
    values = field[inside]
    steps = np.empty(values.size, dtype=np.float32)
    steps[np.argsort(values, kind="stable")] = (np.arange(values.size) + 0.5) / values.size
    ranks = np.zeros(inside.shape, dtype=np.float32)
    ranks[inside] = steps
    return ranks


def closed_cells(
    shape: tuple[int, int], *, scale: float, angle: float, rng: np.random.Generator
) -> FloatArray:
    """Bright cells about 15 pixels wide with thin dark rims."""
    stretch = rng.uniform(1.0, 1.3)
    first, second, _ = cell_distances(
        shape, spacing=15 * scale, stretch=stretch, angle=angle, rng=rng
    )
    dome = step(second - first, -0.05, 0.75)
    return dome + np.float32(0.09) * wave_noise(shape, wavelength=6, spread=0.3, rng=rng)


def open_cells(
    shape: tuple[int, int], *, scale: float, angle: float, rng: np.random.Generator
) -> FloatArray:
    """Dark cells about 21 pixels wide with bright rims, brightest where rims meet."""
    stretch = rng.uniform(1.0, 1.3)
    first, second, third = cell_distances(
        shape, spacing=21 * scale, stretch=stretch, angle=angle, rng=rng
    )
    rim = np.exp(-(((second - first) / 0.17) ** 2))
    joint = np.exp(-(((third - first) / 0.3) ** 2))
    clumps = wave_noise(shape, wavelength=7, spread=0.35, rng=rng)
    uneven = np.float32(0.12) * clumps * (0.3 + rim)
    return np.asarray(rim + 0.5 * joint + uneven - 0.4 * first)


def sugar(
    shape: tuple[int, int], *, scale: float, angle: float, rng: np.random.Generator
) -> FloatArray:
    """Fine grain of 2 to 3 pixels, faintly lined up along the wind."""
    grain = smooth_noise(shape, length=0.8 * scale, stretch=1.6, angle=angle, rng=rng)
    return np.asarray(grain - np.float32(0.2) * smooth_noise(shape, length=2.5 * scale, rng=rng))


def gravel(
    shape: tuple[int, int], *, scale: float, angle: float, rng: np.random.Generator
) -> FloatArray:
    """Round clumps 6 to 10 pixels wide, brighter along the arcs of gust fronts."""
    first, _, _ = cell_distances(shape, spacing=9.5 * scale, rng=rng)
    uneven = smooth_noise(shape, length=4 * scale, rng=rng)
    clumps = np.float32(0.12) * uneven - first
    return clumps + np.float32(0.5) * _gust_fronts(shape, scale=scale, angle=angle, rng=rng)


def streets(
    shape: tuple[int, int], *, scale: float, angle: float, rng: np.random.Generator
) -> FloatArray:
    """Long straight rows 11 pixels apart, of clouds like beads on a string."""
    _, across = plane(shape, angle=angle)
    across = across + 3 * smooth_noise(shape, length=40, rng=rng)
    rows = np.cos(2 * np.pi * across / (11 * scale))
    beads = smooth_noise(shape, length=1.4, stretch=3, angle=angle, rng=rng)
    return np.asarray(rows + np.float32(0.3) * beads)


def _gust_fronts(
    shape: tuple[int, int], *, scale: float, angle: float, rng: np.random.Generator
) -> FloatArray:
    """1 on arcs about 15 pixels in radius, which open towards one direction, 0 between."""
    along, across = plane(shape, angle=angle)
    fronts = np.zeros(shape, dtype=np.float32)
    sources = jittered_points(
        np.zeros(2), np.array(shape, dtype=float), spacing=34 * scale, rng=rng
    )
    for row, column in sources.astype(int):
        top, left = max(row - REACH, 0), max(column - REACH, 0)
        window = np.s_[top : max(row + REACH, 0), left : max(column + REACH, 0)]
        ahead = along[window] - (column * np.cos(angle) + row * np.sin(angle))
        aside = across[window] - (row * np.cos(angle) - column * np.sin(angle))
        radius = rng.uniform(12, 17) * scale
        ring = np.exp(-(((np.hypot(ahead, aside) - radius) / 2.2) ** 2))
        arc = ring * step(ahead, -0.5 * radius, 0.3 * radius)
        fronts[window] = np.maximum(fronts[window], arc)
    return fronts


TEXTURES: dict[str, Callable[..., FloatArray]] = {
    "closed_cells": closed_cells,
    "open_cells": open_cells,
    "sugar": sugar,
    "gravel": gravel,
    "streets": streets,
}
