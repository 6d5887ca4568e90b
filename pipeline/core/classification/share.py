"""A share of the labels, as if there were no more."""

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


def draw_share(labels: IntArray, *, share: float, seed: int) -> IntArray:
    """Indices of a share of the tiles, as large of each label as of all, in rising order.

    Of every label at least one tile is drawn, and a smaller share of the same seed is part of a
    larger one.

    Args:
        labels: Number of each tile's label, (tile,).
        share: Above 0, up to 1.
        seed: Draws the tiles.

    >>> draw_share(np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1]), share=0.5, seed=0)
    array([0, 2, 6, 7, 9])
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for label in np.unique(labels):
        tiles = rng.permutation(np.flatnonzero(labels == label))
        drawn.append(tiles[: max(1, round(share * len(tiles)))])
    return np.sort(np.concatenate(drawn)) if drawn else np.zeros(0, np.int64)
