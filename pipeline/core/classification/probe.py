"""Labels told from fixed features by logistic regression, with calibrated probabilities."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from pipeline.core.classification.calibration import fit_temperature

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_ITERATIONS = 1000
TOLERANCE = 1e-3
COARSE_TOLERANCE = 1e-2  # half the time, and enough to choose by
N_INNER_FOLDS = 3
LEAST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class Probe:
    """Logistic regression on standardised features.

    Attributes:
        mean: Of each feature in training, (feature,).
        deviation: Its standard deviation, 1 for one that does not vary.
        weights: Of the standardised features, (label, feature).
        intercept: Score of each label at the mean, (label,); minus infinity for one not trained on.
        temperature: Scores are divided by it before they become probabilities.
    """

    mean: FloatArray
    deviation: FloatArray
    weights: FloatArray
    intercept: FloatArray
    temperature: float = 1.0

    def scores(self, features: FloatArray) -> FloatArray:
        """Of each label, (tile, label)."""
        standard = (np.asarray(features, np.float64) - self.mean) / self.deviation
        return np.asarray(standard @ self.weights.T + self.intercept)

    def probabilities(self, features: FloatArray) -> FloatArray:
        """Of each label, (tile, label)."""
        return np.asarray(softmax(self.scores(features) / self.temperature, axis=1))


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


def majority_shares(
    labels: IntArray, train: IntArray, test: IntArray, *, n_labels: int
) -> FloatArray:
    """Shares of the labels among the training tiles for every tested tile, (tested tile, label)."""
    shares = np.bincount(labels[train], minlength=n_labels) / len(train)
    return np.tile(shares, (len(test), 1))


def fit_probe(
    features: FloatArray,
    labels: IntArray,
    days: IntArray,
    *,
    n_labels: int,
    strengths: Sequence[float],
) -> Probe:
    """A probe whose regularisation and temperature were chosen on days it was not fitted to.

    Features of different width need different regularisation: the one of least log loss over folds
    that are grouped by day is taken. The scores of these folds calibrate the probabilities.

    Args:
        features: Shape (tile, feature).
        labels: Number of each tile's label, (tile,).
        days: Number of each tile's day, (tile,).
        n_labels: There are.
        strengths: Regularisations to choose from; with one day the largest is taken.

    Source: Guo et al. (2017), arXiv:1706.04599.
    """
    descending = sorted(strengths, reverse=True)
    found = [
        _scores_of_other_days(features, labels, days, strength, n_labels) for strength in descending
    ]
    best = int(np.argmin([_total_loss(scores, labels) for scores in found]))
    judged = np.isfinite(found[best][np.arange(len(labels)), labels])
    temperature = fit_temperature(found[best][judged], labels[judged])
    fitted = _fit(features, labels, descending[best], TOLERANCE, n_labels)
    return Probe(fitted.mean, fitted.deviation, fitted.weights, fitted.intercept, temperature)


def probabilities_from_features(
    features: FloatArray,
    labels: IntArray,
    days: IntArray,
    train: IntArray,
    test: IntArray,
    *,
    n_labels: int,
    strengths: Sequence[float],
) -> FloatArray:
    """Probability of each label of the tested tiles, (tested tile, label), by `fit_probe`.

    Args:
        features: Shape (tile, feature).
        labels: Number of each tile's label, (tile,).
        days: Number of each tile's day, (tile,).
        train: Indices of the training tiles.
        test: Indices of the tested tiles.
        n_labels: There are.
        strengths: Regularisations to choose from.
    """
    probe = fit_probe(
        features[train], labels[train], days[train], n_labels=n_labels, strengths=strengths
    )
    return probe.probabilities(features[test])


def _scores_of_other_days(
    features: FloatArray, labels: IntArray, days: IntArray, strength: float, n_labels: int
) -> FloatArray:
    """Scores (tile, label) by probes fitted to other days; minus infinity where there is none."""
    scores = np.full((len(labels), n_labels), -np.inf)
    for train, test in _inner_folds(labels, days):
        probe = _fit(features[train], labels[train], strength, COARSE_TOLERANCE, n_labels)
        scores[test] = probe.scores(features[test])
    return scores


def _inner_folds(labels: IntArray, days: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    n_folds = min(N_INNER_FOLDS, len(np.unique(days)))
    if n_folds < 2:
        return
    for train, test in GroupKFold(n_folds).split(labels, groups=days):
        if len(np.unique(labels[train])) > 1:
            yield train, test


def _total_loss(scores: FloatArray, labels: IntArray) -> float:
    """Log loss summed over tiles with scores; a label without one is taken as very improbable."""
    scored = np.isfinite(scores).any(axis=1)
    probable = softmax(scores[scored], axis=1)[np.arange(scored.sum()), labels[scored]]
    return float(-np.log(np.maximum(probable, LEAST_PROBABILITY)).sum())


def _fit(
    features: FloatArray, labels: IntArray, strength: float, tolerance: float, n_labels: int
) -> Probe:
    scaler = StandardScaler().fit(features)
    # scikit-learn divides by what it calls C, the inverse of the regularisation's strength.
    model = LogisticRegression(C=1 / strength, max_iter=MAX_ITERATIONS, tol=tolerance)
    model.fit(scaler.transform(features), labels)
    weights = np.zeros((n_labels, features.shape[1]))
    intercept = np.full(n_labels, -np.inf)
    # Of two labels, scikit-learn gives the scores of the second against the first.
    two = len(model.classes_) == 2
    weights[model.classes_] = np.vstack([0 * model.coef_, model.coef_]) if two else model.coef_
    intercept[model.classes_] = [0, model.intercept_[0]] if two else model.intercept_
    return Probe(scaler.mean_, scaler.scale_, weights, intercept)
