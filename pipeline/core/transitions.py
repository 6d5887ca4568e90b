"""What follows a cluster at the same place, as a geostationary satellite sees it."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core import cf
from pipeline.core.occurrence import count_occurrence
from pipeline.core.sphere import great_circle_km

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]


@dataclass(frozen=True)
class Pairs:
    """Tiles of one place at two times; arrays of shape (pair,)."""

    first: IntArray
    second: IntArray
    hours: FloatArray


def find_pairs(
    view: IntArray,
    times: NDArray[np.datetime64],
    latitude: FloatArray,
    longitude: FloatArray,
    *,
    max_hours: float,
    max_km: FloatArray,
) -> Pairs:
    """Pairs of tiles at the same place of the same view, up to `max_hours` apart.

    Args:
        view: Number of the platform, row and column of each tile, shape (tile,).
        times: Shape (tile,).
        latitude: Of centres, degrees, shape (tile,).
        longitude: Likewise.
        max_hours: Between the two times, which must differ.
        max_km: Between the two centres, of each tile, shape (tile,).
    """
    order = np.lexsort([times, view])
    view, times = view[order], times[order]
    longest = np.timedelta64(round(max_hours * 3.6e6), "ms")
    found: list[IntArray] = []
    start = np.arange(len(order))
    step = 1
    while start.size:  # pairs `step` apart in the order; fewer with each step
        start = start[start + step < len(order)]
        end = start + step
        start = start[(view[end] == view[start]) & (times[end] - times[start] <= longest)]
        end = start + step
        i, j = order[start], order[end]
        near = great_circle_km(latitude[i], longitude[i], latitude[j], longitude[j]) <= max_km[i]
        later = times[end] > times[start]
        found.append(np.stack([i, j])[:, near & later])
        step += 1
    first, second = np.concatenate(found, axis=1)
    original = np.empty_like(times)
    original[order] = times
    hours = (original[second] - original[first]) / np.timedelta64(1, "ns") / 3.6e12
    return Pairs(first, second, hours)


def number_views(platform: IntArray, row: IntArray, column: IntArray) -> IntArray:
    """Number of each tile's platform, row and column, shape (tile,)."""
    keys = [np.unique(key, return_inverse=True)[1] for key in (platform, row, column)]
    return np.asarray(np.ravel_multi_index(keys, [int(key.max()) + 1 for key in keys]))


def expect_by_chance(
    pairs: Pairs,
    stratum: IntArray,
    cluster: IntArray,
    day: IntArray,
    *,
    n_clusters: int,
) -> FloatArray:
    """Chance of each later cluster, (pair, cluster), had a place its climate and no memory.

    It is the frequency of clusters in the stratum of the later tile, its place and hour of the day,
    on other days than those of the two tiles. Places have climates of their own and hours their
    sun: margins over all of them would take both for persistence. NaN where the stratum has tiles
    on no other day.

    Args:
        pairs: Of tiles.
        stratum: Number of each tile's place and hour, shape (tile,).
        cluster: Of each tile, shape (tile,).
        day: Of each tile, from 0, shape (tile,).
        n_clusters: Clusters there are.
    """
    n_days = int(day.max()) + 1
    strata, stratum = np.unique(stratum, return_inverse=True)
    counts = np.zeros((len(strata), n_clusters))
    np.add.at(counts, (stratum, cluster), 1)
    visits, visit = np.unique(stratum * np.int64(n_days) + day, return_inverse=True)
    on_day = np.zeros((len(visits) + 1, n_clusters))  # the last is of no visit
    np.add.at(on_day, (visit, cluster), 1)

    def seen_on(that_day: IntArray) -> FloatArray:
        wanted = stratum[pairs.second] * np.int64(n_days) + that_day
        place = np.searchsorted(visits, wanted).clip(max=len(visits) - 1)
        found: FloatArray = on_day[np.where(visits[place] == wanted, place, len(visits))]
        return found

    others = counts[stratum[pairs.second]] - seen_on(day[pairs.second])
    is_later = (day[pairs.first] != day[pairs.second])[:, None]
    others -= np.where(is_later, seen_on(day[pairs.first]), 0)
    totals = others.sum(axis=1, keepdims=True)
    chance = np.full(others.shape, np.nan)
    return np.asarray(np.divide(others, totals, out=chance, where=totals > 0))


def count_transitions(
    pairs: Pairs,
    cluster: IntArray,
    day: IntArray,
    stratum: IntArray,
    *,
    n_clusters: int,
    lag_edges: FloatArray,
) -> xr.Dataset:
    """Counts (lag, from_cluster, to_cluster), and how probable the later clusters are.

    Args:
        pairs: Of tiles.
        cluster: Of each tile, shape (tile,).
        day: Of each tile, from 0, shape (tile,); a pair belongs to the day of its earlier tile.
        stratum: Number of each tile's place and hour, shape (tile,).
        n_clusters: Clusters there are.
        lag_edges: Of the bins of time between the two tiles, which hold their upper edge, hours.

    Returns:
        Beside the counts those of the pairs for which chance can be told, `compared_count`, and
        what they would be by chance, `expected_count`.

    Raises:
        ValueError: If the edges do not ascend.
    """
    if (np.diff(lag_edges) <= 0).any():
        raise ValueError(
            f"grid_clusters.lag_edges are {lag_edges.tolist()}, but each must exceed the one before"
        )
    n_lags = len(lag_edges) - 1
    lag = np.searchsorted(lag_edges, pairs.hours, side="left") - 1
    kept = (lag >= 0) & (lag < n_lags)
    lag, pairs = lag[kept], Pairs(pairs.first[kept], pairs.second[kept], pairs.hours[kept])
    n_starts = n_lags * n_clusters
    count = np.zeros((n_starts, n_clusters), np.int64)
    compared = np.zeros((n_starts, n_clusters))
    expected = np.zeros((n_starts, n_clusters))
    probability, error = np.full((2, *count.shape), np.nan)
    if len(lag):
        start = lag * n_clusters + cluster[pairs.first]
        found = count_occurrence(
            start, cluster[pairs.second], day[pairs.first], n_clusters=n_clusters
        )
        count[found.place] = found.count
        probability[found.place] = found.frequency
        error[found.place] = found.standard_error
        chance = expect_by_chance(pairs, stratum, cluster, day, n_clusters=n_clusters)
        told = np.isfinite(chance[:, 0])
        np.add.at(expected, start[told], chance[told])
        np.add.at(compared, (start[told], cluster[pairs.second[told]]), 1)
    shape = (n_lags, n_clusters, n_clusters)
    table = ("lag", "from_cluster", "to_cluster")
    n_pairs = np.bincount(lag, minlength=n_lags)
    hours = np.bincount(lag, pairs.hours, minlength=n_lags)
    mean_lag = np.divide(hours, n_pairs, out=np.full(n_lags, np.nan), where=n_pairs > 0)
    numbers = np.arange(n_clusters, dtype=np.int16)
    product = xr.Dataset(
        {
            "count": (table, count.reshape(shape).astype(np.int32)),
            "compared_count": (table, compared.reshape(shape).astype(np.int32)),
            "expected_count": (table, expected.reshape(shape)),
            "probability": (table, probability.reshape(shape)),
            "standard_error": (table, error.reshape(shape)),
            "n_pairs": ("lag", n_pairs.astype(np.int32)),
            "mean_lag": ("lag", mean_lag),
        },
        coords={"from_cluster": numbers, "to_cluster": numbers},
    )
    return cf.attribute(cf.bounded(product, "lag", cf.pair(lag_edges)))
