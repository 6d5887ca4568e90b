"""How well an encoder tells triplets apart, and whether it still tells anything apart."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.core.objective.triplet import Distance, member_distances, triplet_loss


def judge_triplets(embeddings: Tensor, *, margin: float, distance: Distance) -> dict[str, float]:
    """Loss, accuracy, distances and collapse measures of embedded triplets.

    Args:
        embeddings: Of unit length, shape (triplet, 3, dimension).
        margin: Of the loss.
        distance: Of the loss.

    Returns:
        `loss`; `triplet_accuracy`, the share of triplets whose neighbour is nearer than the
        distant tile; `neighbour_distance` and `distant_distance`, mean Euclidean; `spread`, the
        mean standard deviation of a dimension; `effective_rank`, of at most as many dimensions.
    """
    near, far = member_distances(embeddings, "euclidean")
    every = embeddings.flatten(0, 1)  # (tile, dimension)
    return {
        "loss": float(triplet_loss(embeddings, margin=margin, distance=distance)),
        "triplet_accuracy": float((near < far).float().mean()),
        "neighbour_distance": float(near.mean()),
        "distant_distance": float(far.mean()),
        **collapse_measures(every),
    }


def collapse_measures(embeddings: Tensor) -> dict[str, float]:
    """`spread` and `effective_rank` of embeddings (tile, dimension), small where they collapsed."""
    return {
        "spread": float(embeddings.std(dim=0).mean()),
        "effective_rank": effective_rank(embeddings),
    }


def effective_rank(embeddings: Tensor) -> float:
    """Number of dimensions the embeddings use: exp of the entropy of their singular values.

    Args:
        embeddings: Shape (tile, dimension); the mean is taken off.

    Returns:
        1 on a line, the number of dimensions for a sphere, 0 where all tiles coincide, NaN where
        one is not finite.

    Source: Roy & Vetterli (2007), https://ieeexplore.ieee.org/document/7098875.
    """
    if not embeddings.isfinite().all():
        return math.nan
    values = torch.linalg.svdvals(embeddings.double() - embeddings.double().mean(dim=0))
    if values.sum() == 0:
        return 0.0
    shares = values / values.sum()
    return float(torch.exp(torch.special.entr(shares).sum()))


def check_collapse(
    measures: Mapping[str, float], *, min_spread: float, min_effective_rank: float
) -> None:
    """Refuse embeddings that hardly differ, whatever the tile.

    Args:
        measures: `spread` and `effective_rank`, among others.
        min_spread: Limit of the one.
        min_effective_rank: Limit of the other.

    Raises:
        ValueError: If one is below its limit, or not a number.
    """
    for name, limit in {"spread": min_spread, "effective_rank": min_effective_rank}.items():
        if math.isnan(measures[name]):
            raise ValueError("the embedding is not finite; lower train.learning_rate")
        if measures[name] < limit:
            raise ValueError(
                f"the embedding collapsed: its {name.replace('_', ' ')} is {measures[name]:.2g}, "
                f"below {limit:g}; lower train.learning_rate, or change train.objective"
            )
