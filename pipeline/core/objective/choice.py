"""The choice of what training minimises: which loss, on which views."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from lightly.loss import BarlowTwinsLoss, VICRegLoss
from pydantic import PositiveInt
from torch import Tensor, nn

from pipeline.core.encoder import Encoder
from pipeline.core.label_network import LabelNetwork
from pipeline.core.objective.distillation import Distillation
from pipeline.core.objective.learner import Learner, MicroBatch, ViewLearner, create_head
from pipeline.core.objective.momentum import Byol, Dino, Moco
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
WITHOUT_VIEWS = (*ALONE, "relative_position")  # losses which compare no views
WHOLE = (*WITHOUT_VIEWS, "byol", "moco", "dino", "swav")  # losses which look at no quarters

Views = Literal["neighbour", "augmented", "both"]
PretextName = Literal["rotation", "relative_position", "colour"]
Dimensions = Literal["barlow_twins", "vicreg"]  # losses that compare dimensions, not tiles
Followers = Literal["byol", "moco", "dino"]  # losses with a second network
Loss = Literal["triplet", PairName, Dimensions, Followers, "swav", PretextName, "distillation"]


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
        temperature: Of the losses with a softmax or a sigmoid, dino, swav and distillation.
        redundancy_weight: Of barlow_twins: λ of the correlations off the diagonal.
        momentum: Of byol, moco and dino.
        queue_length: Of moco and swav, tiles.
        n_prototypes: Of dino and swav.
        n_crops: Small ones of each triplet, of all losses that compare views.
        teacher_weight: Of distillation: share of the loss that is not of true labels.
        local_weight: Of triplet and the losses of pairs and of dimensions: fraction of the loss
            that is of quarters of tiles.
        retain_weight: Of all: of how far features have gone from those before training.
        l2_penalty: Of triplet and the losses of pairs and of dimensions.
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
    local_weight: float
    retain_weight: float
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
        n_layers: In all.
        n_hidden: Width of those before the last.
        n_dimensions: Width of the last.
    """

    n_layers: PositiveInt
    n_hidden: PositiveInt
    n_dimensions: PositiveInt


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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        learner = _create_untrained(encoder, objective, shape, n_channels, teacher)
    learner.retain(objective.retain_weight)
    return learner


def _create_untrained(
    encoder: Encoder,
    objective: Objective,
    shape: HeadShape,
    n_channels: int,
    teacher: LabelNetwork | None,
) -> Learner:
    n_outputs = shape.n_dimensions

    def head(n_outputs: int = n_outputs, *, n_inputs: int = encoder.width) -> nn.Module:
        return create_head(n_inputs, n_outputs, n_layers=shape.n_layers, n_hidden=shape.n_hidden)

    match objective.loss:
        case "byol":
            return Byol(
                encoder,
                head(),
                n_dimensions=n_outputs,
                n_hidden=shape.n_hidden,
                momentum=objective.momentum,
            )
        case "moco":
            return Moco(
                encoder,
                head(),
                n_dimensions=n_outputs,
                queue_length=objective.queue_length,
                temperature=objective.temperature,
                momentum=objective.momentum,
                guard_hours=objective.guard_hours,
                guard_km=objective.guard_km,
            )
        case "dino":
            return Dino(
                encoder,
                head(),
                n_dimensions=n_outputs,
                n_prototypes=objective.n_prototypes,
                temperature=objective.temperature,
                momentum=objective.momentum,
            )
        case "swav":
            return Swav(
                encoder,
                head(),
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
                head(),
                _criterion(objective),
                l2_penalty=objective.l2_penalty,
                local_weight=objective.local_weight,
            )


class _OfDimensions:
    """A loss of the dimensions of both views, without negatives.

    Sources: Zbontar et al. (2021), arXiv:2103.03230, for barlow_twins; Bardes et al. (2022),
    arXiv:2105.04906, for vicreg, with the weights of the paper.
    """

    def __init__(self, loss: nn.Module) -> None:
        self._loss = loss

    def __call__(self, vectors: Tensor, batch: MicroBatch) -> Tensor:  # noqa: ARG002
        loss: Tensor = self._loss(*vectors.unbind(1))
        return loss


def _criterion(objective: Objective) -> TripletLoss | PairLoss | _OfDimensions:
    if objective.loss == "triplet":
        return TripletLoss(
            distance=objective.distance, margin=objective.margin, negatives=objective.negatives
        )
    if objective.loss == "barlow_twins":
        return _OfDimensions(BarlowTwinsLoss(objective.redundancy_weight))
    if objective.loss == "vicreg":
        return _OfDimensions(VICRegLoss())
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
    if objective.local_weight and loss in WHOLE:
        raise ValueError(
            f"train.loss {loss} compares no quarters of tiles; set train.objective.local_weight "
            f"{objective.local_weight} to 0"
        )
    if loss == "colour" and n_channels == 1:
        raise ValueError("tiles of one channel have no colour; change train.loss or ingest.preset")
    if objective.views == "augmented" and not alters and loss not in ALONE:
        raise ValueError(
            "train.views is augmented, and all train.augmentations are off, so that both views "
            "are the same; turn some on"
        )
