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
        mean standard deviation of a dimension; `effective_rank` and `participation_ratio`, of at
        most as many dimensions.
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
    """What is small where embeddings (tile, dimension) collapsed.

    `spread`, the mean standard deviation of a dimension, `effective_rank` and
    `participation_ratio`.
    """
    return {
        "spread": float(embeddings.std(dim=0).mean()),
        "effective_rank": effective_rank(embeddings),
        "participation_ratio": participation_ratio(embeddings),
    }


def effective_rank(embeddings: Tensor) -> float:
    """Number of dimensions the embeddings use: exp of the entropy of their singular values.

    Directions of hardly any variance count in it by its square root: of 128 dimensions it can tell
    12 where three hold nearly all variance, which `participation_ratio` tells.

    Args:
        embeddings: Shape (tile, dimension); the mean is taken off.

    Returns:
        1 on a line, the number of dimensions for a sphere, 0 where all tiles coincide, NaN where
        one is not finite.

    Source: Roy & Vetterli (2007), https://ieeexplore.ieee.org/document/7098875.
    """
    values = _singular_values(embeddings)
    if not values.sum() > 0:
        return float(values.sum())
    shares = values / values.sum()
    return float(torch.exp(torch.special.entr(shares).sum()))


def participation_ratio(embeddings: Tensor) -> float:
    """Number of directions that hold the variance: (Σ λ)² / Σ λ² of the variances λ along axes.

    Args:
        embeddings: Shape (tile, dimension); the mean is taken off.

    Returns:
        As of `effective_rank`, and never more than it.

    Source: Gao et al. (2017), doi:10.1101/214262.
    """
    variances = _singular_values(embeddings).square()
    if not variances.sum() > 0:
        return float(variances.sum())
    return float(variances.sum().square() / variances.square().sum())


def _singular_values(embeddings: Tensor) -> Tensor:
    """Of embeddings less their mean; NaN where one is not finite."""
    if not embeddings.isfinite().all():
        return torch.full((1,), math.nan, dtype=torch.float64)
    values: Tensor = torch.linalg.svdvals(embeddings.double() - embeddings.double().mean(dim=0))
    return values


def check_collapse(measures: Mapping[str, float], limits: Mapping[str, float]) -> None:
    """Refuse embeddings that hardly differ, whatever the tile.

    Args:
        measures: Of `collapse_measures`, among others.
        limits: The least that each of them may be.

    Raises:
        ValueError: If one is below its limit, or not a number.
    """
    for name, limit in limits.items():
        if math.isnan(measures[name]):
            raise ValueError("the embedding is not finite; lower train.learning_rate")
        if measures[name] < limit:
            raise ValueError(
                f"the embedding collapsed: its {name.replace('_', ' ')} is {measures[name]:.2g}, "
                f"below {limit:g}; lower train.learning_rate, or change train.objective"
            )
