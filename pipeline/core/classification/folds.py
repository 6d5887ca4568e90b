"""Cross-validation folds that never put one day on both sides."""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

MAX_DRAWS = 100
SEEDS = 2**31


def draw_folds(
    labels: IntArray, days: IntArray, *, n_folds: int, n_repeats: int, seed: int
) -> BoolArray:
    """Which tiles each fold tests, shape (repeat, fold, tile); the others train it.

    All tiles of a day are on the same side, labels are spread over the folds as evenly as whole
    days allow, and every label is among the training tiles of every fold.

    Args:
        labels: Number of each tile's label, shape (tile,).
        days: Number of each tile's day, shape (tile,).
        n_folds: Folds of one repeat; each tile is tested once a repeat.
        n_repeats: Independent draws of the folds.
        seed: The folds' only source of randomness.

    Raises:
        ValueError: If the days cannot be spread so.
    """
    rng = np.random.default_rng(seed)
    folds = []
    for _ in range(MAX_DRAWS * n_repeats):
        drawn = _draw_repeat(labels, days, n_folds, int(rng.integers(SEEDS)))
        if _is_usable(drawn, labels):
            folds.append(drawn)
        if len(folds) == n_repeats:
            return np.stack(folds)
    raise ValueError(
        f"{len(np.unique(days))} labelled days cannot be spread over {n_folds} folds with every "
        "label in training; lower classify.n_folds or label more days"
    )


def check_days(labels: IntArray, days: IntArray, *, names: list[str], n_folds: int) -> None:
    """Refuse labels too few, or on too few days, to be told apart in `n_folds` folds.

    Args:
        labels: Number of each tile's label, shape (tile,).
        days: Number of each tile's day, shape (tile,).
        names: Label of each number.
        n_folds: Folds of one repeat.

    Raises:
        ValueError: If there is one label only, or one lies on fewer days than there are folds.
    """
    if len(np.unique(labels)) < 2:
        given = ", ".join(repr(names[label]) for label in np.unique(labels)) or "none"
        raise ValueError(
            f"a classifier needs at least 2 labels, the {len(labels)} usable tiles have {given}; "
            "change classify.labels"
        )
    for label in np.unique(labels):
        n_days = len(np.unique(days[labels == label]))
        if n_days < n_folds:
            raise ValueError(
                f"label {names[label]!r} lies on {n_days} day(s), fewer than the {n_folds} folds; "
                "lower classify.n_folds or label more days"
            )


def _draw_repeat(labels: IntArray, days: IntArray, n_folds: int, seed: int) -> BoolArray:
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    tested = np.zeros((n_folds, len(labels)), bool)
    for fold, (_, test) in enumerate(splitter.split(labels, labels, days)):
        tested[fold, test] = True
    return tested


def _is_usable(tested: BoolArray, labels: IntArray) -> bool:
    present = np.unique(labels)
    return bool(tested.any(axis=1).all()) and all(
        np.isin(present, labels[~fold]).all() for fold in tested
    )
