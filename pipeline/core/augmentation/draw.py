"""What is drawn for tiles, on the CPU."""

import torch
from torch import Tensor


def draw_between(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Numbers from -1 to 1, uniformly."""
    return 2 * torch.rand(shape, generator=generator) - 1


def draw_share(n_tiles: int, share: float, generator: torch.Generator) -> Tensor:
    """Positions of tiles of which each is drawn with a probability of `share`, in order."""
    return (torch.rand(n_tiles, generator=generator) < share).nonzero().flatten()
