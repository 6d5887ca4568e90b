"""How often clusters occur, with standard errors that take days, not tiles, as the sample.

Tiles of one day are correlated, and so are days in a row (see `dependence`). Where day d holds n_d
tiles of a place, c_d of them in a cluster, the frequency is p = Σ c_d / Σ n_d, a ratio of two sums
over the D days with tiles. Of independent days its variance is
D / (D - 1) · Σ (c_d - p n_d)² / (Σ n_d)², the ratio estimator of Cochran (1977), Sampling
Techniques, 3rd edition, equation 6.4, for days that are few of all days.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.core.dependence import correct_error, correlate_days, inflation

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]


@dataclass(frozen=True)
class Occurrence:
    """Tiles by place, the places being those with tiles; a visit is a day of a place.

    Tables have one column per cluster.
    """

    place: IntArray  # (place,), ascending
    count: IntArray  # (place, cluster)
    frequency: FloatArray  # (place, cluster)
    standard_error: FloatArray  # (place, cluster); NaN with fewer than two effective days
    n_tiles: IntArray  # (place,), of all clusters
    n_days: IntArray  # (place,)
    visits: "Visits"
    correlation: float  # of days, from one to the next; NaN where it cannot be told


@dataclass(frozen=True)
class Visits:
    """Tiles of one place and day, and of the clusters among them."""

    place: IntArray  # (visit,), index into the places with tiles
    day: IntArray  # (visit,)
    n_tiles: IntArray  # (visit,), of all clusters
    entry_visit: IntArray  # (entry,): an entry is a cluster that occurs in a visit
    entry_cluster: IntArray  # (entry,)
    entry_count: IntArray  # (entry,)


@dataclass(frozen=True)
class Means:
    """Means over domains, tables of shape (domain, cluster) or (domain,)."""

    frequency: FloatArray  # NaN without tiles
    standard_error: FloatArray  # NaN with fewer than two effective days
    weight: FloatArray  # (domain,), sum over its places
    n_tiles: IntArray  # (domain,)
    n_days: IntArray  # (domain,)
    correlation: float  # of days, from one to the next; NaN where it cannot be told


def count_occurrence(
    place: IntArray, cluster: IntArray, day: IntArray, *, n_clusters: int
) -> Occurrence:
    """Counts, frequencies and standard errors of clusters at each place.

    Args:
        place: Of each tile, such as its cell in its month, shape (tile,).
        cluster: 0 to `n_clusters` - 1, shape (tile,).
        day: Calendar day, from 0, shape (tile,).
        n_clusters: Number of clusters, including empty ones.

    Raises:
        ValueError: If a tile has an impossible cluster.
    """
    if cluster.min() < 0 or cluster.max() >= n_clusters:
        raise ValueError(
            f"clusters are numbered 0 to {n_clusters - 1}, but tiles have "
            f"{cluster.min()} to {cluster.max()}"
        )
    places, index = np.unique(place, return_inverse=True)
    visits = _find_visits(index, cluster.astype(np.int64), day, n_clusters)
    shape = len(places), n_clusters
    cell = visits.place[visits.entry_visit] * n_clusters + visits.entry_cluster

    def add_entries(values: IntArray) -> FloatArray:
        sums = np.bincount(cell, values.astype(float), minlength=shape[0] * n_clusters)
        return np.asarray(sums.reshape(shape), float)

    count = add_entries(visits.entry_count)
    n_tiles = np.bincount(visits.place, visits.n_tiles)[:, None]
    n_days = np.bincount(visits.place)
    frequency = count / n_tiles
    squares = (
        add_entries(visits.entry_count**2)
        - 2 * frequency * add_entries(visits.entry_count * visits.n_tiles[visits.entry_visit])
        + frequency**2 * np.bincount(visits.place, visits.n_tiles**2)[:, None]
    )  # Σ (c_d - p n_d)²
    scale = _few_days(n_days)[:, None]
    table = csr_array(
        (visits.entry_count, (visits.entry_visit, visits.entry_cluster)),
        (len(visits.place), n_clusters),
    )

    def residuals(chosen: IntArray) -> FloatArray:
        expected = frequency[visits.place[chosen]] * visits.n_tiles[chosen, None]
        return np.asarray(table[chosen].toarray() - expected)

    correlation = correlate_days(visits.place, visits.day, residuals)
    inflated = inflation(
        visits.n_tiles, visits.place, visits.day, n_places=len(places), correlation=correlation
    )
    independent = np.sqrt(scale * np.maximum(squares, 0)) / n_tiles
    return Occurrence(
        place=places,
        count=count.astype(np.int64),
        frequency=frequency,
        standard_error=independent * correct_error(n_days, inflated)[:, None],
        n_tiles=n_tiles[:, 0].astype(np.int64),
        n_days=n_days,
        visits=visits,
        correlation=correlation,
    )


def average(
    found: Occurrence,
    domain: IntArray,
    weight: FloatArray,
    *,
    n_domains: int,
    fewest_tiles: int = 1,
) -> Means:
    """Weighted means of the frequencies at places, with standard errors from days.

    Each tile has the weight of its place, divided by the tiles there, so that the mean is
    Σ w_i p_i / Σ w_i over places i, a sum of ratios of their own. Its linearised residual of day d
    is Σ w_i (c_id - p_i n_id) / n_i: weather that spans places on one day counts once, and days
    that see other places than the rest add nothing. Residuals of a place that is seen on D_i days
    are too small by (D_i - 1) / D_i in the mean square, which is made up for. A place seen on a
    single day has none of its own; the domain's frequency takes the place of p_i there.

    Args:
        found: At places.
        domain: Of each place, such as its latitude in its month, shape (place,).
        weight: Of each place, such as its area, shape (place,).
        n_domains: Domains there are, also those without a place.
        fewest_tiles: Places with fewer are left out.

    Source: post-stratified means, Cochran (1977), Sampling Techniques, 3rd edition, section 5A.9;
    Särndal et al. (1992), Model Assisted Survey Sampling, section 7.6,
    doi:10.1007/978-1-4612-4378-6.
    """
    n_clusters = found.count.shape[1]
    weight = np.where(found.n_tiles >= fewest_tiles, weight, 0.0)
    totals = np.bincount(domain, weight, minlength=n_domains)
    totals = np.where(totals > 0, totals, np.nan)[:, None]
    per_place = np.repeat(weight, n_clusters) * found.frequency.ravel()
    cell = domain[:, None] * n_clusters + np.arange(n_clusters)
    sums = np.bincount(cell.ravel(), per_place, minlength=n_domains * n_clusters)
    frequency = sums.reshape(n_domains, n_clusters) / totals
    visits = _counted(found.visits, weight > 0)
    n_days = int(found.visits.day.max()) + 1
    key = domain[visits.place] * np.int64(n_days) + visits.day
    domain_days, row = np.unique(key, return_inverse=True)
    of_domain = domain_days // n_days
    once = found.n_days < 2
    share = np.where(once[:, None], np.nan_to_num(frequency)[domain], found.frequency)
    few = np.where(once, 1.0, np.sqrt(np.nan_to_num(_few_days(found.n_days))))
    tile_weight = (few * weight / found.n_tiles)[visits.place]
    residuals = (
        np.bincount(
            row[visits.entry_visit] * n_clusters + visits.entry_cluster,
            tile_weight[visits.entry_visit] * visits.entry_count,
            minlength=len(domain_days) * n_clusters,
        ).reshape(-1, n_clusters)
        * 1.0
    )  # (domain and day, cluster)
    gather = csr_array(
        (tile_weight * visits.n_tiles, (row, np.arange(len(row)))), (len(domain_days), len(row))
    )
    residuals -= gather @ share[visits.place]
    sums_of_days = csr_array(
        (np.ones(len(of_domain)), (of_domain, np.arange(len(of_domain)))),
        (n_domains, len(of_domain)),
    )
    days = np.bincount(of_domain, minlength=n_domains)
    number = domain_days % n_days
    correlation = correlate_days(
        of_domain, number, lambda chosen: np.asarray(residuals[chosen], float)
    )
    weights = np.bincount(row, tile_weight * visits.n_tiles)
    inflated = inflation(weights, of_domain, number, n_places=n_domains, correlation=correlation)
    error = np.sqrt(sums_of_days @ residuals**2) / totals
    error *= correct_error(days, inflated)[:, None]
    return Means(
        frequency=frequency,
        standard_error=np.where(days[:, None] > 1, error, np.nan),
        weight=np.nan_to_num(totals[:, 0]),
        n_tiles=np.bincount(
            domain, np.where(weight > 0, found.n_tiles, 0), minlength=n_domains
        ).astype(np.int64),
        n_days=days,
        correlation=correlation,
    )


def _counted(visits: Visits, is_counted: BoolArray) -> Visits:
    """Those of the places that count."""
    kept = is_counted[visits.place]
    entries = kept[visits.entry_visit]
    number = np.cumsum(kept) - 1
    return Visits(
        place=visits.place[kept],
        day=visits.day[kept],
        n_tiles=visits.n_tiles[kept],
        entry_visit=number[visits.entry_visit[entries]],
        entry_cluster=visits.entry_cluster[entries],
        entry_count=visits.entry_count[entries],
    )


def _find_visits(place: IntArray, cluster: IntArray, day: IntArray, n_clusters: int) -> Visits:
    n_days = int(day.max()) + 1
    visit_keys, visit = np.unique(place * np.int64(n_days) + day, return_inverse=True)
    entries, entry_count = np.unique(visit * n_clusters + cluster, return_counts=True)
    return Visits(
        place=visit_keys // n_days,
        day=visit_keys % n_days,
        n_tiles=np.bincount(visit),
        entry_visit=entries // n_clusters,
        entry_cluster=entries % n_clusters,
        entry_count=entry_count,
    )


def _few_days(n_days: IntArray) -> FloatArray:
    """D / (D - 1), NaN for a single day."""
    scale = np.full(len(n_days), np.nan)
    return np.asarray(np.divide(n_days, n_days - 1, out=scale, where=n_days > 1))
