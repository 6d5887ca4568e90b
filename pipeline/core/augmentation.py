"""What keeps training from taking a shortcut by place, brightness, temperature or histogram."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

N_COLOURS = 256
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


def augment(
    members: Tensor,
    scale: ColourScale,
    *,
    brightness: float,
    temperature: float,
    equalised_share: float,
    generator: torch.Generator,
) -> Tensor:
    """Triplets as training sees them: turned and mirrored, and with shortcuts closed.

    Args:
        members: Colours, uint8, shape (triplet, member, channel, row, column).
        scale: Of the channels.
        brightness: Of `jitter`; 0 for none.
        temperature: Of `jitter`; 0 for none.
        equalised_share: Of `equalise_members`; 0 for none.
        generator: On the CPU.
    """
    if equalised_share:
        members = equalise_members(members, share=equalised_share, generator=generator)
    tiles = turn_and_flip(members.flatten(0, 1), generator)
    if brightness or temperature:
        tiles = jitter(
            tiles, scale, brightness=brightness, temperature=temperature, generator=generator
        )
    augmented: Tensor = tiles.unflatten(0, members.shape[:2])
    return augmented


def turn_and_flip(tiles: Tensor, generator: torch.Generator) -> Tensor:
    """Each square tile turned by a random multiple of 90° and mirrored at random.

    Args:
        tiles: Shape (tile, channel, row, column).
        generator: On the CPU, so that every device draws the same.
    """
    choice = torch.randint(8, (len(tiles),), generator=generator)
    counts = choice.bincount(minlength=8).tolist()
    order = choice.argsort(stable=True).to(tiles.device)
    parts = []
    for symmetry, picked in enumerate(tiles[order].split(counts)):
        turned = torch.rot90(picked, symmetry % 4, (2, 3))
        parts.append(turned.flip(3) if symmetry >= 4 else turned)
    return torch.empty_like(tiles).index_copy_(0, order, torch.cat(parts))


def jitter(
    tiles: Tensor,
    scale: ColourScale,
    *,
    brightness: float,
    temperature: float,
    generator: torch.Generator,
) -> Tensor:
    """Tiles under another sun and at another temperature, each drawn uniformly for each tile.

    Args:
        tiles: Colours 0 … 255, shape (tile, channel, row, column).
        scale: Of the channels.
        brightness: Reflectances are multiplied by 1 ± this share.
        temperature: Brightness temperatures are shifted by ± so many K.
        generator: On the CPU.

    Returns:
        Colours as float32, still 0 … 255.
    """
    gain = 1 + brightness * _between(tiles, generator)
    shift = temperature * _between(tiles, generator)
    jittered = tiles.to(torch.float32, copy=True)
    for index, (name, minimum, maximum) in enumerate(
        zip(scale.channels, scale.minimum, scale.maximum, strict=True)
    ):
        colours_per_unit = (N_COLOURS - 1) / (maximum - minimum)
        channel = jittered[:, index]
        if name in THERMAL:
            channel += shift * colours_per_unit
        elif name not in DIFFERENCES:
            channel.mul_(gain).add_((gain - 1) * minimum * colours_per_unit)
    return jittered.clamp_(0, N_COLOURS - 1)


def equalise_members(tiles: Tensor, *, share: float, generator: torch.Generator) -> Tensor:
    """Triplets of which a random share has the anchor's histograms in every member.

    What is left to tell the members of such a triplet apart is how their pixels are arranged.

    Args:
        tiles: Colours, uint8, shape (triplet, member, channel, row, column), anchors first.
        share: Of the triplets.
        generator: On the CPU.

    Returns:
        The same shape; the chosen neighbours and distant tiles are mapped by a monotone function
        of their colours, channel by channel.
    """
    chosen = torch.rand(len(tiles), generator=generator) < share
    chosen = chosen.nonzero().flatten().to(tiles.device)
    equalised = tiles.clone()
    picked = tiles[chosen].flatten(3)  # (triplet, member, channel, pixel)
    if len(picked):
        cumulative = _cumulative_counts(picked)
        wanted, found = cumulative[:, :1].expand(-1, 2, -1, -1), cumulative[:, 1:]
        # A colour becomes the first one up to which the anchor has as many pixels.
        table = torch.searchsorted(wanted.contiguous(), found.contiguous())
        mapped = table.gather(3, picked[:, 1:].long()).to(torch.uint8)
        equalised[chosen, 1:] = mapped.unflatten(3, tiles.shape[3:])
    return equalised


def _cumulative_counts(tiles: Tensor) -> Tensor:
    """Pixels up to each colour, (…, colour), of tiles (…, pixel)."""
    flat = tiles.flatten(0, -2).long()
    offset = torch.arange(len(flat), device=tiles.device)[:, None] * N_COLOURS
    counts = torch.bincount((flat + offset).flatten(), minlength=len(flat) * N_COLOURS)
    return counts.reshape(*tiles.shape[:-1], N_COLOURS).cumsum(-1)


def _between(tiles: Tensor, generator: torch.Generator) -> Tensor:
    """A number from -1 to 1 for each tile, shape (tile, 1, 1)."""
    drawn = 2 * torch.rand((len(tiles), 1, 1), generator=generator) - 1
    return drawn.to(tiles.device)
