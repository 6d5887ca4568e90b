"""Pretext tasks: what can be asked of tiles without labels, and what the answers are.

Each function of tasks takes augmented views to those that are shown and to what is asked.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, mse_loss

from pipeline.core.encoder import COLOUR_DEVIATION, COLOUR_MEAN, Encoder
from pipeline.core.objective.learner import Learner, MicroBatch, Step

N_TURNS = 4
N_DIRECTIONS = 8
COLOUR_GRID = 8  # cells along a tile's edge


def turn(tiles: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tiles (…, row, column) turned by quarter turns, and by how many each, (triplet, view).

    Source: Gidaris et al. (2018), arXiv:1803.07728.
    """
    turns = torch.randint(N_TURNS, tiles.shape[:2], generator=generator)
    turned = tiles.clone()
    for number in range(1, N_TURNS):
        chosen = (turns == number).to(tiles.device)
        turned[chosen] = tiles[chosen].rot90(number, (-2, -1))
    return turned, turns.to(tiles.device)


def directions(offsets: Tensor) -> Tensor:
    """Number of the direction of offsets (triplet, (row, column)), from 0, right, in eighths.

    Source: Doersch et al. (2015), doi:10.1109/ICCV.2015.167.

    >>> directions(torch.tensor([[0, 5], [3, 3], [9, 0], [1, -9]]))
    tensor([0, 1, 2, 4])
    """
    row, column = offsets.double().unbind(1)
    eighths = torch.atan2(row, column) / (2 * math.pi / N_DIRECTIONS)
    return eighths.round().long() % N_DIRECTIONS


def take_colour(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Tiles (triplet, view, channel, row, column) in grey, and what their colours were.

    Those are departures from the grey in units of the colours' deviation, means over the cells of
    a grid of 8 × 8: (triplet, view, value).

    Source: Zhang et al. (2016), doi:10.1007/978-3-319-46487-9_40, by regression.
    """
    colours = (tiles.float() - COLOUR_MEAN) / COLOUR_DEVIATION
    grey = colours.mean(dim=2, keepdim=True)
    departures = adaptive_avg_pool2d((colours - grey).flatten(0, 1), COLOUR_GRID)
    shown = tiles.float().mean(dim=2, keepdim=True).expand_as(tiles)
    return shown, departures.flatten(1).unflatten(0, tiles.shape[:2])


class Rotation(Learner):
    """Tells by how many quarter turns each view was turned; see `turn`."""

    def compare(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        assert batch.targets is not None
        features, outputs = self.project(batch.tiles)
        loss = cross_entropy(outputs.flatten(0, 1), batch.targets.flatten())
        return Step(loss, features)


class RelativePosition(Learner):
    """Tells in which direction from the first view the second lies; see `directions`."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__(encoder, nn.Identity())
        self.joint_head = head

    def compare(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        assert batch.targets is not None
        features, _ = self.project(batch.tiles)
        loss = cross_entropy(self.joint_head(features.flatten(1)), batch.targets)
        return Step(loss, features)


class Colour(Learner):
    """Tells the colours of grey tiles, cell by cell; see `take_colour`."""

    def compare(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        assert batch.targets is not None
        features, outputs = self.project(batch.tiles)
        return Step(mse_loss(outputs, batch.targets), features)
