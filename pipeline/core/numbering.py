"""Numbers of clusters: matched from one k to the next, and the tree in which clusters split."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.optimize import linear_sum_assignment

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

UNKNOWN = -1


def match_numbers(clusters: IntArray, earlier: Sequence[IntArray], *, n_clusters: int) -> IntArray:
    """New number of each cluster, so that the same tiles keep their numbers, shape (cluster,).

    The numbers are those for which the shares of tiles that keep theirs have the largest sum
    over the earlier clusterings. A cluster that matches none gets a number that is left.

    Args:
        clusters: Cluster of each tile, 0 to `n_clusters` - 1, shape (tile,).
        earlier: Numbers of the same tiles in other clusterings, each (tile,); -1 where unknown.
        n_clusters: Clusters there are.

    Source: the assignment problem, Kuhn (1955), doi:10.1002/nav.3800020109.

    >>> match_numbers(np.array([0, 0, 1, 2, 2]), [np.array([1, 1, 1, 0, 0])], n_clusters=3).tolist()
    [1, 2, 0]
    """
    overlap = np.zeros((n_clusters, n_clusters))
    for numbers in earlier:
        known = (numbers >= 0) & (numbers < n_clusters)
        np.add.at(overlap, (clusters[known], numbers[known]), 1 / max(int(known.sum()), 1))
    _, numbers = linear_sum_assignment(-overlap)
    return np.asarray(numbers)


def shares_of_origin(
    numbers: IntArray, previous: IntArray, *, n_clusters: int, n_previous: int
) -> FloatArray:
    """Share of each cluster's tiles that came from each previous one, (cluster, previous).

    Rows of clusters without a tile are NaN.
    """
    counts = np.zeros((n_clusters, n_previous))
    np.add.at(counts, (numbers, previous), 1)
    totals = counts.sum(axis=1, keepdims=True)
    shares: FloatArray = np.divide(
        counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0
    )
    return shares


def order_of_leaves(parents: IntArray) -> IntArray:
    """Numbers in an order in which each follows the cluster it split from, shape (number,).

    Args:
        parents: Cluster from which each number split off, -1 of those there were from the start;
            a parent has a lower number.

    >>> order_of_leaves(np.array([-1, -1, 0, 1, 0])).tolist()
    [0, 4, 2, 1, 3]
    """
    order: list[int] = []
    for number, parent in enumerate(parents.tolist()):
        order.insert(order.index(parent) + 1 if parent >= 0 else len(order), number)
    return np.array(order)


def join_centroids(centroids: FloatArray) -> FloatArray:
    """Tree that joins the nearest clusters first, by the mean distance of their centroids.

    Args:
        centroids: Shape (cluster, dimension).

    Returns:
        Shape (merge, 4), as of `scipy.cluster.hierarchy.linkage`: the two that are joined (numbers
        from the number of clusters on are earlier merges), their distance, and clusters inside.

    Source: average linkage, Sokal and Michener (1958), University of Kansas Science Bulletin 38.
    """
    joined: FloatArray = linkage(centroids, method="average", optimal_ordering=True)
    return joined
