"""Tiles turned, mirrored, and parts of them."""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from pipeline.core.augmentation.draw import draw_between, draw_share

ASPECT = 4 / 3  # of the longest box, and its inverse of the tallest


def turn_and_flip(
    tiles: Tensor, generator: torch.Generator, *, flip: float = 0.5, quarter_turn: float = 1.0
) -> Tensor:
    """Each square tile mirrored at random and turned by a random multiple of 90°.

    Args:
        tiles: Shape (tile, channel, row, column).
        generator: On the CPU, so that every device draws the same.
        flip: Share of tiles whose columns are reversed.
        quarter_turn: Share of tiles turned, by 0 to 3 quarters.
    """
    if not flip and not quarter_turn:
        return tiles
    choice = torch.zeros(len(tiles), dtype=torch.int64)
    turned = draw_share(len(tiles), quarter_turn, generator)
    choice[turned] = torch.randint(4, (len(turned),), generator=generator)
    choice[draw_share(len(tiles), flip, generator)] += 4
    counts = choice.bincount(minlength=8).tolist()
    order = choice.argsort(stable=True).to(tiles.device)
    parts = []
    for symmetry, picked in enumerate(tiles[order].split(counts)):
        flipped = picked.flip(3) if symmetry >= 4 else picked
        parts.append(torch.rot90(flipped, symmetry % 4, (2, 3)))
    return torch.empty_like(tiles).index_copy_(0, order, torch.cat(parts))


def draw_boxes(
    shape: tuple[int, ...], *, area: tuple[float, float], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Centres and edges of boxes inside a tile, (…, 2) each, as shares of its rows and columns.

    Areas are uniform, the logarithm of width by height is uniform in what fits into the tile, and
    then so is the place.

    Args:
        shape: Of the boxes.
        area: Smallest and largest share of the tile.
        generator: On the CPU.

    Source: Szegedy et al. (2015), doi:10.1109/CVPR.2015.7298594.
    """
    smallest, largest = area
    share = smallest + (largest - smallest) * torch.rand(shape, generator=generator)
    longest = (-share.log()).clamp(0, math.log(ASPECT))
    aspect = torch.exp(longest * draw_between(shape, generator))
    edges = torch.stack([share / aspect, share * aspect], dim=-1).sqrt().clamp_max(1)
    first = (1 - edges) * torch.rand((*shape, 2), generator=generator)
    return first + edges / 2, edges


def cut(tiles: Tensor, centres: Tensor, edges: Tensor, angles: Tensor, *, size: int) -> Tensor:
    """Boxes of square tiles, turned about their centres and resized by one cubic resampling.

    Embedding sees tiles as they are, so that training should: cubic convolution keeps 0.86 of the
    contrast between adjacent pixels, linear interpolation 0.67 of it.

    A box is turned inside its tile, so that it only shows the tile mirrored at its edge where a
    corner leaves it. Boxes should be less than twice as large as their results, between whose
    pixels others would be left out.

    Args:
        tiles: Colours, shape (tile, channel, row, column).
        centres: Row and column as shares of the tile's edge, on the CPU, (tile, crop, 2).
        edges: Height and width, likewise.
        angles: What the boxes show is turned counterclockwise by so many degrees, (tile, crop).
        size: Edge of the results, pixels.

    Returns:
        Float32 in 0 … 255, shape (tile, crop, channel, row, column).

    Source: Keys (1981), doi:10.1109/TASSP.1981.1163711.
    """
    cosine, sine = angles.deg2rad().cos(), angles.deg2rad().sin()
    (row, column), (height, width) = centres.unbind(-1), edges.unbind(-1)
    # From the result's columns and rows to the tile's, both from -1 to 1, as torch wants them.
    towards_column = torch.stack([cosine * width, -sine * height, 2 * column - 1], dim=-1)
    towards_row = torch.stack([sine * width, cosine * height, 2 * row - 1], dim=-1)
    matrices = torch.stack([towards_column, towards_row], dim=-2).to(tiles.device)
    n_tiles, n_crops = angles.shape
    grid = affine_grid(matrices.flatten(0, 1), [n_tiles * n_crops, 1, size, size], False)
    # A tile's crops one below the other, so that no tile is copied for them.
    stacked = grid.reshape(n_tiles, n_crops * size, size, 2)
    shown = grid_sample(tiles.float(), stacked, "bicubic", "reflection", False).clamp_(0, 255)
    boxes: Tensor = shown.unflatten(2, (n_crops, size))
    return boxes.movedim(2, 1)
