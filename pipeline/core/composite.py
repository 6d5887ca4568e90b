"""Composites: what the tiles of each cluster are on average, with intervals from days."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.bootstrap import bootstrap_means, interval
from pipeline.core.dependence import correlate_days, inflation, interval_factor

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
    correlation: float  # of days, from one to the next; NaN where it cannot be told


@dataclass(frozen=True)
class Days:
    """Days of tiles, and samples of them.

    Attributes:
        number: Of each tile, as of `number_days`, shape (tile,).
        calendar: Calendar day of each number, ascending, shape (day,).
        draws: Bootstrap samples, as of `draw_days`, shape (draw, day).
    """

    number: IntArray
    calendar: IntArray
    draws: IntArray


def composite(values: FloatArray, clusters: IntArray, days: Days, *, n_clusters: int) -> Composite:
    """Mean of the finite `values` in each cluster, its interval, and their spread.

    Intervals are those of bootstrap samples of days, widened as `summarise` says.

    Args:
        values: Shape (tile,).
        clusters: Of each tile, shape (tile,).
        days: Of the tiles.
        n_clusters: Number of clusters, including empty ones.
    """
    mean = _means(values, clusters, n_clusters)
    drawn = bootstrap_means(values, clusters, days.number, n_groups=n_clusters, draws=days.draws)
    return summarise(values, mean, interval(drawn), clusters, days)


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
    days: Days,
) -> Composite:
    """The composite of `values` (tile,) from their means and bootstrap intervals (cluster,).

    Intervals of independent days become those of the effective ones: days in a row are correlated,
    and of n_d tiles a day (Σ n_d)² / Σ n_d² count. Below two of them there is no interval.

    Source: Kish (1965), Survey Sampling, section 11.7, for uneven days; `dependence` for others.
    """
    n_clusters, n_days = len(mean), len(days.calendar)
    known = np.isfinite(values)
    cells = clusters[known].astype(np.int64) * n_days + days.number[known]
    counts = np.bincount(cells, minlength=n_clusters * n_days).reshape(n_clusters, n_days)
    squares = (values.astype(np.float64) - mean[clusters]) ** 2
    off = values[known].astype(np.float64) - mean[clusters[known]]
    off_days = np.bincount(cells, off, minlength=n_clusters * n_days).astype(np.float64)
    visits = np.flatnonzero(counts)
    cluster, day = np.divmod(visits, n_days)
    correlation = correlate_days(
        cluster,
        days.calendar[day],
        lambda chosen: np.asarray(off_days[visits[chosen], None], float),
    )
    weights = counts.ravel()[visits]
    inflated = inflation(
        weights, cluster, days.calendar[day], n_places=n_clusters, correlation=correlation
    )
    uneven = np.square(counts.sum(axis=1)) / np.maximum(np.square(counts).sum(axis=1), 1)
    factor = interval_factor(uneven, inflated)
    low, high = (
        np.clip(mean + factor * (bound - mean), *_range(values[known])) for bound in bounds
    )
    return Composite(
        mean=mean,
        low=low,
        high=high,
        spread=np.sqrt(_means(squares, clusters, n_clusters)),
        n_tiles=counts.sum(axis=1),
        n_days=(counts > 0).sum(axis=1),
        correlation=correlation,
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
