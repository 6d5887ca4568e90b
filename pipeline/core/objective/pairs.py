"""Losses of pairs of views within a micro-batch: two of one triplet attract, others repel.

In the order of the softmax losses: n_pairs compares vectors of any length, infonce directions, each
anchor with the second views; nt_xent every view with all others; supcon counts all tiles of a label
as views of one.
"""

from typing import Literal

import torch
from pytorch_metric_learning.distances import (
    BaseDistance,
    CosineSimilarity,
    DotProductSimilarity,
)
from pytorch_metric_learning.losses import ContrastiveLoss, SupConLoss
from pytorch_metric_learning.losses.base_metric_loss_function import BaseMetricLossFunction
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor
from torch.nn.functional import normalize, softplus

from pipeline.core.objective.learner import MicroBatch
from pipeline.core.objective.triplet import MEASURES, Distance

PairName = Literal["contrastive", "n_pairs", "infonce", "nt_xent", "logistic", "supcon"]
ONE_SIDED = ("n_pairs", "infonce")  # only first views are anchors


class PairLoss:
    """A loss of vectors (triplet, 2, dimension), by name.

    - `contrastive`: mean d of positive pairs, and mean max(0, margin - d) of the negative ones
      nearer than the margin (Hadsell et al. 2006, doi:10.1109/CVPR.2006.100, without squares).
    - `n_pairs`: cross-entropy of products a·p (Sohn 2016,
      https://papers.nips.cc/paper/2016/hash/6b180037abbebea991d8b1232f8a8ca9-Abstract.html).
    - `infonce`: of cosines over a temperature (van den Oord et al. 2018, arXiv:1807.03748).
    - `nt_xent`: the same, every view an anchor to all others (Chen et al. 2020, arXiv:2002.05709).
    - `logistic`: `logistic_loss`.
    - `supcon`: nt_xent, tiles of one label all being positives (Khosla et al. 2020,
      arXiv:2004.11362); triplets without a label have but their own views.

    Args:
        name: Of the loss.
        distance: Of `contrastive`.
        margin: Of `contrastive`.
        temperature: Of all but `contrastive` and `n_pairs`.
    """

    def __init__(
        self, name: PairName, *, distance: Distance, margin: float, temperature: float
    ) -> None:
        self.name = name
        self.temperature = temperature
        self._loss = self._create(distance, margin)

    def __call__(self, vectors: Tensor, batch: MicroBatch) -> Tensor:
        """The loss of a micro-batch.

        Raises:
            ValueError: If no tile of it may be a negative of another.
        """
        labels = self._number(batch)
        negative = labels[:, None] != labels
        if batch.may_be_negative is not None:
            negative &= batch.may_be_negative
        positive = (labels[:, None] == labels) & ~torch.eye(
            len(labels), dtype=torch.bool, device=labels.device
        )
        if self.name != "n_pairs":
            vectors = normalize(vectors, dim=-1)
        tiles = others = vectors.flatten(0, 1)  # (tile, dimension)
        if self.name in ONE_SIDED:
            tiles, others = vectors.unbind(1)
            positive, negative = positive[::2, 1::2], negative[::2, 1::2]
        if not negative.any():
            raise ValueError(
                "no tile of a micro-batch may be a negative of another; lower "
                "train.objective.guard_hours or guard_km, or raise train.batch_size"
            )
        if self._loss is None:
            return logistic_loss(
                tiles, positive=positive, negative=negative, temperature=self.temperature
            )
        pairs = (*positive.nonzero(as_tuple=True), *negative.nonzero(as_tuple=True))
        loss: Tensor = self._loss(tiles, indices_tuple=pairs, ref_emb=others)
        return loss

    def _create(self, distance: Distance, margin: float) -> BaseMetricLossFunction | None:
        if self.name == "logistic":
            return None
        if self.name == "contrastive":
            # Of cosines the library takes the similarity, which is 1 where the distance is 0.
            limits = (1, 1 - margin) if distance == "cosine" else (0, margin)
            return ContrastiveLoss(*limits, distance=MEASURES[distance])
        similarity: BaseDistance = CosineSimilarity()
        if self.name == "n_pairs":
            similarity = DotProductSimilarity(normalize_embeddings=False)
        temperature = 1.0 if self.name == "n_pairs" else self.temperature
        return SupConLoss(temperature, distance=similarity, reducer=MeanReducer())

    def _number(self, batch: MicroBatch) -> Tensor:
        """Number of what each tile is a view of, (tile,)."""
        number = torch.arange(len(batch), device=batch.tiles.device)
        if self.name == "supcon" and batch.targets is not None:
            beyond = batch.targets.max().clamp_min(-1) + 1
            number = torch.where(batch.targets >= 0, batch.targets, beyond + number)
        return number.repeat_interleave(2)


def logistic_loss(
    vectors: Tensor, *, positive: Tensor, negative: Tensor, temperature: float
) -> Tensor:
    """NT-Logistic: mean of -log σ(s / t) of positive and of -log σ(-s / t) of negative pairs.

    Args:
        vectors: Of unit length, (tile, dimension); s is the cosine of two of them.
        positive: Which pairs are positive, (tile, tile).
        negative: Which are negative.
        temperature: The t.

    Source: Chen et al. (2020), arXiv:2002.05709, table 2.
    """
    logits = vectors @ vectors.T / temperature
    return softplus(-logits[positive]).mean() + softplus(logits[negative]).mean()
