"""The choice of what training minimises: which loss, on which views."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from lightly.loss import BarlowTwinsLoss
from torch import Tensor, nn

from pipeline.core.encoder import Encoder
from pipeline.core.label_network import LabelNetwork
from pipeline.core.objective.distillation import Distillation
from pipeline.core.objective.learner import Learner, MicroBatch, ViewLearner, create_head
from pipeline.core.objective.momentum import Byol, Moco
from pipeline.core.objective.pairs import PairLoss, PairName
from pipeline.core.objective.pretext import (
    COLOUR_GRID,
    N_DIRECTIONS,
    N_TURNS,
    Colour,
    RelativePosition,
    Rotation,
)
from pipeline.core.objective.prototypes import Swav
from pipeline.core.objective.triplet import Distance, Negatives, TripletLoss

ALONE = ("rotation", "colour", "distillation")  # losses which look at one view at a time

Views = Literal["neighbour", "augmented", "both"]
PretextName = Literal["rotation", "relative_position", "colour"]
Loss = Literal[
    "triplet", PairName, "barlow_twins", "byol", "moco", "swav", PretextName, "distillation"
]


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
        loss: Its name.
        views: Where the second view of a triplet comes from.
        distance: Of triplet and contrastive.
        margin: Of triplet and contrastive.
        negatives: Of triplet.
        guard_hours: So many hours apart …
        guard_km: … or so many km two tiles must be to be negatives of each other.
        temperature: Of the losses with a softmax or a sigmoid, swav and distillation.
        redundancy_weight: Of barlow_twins: λ of the correlations off the diagonal.
        momentum: Of byol and moco.
        queue_length: Of moco and swav, tiles.
        n_prototypes: Of swav.
        n_crops: Of swav, small ones of each triplet.
        teacher_weight: Of distillation: share of the loss that is not of true labels.
        l2_penalty: Of triplet, the losses of pairs and barlow_twins.
    """

    loss: Loss
    views: Views
    distance: Distance
    margin: float
    negatives: Negatives
    guard_hours: float
    guard_km: float
    temperature: float
    redundancy_weight: float
    momentum: float
    queue_length: int
    n_prototypes: int
    n_crops: int
    teacher_weight: float
    l2_penalty: float

    @property
    def n_views(self) -> int:
        """Tiles of a triplet that are seen."""
        return tiles_per_triplet(self.loss)

    @property
    def compares_batch(self) -> bool:
        """Whether other tiles of the micro-batch are negatives."""
        if self.loss == "triplet":
            return self.negatives != "distant"
        return self.loss in get_args(PairName)


def tiles_per_triplet(loss: Loss) -> int:
    """How many of its members, or views of them, a loss sees; small crops are not counted."""
    return 3 if loss == "triplet" else 2


@dataclass(frozen=True)
class HeadShape:
    """The layers between an encoder's features and the loss; they are dropped after training.

    Those before the last are followed by batch normalisation and a rectifier.

    Attributes:
        n_layers: In all, at least one.
        n_hidden: Width of those before the last.
        n_dimensions: Width of the last.
    """

    n_layers: int
    n_hidden: int
    n_dimensions: int


def create_learner(
    encoder: Encoder,
    objective: Objective,
    shape: HeadShape,
    *,
    n_channels: int,
    seed: int,
    teacher: LabelNetwork | None = None,
) -> Learner:
    """`encoder` with the untrained layers that the objective wants behind it.

    Args:
        encoder: What is kept.
        objective: What is minimised.
        shape: Of the head.
        n_channels: Of a tile.
        seed: Of the weights; the global random state stays as it was.
        teacher: Of distillation.
    """
    n_outputs = shape.n_dimensions

    def head(n_outputs: int, *, n_inputs: int = encoder.width) -> nn.Module:
        return create_head(n_inputs, n_outputs, n_layers=shape.n_layers, n_hidden=shape.n_hidden)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match objective.loss:
            case "byol":
                return Byol(
                    encoder,
                    head(n_outputs),
                    n_dimensions=n_outputs,
                    n_hidden=shape.n_hidden,
                    momentum=objective.momentum,
                )
            case "moco":
                return Moco(
                    encoder,
                    head(n_outputs),
                    n_dimensions=n_outputs,
                    queue_length=objective.queue_length,
                    temperature=objective.temperature,
                    momentum=objective.momentum,
                    guard_hours=objective.guard_hours,
                    guard_km=objective.guard_km,
                )
            case "swav":
                return Swav(
                    encoder,
                    head(n_outputs),
                    n_dimensions=n_outputs,
                    n_prototypes=objective.n_prototypes,
                    queue_length=objective.queue_length,
                    temperature=objective.temperature,
                )
            case "rotation":
                return Rotation(encoder, head(N_TURNS))
            case "relative_position":
                return RelativePosition(encoder, head(N_DIRECTIONS, n_inputs=2 * encoder.width))
            case "distillation":
                assert teacher is not None
                return Distillation(
                    encoder,
                    head(teacher.head.out_features),
                    teacher=teacher,
                    temperature=objective.temperature,
                    teacher_weight=objective.teacher_weight,
                )
            case "colour":
                return Colour(encoder, head(n_channels * COLOUR_GRID**2))
            case _:
                return ViewLearner(
                    encoder,
                    head(n_outputs),
                    _criterion(objective),
                    l2_penalty=objective.l2_penalty,
                )


class _BarlowTwins:
    """Source: Zbontar et al. (2021), arXiv:2103.03230."""

    def __init__(self, redundancy_weight: float) -> None:
        self._loss = BarlowTwinsLoss(redundancy_weight)

    def __call__(self, vectors: Tensor, batch: MicroBatch) -> Tensor:  # noqa: ARG002
        loss: Tensor = self._loss(*vectors.unbind(1))
        return loss


def _criterion(objective: Objective) -> TripletLoss | PairLoss | _BarlowTwins:
    if objective.loss == "triplet":
        return TripletLoss(
            distance=objective.distance, margin=objective.margin, negatives=objective.negatives
        )
    if objective.loss == "barlow_twins":
        return _BarlowTwins(objective.redundancy_weight)
    assert objective.loss in get_args(PairName)
    return PairLoss(
        objective.loss,  # type: ignore[arg-type]
        distance=objective.distance,
        margin=objective.margin,
        temperature=objective.temperature,
    )


def check_objective(
    objective: Objective,
    *,
    n_channels: int,
    turns: bool,
    flips: bool,
    alters: bool,
) -> None:
    """Refuse what cannot be learnt.

    Args:
        objective: What is minimised.
        n_channels: Of a tile.
        turns: Whether augmentations turn tiles.
        flips: Whether they mirror them.
        alters: Whether they do anything.

    Raises:
        ValueError: If a pretext task has no answer, or both views are the same.
    """
    loss = objective.loss
    if loss in ("rotation", "relative_position") and turns:
        raise ValueError(
            f"train.loss {loss} asks how tiles lie, which augmentations must not change; set "
            "train.augmentations.quarter_turn and rotation to 0"
        )
    if loss == "relative_position" and flips:
        raise ValueError(
            "train.loss relative_position asks how tiles lie, which augmentations must not "
            "change; set train.augmentations.flip to 0"
        )
    if loss == "relative_position" and objective.views != "neighbour":
        raise ValueError(
            f"train.loss relative_position asks where the neighbour is, and train.views is "
            f"{objective.views}; set it to neighbour"
        )
    if loss == "colour" and n_channels == 1:
        raise ValueError("tiles of one channel have no colour; change train.loss or ingest.preset")
    if objective.views == "augmented" and not alters and loss not in ALONE:
        raise ValueError(
            "train.views is augmented, and all train.augmentations are off, so that both views "
            "are the same; turn some on"
        )
