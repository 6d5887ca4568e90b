"""What a row scored and by how much rows differ, with the variance of labels and of training."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pipeline.core.classification.scores import CONFIDENCE, error_of_mean

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class Estimate:
    """A mean score, or a mean difference of two.

    Attributes:
        mean: Over seeds and folds.
        low: End of its 95 % interval.
        high: The other end.
        chance: p of a mean this far from zero.
    """

    mean: float = np.nan
    low: float = np.nan
    high: float = np.nan
    chance: float = np.nan


def estimate(*rows: FloatArray, n_folds: int) -> Estimate:
    """The mean score of a row, or of the first less that of the second.

    Two sources of variance add up: that over folds of labels, corrected for the tiles that folds
    share, of scores averaged over seeds; and that of the mean over seeds, which are trainings from
    the start. A row with one seed, such as pixel statistics, has none of the second. Degrees of
    freedom are those of Welch and Satterthwaite.

    Args:
        rows: One or two of shape (seed, fold), NaN where there is no score; only folds that all of
            the seeds have count.
        n_folds: Folds of one repeat.

    Returns:
        All NaN where fewer than two folds are shared.

    Source: Bouthillier et al. (2021), arXiv:2103.03098; Satterthwaite (1946),
    doi:10.2307/3002019.
    """
    trained = [row[np.isfinite(row).any(axis=1)] for row in rows]
    shared = np.isfinite(np.concatenate(trained)).all(axis=0)
    if not all(len(row) for row in trained) or shared.sum() < 2:
        return Estimate()
    known = [row[:, shared] for row in trained]
    signs = np.array([1, -1])[: len(rows)]
    of_folds = signs @ np.stack([row.mean(axis=0) for row in known])
    variances = [float(error_of_mean(of_folds, n_folds=n_folds)) ** 2]
    degrees = [len(of_folds) - 1]
    for row in known:
        if len(row) > 1:
            variances.append(float(row.mean(axis=1).var(ddof=1)) / len(row))
            degrees.append(len(row) - 1)
    mean, variance = float(of_folds.mean()), sum(variances)
    if variance == 0:
        return Estimate(mean, mean, mean, float(mean == 0))
    freedom = variance**2 / sum(each**2 / own for each, own in zip(variances, degrees, strict=True))
    error = np.sqrt(variance)
    reach = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2) * error)
    chance = float(2 * special.stdtr(freedom, -abs(mean) / error))
    return Estimate(mean, mean - reach, mean + reach, chance)


def compare_pairs(
    scores: FloatArray, *, n_folds: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Difference of all pairs of rows, both ends of its 95 % interval, and p for all pairs at once.

    The p of each pair is corrected for their number by `holm`.

    Args:
        scores: Shape (row, seed, fold), NaN where a row has none.
        n_folds: Folds of one repeat.

    Returns:
        Shape (row, row) each: the first minus the second; NaN where less than two folds are shared.
    """
    n_rows = len(scores)
    difference, low, high, chance = (np.full((n_rows, n_rows), np.nan) for _ in range(4))
    for first, second in np.argwhere(~np.eye(n_rows, dtype=bool)):
        found = estimate(scores[first], scores[second], n_folds=n_folds)
        difference[first, second], chance[first, second] = found.mean, found.chance
        low[first, second], high[first, second] = found.low, found.high
    above = np.triu_indices(n_rows, 1)
    corrected = np.full((n_rows, n_rows), np.nan)
    corrected[above] = holm(chance[above])
    corrected.T[above] = corrected[above]
    return difference, low, high, corrected


def holm(chances: FloatArray) -> FloatArray:
    """Chances (test,) corrected for their number; those that are NaN stay and are not counted.

    Source: Holm (1979), https://www.jstor.org/stable/4615733.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    corrected = np.full(len(chances), np.nan)
    known = np.flatnonzero(np.isfinite(chances))
    order = known[np.argsort(chances[known])]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.maximum.accumulate(chances[order] * factors).clip(max=1)
    return corrected
