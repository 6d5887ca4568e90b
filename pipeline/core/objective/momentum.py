"""Learners with a second network that follows the first: BYOL and MoCo."""

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import BYOLPredictionHead
from lightly.models.modules.memory_bank import MemoryBankModule
from lightly.models.utils import update_momentum
from pytorch_metric_learning.losses import SupConLoss
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor, nn
from torch.nn.functional import normalize

from pipeline.core.encoder import Encoder
from pipeline.core.objective.learner import Learner, MicroBatch, Step, project, without_gradients


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

    def after_step(self, keys: Tensor | None) -> None:  # noqa: ARG002
        """Let the followers come nearer."""
        with torch.no_grad():
            update_momentum(self.encoder, self.target_encoder, self.momentum)
            if any(True for _ in self.head.parameters()):
                update_momentum(self.head, self.target_head, self.momentum)

    @torch.no_grad()
    def targets(self, tiles: Tensor) -> Tensor:
        """Outputs of the followers for views (triplet, view, …)."""
        return project(self.target_encoder, self.target_head, tiles)[1]


class Byol(MomentumLearner):
    """Predicts what the followers make of the other view; no negatives.

    The loss is -cos(prediction, target), the mean of both directions: -1 at best.

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

    def forward(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        embeddings, outputs = self.project(batch.tiles)
        predictions = self.predictor(outputs.flatten(0, 1)).unflatten(0, outputs.shape[:2])
        first, second = self.targets(batch.tiles).unbind(1)
        loss = self.criterion(predictions[:, 0], second) + self.criterion(predictions[:, 1], first)
        return Step(loss / 2, embeddings.detach().flatten(0, 1))


class Moco(MomentumLearner):
    """InfoNCE of a view against the followers' vector of the other, and against a queue of those.

    Negatives are the followers' vectors of earlier batches alone.

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
    ) -> None:
        super().__init__(encoder, head, momentum=momentum)
        self.queue = _Queue((queue_length, n_dimensions), feature_dim_first=False)
        self.criterion = SupConLoss(temperature, reducer=MeanReducer())

    def forward(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        embeddings, outputs = self.project(batch.tiles[:, :1])
        keys, queued = self.queue(normalize(self.targets(batch.tiles[:, 1:]).flatten(0, 1), dim=1))
        number = torch.arange(len(keys), device=keys.device)
        negatives = torch.arange(len(queued), device=keys.device) + len(keys)
        pairs = (
            number,
            number,
            number.repeat_interleave(len(queued)),
            negatives.repeat(len(keys)),
        )
        loss = self.criterion(
            outputs.flatten(0, 1), indices_tuple=pairs, ref_emb=torch.cat([keys, queued])
        )
        return Step(loss, embeddings.detach().flatten(0, 1), keys)

    def after_step(self, keys: Tensor | None) -> None:
        """Let the followers come nearer, and put the batch's vectors into the queue."""
        super().after_step(keys)
        assert keys is not None
        self.queue(keys, update=True)


class _Queue(MemoryBankModule):  # type: ignore[misc]
    """A queue that is part of a checkpoint."""

    def __init__(self, size: tuple[int, int], *, feature_dim_first: bool) -> None:
        super().__init__(size, feature_dim_first=feature_dim_first)
        for name, buffer in list(self.named_buffers()):
            self.register_buffer(name, buffer, persistent=True)
