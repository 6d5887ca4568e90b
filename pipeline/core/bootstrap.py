"""Uncertainty from days: tiles of one day show the same weather, those of others nearly do not."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

INTERVAL = (2.5, 97.5)  # percentiles, of 95 %


def number_days(times: NDArray[np.datetime64]) -> IntArray:
    """Number of each time's UTC day, from 0 in the order of days, same shape.

    >>> number_days(np.array(["2020-01-03T12", "2020-01-01T23", "2020-01-03T01"], "M8[h]")).tolist()
    [1, 0, 1]
    """
    _, numbers = np.unique(times.astype("datetime64[D]"), return_inverse=True)
    return numbers.reshape(times.shape)


def calendar_days(times: NDArray[np.datetime64]) -> IntArray:
    """UTC days from the first one to each time, same shape.

    >>> calendar_days(np.array(["2020-01-03T12", "2020-01-01T23"], "M8[h]")).tolist()
    [2, 0]
    """
    days = times.astype("datetime64[D]").astype(np.int64)
    return np.asarray(days - days.min(initial=np.iinfo(np.int64).max))


def draw_days(n_days: int, *, n_draws: int, rng: np.random.Generator) -> IntArray:
    """How often each day is in each bootstrap sample of as many days, shape (draw, day).

    Source: the block bootstrap, Künsch (1989), doi:10.1214/aos/1176347265.
    """
    return rng.multinomial(n_days, np.full(n_days, 1 / n_days), size=n_draws)


def bootstrap_means(
    values: FloatArray, groups: IntArray, days: IntArray, *, n_groups: int, draws: IntArray
) -> FloatArray:
    """Mean of the finite `values` in each group and bootstrap sample, NaN where there is none.

    Args:
        values: Shape (tile,).
        groups: Of each tile, such as its cluster, shape (tile,).
        days: Of each tile, as of `number_days`, shape (tile,).
        n_groups: Groups there are.
        draws: As of `draw_days`, shape (draw, day).

    Returns:
        Shape (draw, group).
    """
    known = np.isfinite(values)
    n_days = draws.shape[1]
    cell = days[known].astype(np.int64) * n_groups + groups[known]
    counts = np.bincount(cell, minlength=n_days * n_groups).reshape(n_days, n_groups)
    sums = np.bincount(cell, weights=values[known], minlength=n_days * n_groups)
    totals = draws @ counts
    means: FloatArray = np.divide(
        draws @ sums.reshape(n_days, n_groups),
        totals,
        out=np.full(totals.shape, np.nan),
        where=totals > 0,
    )
    return means


def interval(draws: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ends of the 95 % interval of what was drawn, over the first axis; NaN where all is missing.

    Draws that are missing are left out.
    """
    told = np.isfinite(draws).any(axis=0)
    ends = np.nanpercentile(np.where(told, draws, 0.0), INTERVAL, axis=0)
    low, high = np.where(told, ends, np.nan)
    return low, high


def widening(n_days: IntArray | FloatArray) -> FloatArray:
    """Factor by which bootstrap intervals from so few days are too narrow; NaN below two days.

    Resampled means of n values have (n - 1) / n of the variance they should have, and percentiles
    are those of a normal distribution where Student's, of n - 1 degrees of freedom, is due.

    Source: Hesterberg (2015), doi:10.1080/00031305.2015.1089789.

    >>> widening(np.array([1, 2, 4, 10, 100])).round(2)
    array([ nan, 9.17, 1.87, 1.22, 1.02])
    """
    n = np.where(n_days > 1, n_days, np.nan)
    factor = np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, 0.975) / special.ndtri(0.975)
    return np.asarray(factor)
