"""Clusters of embeddings: the tiles of given centroids, their order, and those that show them."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

TILES_PER_BLOCK = 65_536


def assign(embeddings: FloatArray, centroids: FloatArray) -> tuple[IntArray, FloatArray]:
    """Number of each tile's nearest centroid, and the distance to it, both of shape (tile,).

    Args:
        embeddings: Shape (tile, dimension).
        centroids: Shape (cluster, dimension), all of them finite.

    Raises:
        ValueError: If a centroid is not, such as those that fill up a product of several k.
    """
    if n_padded := int((~np.isfinite(centroids)).any(axis=1).sum()):
        raise ValueError(
            f"{n_padded} of {len(centroids)} centroids are not finite; take those of one k alone"
        )
    clusters = np.empty(len(embeddings), np.int16)
    distances = np.empty(len(embeddings), np.float32)
    for start in range(0, len(embeddings), TILES_PER_BLOCK):
        block = slice(start, start + TILES_PER_BLOCK)
        table = cdist(embeddings[block], centroids)  # (tile, cluster)
        clusters[block] = table.argmin(axis=1)
        distances[block] = table.min(axis=1)
    return clusters, distances


def cluster_means(values: FloatArray, clusters: IntArray, *, n_clusters: int) -> FloatArray:
    """Mean of the finite `values` (tile,) in each cluster, shape (cluster,); NaN where none is."""
    known = np.isfinite(values)
    counts = np.bincount(clusters[known], minlength=n_clusters)
    sums = np.bincount(clusters[known], weights=values[known], minlength=n_clusters)
    means: FloatArray = np.divide(sums, counts, out=np.full(n_clusters, np.nan), where=counts > 0)
    return means


def order_clusters(means: FloatArray, *, descending: bool) -> IntArray:
    """Clusters in the order of their `means`, those without a mean last.

    >>> order_clusters(np.array([250.0, np.nan, 290.0]), descending=True).tolist()
    [2, 0, 1]
    """
    return np.argsort(-means if descending else means, kind="stable")  # NaN sorts last


def pick_examples(
    clusters: IntArray,
    distances: FloatArray,
    *,
    granules: NDArray[np.generic],
    days: NDArray[np.generic],
    cluster: int,
    n_examples: int,
) -> IntArray:
    """Tiles of `cluster` nearest to its centroid, of different granules and days where possible.

    Arrays have shape (tile,). No granule is shown a second time before every other one that has
    tiles in the cluster; among granules, days take turns; among equals the nearest comes first.

    Args:
        clusters: Number of each tile's cluster.
        distances: From each tile to the centroid of its cluster.
        granules: Granule of each tile.
        days: Day of each tile.
        cluster: Number of the cluster.
        n_examples: Tiles wanted; fewer come back where the cluster is smaller.
    """
    members = np.flatnonzero(clusters == cluster)
    members = members[np.argsort(distances[members], kind="stable")]
    members = members[np.argsort(_turns(granules[members]), kind="stable")]
    turns = _turns(granules[members]), _turns(days[members])
    return members[np.lexsort(turns[::-1])][:n_examples]


def _turns(values: NDArray[np.generic]) -> IntArray:
    """How many earlier elements equal each one."""
    _, codes = np.unique(values, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order])
    turns = np.empty(len(values), np.int64)
    turns[order] = np.arange(len(values)) - starts
    return turns
