"""Whether probabilities mean what they say."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]

CALIBRATION_METRICS = ("log_loss", "brier_score", "calibration_error")
LARGEST_TEMPERATURE = 20.0
LEAST_PROBABILITY = 1e-6
N_BINS = 10


def fit_temperature(scores: FloatArray, labels: IntArray) -> float:
    """What scores are divided by so that their softmax has the least log loss; 1 for no tile.

    Above 1 the scores were too sure, below it not sure enough; which label is the most probable
    stays.

    Args:
        scores: Of tiles that the classifier was not fitted to, (tile, label); minus infinity for
            labels that it does not know.
        labels: Number of each tile's label, (tile,), one that is known.

    Source: Guo et al. (2017), arXiv:1706.04599.
    """
    if not len(labels):
        return 1.0
    own = scores[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        return float((logsumexp(scores / temperature, axis=1) - own / temperature).mean())

    reach = np.log(LARGEST_TEMPERATURE)
    found = minimize_scalar(loss, bounds=(-reach, reach), method="bounded")
    return float(np.exp(found.x))


def score_probabilities(probabilities: FloatArray, labels: IntArray) -> FloatArray:
    """The `CALIBRATION_METRICS`, (metric,); 0 is best.

    The Brier score is the squared distance to the truth, summed over labels, so within 0 … 2. The
    expected calibration error is the mean distance between how probable the predicted label is and
    how often it is right, in bins of probability weighted by their tiles.

    Args:
        probabilities: Of each label, (tile, label).
        labels: Number of each tile's label, (tile,).

    Sources: Brier (1950), doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2; Guo et al. (2017),
    arXiv:1706.04599.

    >>> score_probabilities(np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([0, 1])).round(3)
    array([0.347, 0.25 , 0.25 ])
    """
    tile = np.arange(len(labels))
    own = np.maximum(probabilities[tile, labels], LEAST_PROBABILITY)
    truth = np.zeros_like(probabilities)
    truth[tile, labels] = 1
    confidence, right, n_tiles = reliability(probabilities, labels)
    filled = n_tiles > 0
    gaps = np.abs(confidence - right)[filled] * n_tiles[filled] / n_tiles.sum()
    brier = ((probabilities - truth) ** 2).sum(axis=1).mean()
    return np.array([-np.log(own).mean(), brier, gaps.sum()])


def reliability(
    probabilities: FloatArray, labels: IntArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """How probable predicted labels are and how often they are right, in ten bins of the former.

    Args:
        probabilities: Of each label, (tile, label).
        labels: Number of each tile's label, (tile,).

    Returns:
        Mean probability, share that is right, number of tiles, (bin,) each; NaN in an empty bin.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    number = np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)
    n_tiles = np.bincount(number, minlength=N_BINS)
    filled = np.where(n_tiles, n_tiles, np.nan)
    confidences = np.bincount(number, confidence, N_BINS) / filled
    return confidences, np.bincount(number, right, N_BINS) / filled, n_tiles
