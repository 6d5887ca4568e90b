"""Triplets whose members have equal histograms."""

import torch
from torch import Tensor

N_COLOURS = 256


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
