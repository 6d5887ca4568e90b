"""How much of clusters and embeddings known factors explain, and what is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler

from pipeline.core.dependence import interval_over_days

Target = TypeVar("Target")
IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

N_TREES = 40
TILES_PER_LEAF = 5
N_KNOTS = 8
SHRINKAGE = 1.0


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


def correlation_ratio(columns: FloatArray, clusters: IntArray) -> float:
    """Share of a factor's variance that lies between clusters, eta squared, from 0 to 1.

    Of a factor of several columns, variances are added up.

    Args:
        columns: Shape (tile, column).
        clusters: Of each tile, shape (tile,).

    Source: Pearson (1905), Drapers' Company Research Memoirs 14.

    >>> correlation_ratio(np.array([[1.0], [1.0], [3.0], [3.0]]), np.array([0, 0, 1, 1]))
    1.0
    """
    centred = columns - columns.mean(axis=0)
    counts = np.bincount(clusters)
    sums = np.stack([np.bincount(clusters, weights=each) for each in centred.T], axis=1)
    between = (np.square(sums)[counts > 0] / counts[counts > 0, None]).sum()
    return float(between / np.square(centred).sum())


def principal_components(
    embeddings: FloatArray, share: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Principal components of embeddings, as many as hold a share of the variance.

    Args:
        embeddings: Shape (tile, dimension).
        share: Of the variance, below 1.

    Returns:
        Scores (tile, component), axes (component, dimension) and shares of the variance
        (component,).
    """
    model = PCA(svd_solver="full")
    scores = model.fit_transform(embeddings.astype(np.float64))
    shares = model.explained_variance_ratio_
    n_components = int(np.searchsorted(shares.cumsum(), share)) + 1
    return scores[:, :n_components], model.components_[:n_components], shares[:n_components]


def explain(
    factors: Sequence[FloatArray],
    targets: Mapping[Target, FloatArray],
    days: IntArray,
    *,
    n_folds: int,
    seed: int,
) -> dict[Target, Fitted]:
    """What factors together explain of each target, on days they were not fitted to.

    One factor is fitted by splines. Several are fitted by a sum of splines and by extremely
    randomised trees, which find what factors explain only in company; that of the two counts which
    promises more without the days that are left out.

    Few days foretell others worse than many would, and so does their mean. Errors of fits to all
    and to half of the other days are extrapolated to endlessly many, on the ground that what is
    due to a number n of days falls as 1 / n.

    Args:
        factors: Each (tile, column).
        targets: By name, each (tile, dimension).
        days: Of each tile, as of `number_days`, shape (tile,).
        n_folds: Parts of the days, each of which is predicted from the others.
        seed: Of the trees.

    Source: Geurts et al. (2006), doi:10.1007/s10994-006-6226-1; for the mean of the other days
    Hawinkel et al. (2024), doi:10.1080/00031305.2023.2216252; for the extrapolation Fushiki (2011),
    doi:10.1007/s11222-009-9171-8.
    """
    joint = np.column_stack(factors)
    # Of one variance each, so that the trees serve all targets alike.
    wanted = np.column_stack([_to_unit_variance(each) for each in targets.values()])
    models = [DummyRegressor(), _create_splines(joint)]
    if len(factors) > 1:
        models.append(
            ExtraTreesRegressor(N_TREES, min_samples_leaf=TILES_PER_LEAF, random_state=seed)
        )
    n_days = int(days.max()) + 1
    fold = np.empty(n_days, np.int64)
    errors = np.zeros((len(models), len(targets), n_days))
    promise = np.zeros((len(models), len(targets), n_folds))
    ends = np.cumsum([0, *(each.shape[1] for each in targets.values())])[:-1]
    for number, (train, test) in enumerate(GroupKFold(n_folds).split(joint, groups=days)):
        fold[days[test]] = number
        known = np.unique(days[train])
        in_half = np.isin(days[train], known[::2])
        half, other_half = train[in_half], train[~in_half]
        n_known, n_half = len(known), len(known[::2])
        for model, of_days, of_fold in zip(models, errors, promise, strict=True):
            by_half = _squared_errors(model, joint, wanted, half, np.r_[test, other_half], ends)
            of_fold[:, number] = by_half[:, len(test) :].sum(axis=1)
            by_all = _squared_errors(model, joint, wanted, train, test, ends)
            if n_known > n_half:
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


def share_explained(fitted: Fitted, draws: IntArray, calendar: IntArray) -> Explained:
    """Share that is explained of all days, and its interval over them.

    Args:
        fitted: Of a target.
        draws: As of `draw_days`, shape (draw, day).
        calendar: Calendar day of each day, ascending, shape (day,).
    """
    if fitted.whole.sum() == 0:
        return Explained(np.nan, np.nan, np.nan)
    share = min(1.0, float(1 - fitted.left.sum() / fitted.whole.sum()))
    drawn = np.minimum(1 - (draws @ fitted.left) / (draws @ fitted.whole), 1)
    ends = interval_over_days(
        share,
        drawn,
        weight=fitted.whole,
        calendar=calendar,
        residuals=fitted.left - (1 - share) * fitted.whole,
    )
    return Explained(share, *ends)


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


def _create_splines(columns: FloatArray) -> RegressorMixin:
    """A sum of splines, one a column; a column of few values, as of a flag, is taken as it is."""
    is_smooth = np.array([len(np.unique(each)) > N_KNOTS for each in columns.T])
    # Constant beyond the outer knots: other days may lie farther out.
    splines = SplineTransformer(N_KNOTS, knots="quantile", extrapolation="constant")
    return make_pipeline(
        ColumnTransformer([("smooth", splines, is_smooth)], remainder=StandardScaler()),
        Ridge(SHRINKAGE),
    )
