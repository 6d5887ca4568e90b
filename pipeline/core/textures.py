"""Descriptors of texture that need no network, as classical baselines: tiles → (tile, feature).

Tiles are of shape (tile, channel, row, column), 0 … 255; every channel is described on its own.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern
from skimage.filters import threshold_otsu

from pipeline.core.classification.probe import pixel_statistics
from pipeline.core.organisation import measure_tiles
from pipeline.core.scattering import scattering

FloatArray = NDArray[np.floating]
Tiles = NDArray[np.uint8]
Describe = Callable[[Tiles], FloatArray]

N_BINS = 20  # of wavenumbers, evenly spaced in their logarithm
LEAST_POWER = 1e-6
SMALLEST_WAVES = 4  # pixels; at the largest scale of scattering so many fit into a tile
TILES_AT_ONCE = 64
GREY_LEVELS = 32
DISTANCES = (1, 2, 4, 8)  # pixels between co-occurring ones
QUARTER = math.pi / 4
HARALICK = ("contrast", "dissimilarity", "homogeneity", "ASM", "correlation", "entropy")
RADII = (1, 2, 3)  # pixels; 8 neighbours for each
SMALLEST_OBJECT = 4  # pixels


def power_spectrum(tiles: Tiles) -> FloatArray:
    """Mean and deviation, and logarithms of the radially averaged power spectrum.

    Wavenumbers are from one wave a tile to one every two pixels; a window takes off the edges.
    """
    size = tiles.shape[-1]
    colours = tiles.astype(np.float32) / 255
    mean, deviation = colours.mean((2, 3)), colours.std((2, 3))
    window = np.outer(np.hanning(size), np.hanning(size)).astype(np.float32)
    power = np.abs(np.fft.fft2((colours - mean[..., None, None]) * window)) ** 2
    wavenumber = size * np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    edges = np.geomspace(0.5, size / 2, N_BINS + 1)
    number = np.digitize(wavenumber, edges)
    rings = [power[..., number == ring].mean(axis=-1) for ring in np.unique(number)[1:-1]]
    spectrum = np.log(np.stack(rings, axis=-1) + LEAST_POWER)
    return np.concatenate([mean, deviation, spectrum.reshape(len(tiles), -1)], axis=1)


def wavelet_scattering(tiles: Tiles) -> FloatArray:
    """Mean, and `scattering` at all scales that fit into a tile."""
    n_scales = int(math.log2(tiles.shape[-1] / SMALLEST_WAVES))
    parts = []
    for first in range(0, len(tiles), TILES_AT_ONCE):
        colours = torch.from_numpy(tiles[first : first + TILES_AT_ONCE]).float() / 255
        found = scattering(colours.flatten(0, 1), n_scales=n_scales)
        mean = colours.mean((2, 3))
        parts.append(torch.cat([mean, found.unflatten(0, mean.shape).flatten(1)], dim=1))
    return torch.cat(parts).numpy()


def haralick(tiles: Tiles) -> FloatArray:
    """Properties of grey-level co-occurrence at four distances, means over four directions.

    Source: Haralick et al. (1973), doi:10.1109/TSMC.1973.4309314.
    """
    grey = tiles // (256 // GREY_LEVELS)
    angles = [number * QUARTER for number in range(4)]

    def describe(channel: NDArray[np.uint8]) -> FloatArray:
        matrix = graycomatrix(
            channel, DISTANCES, angles, levels=GREY_LEVELS, symmetric=True, normed=True
        )
        return np.concatenate([graycoprops(matrix, name).mean(axis=1) for name in HARALICK])

    return _of_each_channel(describe, grey)


def local_binary_patterns(tiles: Tiles) -> FloatArray:
    """Frequencies of uniform, rotation-invariant local binary patterns of three radii.

    Source: Ojala et al. (2002), doi:10.1109/TPAMI.2002.1017623.
    """

    def describe(channel: NDArray[np.uint8]) -> FloatArray:
        histograms = []
        for radius in RADII:
            n_points = 8 * radius
            codes = local_binary_pattern(channel, n_points, radius, "uniform").astype(int)
            histograms.append(np.bincount(codes.ravel(), minlength=n_points + 2) / codes.size)
        return np.concatenate(histograms)

    return _of_each_channel(describe, tiles)


def organisation_metrics(tiles: Tiles) -> FloatArray:
    """Metrics of how the bright objects of a tile are organised; the median where one has none.

    An object is brighter than Otsu's threshold of all tiles (doi:10.1109/TSMC.1979.4310076).
    """
    brightness = tiles.mean(axis=1, dtype=np.float32)
    clouds = (brightness > threshold_otsu(brightness)).astype(np.float32)
    found = measure_tiles(
        clouds, np.ones(len(tiles)), smallest_object=SMALLEST_OBJECT, at_random=False
    )
    found = found[:, np.isfinite(found).any(axis=0)]
    return np.where(np.isfinite(found), found, np.nanmedian(found, axis=0))


def _of_each_channel(
    describe: Callable[[NDArray[np.uint8]], FloatArray], tiles: Tiles
) -> FloatArray:
    return np.stack([np.concatenate([describe(channel) for channel in tile]) for tile in tiles])


TEXTURES: dict[str, Describe] = {
    "pixel statistics": pixel_statistics,
    "power spectrum": power_spectrum,
    "wavelet scattering": wavelet_scattering,
    "Haralick": haralick,
    "local binary patterns": local_binary_patterns,
    "organisation metrics": organisation_metrics,
}
