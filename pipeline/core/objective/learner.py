"""What is trained: an encoder, and behind it whatever a loss wants of it."""

from abc import abstractmethod
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self, TypeVar

import torch
from lightly.models.modules.heads import ProjectionHead
from lightly.models.utils import deactivate_requires_grad
from torch import Tensor, nn
from torch.nn.functional import batch_norm, mse_loss

from pipeline.core.encoder import N_QUARTERS, Encoder, autocast

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
        features: Standardised features of the first views, (triplet, view, feature).
        keys: What `Learner.after_step` is to be given of all micro-batches, (triplet, dimension).
    """

    loss: Tensor
    features: Tensor
    keys: Tensor | None = None


class Learner(nn.Module):
    """An encoder and the layers which are dropped after training.

    Attributes:
        encoder: What is kept.
        head: Takes its features to the vectors that the loss compares.
        retain_weight: Of what `features_lost` adds to the loss.
        initial: The encoder as it was, where this is not 0.
    """

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self.retain_weight = 0.0
        self.initial: Encoder | None = None

    def retain(self, weight: float) -> None:
        """Let the loss hold on to the features there are now."""
        self.retain_weight = weight
        self.initial = without_gradients(self.encoder).eval() if weight else None

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but the encoder as it was."""
        super().train(mode)
        if self.initial is not None:
            self.initial.eval()
        return self

    def forward(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        step = self.compare(batch)
        if self.initial is None:
            return step
        lost = features_lost(step.features, batch.tiles, self.initial)
        return step._replace(loss=step.loss + self.retain_weight * lost)

    @abstractmethod
    def compare(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch, whatever features it had before."""

    def after_step(self, keys: Tensor | None, done: float) -> None:
        """Follow the step of the optimizer.

        Args:
            keys: Those of the whole batch, in order.
            done: Share of all steps that are done, this one too.
        """

    def project(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Features and outputs of the head, (triplet, view, …) each, float32."""
        return project(self.encoder, self.head, tiles)


def features_lost(features: Tensor, tiles: Tensor, initial: Encoder) -> Tensor:
    """How far features have gone from those of an encoder as it was.

    The mean squared difference of features that are standardised over the micro-batch: 0 where all
    vary as they did, 2 where none does.

    Args:
        features: Standardised, (triplet, view, feature).
        tiles: Views of triplets, of which the first are compared.
        initial: Of the features before.
    """
    shown = tiles[:, : features.shape[1]].flatten(0, 1)
    with torch.no_grad(), autocast(tiles.device):
        before = standardise(initial.pool(shown).float())
    return mse_loss(features.flatten(0, 1), before)


def standardise(features: Tensor) -> Tensor:
    """Features (tile, feature) of mean 0 and variance 1 over the micro-batch."""
    return batch_norm(features, None, None, training=True)


class ViewLearner(Learner):
    """A learner whose loss compares the outputs for the views of triplets.

    Small crops stand for the second view, each in turn. With a `local_weight` the quarters of a
    tile are compared, too: pooled by themselves, each is held to one of the other view and away
    from those of other tiles, so that a tile is four samples and has one texture throughout.

    Attributes:
        criterion: Takes outputs (triplet, view, dimension) and the micro-batch to the loss.
        l2_penalty: Added to it, on the mean squared length of the outputs.
        local_weight: Fraction of the loss that is of the quarters.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        criterion: Callable[[Tensor, MicroBatch], Tensor],
        *,
        l2_penalty: float,
        local_weight: float,
    ) -> None:
        super().__init__(encoder, head)
        self.criterion = criterion
        self.l2_penalty = l2_penalty
        self.local_weight = local_weight

    def compare(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        quarters = None
        if self.local_weight:
            features, outputs, quarters = self._project_with_quarters(batch.tiles)
        else:
            features, outputs = self.project(batch.tiles)
        losses = [self.criterion(outputs, batch)]
        if batch.crops is not None:
            for crop in self.project(batch.crops)[1].unbind(1):
                views = outputs.clone()
                views[:, 1] = crop
                losses.append(self.criterion(views, batch))
        loss = torch.stack(losses).mean()
        if quarters is not None:
            local = self.criterion(quarters, _of_quarters(batch))
            loss = torch.lerp(loss, local, self.local_weight)
        loss = loss + self.l2_penalty * outputs.square().sum(dim=-1).mean()
        return Step(loss, features)

    def _project_with_quarters(self, tiles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As of `project`, and outputs for quarters, (triplet and quarter, view, dimension)."""
        shape = tiles.shape[:2]
        with autocast(tiles.device):
            pooled, quarters = self.encoder.pool_with_quarters(tiles.flatten(0, 1))
            features = self.encoder.embed_features(pooled, unit_length=False).float()
            outputs = self.head(features).float().unflatten(0, shape)
            of_quarters = self.head(standardise(quarters.float().flatten(0, 1))).float()
        of_quarters = of_quarters.unflatten(0, (*shape, N_QUARTERS)).transpose(1, 2)
        return features.unflatten(0, shape), outputs, of_quarters.flatten(0, 1)


def _of_quarters(batch: MicroBatch) -> MicroBatch:
    """What a loss sees of quarters of tiles, in the order (triplet, quarter, view)."""
    allowed = batch.may_be_negative
    if allowed is not None:
        n_triplets, n_views = batch.tiles.shape[:2]
        number = torch.arange(n_triplets * n_views, device=allowed.device)
        tile = number.view(n_triplets, 1, n_views).expand(-1, N_QUARTERS, -1).flatten()
        allowed = allowed[tile[:, None], tile]
    # Of tiles, losses of views look but at how many there are.
    tiles = batch.tiles[..., :0].repeat_interleave(N_QUARTERS, dim=0)
    targets = None if batch.targets is None else batch.targets.repeat_interleave(N_QUARTERS)
    return MicroBatch(tiles, targets=targets, may_be_negative=allowed)


def project(encoder: nn.Module, head: nn.Module, tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Standardised features and outputs of `head` for tiles (triplet, view, …), float32."""
    with autocast(tiles.device):
        features = encoder(tiles.flatten(0, 1), unit_length=False).float()
        outputs = head(features)
    shape = tiles.shape[:2]
    return features.unflatten(0, shape), outputs.float().unflatten(0, shape)


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
