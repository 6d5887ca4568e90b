"""Clusters of embeddings: k-means, its scores, and tiles that show a cluster."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.metrics import (
    calinski_harabasz_score,
    davies_bouldin_score,
    silhouette_samples,
)
from threadpoolctl import threadpool_limits
from torch import Tensor

from pipeline.core.device import compute_device

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

TILES_PER_BLOCK = 65_536
EQUAL_INERTIA = 1.01  # fits whose inertia differs by less than 1 % are taken to be equally good


def fit_centroids(
    embeddings: FloatArray,
    *,
    n_clusters: int,
    n_starts: int,
    seed: int,
    weights: FloatArray | None = None,
) -> tuple[FloatArray, float]:
    """Centroids of k-means, shape (cluster, dimension), and the inertia.

    The inertia is the sum of squared distances from each tile to its centroid, the least of
    `n_starts` starts by k-means++.

    Args:
        embeddings: Shape (tile, dimension).
        n_clusters: Clusters wanted, the k of k-means.
        n_starts: Starts, of which the best is kept.
        seed: Of the starts.
        weights: How often each tile counts, shape (tile,); once where they are not given.

    Raises:
        ValueError: If fewer than `n_clusters` embeddings differ.
    """
    if (n_distinct := count_distinct(embeddings, at_most=n_clusters)) < n_clusters:
        raise ValueError(
            f"{n_distinct} of {len(embeddings)} training embeddings differ, too few for "
            f"{n_clusters} clusters; lower cluster.k_max, or train until the encoder tells "
            "tiles apart"
        )
    return _fit(KMeans(n_clusters, n_init=n_starts, random_state=seed), embeddings, weights)


def _fit(
    model: KMeans, embeddings: FloatArray, weights: FloatArray | None = None
) -> tuple[FloatArray, float]:
    if (device := compute_device()).type == "cuda":
        return fit_on(device, model, embeddings, weights)
    # Threads would add the members of a cluster in an order that changes from run to run.
    with threadpool_limits(limits=1, user_api="openmp"):
        model.fit(embeddings, sample_weight=weights)
    return model.cluster_centers_, float(model.inertia_)


def fit_on(
    device: torch.device, model: KMeans, embeddings: FloatArray, weights: FloatArray | None
) -> tuple[FloatArray, float]:
    """Centroids and inertia that `model` would find, with Lloyd's iterations on `device`.

    Starts are drawn as scikit-learn draws them, unless `model.init` is one, and iterations end by
    its rule; a cluster that loses its last tile keeps its centroid.

    Args:
        device: Where to iterate, in the precision of the embeddings.
        model: Of which `n_clusters`, `init`, `n_init`, `max_iter`, `tol` and `random_state` count.
        embeddings: Shape (tile, dimension).
        weights: As of `fit_centroids`.
    """
    weights = np.ones(len(embeddings), embeddings.dtype) if weights is None else weights
    points = torch.from_numpy(embeddings).to(device)
    counted = torch.from_numpy(weights).to(device)
    random = np.random.RandomState(model.random_state)
    fits = []
    for _ in range(model.n_init):
        start = model.init
        if isinstance(start, str):
            start, _ = kmeans_plusplus(
                embeddings, model.n_clusters, sample_weight=weights, random_state=random
            )
        start = torch.from_numpy(np.asarray(start, embeddings.dtype)).to(device)
        fits.append(_iterate(points, counted, start, max_iter=model.max_iter, tol=model.tol))
    centroids, inertia = min(fits, key=lambda fit: fit[1])
    return centroids.cpu().numpy(), inertia


def _iterate(
    points: Tensor, weights: Tensor, centroids: Tensor, *, max_iter: int, tol: float
) -> tuple[Tensor, float]:
    """Lloyd's iterations from `centroids` (cluster, dimension), and the inertia they end with."""
    tolerance = tol * points.var(dim=0, correction=0).mean()
    for _ in range(max_iter):
        nearest = torch.cdist(points, centroids).argmin(dim=1)
        members = torch.nn.functional.one_hot(nearest, len(centroids)) * weights[:, None]
        counts = members.sum(dim=0)[:, None]  # sums by products: the same in every run
        means = members.T @ points / counts.clamp(min=torch.finfo(counts.dtype).tiny)
        moved = torch.where(counts > 0, means, centroids)
        shift = (moved - centroids).square().sum()
        centroids = moved
        if shift <= tolerance:
            break
    squares = torch.cdist(points, centroids).min(dim=1).values.square()
    return centroids, float((weights * squares).double().sum())


def count_distinct(embeddings: FloatArray, *, at_most: int) -> int:
    """How many embeddings differ; counting ends at so many."""
    distinct: set[bytes] = set()
    for embedding in embeddings:
        distinct.add(embedding.tobytes())
        if len(distinct) == at_most:
            break
    return len(distinct)


def nest_centroids(
    embeddings: FloatArray, fits: Sequence[tuple[FloatArray, float]], *, seed: int
) -> list[FloatArray]:
    """Centroids for each k, each made from those of k - 1 where that is as good as a fresh fit.

    The cluster of the largest inertia is split in two, and k-means goes on from there. What comes
    out is kept unless the inertia of the fresh fit is less by more than 1 %, so that clusters
    change from one k to the next only as far as the tiles ask for it.

    Args:
        embeddings: Shape (tile, dimension).
        fits: Of consecutive k, as of `fit_centroids`.
        seed: Of the splits.

    Source: adding one cluster at a time, Likas et al. (2003), doi:10.1016/S0031-3203(02)00060-2.
    """
    nested = [fits[0][0]]
    for fresh, inertia in fits[1:]:
        clusters, distances = assign(embeddings, nested[-1])
        sums = np.bincount(clusters, weights=np.square(distances), minlength=len(nested[-1]))
        widest = int(sums.argmax())
        halves, _ = _fit(KMeans(2, n_init=1, random_state=seed), embeddings[clusters == widest])
        start = np.concatenate([np.delete(nested[-1], widest, axis=0), halves])
        grown, inertia_grown = _fit(KMeans(len(start), init=start, n_init=1), embeddings)
        nested.append(grown if inertia_grown <= EQUAL_INERTIA * inertia else fresh)
    return nested


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


def silhouettes(embeddings: FloatArray, clusters: IntArray) -> FloatArray:
    """Silhouette of each tile, from -1 to 1, high is good, shape (tile,); NaN where undefined.

    It is defined for at least two clusters of which at least one has two tiles.

    Source: Rousseeuw (1987), doi:10.1016/0377-0427(87)90125-7.
    """
    if not _has_scores(clusters):
        return np.full(len(clusters), np.nan)
    found: FloatArray = silhouette_samples(embeddings, clusters)
    return found


def davies_bouldin(embeddings: FloatArray, clusters: IntArray) -> float:
    """Davies–Bouldin index, from 0, low is good; NaN where silhouettes are.

    Source: Davies and Bouldin (1979), doi:10.1109/TPAMI.1979.4766909.
    """
    return float(davies_bouldin_score(embeddings, clusters)) if _has_scores(clusters) else np.nan


def calinski_harabasz(embeddings: FloatArray, clusters: IntArray) -> float:
    """Calinski–Harabasz index, from 0, high is good; NaN where silhouettes are.

    Source: Calinski and Harabasz (1974), doi:10.1080/03610927408827101.
    """
    return float(calinski_harabasz_score(embeddings, clusters)) if _has_scores(clusters) else np.nan


def _has_scores(clusters: IntArray) -> bool:
    return 2 <= len(np.unique(clusters)) < len(clusters)


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
