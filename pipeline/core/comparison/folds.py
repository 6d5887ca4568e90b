"""Folds that test days no encoder has seen."""

import numpy as np
from numpy.typing import NDArray

from pipeline.core.classification.folds import check_days, draw_folds
from pipeline.core.classification.scores import METRICS, count_confusions, score

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]

UNTESTED = -1
MAIN_METRIC = METRICS.index("balanced_accuracy")


def draw_tested_folds(
    labels: IntArray,
    days: IntArray,
    is_tested: BoolArray,
    is_fitted: BoolArray,
    *,
    names: list[str],
    n_folds: int,
    n_repeats: int,
    seed: int,
) -> tuple[BoolArray, BoolArray]:
    """Which tiles each fold is fitted on and which it tests, (fold, tile) each, of all repeats.

    A fold tests some days of the tested tiles, and is fitted on their other days and on the
    tiles that are only fitted on.

    Args:
        labels: Number of each tile's label, (tile,).
        days: Number of each tile's day, (tile,).
        is_tested: Whether it lies on a day that may be tested.
        is_fitted: Whether it lies on one that is always fitted on; never both.
        names: Label of each number.
        n_folds: Folds of one repeat.
        n_repeats: Independent draws of the folds.
        seed: Draws them.

    Raises:
        ValueError: If a day is both, or a label lies on fewer tested days than there are folds.
    """
    both = np.intersect1d(days[is_tested], days[is_fitted])
    if len(both):
        raise ValueError(f"{len(both)} days are fitted on and tested; keep them apart")
    tested = np.flatnonzero(is_tested)
    check_days(labels[tested], days[tested], names=names, n_folds=n_folds)
    drawn = draw_folds(
        labels[tested], days[tested], n_folds=n_folds, n_repeats=n_repeats, seed=seed
    ).reshape(n_repeats * n_folds, len(tested))
    test = np.zeros((len(drawn), len(labels)), bool)
    test[:, tested] = drawn
    return (is_fitted | is_tested) & ~test, test


def score_fold(labels: IntArray, predicted: IntArray, n_labels: int) -> float:
    """Balanced accuracy of the tested tiles of a fold."""
    return float(score(count_confusions(labels, predicted, n_labels))[MAIN_METRIC])


def draw_per_label(
    labels: IntArray, days: IntArray, n_per_label: int, rng: np.random.Generator
) -> IntArray | None:
    """Indices of so many tiles of each label, from as many days as can be; None if there are less.

    Args:
        labels: Number of each tile's label, (tile,).
        days: Number of each tile's day, (tile,).
        n_per_label: Tiles of each label.
        rng: Draws them.
    """
    drawn = []
    for label in np.unique(labels):
        tiles = rng.permutation(np.flatnonzero(labels == label))
        if len(tiles) < n_per_label:
            return None
        _, day = np.unique(days[tiles], return_inverse=True)
        earlier = [int((day[:index] == day[index]).sum()) for index in range(len(tiles))]
        drawn.append(tiles[np.argsort(earlier, kind="stable")][:n_per_label])
    return np.sort(np.concatenate(drawn))
