"""Labels predicted from fixed features by logistic regression."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_ITERATIONS = 1000
TOLERANCE = 1e-3
COARSE_TOLERANCE = 1e-2  # half the time, and enough to choose by
N_INNER_FOLDS = 3
LEAST_PROBABILITY = 1e-6


def pixel_statistics(tiles: NDArray[np.uint8]) -> FloatArray:
    """Mean, standard deviation and five quantiles of each channel, shape (tile, 7 channels).

    They know the colours of a tile and nothing of their arrangement.

    Args:
        tiles: Shape (tile, channel, row, column).
    """
    pixels = tiles.reshape(*tiles.shape[:2], -1).astype(np.float32)
    quantiles = np.quantile(pixels, QUANTILES, axis=-1)  # (quantile, tile, channel)
    parts = [pixels.mean(axis=-1), pixels.std(axis=-1), *quantiles]
    return np.concatenate(parts, axis=1).astype(np.float32)


def predict_majority(labels: IntArray, train: IntArray, test: IntArray) -> IntArray:
    """The commonest label of the training tiles for every tested tile."""
    return np.full(len(test), np.bincount(labels[train]).argmax(), np.int64)


def predict_from_features(
    features: FloatArray,
    labels: IntArray,
    days: IntArray,
    train: IntArray,
    test: IntArray,
    *,
    strengths: Sequence[float],
) -> IntArray:
    """Labels of the tested tiles, by logistic regression on standardised features.

    Features of different width need different regularisation. It is chosen on the training tiles
    alone, by log loss over folds that are grouped by day like the outer ones.

    Args:
        features: Shape (tile, feature).
        labels: Number of each tile's label, shape (tile,).
        days: Number of each tile's day, shape (tile,).
        train: Indices of the training tiles.
        test: Indices of the tested tiles.
        strengths: Regularisations to choose from; with one training day the largest is taken.
    """
    strength = _choose_strength(features[train], labels[train], days[train], strengths)
    model = _regression(strength, TOLERANCE).fit(features[train], labels[train])
    return np.asarray(model.predict(features[test]), np.int64)


def _choose_strength(
    features: FloatArray, labels: IntArray, days: IntArray, strengths: Sequence[float]
) -> float:
    descending = sorted(strengths, reverse=True)
    n_folds = min(N_INNER_FOLDS, len(np.unique(days)))
    if len(descending) == 1 or n_folds < 2:
        return descending[0]
    losses = np.zeros(len(descending))
    for train, test in GroupKFold(n_folds).split(features, groups=days):
        if len(np.unique(labels[train])) < 2:
            continue
        for candidate, strength in enumerate(descending):
            model = _regression(strength, COARSE_TOLERANCE).fit(features[train], labels[train])
            losses[candidate] += _total_loss(model, features[test], labels[test])
    return descending[int(losses.argmin())]


def _total_loss(model: Pipeline, features: FloatArray, labels: IntArray) -> float:
    """Log loss summed over tiles; a label unseen in training is taken as very improbable."""
    known = labels[:, None] == model.classes_
    probable = np.where(known, model.predict_proba(features), 0).sum(axis=1)
    return float(-np.log(np.maximum(probable, LEAST_PROBABILITY)).sum())


def _regression(strength: float, tolerance: float) -> Pipeline:
    # scikit-learn divides by what it calls C, the inverse of the regularisation's strength.
    regression = LogisticRegression(C=1 / strength, max_iter=MAX_ITERATIONS, tol=tolerance)
    return make_pipeline(StandardScaler(), regression)
