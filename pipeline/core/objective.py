"""What training minimises, how fast it goes, and how well the embedding does."""

import math

import torch
from torch import Tensor
from torch.nn.functional import triplet_margin_loss


def triplet_loss(embeddings: Tensor, *, margin: float) -> Tensor:
    """Mean of max(0, margin + d(anchor, neighbour) - d(anchor, distant)), d being Euclidean.

    Args:
        embeddings: Shape (triplet, 3, dimension), members in the order of the sum.
        margin: How much farther than the neighbour the distant tile should be.

    Source: Jean et al. (2019), doi:10.1609/aaai.v33i01.33013967.
    """
    anchor, neighbour, distant = embeddings.unbind(1)  # (triplet, dimension) each
    return triplet_margin_loss(anchor, neighbour, distant, margin=margin)


def learning_rate_factor(step: int, *, n_warm_up: int, n_steps: int) -> float:
    """Share of the full learning rate: a linear rise, then half a cosine down to zero.

    >>> [round(learning_rate_factor(step, n_warm_up=2, n_steps=6), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step < n_warm_up:
        return (step + 1) / n_warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (step - n_warm_up) / max(1, n_steps - n_warm_up))


def judge_triplets(embeddings: Tensor, *, margin: float) -> dict[str, float]:
    """Loss, accuracy, distances and collapse measures of embedded triplets.

    Args:
        embeddings: Shape (triplet, 3, dimension).
        margin: Of the loss.

    Returns:
        `loss`; `triplet_accuracy`, the share of triplets whose neighbour is nearer than the
        distant tile; `neighbour_distance` and `distant_distance`, mean Euclidean; `spread`, the
        mean standard deviation of a dimension; `effective_rank`, of at most as many dimensions.
    """
    anchor, neighbour, distant = embeddings.unbind(1)
    near = torch.linalg.vector_norm(anchor - neighbour, dim=1)
    far = torch.linalg.vector_norm(anchor - distant, dim=1)
    every = embeddings.flatten(0, 1)  # (tile, dimension)
    return {
        "loss": float(triplet_loss(embeddings, margin=margin)),
        "triplet_accuracy": float((near < far).float().mean()),
        "neighbour_distance": float(near.mean()),
        "distant_distance": float(far.mean()),
        "spread": float(every.std(dim=0).mean()),
        "effective_rank": effective_rank(every),
    }


def effective_rank(embeddings: Tensor) -> float:
    """Number of dimensions the embeddings use: exp of the entropy of their singular values.

    Args:
        embeddings: Shape (tile, dimension); the mean is taken off.

    Returns:
        1 on a line, the number of dimensions for a sphere, 0 where all tiles coincide.

    Source: Roy & Vetterli (2007), https://ieeexplore.ieee.org/document/7098875.
    """
    values = torch.linalg.svdvals(embeddings.double() - embeddings.double().mean(dim=0))
    if values.sum() == 0:
        return 0.0
    shares = values / values.sum()
    return float(torch.exp(torch.special.entr(shares).sum()))
