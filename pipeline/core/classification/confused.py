"""The tiles that a classifier is most sure of and wrong about."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class ConfusedPair:
    """Tiles of one label that are taken for another; the worst `tiles` come first."""

    given: int
    told: int
    n_tiles: int
    tiles: IntArray


def find_confused(
    probabilities: FloatArray, labels: IntArray, *, n_examples: int
) -> list[ConfusedPair]:
    """Pairs of labels by how many tiles are confused, the most first.

    Args:
        probabilities: Of each label, by classifiers not fitted to the tile's day, (tile, label).
        labels: Number of each tile's label, (tile,).
        n_examples: Tiles of a pair at most.

    >>> [pair] = find_confused(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([1, 1, 1]),
    ...     n_examples=1)
    >>> pair.given, pair.told, pair.n_tiles, pair.tiles.tolist()
    (1, 0, 2, [0])
    """
    told = probabilities.argmax(axis=1)
    tile = np.arange(len(labels))
    excess = probabilities[tile, told] - probabilities[tile, labels]
    pairs, of_pair = np.unique(np.stack([labels, told], axis=1), axis=0, return_inverse=True)
    found = []
    for number, (given, other) in enumerate(pairs.tolist()):
        members = np.flatnonzero(of_pair == number)
        if given != other:
            worst = members[np.argsort(-excess[members], kind="stable")][:n_examples]
            found.append(ConfusedPair(given, other, len(members), worst))
    return sorted(found, key=lambda pair: -pair.n_tiles)
