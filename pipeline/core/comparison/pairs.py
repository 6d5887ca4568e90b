"""Rows compared with each other on the same folds."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pipeline.core.classification.scores import find_interval

FloatArray = NDArray[np.floating]


def compare_pairs(
    scores: FloatArray, *, test_ratio: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Difference of all pairs of rows, both ends of its 95 % interval, and p for all pairs at once.

    The p of each pair is that of the corrected resampled t test; it is corrected for their number
    by `holm`. Rows are compared on the folds that both have.

    Args:
        scores: Shape (row, fold), NaN where a row has none.
        test_ratio: Tested tiles per training tile of a fold.

    Returns:
        Shape (row, row) each: the first minus the second; NaN where less than two folds are shared.

    Source: Nadeau and Bengio (2003), doi:10.1023/A:1024068626366.
    """
    n_rows = len(scores)
    difference, low, high, chance = (np.full((n_rows, n_rows), np.nan) for _ in range(4))
    for first in range(n_rows):
        for second in range(n_rows):
            of_folds = scores[first] - scores[second]
            of_folds = of_folds[np.isfinite(of_folds)]
            if first == second or len(of_folds) < 2:
                continue
            difference[first, second] = of_folds.mean()
            ends = find_interval(of_folds, test_ratio=test_ratio)
            low[first, second], high[first, second] = ends
            chance[first, second] = _chance(of_folds, test_ratio)
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


def _chance(of_folds: FloatArray, test_ratio: float) -> float:
    n_folds = len(of_folds)
    error = np.sqrt((1 / n_folds + test_ratio) * of_folds.var(ddof=1))
    if error == 0:
        return 1.0 if of_folds.mean() == 0 else 0.0
    return float(2 * special.stdtr(n_folds - 1, -abs(of_folds.mean()) / error))
