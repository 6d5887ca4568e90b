"""The margin triplet loss, of sampled triplets or of those within a micro-batch."""

from typing import Literal

import torch
from pytorch_metric_learning.distances import BaseDistance, CosineSimilarity, LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from pytorch_metric_learning.utils.loss_and_miner_utils import get_all_triplets_indices
from torch import Tensor
from torch.nn.functional import normalize

from pipeline.core.objective.learner import MicroBatch

Distance = Literal["euclidean", "squared", "cosine"]
Negatives = Literal["distant", "batch", "semi_hard"]


class TripletLoss:
    """Triplet loss on vectors, which come to unit length first.

    With `distant` negatives the mean over the triplets as sampled. With `batch` every tile of the
    micro-batch is compared to both members of every pair of anchor and neighbour, with `semi_hard`
    those which are farther than the pair's other member by less than the margin; the mean is over
    the comparisons that are not zero.

    Sources: Jean et al. (2019), doi:10.1609/aaai.v33i01.33013967; Schroff et al. (2015),
    doi:10.1109/CVPR.2015.7298682.
    """

    def __init__(self, *, distance: Distance, margin: float, negatives: Negatives) -> None:
        self.distance = distance
        self.margin = margin
        self.negatives = negatives
        measure = MEASURES[distance]
        self._mined_loss = TripletMarginLoss(margin, distance=measure)
        self._miner = TripletMarginMiner(margin, type_of_triplets="semihard", distance=measure)

    def __call__(self, vectors: Tensor, batch: MicroBatch) -> Tensor:
        """The loss of a micro-batch.

        Args:
            vectors: Embeddings before they come to unit length, shape (triplet, 3, dimension).
            batch: Says which tiles may be negatives, where they were not sampled.
        """
        embeddings = normalize(vectors, dim=-1)
        if self.negatives == "distant":
            loss = triplet_loss(embeddings, margin=self.margin, distance=self.distance)
        else:
            assert batch.may_be_negative is not None
            loss = self._loss_within_batch(embeddings, batch.may_be_negative)
        return loss

    def _loss_within_batch(self, embeddings: Tensor, may_be_negative: Tensor) -> Tensor:
        n_triplets = len(embeddings)
        tiles = embeddings.flatten(0, 1)  # (tile, dimension)
        number = torch.arange(n_triplets, device=tiles.device)
        labels = torch.stack([number, number, number + n_triplets], dim=1).flatten()
        triplets = (
            self._miner(tiles, labels)
            if self.negatives == "semi_hard"
            else get_all_triplets_indices(labels)
        )
        allowed = may_be_negative[triplets[0], triplets[2]]
        loss: Tensor = self._mined_loss(
            tiles, indices_tuple=tuple(indices[allowed] for indices in triplets)
        )
        return loss


def triplet_loss(embeddings: Tensor, *, margin: float, distance: Distance = "euclidean") -> Tensor:
    """Mean of max(0, margin + d(anchor, neighbour) - d(anchor, distant)).

    Args:
        embeddings: Of unit length, shape (triplet, 3, dimension), members in the order of the sum.
        margin: How much farther than the neighbour the distant tile should be.
        distance: The measure d.

    Source: Jean et al. (2019), doi:10.1609/aaai.v33i01.33013967.
    """
    near, far = member_distances(embeddings, distance)
    return torch.relu(margin + near - far).mean()


def member_distances(embeddings: Tensor, distance: Distance) -> tuple[Tensor, Tensor]:
    """Distances from the anchors to their neighbours and to their distant tiles, (triplet,) each.

    `euclidean`, its `squared`, or `cosine`: one minus the cosine, half the squared for unit length.

    >>> embeddings = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    >>> {name: [round(float(part), 3) for part in member_distances(embeddings, name)]
    ...  for name in ("euclidean", "squared", "cosine")}
    {'euclidean': [1.414, 2.0], 'squared': [2.0, 4.0], 'cosine': [1.0, 2.0]}
    """
    anchor, neighbour, distant = embeddings.unbind(1)  # (triplet, dimension) each

    def measure(other: Tensor) -> Tensor:
        if distance == "cosine":
            return 1 - (anchor * other).sum(dim=1)
        # The small number keeps the gradient finite where two embeddings are the same.
        euclidean = torch.nn.functional.pairwise_distance(anchor, other, eps=1e-6)
        return euclidean.square() if distance == "squared" else euclidean

    return measure(neighbour), measure(distant)


MEASURES: dict[Distance, BaseDistance] = {  # of vectors of unit length
    "euclidean": LpDistance(normalize_embeddings=False),
    "squared": LpDistance(normalize_embeddings=False, power=2),
    "cosine": CosineSimilarity(),
}
