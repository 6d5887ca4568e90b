"""Cluster cards: which tiles show a cluster, when and where it is found, what people call it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from pipeline.core.clustering import TILES_PER_BLOCK, assign
from pipeline.core.grid import Cells, find_cells, latitude_longitude_grid

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

CELL_DEGREES = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0)
MOST_CELLS = 45  # along either side of a small map


@dataclass(frozen=True)
class Shares:
    """How much of each bin's tiles is of a cluster; a cluster seen often where tiles are many."""

    share: FloatArray  # (cluster, bin); NaN without tiles
    n_tiles: IntArray  # (bin,)
    n_days: IntArray  # (bin,)


@dataclass(frozen=True)
class ClassMatch:
    """Labelled tiles among clusters, by class."""

    n_tiles: IntArray  # in each cluster (cluster, class)
    distance: FloatArray  # mean distance of a class to each centroid (cluster, class)

    @property
    def nearest(self) -> IntArray:
        """The class with the least mean distance, shape (cluster,)."""
        return np.asarray(self.distance.argmin(axis=1))


def find_rivals(embeddings: FloatArray, centroids: FloatArray) -> tuple[IntArray, FloatArray]:
    """The second-nearest centroid of each tile, and the margin to it, both of shape (tile,).

    The margin is how much farther that centroid is than the nearest, as a share of its distance:
    0 at the edge of a cluster, 1 at its centroid.

    Args:
        embeddings: Shape (tile, dimension).
        centroids: At least two, shape (cluster, dimension).
    """
    rivals = np.empty(len(embeddings), np.int16)
    margins = np.empty(len(embeddings), np.float32)
    for start in range(0, len(embeddings), TILES_PER_BLOCK):
        block = slice(start, start + TILES_PER_BLOCK)
        table = cdist(embeddings[block], centroids)  # (tile, cluster)
        two = np.argsort(table, axis=1, kind="stable")[:, :2]
        nearest, second = np.take_along_axis(table, two, axis=1).T
        rivals[block] = two[:, 1]
        margins[block] = np.divide(
            second - nearest, second, out=np.zeros_like(second), where=second > 0
        )
    return rivals, margins


def draw_members(
    clusters: IntArray, *, cluster: int, n_examples: int, rng: np.random.Generator
) -> IntArray:
    """Tiles of `cluster` drawn at random, each once; fewer where the cluster is smaller."""
    members = np.flatnonzero(clusters == cluster)
    return rng.choice(members, min(n_examples, len(members)), replace=False)


def share_in_bins(
    clusters: IntArray, bins: IntArray, days: IntArray, *, n_clusters: int, n_bins: int
) -> Shares:
    """Share of each cluster among the tiles of each bin, such as a month.

    Args:
        clusters: Of each tile, shape (tile,).
        bins: Of each tile, from 0, shape (tile,).
        days: Of each tile, as of `number_days`, shape (tile,).
        n_clusters: Clusters there are.
        n_bins: Bins there are.
    """
    pairs = clusters.astype(np.int64) * n_bins + bins
    counts = np.bincount(pairs, minlength=n_clusters * n_bins).reshape(n_clusters, n_bins)
    n_tiles = counts.sum(axis=0)
    share = np.divide(counts, n_tiles, out=np.full(counts.shape, np.nan), where=n_tiles > 0)
    bin_of_day = np.unique(np.column_stack([bins, days]), axis=0)[:, 0]
    return Shares(share, n_tiles, np.bincount(bin_of_day, minlength=n_bins))


def choose_cells(latitude: FloatArray, longitude: FloatArray, *, tile_degrees: float) -> Cells:
    """Cells of equal angles for a small map of tiles, no smaller than these and not too many.

    Args:
        latitude: Centre of each tile, degrees north, shape (tile,).
        longitude: Likewise, degrees east.
        tile_degrees: Edge of a tile; in smaller cells a regular grid of tiles would leave gaps.
    """
    for degrees in CELL_DEGREES:
        grid = latitude_longitude_grid(degrees, key="cell")
        cells = find_cells(grid, latitude, longitude)
        if degrees >= tile_degrees and max(cells.shape) <= MOST_CELLS:
            break
    return cells


def match_classes(
    embeddings: FloatArray, labels: IntArray, centroids: FloatArray, *, n_classes: int
) -> ClassMatch:
    """Labelled tiles among the clusters of `centroids`.

    Args:
        embeddings: Of labelled tiles, shape (tile, dimension).
        labels: Class of each, from 0, shape (tile,); every class has tiles.
        centroids: Shape (cluster, dimension).
        n_classes: Classes there are.
    """
    clusters, _ = assign(embeddings, centroids)
    n_tiles = np.zeros((len(centroids), n_classes), np.int64)
    np.add.at(n_tiles, (clusters, labels), 1)
    table = cdist(embeddings, centroids)  # (tile, cluster)
    means = [table[labels == each].mean(axis=0) for each in range(n_classes)]
    return ClassMatch(n_tiles, np.stack(means, axis=1))
