"""Pooling: what of a tile's feature maps does not tell where in the tile something lies."""

from typing import Literal

import torch
from torch import Tensor

Pooling = Literal["mean", "mean_deviation", "generalised_mean", "covariance"]

POWER = 3  # of the generalised mean
LEAST_ACTIVATION = 1e-6  # whose powers are taken
LEAST_VARIANCE = 1e-6  # keeps the gradient of the deviation finite
MOST_COVARYING = 32  # channels; more are first mixed down to so many


def pool(maps: Tensor, pooling: Pooling) -> Tensor:
    """Features (tile, feature) of feature maps (tile, channel, row, column).

    - `mean` of each channel.
    - `mean_deviation`: the means of all channels, then their standard deviations.
    - `generalised_mean`: cube root of the mean cube, between the mean and the maximum; negative
      activations count as none (Radenović et al. 2019, doi:10.1109/TPAMI.2018.2846566).
    - `covariance` of every two channels, texture's second order (Lin et al. 2015,
      doi:10.1109/ICCV.2015.170); of more than 32 channels that of 32 mixtures of them, by
      orthogonal directions that are drawn once (after Gao et al. 2016, doi:10.1109/CVPR.2016.41).

    >>> maps = torch.tensor([[[[0.0, 2.0]], [[3.0, 3.0]]]])
    >>> pool(maps, "mean_deviation").round(decimals=2).tolist()
    [[1.0, 3.0, 1.0, 0.0]]
    """
    match pooling:
        case "mean":
            return maps.mean((2, 3))
        case "mean_deviation":
            variance, mean = torch.var_mean(maps, (2, 3), correction=0)
            return torch.cat([mean, (variance + LEAST_VARIANCE).sqrt()], dim=1)
        case "generalised_mean":
            powers = maps.clamp_min(LEAST_ACTIVATION).pow(POWER)
            return powers.mean((2, 3)).pow(1 / POWER)
        case "covariance":
            return _covariance(maps.flatten(2))


def _covariance(maps: Tensor) -> Tensor:
    """The upper triangle (tile, pair) of the covariance of maps (tile, channel, pixel)."""
    n_channels, n_pixels = maps.shape[1:]
    if n_channels > MOST_COVARYING:
        maps = _mixing(n_channels).to(maps) @ maps
    departures = maps - maps.mean(dim=2, keepdim=True)
    covariance = departures @ departures.mT / n_pixels
    row, column = torch.triu_indices(*covariance.shape[1:])
    return covariance[:, row, column]


def _mixing(n_channels: int) -> Tensor:
    """Orthonormal directions (mixture, channel), the same for each number of channels."""
    generator = torch.Generator().manual_seed(n_channels)
    drawn = torch.randn((n_channels, MOST_COVARYING), generator=generator, dtype=torch.float64)
    directions: Tensor = torch.linalg.qr(drawn).Q.mT
    return directions
