"""SwAV: views of a triplet should be assigned to the same prototypes."""

from lightly.loss import SwaVLoss
from lightly.models.utils import normalize_weight
from torch import Tensor, nn
from torch.nn.functional import normalize

from pipeline.core.encoder import Encoder
from pipeline.core.objective.learner import Learner, MicroBatch, Step


class Swav(Learner):
    """Predicts from every view, small crops too, the prototypes that another one is assigned to.

    Assignments of a micro-batch are spread evenly over the prototypes by Sinkhorn's algorithm.

    Source: Caron et al. (2020), arXiv:2006.09882.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        *,
        n_dimensions: int,
        n_prototypes: int,
        temperature: float,
    ) -> None:
        super().__init__(encoder, head)
        # Those of lightly have a bias, of which the paper knows nothing.
        self.prototypes = nn.Linear(n_dimensions, n_prototypes, bias=False)
        normalize_weight(self.prototypes.weight)
        self.criterion = SwaVLoss(temperature)

    def forward(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        embeddings, outputs = self.project(batch.tiles)
        small = [] if batch.crops is None else self._similarities(self.project(batch.crops)[1])
        loss = self.criterion(self._similarities(outputs), small)
        return Step(loss.squeeze(), embeddings.detach().flatten(0, 1))

    def after_step(self, keys: Tensor | None) -> None:  # noqa: ARG002
        """Bring the prototypes back to unit length."""
        normalize_weight(self.prototypes.weight)

    def _similarities(self, outputs: Tensor) -> list[Tensor]:
        """Of each view to the prototypes, (triplet, prototype) each."""
        return [self.prototypes(normalize(view, dim=1)) for view in outputs.unbind(1)]
