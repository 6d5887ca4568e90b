"""How much of clusters and embeddings known factors explain, and what is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler

from pipeline.core.bootstrap import mean_interval

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
        share: Below 0 where the mean would have been the better guess.
        low: Low end of its 95 % interval over days.
        high: High end.
    """

    share: float
    low: float
    high: float


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
    draws: IntArray,
    *,
    n_folds: int,
    seed: int,
) -> dict[Target, Explained]:
    """What factors together explain of each target, on days they were not fitted to.

    One factor is fitted by splines. Several are fitted by a sum of splines and by extremely
    randomised trees, which find what factors explain only in company; of the two, that counts
    which explains more. Either way it is the least that the factors explain.

    Args:
        factors: Each (tile, column).
        targets: By name, each (tile, dimension).
        days: Of each tile, as of `number_days`, shape (tile,).
        draws: As of `draw_days`, shape (draw, day).
        n_folds: Parts of the days, each of which is predicted from the others.
        seed: Of the trees.

    Source: Geurts et al. (2006), doi:10.1007/s10994-006-6226-1.
    """
    joint = np.column_stack(factors)
    # Of one variance each, so that the trees serve all targets alike.
    scaled = {name: _to_unit_variance(each) for name, each in targets.items()}
    wanted = np.column_stack(list(scaled.values()))
    models = [_create_splines(joint)]
    if len(factors) > 1:
        models.append(
            ExtraTreesRegressor(N_TREES, min_samples_leaf=TILES_PER_LEAF, random_state=seed)
        )
    ends = np.cumsum([each.shape[1] for each in targets.values()])[:-1]
    whole = np.split(np.square(wanted), ends, axis=1)
    best: dict[Target, Explained] = {}
    for model in models:
        predicted = np.empty_like(wanted)
        for train, test in GroupKFold(n_folds).split(joint, groups=days):
            model.fit(joint[train], np.squeeze(wanted[train]))
            predicted[test] = model.predict(joint[test]).reshape(len(test), -1)
        left = np.split(np.square(wanted - predicted), ends, axis=1)
        for name, left_of, whole_of in zip(targets, left, whole, strict=True):
            found = _compare(left_of.sum(axis=1), whole_of.sum(axis=1), days, draws)
            if name not in best or found.share > best[name].share:
                best[name] = found
    return best


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


def _compare(left: FloatArray, whole: FloatArray, days: IntArray, draws: IntArray) -> Explained:
    n_days = draws.shape[1]
    by_day = [np.bincount(days, weights=each, minlength=n_days) for each in (left, whole)]
    drawn = [draws @ each for each in by_day]
    if by_day[1].sum() == 0:
        return Explained(np.nan, np.nan, np.nan)
    share = float(1 - by_day[0].sum() / by_day[1].sum())
    return Explained(share, *mean_interval(share, 1 - drawn[0] / drawn[1], n_days))
