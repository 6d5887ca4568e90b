"""Clouds with histograms of their own: clear sky, flowers, fish, cirrus, deep convection."""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

from pipeline.core.synthetic.layers import FloatArray, no_cloud
from pipeline.core.synthetic.noise import (
    cell_distances,
    plane,
    smooth_noise,
    step,
    wave_noise,
)

Clouds = dict[str, FloatArray]


def clear_sky(shape: tuple[int, int], *, rng: np.random.Generator) -> Clouds:
    """Sea with broad gradients of glint and humidity, and a few tiny clouds."""
    clouds = no_cloud(shape)
    clouds["glint"] = np.float32(0.012) * (1 + np.tanh(smooth_noise(shape, length=45, rng=rng)))
    clouds["moisture"] = smooth_noise(shape, length=40, stretch=2, rng=rng) * np.float32(0.6)
    clouds["low_cloud"] = _tiny_clouds(shape, amount=0.01, rng=rng)
    return clouds


def flowers(shape: tuple[int, int], *, rng: np.random.Generator) -> Clouds:
    """Bright, roundish, stratiform patches 25 to 40 pixels wide, far apart in clear air."""
    clouds = no_cloud(shape)
    first, second, _ = cell_distances(
        shape, spacing=rng.uniform(54, 64), stretch=1.2, angle=rng.uniform(0, np.pi), rng=rng
    )
    size = np.float32(0.31) + np.float32(0.025) * smooth_noise(shape, length=28, rng=rng)
    bump = np.exp(-((first / size) ** 2)) + 0.6 * np.exp(-((second / size) ** 2))
    fringe = smooth_noise(shape, length=2.5, rng=rng) + smooth_noise(shape, length=7, rng=rng)
    patch = step(bump + np.float32(0.05) * fringe, 0.34, 0.62)
    lumps = wave_noise(shape, wavelength=7, spread=0.4, rng=rng)
    patch = patch * (np.float32(0.84) + np.float32(0.06) * lumps)
    clouds["low_cloud"] = np.maximum(patch, _tiny_clouds(shape, amount=0.02, rng=rng))
    clouds["moisture"] = smooth_noise(shape, length=40, rng=rng) * np.float32(0.3)
    return clouds


def fish(shape: tuple[int, int], *, rng: np.random.Generator) -> Clouds:
    """Long skeletons: a spine with ribs to both sides, clear sea between."""
    clouds = no_cloud(shape)
    along, across = plane(shape, angle=rng.uniform(-0.5, 0.5))
    across = across + 11 * smooth_noise(shape, length=38, rng=rng)
    period = rng.uniform(68, 82)
    phase = np.mod(across + rng.uniform(0, period), period) - period / 2
    aside = np.abs(phase)
    shred = smooth_noise(shape, length=2.2, rng=rng) + smooth_noise(shape, length=5, rng=rng)
    spine = np.exp(-((aside / 6) ** 2))
    ribs = np.cos(2 * np.pi * (along + 0.8 * aside + 2 * shred) / rng.uniform(14, 18))
    bones = spine + 0.95 * np.clip(ribs, 0, 1) * np.exp(-((aside / 26) ** 2))
    body = step(smooth_noise(shape, length=24, stretch=2.5, rng=rng), -1.1, 0.1)
    cover = step((bones + 0.12 * shred) * body, 0.25, 1.0)
    clouds["low_cloud"] = np.maximum(0.95 * cover, _tiny_clouds(shape, amount=0.02, rng=rng))
    clouds["moisture"] = smooth_noise(shape, length=40, rng=rng) * np.float32(0.3)
    return clouds


def cirrus(shape: tuple[int, int], *, rng: np.random.Generator) -> Clouds:
    """Cold, thin, streaky filaments over warm sea with scattered low clouds."""
    clouds = no_cloud(shape)
    angle = rng.uniform(0, np.pi)
    streaks = smooth_noise(shape, length=2.2, stretch=14, angle=angle, rng=rng)
    hairs = smooth_noise(shape, length=1.0, stretch=16, angle=angle + 0.15, rng=rng)
    sheets = smooth_noise(shape, length=16, stretch=3, angle=angle, rng=rng)
    cover = 0.75 * sheets + 0.55 * streaks + 0.3 * hairs
    thickness = np.float32(2.8) * step(cover, -0.3, 2.4)
    clouds["ice_thickness"] = thickness
    clouds["ice_top"] = 236 - 8 * np.tanh(sheets)
    clouds["moisture"] = np.float32(0.5) * np.tanh(sheets)
    clouds["low_cloud"] = _tiny_clouds(shape, amount=0.03, rng=rng)
    return clouds


def deep_convection(shape: tuple[int, int], *, rng: np.random.Generator) -> Clouds:
    """Overshooting cores under broad anvils drawn out by the wind shear."""
    clouds = no_cloud(shape)
    wind = rng.uniform(0, 2 * np.pi)
    along, across = plane(shape, angle=wind)
    along = along + 4 * smooth_noise(shape, length=10, rng=rng)
    across = across + 4 * smooth_noise(shape, length=10, rng=rng)
    anvil, cores = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for _ in range(max(2, round(np.prod(shape) / 90**2))):
        row, column = (int(rng.integers(0, size)) for size in shape)
        size = np.float32(rng.uniform(14, 36))
        downwind, aside = along - along[row, column], across - across[row, column]
        stretch = np.where(downwind > 0, np.float32(2.6), np.float32(0.7))
        anvil = np.maximum(anvil, np.exp(-((downwind / stretch) ** 2 + aside**2) / size**2))
        width = np.float32(rng.uniform(4, 8))
        cores = np.maximum(cores, np.exp(-(downwind**2 + aside**2) / width**2))
    fibres = smooth_noise(shape, length=1.2, stretch=7, angle=wind, rng=rng)
    shield = anvil + np.float32(0.05) * fibres * (1 - anvil)
    lumps = wave_noise(shape, wavelength=6, spread=0.4, rng=rng)
    turrets = np.clip(cores * (1 + np.float32(0.25) * lumps), 0, 1.3)
    clouds["ice_thickness"] = 26 * step(shield, 0.22, 0.85) ** 1.5 + 34 * turrets
    clouds["ice_top"] = 221 - 12 * step(shield, 0.2, 0.9) - 12 * turrets
    clouds["moisture"] = gaussian_filter(step(shield, 0.1, 0.5), 10)
    cumuli = _tiny_clouds(shape, amount=0.06, rng=rng)
    clouds["low_cloud"] = cumuli * (1 - step(shield, 0.1, 0.25))
    return clouds


def _tiny_clouds(shape: tuple[int, int], *, amount: float, rng: np.random.Generator) -> FloatArray:
    """Cumuli of 2 to 4 pixels on about this part of the sea, in loose groups."""
    grain = smooth_noise(shape, length=1.1, rng=rng)
    groups = smooth_noise(shape, length=14, rng=rng)
    field = grain + np.float32(0.6) * groups
    threshold = float(np.quantile(field[::3, ::3], 1 - amount))
    return np.float32(0.75) * step(field, threshold - 0.15, threshold + 1.2)


WEATHER: dict[str, Callable[..., Clouds]] = {
    "clear_sky": clear_sky,
    "flowers": flowers,
    "fish": fish,
    "cirrus": cirrus,
    "deep_convection": deep_convection,
}
