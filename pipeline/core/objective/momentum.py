"""Learners with a second network that follows the first: BYOL, MoCo and DINO."""

import math

import torch
from lightly.loss import DINOLoss, NegativeCosineSimilarity
from lightly.models.modules.heads import BYOLPredictionHead
from lightly.models.utils import update_momentum
from pytorch_metric_learning.losses import SupConLoss
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from pipeline.core.encoder import Encoder
from pipeline.core.objective.learner import Learner, MicroBatch, Step, project, without_gradients
from pipeline.core.objective.queue import Queue, far_apart

SHARPER = 0.4  # than the learner's temperature is that of DINO's followers


class MomentumLearner(Learner):
    """A learner whose targets come from an encoder and head that follow its own.

    Args:
        encoder: What is kept.
        head: Behind it.
        momentum: Share of the followers' weights that stays in a step.
    """

    def __init__(self, encoder: Encoder, head: nn.Module, *, momentum: float) -> None:
        super().__init__(encoder, head)
        self.momentum = momentum
        self.target_encoder = without_gradients(encoder)
        self.target_head = without_gradients(head)

    def follow(self, momentum: float) -> None:
        """Let the followers come nearer, and keep this share of their weights."""
        with torch.no_grad():
            update_momentum(self.encoder, self.target_encoder, momentum)
            update_momentum(self.head, self.target_head, momentum)

    @torch.no_grad()
    def targets(self, tiles: Tensor) -> Tensor:
        """Outputs of the followers for views (triplet, view, …)."""
        return project(self.target_encoder, self.target_head, tiles)[1]


def rising_momentum(first: float, done: float) -> float:
    """From its first value to 1 by half a cosine, `done` being the share of all steps."""
    return 1 - (1 - first) * (1 + math.cos(math.pi * done)) / 2


class Byol(MomentumLearner):
    """Predicts what the followers make of the other view; no negatives.

    The loss is -cos(prediction, target), the mean of both directions: -1 at best. The momentum
    rises from its first value to 1 by half a cosine, over all steps.

    Source: Grill et al. (2020), arXiv:2006.07733.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        *,
        n_dimensions: int,
        n_hidden: int,
        momentum: float,
    ) -> None:
        super().__init__(encoder, head, momentum=momentum)
        self.predictor = BYOLPredictionHead(n_dimensions, n_hidden, n_dimensions)
        self.criterion = NegativeCosineSimilarity()

    def compare(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        features, outputs = self.project(batch.tiles)
        predictions = self.predictor(outputs.flatten(0, 1)).unflatten(0, outputs.shape[:2])
        first, second = self.targets(batch.tiles).unbind(1)
        losses = [
            self.criterion(predictions[:, 0], second),
            self.criterion(predictions[:, 1], first),
        ]
        if batch.crops is not None:
            small = self.project(batch.crops)[1]
            losses += [self.criterion(self.predictor(crop), first) for crop in small.unbind(1)]
        return Step(torch.stack(losses).mean(), features)

    def after_step(self, keys: Tensor | None, done: float) -> None:  # noqa: ARG002
        """Let the followers come nearer, less and less."""
        self.follow(rising_momentum(self.momentum, done))


class Moco(MomentumLearner):
    """InfoNCE of a view against the followers' vector of the other, and against a queue of those.

    Negatives are the followers' vectors of earlier batches alone, and of these the tiles that are
    so many hours or so many kilometres away.

    Source: He et al. (2020), arXiv:1911.05722.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        *,
        n_dimensions: int,
        queue_length: int,
        temperature: float,
        momentum: float,
        guard_hours: float,
        guard_km: float,
    ) -> None:
        super().__init__(encoder, head, momentum=momentum)
        self.guard_hours, self.guard_km = guard_hours, guard_km
        self.queue = Queue(queue_length, n_dimensions)
        self.places = Queue(queue_length, n_columns=3)
        self.places.bank.fill_(torch.nan)  # the first vectors are of no place
        self.criterion = SupConLoss(temperature, reducer=MeanReducer())

    def compare(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        assert batch.places is not None
        features, outputs = self.project(batch.tiles[:, :1])
        if batch.crops is not None:
            outputs = torch.cat([outputs, self.project(batch.crops)[1]], dim=1)
        keys = normalize(self.targets(batch.tiles[:, 1:]).flatten(0, 1), dim=1)
        anchors, others = batch.places.unbind(1)
        queued = self.queue.bank.clone()
        may_be_negative = far_apart(
            anchors, self.places.bank, hours=self.guard_hours, km=self.guard_km
        )
        number = torch.arange(len(keys), device=keys.device)
        repelled, negatives = may_be_negative.nonzero(as_tuple=True)
        pairs = (number, number, repelled, negatives + len(keys))
        references = torch.cat([keys, queued])
        losses = [
            self.criterion(view, indices_tuple=pairs, ref_emb=references)
            for view in outputs.unbind(1)
        ]
        return Step(torch.stack(losses).mean(), features, torch.cat([keys, others], dim=1))

    def after_step(self, keys: Tensor | None, done: float) -> None:  # noqa: ARG002
        """Let the followers come nearer, and put the batch's vectors into the queue."""
        self.follow(self.momentum)
        assert keys is not None
        vectors, places = keys.split([keys.shape[1] - 3, 3], dim=1)
        self.queue(vectors, update=True)
        self.places(places, update=True)


class Dino(MomentumLearner):
    """Predicts the prototypes that the followers see in another view; no negatives.

    The followers' answers are sharper, at 0.4 of the temperature, and a running mean is taken off
    them, which keeps both from answering always alike.

    Source: Caron et al. (2021), arXiv:2104.14294.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        *,
        n_dimensions: int,
        n_prototypes: int,
        temperature: float,
        momentum: float,
    ) -> None:
        prototypes = Prototypes(n_dimensions, n_prototypes)
        super().__init__(encoder, nn.Sequential(head, prototypes), momentum=momentum)
        self.criterion = _CentredLater(
            n_prototypes, teacher_temp=SHARPER * temperature, student_temp=temperature
        )

    def compare(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        features, outputs = self.project(batch.tiles)
        if batch.crops is not None:
            outputs = torch.cat([outputs, self.project(batch.crops)[1]], dim=1)
        targets = self.targets(batch.tiles)
        loss = self.criterion(list(targets.unbind(1)), list(outputs.unbind(1)))
        return Step(loss, features, targets.flatten(1))

    def after_step(self, keys: Tensor | None, done: float) -> None:
        """Let the followers come nearer, less and less, and their mean with them."""
        self.follow(rising_momentum(self.momentum, done))
        assert keys is not None
        n_prototypes = self.criterion.center.shape[-1]
        answers = keys.unflatten(1, (-1, n_prototypes)).transpose(0, 1)
        DINOLoss.update_center(self.criterion, answers)


class Prototypes(nn.Linear):
    """Cosines (tile, prototype) of vectors to each of so many directions."""

    def __init__(self, n_dimensions: int, n_prototypes: int) -> None:
        super().__init__(n_dimensions, n_prototypes, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Cosines of vectors (tile, dimension)."""
        return linear(normalize(vectors, dim=1), normalize(self.weight, dim=1))


class _CentredLater(DINOLoss):  # type: ignore[misc]
    def update_center(self, teacher_out: Tensor) -> None:
        """Left to `Dino.after_step`, which sees all lanes."""
