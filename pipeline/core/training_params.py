"""How an encoder is trained: section `train` of params.yaml."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from pipeline.core.augmentation import Augmentations
from pipeline.core.objective.choice import HeadShape, Loss, Objective, Views
from pipeline.core.objective.triplet import Distance, Negatives
from pipeline.core.pooling import Pooling

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class ObjectiveParams:
    """The numbers of the losses; times in hours, distances on Earth in km."""

    distance: Distance
    margin: PositiveFloat
    negatives: Negatives
    guard_hours: NonNegativeFloat
    guard_km: NonNegativeFloat
    temperature: PositiveFloat
    redundancy_weight: NonNegativeFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]
    queue_length: PositiveInt
    n_prototypes: Annotated[int, Field(gt=1)]
    n_crops: NonNegativeInt
    labels: Annotated[str, Field(min_length=1)]
    teacher: Annotated[str, Field(min_length=1)]
    teacher_weight: Share
    local_weight: Share
    retain_weight: NonNegativeFloat
    l2_penalty: NonNegativeFloat


@dataclass(frozen=True)
class EmbeddingParams:
    """What of the backbone the embedding is made of; `n_dimensions` 0 for all features."""

    layers: Annotated[tuple[str, ...], Field(min_length=1)]
    pooling: Pooling
    n_scales: Annotated[int, Field(ge=1, le=4)]
    n_dimensions: NonNegativeInt


@dataclass(frozen=True)
class ShortcutParams:
    """What is taken from the tiles, so that nothing is learnt of it."""

    standardise: bool
    equalised_share: Share


@dataclass(frozen=True)
class TrainParams:
    """Section `train` of params.yaml."""

    backbone: str
    init: Annotated[str, Field(min_length=1)]
    embedding: EmbeddingParams
    head: HeadShape
    views: Views
    loss: Loss
    objective: ObjectiveParams
    augmentations: Augmentations
    shortcuts: ShortcutParams
    n_epochs: PositiveInt
    averaging: Annotated[float, Field(ge=0, lt=1)]
    min_effective_rank: NonNegativeFloat
    min_participation_ratio: NonNegativeFloat
    min_spread: NonNegativeFloat
    batch_size: Annotated[int, Field(gt=1)]
    micro_batches: PositiveInt
    n_mixed: PositiveInt
    learning_rate: PositiveFloat
    head_learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    max_gradient_norm: NonNegativeFloat
    warm_up_share: Annotated[float, Field(ge=0, lt=1)]
    seed: int

    @property
    def choice(self) -> Objective:
        """What is minimised."""
        numbers = dataclasses.asdict(self.objective)
        for name in ("labels", "teacher"):
            del numbers[name]
        return Objective(loss=self.loss, views=self.views, **numbers)

    @property
    def least(self) -> dict[str, float]:
        """Below which an embedding has collapsed."""
        return {
            "spread": self.min_spread,
            "effective_rank": self.min_effective_rank,
            "participation_ratio": self.min_participation_ratio,
        }
