"""How far tiles lie from everything an atlas was made of."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

TILES_PER_BLOCK = 512  # bounds a table of distances to 100,000 tiles to 400 MiB
SMALLEST = 1e-6  # of distances, where tiles are copies of each other


@dataclass(frozen=True)
class Reference:
    """Tiles that have been seen, and how far apart they lie.

    Attributes:
        features: Shape (tile, feature).
        days: Day of each tile.
        spacing: Mean distance of each tile to the nearest tiles of other days.
        n_nearest: How many these are.
    """

    features: FloatArray
    days: NDArray[np.generic]
    spacing: FloatArray
    n_nearest: int


def measure_spacing(
    features: FloatArray, days: NDArray[np.generic], *, n_nearest: int
) -> Reference:
    """The reference that tiles (tile, feature) of some days make.

    Raises:
        ValueError: If the other days of a tile have too few tiles.
    """
    _, sizes = np.unique(days, return_counts=True)
    if (fewest := len(days) - int(sizes.max())) < n_nearest:
        raise ValueError(
            f"the {len(days)} reference tiles leave {fewest} of other days to compare with, fewer "
            f"than freeze.n_nearest {n_nearest}; lower it, or train on more days"
        )
    _, spacing = _nearest(features, days, features, days, n_nearest)
    return Reference(features, days, spacing, n_nearest)


def novelty(features: FloatArray, days: NDArray[np.generic], reference: Reference) -> FloatArray:
    """Distance of each tile to the nearest of the reference, in units of their own spacing.

    About 1 where a tile lies as the reference's tiles do, dense or sparse as they may be. Tiles
    of its own day are left out: tiles of one day are alike. Shape (tile,).

    Source: the local outlier factor, Breunig et al. (2000), doi:10.1145/335191.335388, with plain
    distances between days in place of reachability.

    Args:
        features: Shape (tile, feature).
        days: Day of each tile.
        reference: From `measure_spacing`.

    >>> seen = measure_spacing(np.arange(4.0)[:, None], np.arange(4), n_nearest=1)
    >>> novelty(np.array([[1.0], [9.0]]), np.array([9, 9]), seen).tolist()
    [0.0, 6.0]
    """
    nearest, distance = _nearest(
        features, days, reference.features, reference.days, reference.n_nearest
    )
    own = reference.spacing[nearest].mean(axis=1)
    return np.asarray(distance / np.maximum(own, SMALLEST))


def _nearest(
    features: FloatArray,
    days: NDArray[np.generic],
    seen: FloatArray,
    seen_days: NDArray[np.generic],
    n_nearest: int,
) -> tuple[IntArray, FloatArray]:
    """Nearest seen tiles of other days (tile, rank), and the mean distance to them (tile,)."""
    nearest = np.empty((len(features), n_nearest), np.int64)
    distance = np.empty(len(features))
    for start in range(0, len(features), TILES_PER_BLOCK):
        block = slice(start, start + TILES_PER_BLOCK)
        table = cdist(features[block], seen)  # (tile, seen tile)
        table[days[block, None] == seen_days] = np.inf
        nearest[block] = np.argsort(table, axis=1, kind="stable")[:, :n_nearest]
        distance[block] = np.take_along_axis(table, nearest[block], axis=1).mean(axis=1)
    return nearest, distance
