"""Wavelet scattering: what two wavelets in a row find in a tile, averaged over it."""

import math
from functools import lru_cache

import torch
from torch import Tensor

N_ANGLES = 6
N_DIFFERENCES = N_ANGLES // 2 + 1  # of the angles of two wavelets, which have no direction
SLANT = 4 / N_ANGLES  # of the envelope: narrower along the wave's crests for fewer angles
WIDTH = 0.8  # pixels of the finest wavelet's envelope
FREQUENCY = 3 * math.pi / 4  # radians a pixel of the finest wavelet
LEAST_POWER = 1e-4  # of which a logarithm is taken


def scattering(tiles: Tensor, *, n_scales: int) -> Tensor:
    """Logarithms of the first- and second-order scattering of tiles, (tile, feature).

    The mean modulus of a tile seen through Morlet wavelets of each scale, and that of these moduli
    seen through the wavelets of each larger scale, over the whole tile and all orientations, for
    the second order by the difference of the angles. So features do not depend on where and how
    patterns lie. Moduli are subsampled as far as their scale allows.

    Args:
        tiles: Shape (tile, row, column), squares.
        n_scales: Wavelengths of 8 / 3 pixels times powers of two, of which the last should fit
            into a tile.

    Sources: Bruna & Mallat (2013), doi:10.1109/TPAMI.2012.230; averaged over orientations after
    Sifre & Mallat (2013), doi:10.1109/CVPR.2013.163.
    """
    spectrum = torch.fft.fft2(tiles - tiles.mean((1, 2), keepdim=True))
    features = []
    for scale in range(n_scales):
        moduli, skipped = _moduli(spectrum, scale)
        features.append(moduli.mean((1, 2, 3))[:, None])
        inner = torch.fft.fft2(moduli)
        for larger in range(scale + 1, n_scales):
            twice, _ = _moduli(inner.flatten(0, 1), larger - skipped)
            means = twice.mean((2, 3)).unflatten(0, inner.shape[:2])  # (tile, angle, angle)
            features.append(_by_difference(means))
    return torch.cat(features, dim=1).clamp_min(LEAST_POWER).log()


def _moduli(spectrum: Tensor, scale: int) -> tuple[Tensor, int]:
    """What each wavelet of a scale finds, (tile, angle, row, column), and how often it was halved.

    Frequencies that wavelets of so large a scale do not see are left out, and pixels with them.
    """
    n_halved = max(0, scale - 1)
    size = spectrum.shape[-1] >> n_halved
    low = torch.fft.fftfreq(size, 1 / size).long()  # the lowest frequencies, in FFT's order
    seen = spectrum[:, None, low[:, None], low] * _wavelets(scale - n_halved, size)
    return torch.fft.ifft2(seen).abs() / 4**n_halved, n_halved


def _by_difference(means: Tensor) -> Tensor:
    """Means over pairs of angles (tile, angle, angle) of equal difference, (tile, difference)."""
    angle = torch.arange(N_ANGLES)
    difference = (angle[:, None] - angle).abs()
    difference = torch.minimum(difference, N_ANGLES - difference)
    parts = [means[:, difference == number].mean(dim=1) for number in range(N_DIFFERENCES)]
    return torch.stack(parts, dim=1)


@lru_cache
def _wavelets(scale: int, size: int) -> Tensor:
    """Morlet wavelets in frequency space, (angle, row, column); their mean is zero."""
    frequency = 2 * math.pi * torch.fft.fftfreq(size, dtype=torch.float64)
    row, column = torch.meshgrid(frequency, frequency, indexing="ij")
    width, centre = WIDTH * 2**scale, FREQUENCY / 2**scale
    filters = []
    for number in range(N_ANGLES):
        angle = math.pi * number / N_ANGLES
        along = column * math.cos(angle) + row * math.sin(angle)
        across = row * math.cos(angle) - column * math.sin(angle)
        wave = _envelope(along - centre, across, width)
        still = _envelope(along, across, width)
        filters.append(wave - still * _envelope(torch.tensor(-centre), torch.tensor(0.0), width))
    return torch.stack(filters).float()


def _envelope(along: Tensor, across: Tensor, width: float) -> Tensor:
    """Fourier transform of a Gaussian, wider by 1 / slant across the wave."""
    return torch.exp(-((width * along) ** 2 + (width * across / SLANT) ** 2) / 2)
