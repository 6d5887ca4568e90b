"""SwAV: views of a triplet should be assigned to the same prototypes."""

import torch
from lightly.loss import SwaVLoss
from lightly.models.utils import normalize_weight
from torch import Tensor, nn
from torch.nn.functional import normalize

from pipeline.core.encoder import Encoder
from pipeline.core.objective.learner import Learner, MicroBatch, Step
from pipeline.core.objective.queue import Queue


class Swav(Learner):
    """Predicts from every view, small crops too, the prototypes that another one is assigned to.

    Assignments are spread evenly over the prototypes by Sinkhorn's algorithm: those of a
    micro-batch alone, and once the queue is full those of earlier batches with them, since a
    micro-batch of fewer tiles than prototypes cannot be spread.

    Source: Caron et al. (2020), arXiv:2006.09882.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        *,
        n_dimensions: int,
        n_prototypes: int,
        queue_length: int,
        temperature: float,
    ) -> None:
        super().__init__(encoder, head)
        self.queue = Queue(queue_length, 2 * n_dimensions)  # both views of a triplet
        self.n_queued: Tensor
        self.register_buffer("n_queued", torch.zeros((), dtype=torch.int64))
        # Those of lightly have a bias, of which the paper knows nothing.
        self.prototypes = nn.Linear(n_dimensions, n_prototypes, bias=False)
        normalize_weight(self.prototypes.weight)
        self.criterion = SwaVLoss(temperature)

    def compare(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        features, outputs = self.project(batch.tiles)
        small = [] if batch.crops is None else self._similarities(self.project(batch.crops)[1])
        queued = None
        if self.n_queued >= len(self.queue.bank):
            queued = self._similarities(self.queue.bank.unflatten(1, (2, -1)))
        loss = self.criterion(self._similarities(outputs), small, queued)
        keys = normalize(outputs.detach(), dim=2).flatten(1)
        return Step(loss.squeeze(), features, keys)

    def after_step(self, keys: Tensor | None, done: float) -> None:  # noqa: ARG002
        """Bring the prototypes back to unit length, and put the batch's vectors into the queue."""
        normalize_weight(self.prototypes.weight)
        assert keys is not None
        self.queue(keys, update=True)
        self.n_queued += len(keys)

    def _similarities(self, outputs: Tensor) -> list[Tensor]:
        """Of each view to the prototypes, (triplet, prototype) each."""
        return [self.prototypes(normalize(view, dim=1)) for view in outputs.unbind(1)]
