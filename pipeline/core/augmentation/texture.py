"""Tiles of which less is seen: blurred, their gradients alone, or with a hole."""

import math

import torch
from kornia.filters import gaussian_blur2d, spatial_gradient
from torch import Tensor

from pipeline.core.augmentation.colours import WHITE
from pipeline.core.augmentation.draw import draw_share
from pipeline.core.augmentation.geometry import draw_boxes

KERNEL_REACH = 3.0  # standard deviations
SMALLEST_SIGMA = 1e-3  # pixels; its kernel is a single pixel
COLOURS_PER_GRADIENT = 2.0  # of colours a pixel, so that an edge from black to white is white


def blur(tiles: Tensor, *, largest: float, generator: torch.Generator) -> Tensor:
    """Tiles blurred by a Gaussian whose standard deviation is uniform from 0 to `largest` pixels.

    Args:
        tiles: Colours 0 … 255, shape (tile, channel, row, column).
        largest: Beyond the edge tiles are mirrored, whose radius must fit into a tile.
        generator: On the CPU.

    Returns:
        Colours as float32.
    """
    sigma = (largest * torch.rand((len(tiles), 1), generator=generator)).clamp_min(SMALLEST_SIGMA)
    reach = min(math.ceil(KERNEL_REACH * largest), min(tiles.shape[2:]) - 1)
    blurred: Tensor = gaussian_blur2d(tiles.float(), 2 * reach + 1, sigma.expand(-1, 2))
    return blurred


def show_gradients(tiles: Tensor, *, share: float, generator: torch.Generator) -> Tensor:
    """Tiles of which a random share shows the size of its gradients, channel by channel.

    Args:
        tiles: Colours 0 … 255, shape (tile, channel, row, column).
        share: Of the tiles.
        generator: On the CPU.

    Returns:
        Colours as float32, still 0 … 255.
    """
    chosen = draw_share(len(tiles), share, generator).to(tiles.device)
    colours = tiles.float()
    gradients = spatial_gradient(colours[chosen])  # (tile, channel, direction, row, column)
    size = gradients[:, :, 0].hypot(gradients[:, :, 1])
    return colours.index_copy(0, chosen, (COLOURS_PER_GRADIENT * size).clamp_(0, WHITE))


def cut_out(tiles: Tensor, *, largest: float, generator: torch.Generator) -> Tensor:
    """Tiles with a box hidden under the mean colour of each.

    Args:
        tiles: Colours 0 … 255, shape (tile, channel, row, column).
        largest: Share of a tile's area, to which from 0 a box's is drawn uniformly.
        generator: On the CPU.

    Returns:
        Colours as float32.

    Source: DeVries & Taylor (2017), arXiv:1708.04552.
    """
    boxes = draw_boxes((len(tiles),), area=(0.0, largest), generator=generator)
    (row, column), (height, width) = (each.to(tiles.device).split(1, dim=1) for each in boxes)
    rows, columns = ((torch.arange(n, device=tiles.device) + 0.5) / n for n in tiles.shape[2:])
    high = (rows - row).abs() < height / 2  # (tile, row)
    wide = (columns - column).abs() < width / 2
    hidden = high[:, None, :, None] & wide[:, None, None, :]
    colours = tiles.float()
    return torch.where(hidden, colours.mean((2, 3), keepdim=True), colours)
