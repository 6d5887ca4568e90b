"""Clusters of embeddings: k-means, its scores, a recommended k, and an order from warm to cold."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import rankdata
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score
from threadpoolctl import threadpool_limits

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

TILES_PER_BLOCK = 65_536

# Sign: 1 where a high score is good, -1 where a low one is.
SCORES = {
    "silhouette": ("silhouette", 1),
    "davies_bouldin": ("Davies–Bouldin index", -1),
    "seed_agreement": ("agreement between seeds", 1),
}


def fit_centroids(
    embeddings: FloatArray, *, n_clusters: int, n_starts: int, seed: int
) -> tuple[FloatArray, float]:
    """Centroids of k-means, shape (cluster, dimension), and the inertia.

    The inertia is the sum of squared distances from each tile to its centroid, the least of
    `n_starts` starts by k-means++.

    Args:
        embeddings: Shape (tile, dimension).
        n_clusters: Clusters wanted, the k of k-means.
        n_starts: Starts, of which the best is kept.
        seed: Of the starts.

    Raises:
        ValueError: If fewer than `n_clusters` embeddings differ.
    """
    n_distinct = len({embedding.tobytes() for embedding in embeddings})
    if n_distinct < n_clusters:
        raise ValueError(
            f"{n_distinct} of {len(embeddings)} training embeddings differ, too few for "
            f"{n_clusters} clusters; lower cluster.k_max, or train until the encoder tells "
            "tiles apart"
        )
    model = KMeans(n_clusters, n_init=n_starts, random_state=seed)
    # Threads would add the members of a cluster in an order that changes from run to run.
    with threadpool_limits(limits=1, user_api="openmp"):
        model.fit(embeddings)
    return model.cluster_centers_, float(model.inertia_)


def assign(embeddings: FloatArray, centroids: FloatArray) -> tuple[IntArray, FloatArray]:
    """Number of each tile's nearest centroid, and the distance to it, both of shape (tile,).

    Args:
        embeddings: Shape (tile, dimension).
        centroids: Shape (cluster, dimension).
    """
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


def silhouette(embeddings: FloatArray, clusters: IntArray) -> float:
    """Mean silhouette, from -1 to 1, high is good; NaN where it is not defined.

    It is defined for at least two clusters of which at least one has two tiles.

    Source: Rousseeuw (1987), doi:10.1016/0377-0427(87)90125-7.
    """
    return float(silhouette_score(embeddings, clusters)) if _has_scores(clusters) else np.nan


def davies_bouldin(embeddings: FloatArray, clusters: IntArray) -> float:
    """Davies–Bouldin index, from 0, low is good; NaN where it is not defined.

    It is defined for at least two clusters of which at least one has two tiles.

    Source: Davies and Bouldin (1979), doi:10.1109/TPAMI.1979.4766909.
    """
    return float(davies_bouldin_score(embeddings, clusters)) if _has_scores(clusters) else np.nan


def _has_scores(clusters: IntArray) -> bool:
    return 1 < len(np.unique(clusters)) < len(clusters)


def seed_agreement(fits: Sequence[IntArray]) -> float:
    """Mean adjusted Rand index of all pairs of `fits`, the clusters (tile,) of several seeds.

    1 where all seeds agree, about 0 where they agree by chance only.

    Source: Hubert and Arabie (1985), doi:10.1007/BF01908075.
    """
    pairs = itertools.combinations(fits, 2)
    return float(np.mean([adjusted_rand_score(first, second) for first, second in pairs]))


def recommend(k: IntArray, scores: Mapping[str, FloatArray]) -> tuple[int, str]:
    """The k of the best mean rank over `SCORES`, and the reason in words.

    Equal scores share the better rank; a score that is NaN ranks last; of equal mean ranks the
    smaller k wins.

    Args:
        k: Shape (k,), ascending.
        scores: For each key of `SCORES` its values, shape (k,).
    """
    ranks = {
        name: rankdata(np.nan_to_num(-sign * scores[name], nan=np.inf), method="min")
        for name, (_, sign) in SCORES.items()
    }
    mean_ranks = np.mean(list(ranks.values()), axis=0)
    best = int(mean_ranks.argmin())
    details = ", ".join(
        f"{label} {scores[name][best]:.3f} (rank {ranks[name][best]:.0f})"
        for name, (label, _) in SCORES.items()
    )
    equals = np.flatnonzero(np.isclose(mean_ranks, mean_ranks[best]))[1:]
    others = " and ".join(map(str, k[equals]))
    tie = f"; k = {others} is of equal rank, and the smaller is taken" if others else ""
    edge = "; no smaller k was tried" if best == 0 else ""
    edge = "; no larger k was tried" if best == len(k) - 1 else edge
    reason = (
        f"k = {k[best]} has the best mean rank, {mean_ranks[best]:.2f} of {len(k)}, "
        f"from k = {k[0]} to {k[-1]}: {details}{tie}{edge}"
    )
    return int(k[best]), reason


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
