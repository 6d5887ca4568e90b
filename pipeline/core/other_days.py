"""How well columns predict targets on days they were not fitted to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import GroupKFold

from pipeline.core.dependence import interval_over_days

Target = TypeVar("Target")
IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class Explained:
    """Share of the variance of a target that factors explain on days they were not fitted to.

    Attributes:
        share: Below 0 where the mean of the other days would have been the better guess.
        low: Low end of its 95 % interval over days.
        high: High end.
    """

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Fitted:
    """How well factors foretell a target of each day from those of other days.

    Attributes:
        left: Sums of squared errors, shape (day,).
        whole: Sums of squared errors of the mean of the other days, shape (day,).
        fold: That in which each day was left out, shape (day,).
        promise: Of each fold, the share explained of days among those that were fitted to, by a fit
            to the others of them, shape (fold,).
    """

    left: FloatArray
    whole: FloatArray
    fold: IntArray
    promise: FloatArray


def fit_on_other_days(
    models: Sequence[RegressorMixin],
    columns: FloatArray,
    targets: Mapping[Target, FloatArray],
    days: IntArray,
    *,
    n_folds: int,
    to_many_days: bool = False,
) -> dict[Target, Fitted]:
    """How well columns predict each target, by the model that does best without the tested days.

    Few days foretell others worse than many would, and so does their mean. `to_many_days` asks
    what many would tell: errors of fits to all and to half of the other days are extrapolated to
    endlessly many, on the ground that what is due to a number n of days falls as 1 / n.

    Args:
        models: Any of scikit-learn.
        columns: Shape (tile, column).
        targets: By name, each (tile, dimension).
        days: Of each tile, as of `number_days`, shape (tile,).
        n_folds: Parts of the days, each of which is predicted from the others.
        to_many_days: Whether errors are extrapolated.

    Source: for the mean of the other days Hawinkel et al. (2024),
    doi:10.1080/00031305.2023.2216252; for the extrapolation Fushiki (2011),
    doi:10.1007/s11222-009-9171-8.
    """
    # Of one variance each, so that a model of several targets serves all alike.
    wanted = np.column_stack([_to_unit_variance(each) for each in targets.values()])
    models = [DummyRegressor(), *models]
    n_days = int(days.max()) + 1
    fold = np.empty(n_days, np.int64)
    errors = np.zeros((len(models), len(targets), n_days))
    promise = np.zeros((len(models), len(targets), n_folds))
    ends = np.cumsum([0, *(each.shape[1] for each in targets.values())])[:-1]
    for number, (train, test) in enumerate(GroupKFold(n_folds).split(columns, groups=days)):
        fold[days[test]] = number
        known = np.unique(days[train])
        in_half = np.isin(days[train], known[::2])
        half, other_half = train[in_half], train[~in_half]
        n_known, n_half = len(known), len(known[::2])
        for model, of_days, of_fold in zip(models, errors, promise, strict=True):
            by_half = _squared_errors(model, columns, wanted, half, np.r_[test, other_half], ends)
            of_fold[:, number] = by_half[:, len(test) :].sum(axis=1)
            by_all = _squared_errors(model, columns, wanted, train, test, ends)
            if to_many_days and n_known > n_half:
                by_all = n_known * by_all - n_half * by_half[:, : len(test)]
                by_all /= n_known - n_half
            for of_target, each in zip(of_days, by_all, strict=True):
                of_target += np.bincount(days[test], weights=each, minlength=n_days)
    with np.errstate(invalid="ignore"):
        promise = 1 - promise[1:] / promise[0]
    return {
        name: best_of(
            [
                Fitted(left[index], errors[0, index], fold, promised[index])
                for left, promised in zip(errors[1:], promise, strict=True)
            ]
        )
        for index, name in enumerate(targets)
    }


def best_of(candidates: Sequence[Fitted]) -> Fitted:
    """Of each fold the candidate that promises most without the days that it leaves out."""
    promise = np.nan_to_num([each.promise for each in candidates])  # (candidate, fold)
    first = candidates[0]
    of_day = promise.argmax(axis=0)[first.fold]
    left = np.choose(of_day, [each.left for each in candidates])
    return Fitted(left, first.whole, first.fold, promise.max(axis=0))


def share_explained(
    fitted: Fitted, draws: IntArray, calendar: IntArray, *, beyond: Fitted | None = None
) -> Explained:
    """Share that is explained of all days, and its interval over them.

    Args:
        fitted: Of a target.
        draws: As of `draw_days`, shape (draw, day).
        calendar: Calendar day of each day, ascending, shape (day,).
        beyond: Another fit, to this target or another, whose share is taken away.
    """
    if fitted.whole.sum() == 0 or (beyond and beyond.whole.sum() == 0):
        return Explained(np.nan, np.nan, np.nan)
    share, drawn, residuals = _share(fitted, draws)
    weight = fitted.whole / fitted.whole.sum()
    if beyond:
        other_share, other_drawn, other_residuals = _share(beyond, draws)
        share, drawn, residuals = (
            share - other_share,
            drawn - other_drawn,
            residuals - other_residuals,
        )
        weight = weight + beyond.whole / beyond.whole.sum()
    ends = interval_over_days(share, drawn, weight=weight, calendar=calendar, residuals=residuals)
    return Explained(share, *ends)


def _share(fitted: Fitted, draws: IntArray) -> tuple[float, FloatArray, FloatArray]:
    """Of all days, of each draw of them, and what each day is off the share."""
    spared, whole = fitted.whole - fitted.left, fitted.whole
    share = min(1.0, float(spared.sum() / whole.sum()))
    drawn = np.minimum((draws @ spared) / (draws @ whole), 1)
    return share, drawn, (spared - share * whole) / whole.sum()


def _squared_errors(
    model: RegressorMixin,
    columns: FloatArray,
    wanted: FloatArray,
    train: IntArray,
    test: IntArray,
    ends: IntArray,
) -> FloatArray:
    """Of each target, whose first dimensions are `ends`, and each tested tile, (target, tile)."""
    model.fit(columns[train], np.squeeze(wanted[train]))
    predicted = model.predict(columns[test]).reshape(len(test), -1)
    return np.asarray(np.add.reduceat(np.square(wanted[test] - predicted), ends, axis=1).T)


def _to_unit_variance(target: FloatArray) -> FloatArray:
    centred = target - target.mean(axis=0)
    spread = np.sqrt(np.square(centred).sum(axis=1).mean())
    return np.asarray(centred / spread) if spread > 0 else centred
