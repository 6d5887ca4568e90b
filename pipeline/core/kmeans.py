"""Centroids by k-means, on the CPU or a GPU."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans, kmeans_plusplus
from threadpoolctl import threadpool_limits
from torch import Tensor

from pipeline.core.clustering import assign
from pipeline.core.device import compute_device

FloatArray = NDArray[np.floating]

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
    """How many embeddings differ, counting no further than `at_most`."""
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
