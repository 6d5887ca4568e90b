"""What the clusters reflect beyond their cloud fraction."""

import numpy as np
from numpy.typing import NDArray

from pipeline.core.bootstrap import interval
from pipeline.core.composite import Composite, Days, summarise

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

CLOUD_KNOTS = np.linspace(0, 1, 5)  # of the piecewise linear reflectance over cloud fraction
SMALLEST_EIGENVALUE = 1e-10  # of the largest; less is rounding


def beyond_cloud_fraction(
    reflectance: FloatArray,
    cloud_fraction: FloatArray,
    solar_zenith: FloatArray,
    clusters: IntArray,
    days: Days,
    *,
    n_clusters: int,
) -> tuple[Composite, FloatArray]:
    """Reflectance of clusters beyond what their cloud fraction tells, and that of each tile.

    It is what remains of a tile's reflectance after the least squares over all tiles of

        reflectance = f(cloud fraction) + b μ + c μ² + d μ · cloud fraction,

    μ being the cosine of the solar zenith angle and f linear between `CLOUD_KNOTS`. It is the
    effect of what else a cluster is, such as its optical thickness, against the mean of tiles of
    the same cloud fraction and sun. The fit is made anew in each bootstrap sample, so that the
    intervals hold its uncertainty, too. Where no sun is told, the terms of μ are left out.

    Args:
        reflectance: Shape (tile,), as are all others; NaN is missing.
        cloud_fraction: From 0 to 1.
        solar_zenith: Degrees.
        clusters: Of each tile.
        days: Of the tiles.
        n_clusters: Number of clusters, including empty ones.

    Returns:
        The composite, and the remainder of each tile, shape (tile,), in the unit of `reflectance`.
    """
    terms = _terms(cloud_fraction, solar_zenith)  # (tile, term)
    known = np.isfinite(reflectance) & np.isfinite(terms).all(axis=1)
    fitted = (
        terms[known],
        reflectance[known].astype(np.float64),
        clusters[known],
        days.number[known],
    )
    n_days = len(days.calendar)
    once = np.ones((1, n_days), np.int64)
    coefficients, means = _refit(*fitted, n_clusters=n_clusters, draws=once)
    remainder = np.where(known, reflectance - terms @ coefficients[0], np.nan)
    bounds = interval(_refit(*fitted, n_clusters=n_clusters, draws=days.draws)[1])
    return summarise(remainder, means[0], bounds, clusters, days), remainder


def _terms(cloud_fraction: FloatArray, solar_zenith: FloatArray) -> FloatArray:
    """Terms of the fit, shape (tile, term); between two knots only their own are not 0."""
    width = CLOUD_KNOTS[1] - CLOUD_KNOTS[0]
    fraction = cloud_fraction.astype(np.float64)[:, None]
    hats = np.maximum(0, 1 - np.abs(fraction - CLOUD_KNOTS) / width)
    if not np.isfinite(solar_zenith).any():
        return np.asarray(hats)
    μ = np.cos(np.radians(solar_zenith.astype(np.float64)))[:, None]
    return np.asarray(np.hstack([hats, μ, μ**2, μ * fraction]))


def _refit(
    terms: FloatArray,
    values: FloatArray,
    clusters: IntArray,
    days: IntArray,
    *,
    n_clusters: int,
    draws: IntArray,
) -> tuple[FloatArray, FloatArray]:
    """Coefficients (draw, term) and mean remainders (draw, cluster) of each bootstrap sample.

    Sums over the tiles of a day are all that the normal equations and the means need.
    """
    n_days, n_terms = draws.shape[1], terms.shape[1]
    columns = np.column_stack([terms, values, np.ones(len(terms))])  # (tile, term + 2)
    by_day = np.zeros((n_days, n_terms, n_terms + 1))
    for day in np.unique(days):
        today = days == day
        by_day[day] = terms[today].T @ columns[today, : n_terms + 1]
    cells = days.astype(np.int64) * n_clusters + clusters
    by_cluster = np.stack(
        [np.bincount(cells, column, n_days * n_clusters) for column in columns.T], axis=-1
    )
    equations = (draws @ by_day.reshape(n_days, -1)).reshape(-1, n_terms, n_terms + 1)
    sums = (draws @ by_cluster.reshape(n_days, -1)).reshape(-1, n_clusters, n_terms + 2)
    # By the pseudo-inverse, since a cloud fraction that no tile has leaves a knot undetermined.
    inverse = np.linalg.pinv(equations[..., :-1], SMALLEST_EIGENVALUE, hermitian=True)
    coefficients = (inverse @ equations[..., -1:])[..., 0]  # (draw, term)
    expected = (sums[..., :n_terms] @ coefficients[..., None])[..., 0]  # (draw, cluster)
    counts = sums[..., -1]
    missing = np.full(counts.shape, np.nan)
    means = np.divide(sums[..., -2] - expected, counts, out=missing, where=counts > 0)
    return coefficients, means
