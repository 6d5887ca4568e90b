"""What a loss sees of triplets: which members, how often, and how they were altered."""

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from pipeline.core.augmentation import (
    Augmentations,
    ColourScale,
    augment,
    equalise_members,
    local_crops,
)
from pipeline.core.objective.choice import WITHOUT_VIEWS, Objective
from pipeline.core.objective.learner import MicroBatch
from pipeline.core.objective.pretext import directions, take_colour, turn
from pipeline.core.triplet import MEMBERS, may_be_negative

ANCHOR, NEIGHBOUR, DISTANT = range(len(MEMBERS))
EPOCH = np.datetime64("2000-01-01")  # near enough for hours in single precision
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


@dataclass(frozen=True)
class ViewMaker:
    """Makes micro-batches of triplets.

    Attributes:
        objective: What is minimised.
        augmentations: Of every view anew.
        equalised_share: Of `equalise_members`; 0 for none.
        scale: Of the channels.
        members: Variables `time`, `latitude` and `longitude` in degrees, `first_row` and
            `first_column` in pixels, each of shape (triplet, member).
        labels: Number of each anchor's label, -1 without one, (triplet,); None where no loss looks
            at labels.
    """

    objective: Objective
    augmentations: Augmentations
    equalised_share: float
    scale: ColourScale
    members: xr.Dataset
    labels: NDArray[np.int64] | None

    def make(
        self, triplets: NDArray[np.int64], tiles: Tensor, generator: torch.Generator
    ) -> MicroBatch:
        """What a loss sees of these triplets.

        Args:
            triplets: Their places in `members`, shape (triplet,).
            tiles: Their colours, uint8, shape (triplet, member, channel, row, column).
            generator: On the CPU.

        Raises:
            ValueError: If small crops are smaller than what a ResNet takes to one pixel.
        """
        objective, device = self.objective, tiles.device
        chosen = choose_members(len(triplets), objective, generator)
        if self.equalised_share:
            tiles = equalise_members(tiles, share=self.equalised_share, generator=generator)
        numbers = torch.arange(len(tiles), device=device)[:, None]
        shown = tiles[numbers, torch.from_numpy(chosen).to(device)]
        views = augment(shown.flatten(0, 1), self.scale, self.augmentations, generator)
        views = views.unflatten(0, shown.shape[:2])
        crops, targets = None, None
        if self.labels is not None:
            targets = torch.from_numpy(self.labels[triplets]).to(device)
        match objective.loss:
            case "rotation":
                views, targets = turn(views, generator)
            case "relative_position":
                targets = directions(self._offsets(triplets)).to(device)
            case "colour":
                views, targets = take_colour(views)
        if objective.n_crops and objective.loss not in WITHOUT_VIEWS:
            crops = self._crops(shown[:, 1], generator)
        allowed = None
        if objective.compares_batch:
            allowed = torch.from_numpy(self.may_be_negative(triplets, chosen)).to(device)
        places = None
        if objective.loss == "moco":
            places = torch.from_numpy(self._places(triplets, chosen)).to(device)
        return MicroBatch(views, crops, targets, allowed, places)

    def may_be_negative(
        self, triplets: NDArray[np.int64], chosen: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Which views may be pushed away from each other, shape (tile, tile).

        Args:
            triplets: Shape (triplet,).
            chosen: Of `choose_members`.
        """
        time, latitude, longitude = (
            self.members[name].values[triplets].ravel()
            for name in ("time", "latitude", "longitude")
        )
        allowed = may_be_negative(
            (time - time[0]) / np.timedelta64(1, "h"),
            latitude,
            longitude,
            min_hours=self.objective.guard_hours,
            min_km=self.objective.guard_km,
        )
        tiles = (np.arange(len(triplets))[:, None] * len(MEMBERS) + chosen).ravel()
        return np.asarray(allowed[np.ix_(tiles, tiles)])

    def _places(
        self, triplets: NDArray[np.int64], chosen: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Hours, latitude and longitude of what each view shows, (triplet, view, 3)."""
        shown = triplets[:, None], chosen
        hours = (self.members.time.values[shown] - EPOCH) / np.timedelta64(1, "h")
        degrees = [self.members[name].values[shown] for name in ("latitude", "longitude")]
        return np.stack([hours, *degrees], axis=-1).astype(np.float32)

    def _offsets(self, triplets: NDArray[np.int64]) -> Tensor:
        """Rows and columns from each anchor to its neighbour, (triplet, 2)."""
        corners = (self.members.first_row.values, self.members.first_column.values)
        places = np.stack(corners, axis=-1)[triplets]
        return torch.from_numpy(places[:, NEIGHBOUR] - places[:, ANCHOR])

    def _crops(self, tiles: Tensor, generator: torch.Generator) -> Tensor:
        size = tiles.shape[-1]
        if CROP_SHARE * size < SMALLEST_CROP:
            raise ValueError(
                f"crops of half a tile of {size} pixels have less than {SMALLEST_CROP}; set "
                "train.objective.n_crops to 0, or raise sample.tile_size"
            )
        return local_crops(
            tiles,
            self.scale,
            self.augmentations,
            n_crops=self.objective.n_crops,
            size_share=CROP_SHARE,
            area=CROP_AREA,
            generator=generator,
        )
