"""How much of clusters and embeddings known factors explain."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler

from pipeline.core.other_days import Fitted, Target, fit_on_other_days

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

N_TREES = 40
TILES_PER_LEAF = 5
N_KNOTS = 8
SHRINKAGE = 1.0


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
    randomised trees, which find what factors explain only in company.

    Args:
        factors: Each (tile, column).
        targets: By name, each (tile, dimension).
        days: Of each tile, as of `number_days`, shape (tile,).
        n_folds: Parts of the days, each of which is predicted from the others.
        seed: Of the trees.

    Source: Geurts et al. (2006), doi:10.1007/s10994-006-6226-1.
    """
    joint = np.column_stack(factors)
    models = [_create_splines(joint)]
    if len(factors) > 1:
        models.append(
            ExtraTreesRegressor(N_TREES, min_samples_leaf=TILES_PER_LEAF, random_state=seed)
        )
    return fit_on_other_days(models, joint, targets, days, n_folds=n_folds, to_many_days=True)


def _create_splines(columns: FloatArray) -> RegressorMixin:
    """A sum of splines, one a column; a column of few values, as of a flag, is taken as it is."""
    is_smooth = np.array([len(np.unique(each)) > N_KNOTS for each in columns.T])
    # Constant beyond the outer knots: other days may lie farther out.
    splines = SplineTransformer(N_KNOTS, knots="quantile", extrapolation="constant")
    return make_pipeline(
        ColumnTransformer([("smooth", splines, is_smooth)], remainder=StandardScaler()),
        Ridge(SHRINKAGE),
    )
