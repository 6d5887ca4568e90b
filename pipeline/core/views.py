"""What a loss sees of triplets: which members, how often, and how they were altered."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.core.augmentation import (
    Augmentations,
    ColourScale,
    augment,
    equalise_members,
    local_crops,
)
from pipeline.core.objective.choice import Objective
from pipeline.core.objective.learner import MicroBatch
from pipeline.core.objective.pretext import directions, take_colour, turn
from pipeline.core.triplet import MEMBERS

ANCHOR, NEIGHBOUR, DISTANT = range(len(MEMBERS))
CROP_SHARE = 0.5  # of a tile's edge; small crops show 5 to 40 % of its area
CROP_AREA = (0.05, 0.4)
SMALLEST_CROP = 32  # pixels, which a ResNet takes to one


def choose_members(
    n_triplets: int, objective: Objective, generator: torch.Generator
) -> NDArray[np.int64]:
    """The member that each view shows, shape (triplet, view).

    The first is the anchor; the second its neighbour, the anchor again, or either by chance; the
    third, of the triplet loss, the distant tile.
    """
    second = torch.full((n_triplets,), NEIGHBOUR)
    if objective.views == "augmented":
        second = torch.full((n_triplets,), ANCHOR)
    elif objective.views == "both":
        second = torch.randint(NEIGHBOUR + 1, (n_triplets,), generator=generator)
    columns = [torch.full((n_triplets,), ANCHOR), second, torch.full((n_triplets,), DISTANT)]
    return torch.stack(columns[: objective.n_views], dim=1).numpy()


def make_views(
    members: Tensor,
    chosen: NDArray[np.int64],
    objective: Objective,
    *,
    scale: ColourScale,
    augmentations: Augmentations,
    equalised_share: float,
    may_be_negative: Tensor | None,
    offsets: Tensor,
    labels: Tensor | None,
    generator: torch.Generator,
) -> MicroBatch:
    """A micro-batch of triplets as training sees it.

    Args:
        members: Colours, uint8, shape (triplet, member, channel, row, column).
        chosen: Of `choose_members`.
        objective: What is minimised.
        scale: Of the channels.
        augmentations: Of every view anew.
        equalised_share: Of `equalise_members`; 0 for none.
        may_be_negative: Of a `MicroBatch`, for the chosen views.
        offsets: Rows and columns from the anchor to the neighbour, (triplet, 2).
        labels: Number of each anchor's label, -1 without one, (triplet,).
        generator: On the CPU.

    Raises:
        ValueError: If small crops are smaller than what a ResNet takes to one pixel.
    """
    if equalised_share:
        members = equalise_members(members, share=equalised_share, generator=generator)
    triplet = torch.arange(len(members))[:, None]
    shown = members[triplet.to(members.device), torch.from_numpy(chosen).to(members.device)]
    tiles = augment(shown.flatten(0, 1), scale, augmentations, generator)
    tiles = tiles.unflatten(0, shown.shape[:2])
    crops, targets = None, labels
    match objective.loss:
        case "rotation":
            tiles, targets = turn(tiles, generator)
        case "relative_position":
            targets = directions(offsets).to(tiles.device)
        case "colour":
            tiles, targets = take_colour(tiles)
        case "swav" if objective.n_crops:
            if CROP_SHARE * shown.shape[-1] < SMALLEST_CROP:
                raise ValueError(
                    f"crops of half a tile of {shown.shape[-1]} pixels have less than "
                    f"{SMALLEST_CROP}; set train.objective.n_crops to 0, or raise sample.tile_size"
                )
            crops = local_crops(
                shown[:, 1],
                scale,
                augmentations,
                n_crops=objective.n_crops,
                size_share=CROP_SHARE,
                area=CROP_AREA,
                generator=generator,
            )
    return MicroBatch(tiles, crops, targets, may_be_negative)
