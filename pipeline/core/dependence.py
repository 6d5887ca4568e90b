"""How days depend on each other, and how many independent ones they are worth.

Weather lasts. Where days have a correlation ρ from one to the next, and ρ^g over g days, a mean
over days of weights w has a variance f = Σ ρ^|d - d'| w_d w_d' / Σ w_d² times that of independent
ones: n days are worth n / f.

Source: the effective number of days, von Storch and Zwiers (1999), Statistical Analysis in Climate
Research, section 6.6, doi:10.1017/CBO9780511612336.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.core.bootstrap import interval, widening

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

FEWEST_PAIRS = 7  # of consecutive days, below which their correlation cannot be told
FEWEST_DAYS = 5  # of a place whose residuals tell it; of fewer they are correlated by their mean
MOST_PAIRS = 50_000  # that it is told from
MOST_CORRELATED = 0.95
NEAR_DAYS = 5  # apart, within which days of unknown correlation count as the most correlated
FAINT = 0.01  # correlation over days that is left out
FEWEST_EFFECTIVE = 2.0  # days, below which there is no error


def correlate_days(
    place: IntArray, day: IntArray, residuals: Callable[[IntArray], FloatArray]
) -> float:
    """Correlation from one day to the next, of all places and series together, at least 0.

    Args:
        place: Of each visit, a place on a day, ascending, shape (visit,).
        day: Calendar day of each visit, ascending within a place.
        residuals: Takes indices of visits to what they are off the place's mean, (visit, series).

    Returns:
        NaN where fewer than seven pairs of consecutive days tell it.

    Source: for the bias of short series, Marriott and Pope (1954), doi:10.1093/biomet/41.3-4.390.
    """
    n_days = np.bincount(place)[place]
    first = np.flatnonzero(
        (place[1:] == place[:-1]) & (day[1:] - day[:-1] == 1) & (n_days[1:] >= FEWEST_DAYS)
    )
    if len(np.unique(day[first])) < FEWEST_PAIRS:
        return np.nan
    first = first[:: -(-len(first) // MOST_PAIRS)]
    today, tomorrow = residuals(first), residuals(first + 1)
    squares = (np.square(today).sum() + np.square(tomorrow).sum()) / 2
    if squares == 0:
        return 0.0
    found = float((today * tomorrow).sum() / squares)
    shortness = float((1 / n_days[first]).mean())
    return float(np.clip((found + shortness) / (1 - 3 * shortness), 0, MOST_CORRELATED))


def inflation(
    weight: FloatArray | IntArray,
    place: IntArray,
    day: IntArray,
    *,
    n_places: int,
    correlation: float,
) -> FloatArray:
    """Variance of each place's mean over days, of that of independent days, shape (place,).

    Args:
        weight: Of each visit in the mean, shape (visit,).
        place: As of `correlate_days`, as is `day`.
        day: Calendar day of each visit.
        n_places: Places there are.
        correlation: Of `correlate_days`; where it is NaN, days within five of each other count as
            correlated by 0.95 from one to the next, and those beyond as independent.
    """
    squares = np.bincount(place, weight**2, minlength=n_places)
    if np.isnan(correlation):
        correlation, furthest = MOST_CORRELATED, NEAR_DAYS
    else:
        furthest = int(np.log(FAINT) / np.log(max(correlation, FAINT)))
    span = int(day.max(initial=0)) + furthest + 1
    key = place.astype(np.int64) * span + day
    products = np.zeros(n_places)
    for gap in range(1, furthest + 1):
        _, earlier, later = np.intersect1d(key + gap, key, return_indices=True)
        both = weight[earlier] * weight[later]
        products += 2 * correlation**gap * np.bincount(place[earlier], both, minlength=n_places)
    return np.divide(products, squares, out=np.zeros(n_places), where=squares > 0) + 1


def interval_over_days(
    mean: float,
    draws: FloatArray,
    *,
    weight: FloatArray | IntArray,
    calendar: IntArray,
    residuals: FloatArray,
) -> tuple[float, float]:
    """Ends of the 95 % interval of a mean over days, NaN where they are worth fewer than two.

    Those of bootstrap samples of days, widened to as many as the days are worth: unevenly filled
    ones (Σ w)² / Σ w², and in a row fewer again.

    Args:
        mean: Of the days as they are.
        draws: The mean in bootstrap samples, shape (draw,).
        weight: Of each day in the mean, shape (day,).
        calendar: Calendar day of each, ascending, shape (day,).
        residuals: What each day is off the mean, times its weight, shape (day,).

    Source: Kish (1965), Survey Sampling, section 11.7, for uneven days.
    """
    place = np.zeros(len(calendar), np.int64)
    correlation = correlate_days(place, calendar, lambda chosen: residuals[chosen, None])
    inflated = inflation(weight, place, calendar, n_places=1, correlation=correlation)
    uneven = np.square(weight.sum(keepdims=True)) / np.square(weight).sum()
    [factor] = interval_factor(uneven, inflated).tolist()
    low, high = interval(draws)
    return mean - factor * (mean - float(low)), mean + factor * (float(high) - mean)


def interval_factor(uneven: FloatArray, inflated: FloatArray) -> FloatArray:
    """What bootstrap intervals of independent days are to be stretched by.

    Args:
        uneven: Even days that the days are worth, (Σ w)² / Σ w².
        inflated: Of `inflation`, same shape.

    Returns:
        Same shape; NaN where the days are worth fewer than two.
    """
    effective = uneven / inflated
    enough = np.where(effective >= FEWEST_EFFECTIVE, effective, np.nan)
    return np.asarray(widening(enough) * np.sqrt(inflated))


def correct_error(n_days: FloatArray | IntArray, inflated: FloatArray) -> FloatArray:
    """What a standard error of n independent days is multiplied by; NaN where they are worth < 2.

    The spread among correlated days is too small, too, by (n - f) / (n - 1) in the mean square.
    """
    enough = n_days / inflated >= FEWEST_EFFECTIVE
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.sqrt(inflated * (n_days - 1) / (n_days - inflated))
    return np.where(enough, factor, np.nan)


def say(correlation: float) -> str:
    """How errors came about, and why there may be none, in words."""
    none = f"; where days are worth fewer than {FEWEST_EFFECTIVE:g} there are none"
    if np.isnan(correlation):
        return (
            f"errors take days within {NEAR_DAYS} days of each other as correlated by "
            f"{MOST_CORRELATED} from one to the next, the most there may be, since fewer than "
            f"{FEWEST_PAIRS} pairs of consecutive days do not show by how much{none}"
        )
    return (
        f"errors are of the effective number of days, which are correlated by {correlation:.2f} "
        f"from one to the next{none}"
    )
