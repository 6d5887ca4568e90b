"""What is trained: an encoder, and behind it whatever a loss wants of it."""

from abc import abstractmethod
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeVar

from lightly.models.modules.heads import ProjectionHead
from lightly.models.utils import deactivate_requires_grad
from torch import Tensor, nn

from pipeline.core.encoder import Encoder, autocast

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class MicroBatch:
    """What a loss sees at a time.

    Attributes:
        tiles: Views of triplets (triplet, view, channel, row, column), 0 … 255.
        crops: Smaller views of the same (triplet, crop, channel, row, column), where asked for.
        targets: What a pretext task asks of the tiles, or the number of each triplet's label, -1
            without one.
        may_be_negative: Whether a tile may be pushed away from another (tile, tile), tiles in the
            order of `tiles`; None for all of other triplets.
        places: Hours since any time, latitude and longitude in degrees of the tiles that the views
            show, (triplet, view, 3), where asked for.
    """

    tiles: Tensor
    crops: Tensor | None = None
    targets: Tensor | None = None
    may_be_negative: Tensor | None = None
    places: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tiles)


class Step(NamedTuple):
    """What a learner makes of a micro-batch.

    Attributes:
        loss: A mean over the micro-batch.
        embeddings: Of all views, before they come to unit length, (tile, feature), detached.
        keys: What `Learner.after_step` is to be given of all micro-batches, (triplet, dimension).
    """

    loss: Tensor
    embeddings: Tensor
    keys: Tensor | None = None


class Learner(nn.Module):
    """An encoder and the layers which are dropped after training.

    Attributes:
        encoder: What is kept.
        head: Takes its vectors to those that the loss compares.
    """

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    @abstractmethod
    def forward(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""

    def after_step(self, keys: Tensor | None, done: float) -> None:
        """Follow the step of the optimizer.

        Args:
            keys: Those of the whole batch, in order.
            done: Share of all steps that are done, this one too.
        """

    def project(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings and outputs of the head, (triplet, view, …) each, float32."""
        return project(self.encoder, self.head, tiles)


class ViewLearner(Learner):
    """A learner whose loss compares the outputs for the views of triplets.

    Attributes:
        criterion: Takes outputs (triplet, view, dimension) and the micro-batch to the loss.
        l2_penalty: Added to it, on the mean squared length of the outputs.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        criterion: Callable[[Tensor, MicroBatch], Tensor],
        *,
        l2_penalty: float,
    ) -> None:
        super().__init__(encoder, head)
        self.criterion = criterion
        self.l2_penalty = l2_penalty

    def forward(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        embeddings, outputs = self.project(batch.tiles)
        loss = self.criterion(outputs, batch)
        loss = loss + self.l2_penalty * outputs.square().sum(dim=-1).mean()
        return Step(loss, embeddings.detach().flatten(0, 1))


def project(encoder: nn.Module, head: nn.Module, tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings and outputs of `head` for tiles (triplet, view, …), float32."""
    with autocast(tiles.device):
        embeddings = encoder(tiles.flatten(0, 1), unit_length=False)
        outputs = head(embeddings)
    shape = tiles.shape[:2]
    return embeddings.float().unflatten(0, shape), outputs.float().unflatten(0, shape)


def create_head(n_inputs: int, n_outputs: int, *, n_layers: int, n_hidden: int) -> nn.Module:
    """Linear layers, batch normalisation and a rectifier between them."""
    widths = [n_inputs, *[n_hidden] * (n_layers - 1)]
    hidden = [
        (first, second, nn.BatchNorm1d(second), nn.ReLU()) for first, second in pairwise(widths)
    ]
    head: nn.Module = ProjectionHead([*hidden, (widths[-1], n_outputs, None, None)])
    return head


def without_gradients(module: Module) -> Module:
    """A copy that no optimizer changes."""
    copied = deepcopy(module)
    deactivate_requires_grad(copied)
    return copied
