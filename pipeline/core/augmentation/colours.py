"""Tiles under another sun, at another temperature, and with less of their colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from kornia.geometry.conversions import axis_angle_to_rotation_matrix
from torch import Tensor

from pipeline.core.augmentation.draw import draw_between, draw_share

WHITE = 255
THERMAL = {"shortwave_infrared", "water_vapour", "infrared_window", "infrared_12um"}
DIFFERENCES = {"split_window_difference", "shortwave_difference"}


@dataclass(frozen=True)
class ColourScale:
    """What the colours of the channels mean, which jitter must know.

    Attributes:
        channels: Names; those of `THERMAL` are in K, those of `DIFFERENCES` are differences of
            such, all others reflectances in percent.
        minimum: Value of each channel that became colour 0.
        maximum: Value of each channel that became colour 255.
    """

    channels: Sequence[str]
    minimum: Sequence[float]
    maximum: Sequence[float]


def jitter(
    tiles: Tensor,
    scale: ColourScale,
    *,
    brightness: float,
    contrast: float,
    temperature: float,
    generator: torch.Generator,
) -> Tensor:
    """Tiles under another sun and at another temperature, each drawn uniformly for each tile.

    Args:
        tiles: Colours 0 … 255, shape (tile, channel, row, column).
        scale: Of the channels.
        brightness: Reflectances are multiplied by 1 ± this share …
        contrast: … and so are their departures from the mean of the tile.
        temperature: Brightness temperatures are shifted by ± so many K.
        generator: On the CPU.

    Returns:
        Colours as float32, still 0 … 255.
    """
    drawn = draw_between((3, len(tiles)), generator).to(tiles.device)
    gain, stretch = 1 + brightness * drawn[0], 1 + contrast * drawn[1]
    shift = temperature * drawn[2]
    colours = tiles.float()
    factor = torch.ones(colours.shape[:2], device=tiles.device)
    offset = torch.zeros_like(factor)
    for index, (name, minimum, maximum) in enumerate(
        zip(scale.channels, scale.minimum, scale.maximum, strict=True)
    ):
        colours_per_unit = WHITE / (maximum - minimum)
        match _kind(name):
            case "temperature":
                offset[:, index] = shift * colours_per_unit
            case "reflectance":
                factor[:, index] = stretch * gain
                offset[:, index] = (gain - 1) * minimum * colours_per_unit
                if contrast:
                    offset[:, index] += (1 - stretch) * gain * colours[:, index].mean((1, 2))
    jittered = torch.addcmul(offset[:, :, None, None], colours, factor[:, :, None, None])
    return jittered.clamp_(0, WHITE)


def rotate_hue(tiles: Tensor, *, degrees: float, generator: torch.Generator) -> Tensor:
    """Tiles whose colours are rotated about grey, by up to ± so many degrees.

    Args:
        tiles: Colours 0 … 255, shape (tile, channel, row, column).
        degrees: 120 lead from each channel to the next.
        generator: On the CPU.

    Returns:
        Colours as float32, still 0 … 255.

    Raises:
        ValueError: If there are not three channels.
    """
    if tiles.shape[1] != 3:
        raise ValueError(
            f"colours of {tiles.shape[1]} channels have no hue; set train.augmentations.hue to 0"
        )
    angles = degrees * draw_between((len(tiles), 1), generator)
    grey = torch.full((1, 3), 3**-0.5)
    rotations = axis_angle_to_rotation_matrix(angles.deg2rad() * grey).to(tiles.device)
    return _mix(tiles.float(), rotations).clamp_(0, WHITE)


def make_grey(
    tiles: Tensor, scale: ColourScale, *, share: float, generator: torch.Generator
) -> Tensor:
    """Tiles of which a random share shows one mean in all channels of a kind.

    Reflectances are averaged with reflectances, temperatures with temperatures and differences with
    differences, since nothing is measured by the mean of two kinds. Colours are averaged, in which
    every channel has its full range; a channel whose colours rise as its value falls counts
    inverted.

    Args:
        tiles: Colours 0 … 255, shape (tile, channel, row, column).
        scale: Of the channels.
        share: Of the tiles.
        generator: On the CPU.

    Returns:
        Colours as float32.
    """
    kinds = [_kind(name) for name in scale.channels]
    alike = torch.tensor([[float(one == other) for one in kinds] for other in kinds])
    rising = torch.tensor(scale.maximum) > torch.tensor(scale.minimum)
    sign = torch.where(rising, 1.0, -1.0)
    mixture = alike / alike.sum(1, keepdim=True) * sign * sign[:, None]
    # So that the inverse of black is white.
    white = torch.where(rising, 0.0, float(WHITE))
    offset = white - mixture @ white
    chosen = draw_share(len(tiles), share, generator).to(tiles.device)
    colours = tiles.float()
    picked = colours[chosen]
    mixed = _mix(picked, mixture.to(tiles.device).expand(len(picked), -1, -1))
    return colours.index_copy(0, chosen, mixed + offset.to(tiles.device)[:, None, None])


def _mix(tiles: Tensor, matrices: Tensor) -> Tensor:
    """Each tile's channels times its matrix."""
    mixed: Tensor = torch.bmm(matrices, tiles.flatten(2)).unflatten(2, tiles.shape[2:])
    return mixed


def _kind(channel: str) -> Literal["reflectance", "temperature", "difference"]:
    if channel in THERMAL:
        return "temperature"
    return "difference" if channel in DIFFERENCES else "reflectance"
