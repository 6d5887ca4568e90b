"""Composites: what the tiles of each cluster are on average, with intervals from days."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.bootstrap import bootstrap_means, interval, widening

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class Composite:
    """A quantity of each cluster; arrays of shape (cluster,), NaN where nothing tells."""

    mean: FloatArray
    low: FloatArray  # ends of the 95 % interval of the mean
    high: FloatArray
    spread: FloatArray  # standard deviation of the tiles
    n_tiles: IntArray  # that have the quantity
    n_days: IntArray


def composite(
    values: FloatArray, clusters: IntArray, days: IntArray, *, n_clusters: int, draws: IntArray
) -> Composite:
    """Mean of the finite `values` in each cluster, its interval, and their spread.

    A cluster seen on fewer than two days has no interval, and those of few days are widened.

    Args:
        values: Shape (tile,).
        clusters: Of each tile, shape (tile,).
        days: Of each tile, as of `number_days`, shape (tile,).
        n_clusters: Clusters there are, also those without a tile.
        draws: Bootstrap samples of days, as of `draw_days`, shape (draw, day).
    """
    mean = _means(values, clusters, n_clusters)
    drawn = bootstrap_means(values, clusters, days, n_groups=n_clusters, draws=draws)
    return summarise(values, mean, interval(drawn), clusters, days, n_days=draws.shape[1])


def _means(values: FloatArray, clusters: IntArray, n_clusters: int) -> FloatArray:
    one_day = np.zeros(len(values), np.int64)
    once = np.ones((1, 1), np.int64)
    means = bootstrap_means(values, clusters, one_day, n_groups=n_clusters, draws=once)
    return np.asarray(means[0])


def summarise(
    values: FloatArray,
    mean: FloatArray,
    bounds: tuple[FloatArray, FloatArray],
    clusters: IntArray,
    days: IntArray,
    *,
    n_days: int,
) -> Composite:
    """The composite of `values` (tile,) from their means and bootstrap intervals (cluster,)."""
    n_clusters = len(mean)
    known = np.isfinite(values)
    cells = clusters[known].astype(np.int64) * n_days + days[known]
    counts = np.bincount(cells, minlength=n_clusters * n_days).reshape(n_clusters, n_days)
    seen_on = (counts > 0).sum(axis=1)
    squares = (values.astype(np.float64) - mean[clusters]) ** 2
    factor = widening(seen_on)
    low, high = (
        np.clip(mean + factor * (bound - mean), *_range(values[known])) for bound in bounds
    )
    return Composite(
        mean=mean,
        low=low,
        high=high,
        spread=np.sqrt(_means(squares, clusters, n_clusters)),
        n_tiles=counts.sum(axis=1),
        n_days=seen_on,
    )


def _range(values: FloatArray) -> tuple[float, float]:
    """Of a mean: that of what it is taken of."""
    return (values.min(), values.max()) if len(values) else (np.nan, np.nan)


def spread_over_days(
    clusters: IntArray, days: IntArray, *, most: int, rng: np.random.Generator
) -> IntArray:
    """At most so many tiles of each cluster, drawn in turn from its days, in ascending order."""
    chosen = []
    for number in np.unique(clusters):
        members = rng.permutation(np.flatnonzero(clusters == number))
        members = members[np.argsort(days[members], kind="stable")]
        first = np.searchsorted(days[members], days[members])
        turns = np.arange(len(members)) - first  # of each tile within its day
        chosen.append(members[np.argsort(turns, kind="stable")][:most])
    return np.sort(np.concatenate(chosen))
