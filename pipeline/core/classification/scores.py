"""How good predicted labels are, and how sure one can be of it."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]

MAJORITY = "commonest label"  # the classifier that always predicts it
METRICS = ("accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1")
LABEL_METRICS = ("precision", "recall", "f1")
CONFIDENCE = 0.95


def count_confusions(truth: IntArray, predicted: IntArray, n_labels: int) -> IntArray:
    """Number of tiles of each pair of labels, shape (true label, predicted label)."""
    pairs = np.bincount(truth * n_labels + predicted, minlength=n_labels**2)
    return pairs.reshape(n_labels, n_labels).astype(np.int64)


def score(confusions: IntArray) -> FloatArray:
    """The five `METRICS` of a confusion matrix, shape (metric,), all within 0 … 1.

    Macro means run over the labels that occur in the truth, so that macro recall is the balanced
    accuracy; the precision of a label never predicted is 0.

    >>> score(np.array([[3, 1], [0, 4]])).round(3)
    array([0.875, 0.875, 0.9  , 0.875, 0.873])
    """
    occurs = confusions.sum(axis=1) > 0
    hits = confusions.diagonal()[occurs]
    n_true = confusions.sum(axis=1)[occurs]
    n_predicted = confusions.sum(axis=0)[occurs]
    recall = hits / n_true
    precision = hits / np.maximum(n_predicted, 1)
    f1 = 2 * hits / (n_true + n_predicted)
    accuracy = hits.sum() / n_true.sum()
    return np.array([accuracy, recall.mean(), precision.mean(), recall.mean(), f1.mean()])


def score_labels(confusions: IntArray) -> FloatArray:
    """Precision, recall and F1 of each label, shape (label metric, label), as `LABEL_METRICS`.

    NaN for labels that do not occur in the truth; the precision of a label never predicted is 0.

    >>> score_labels(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])).round(3)
    array([[1.   , 0.8  ,   nan],
           [0.75 , 1.   ,   nan],
           [0.857, 0.889,   nan]])
    """
    n_true = np.where(confusions.any(axis=1), confusions.sum(axis=1), np.nan)
    n_predicted = confusions.sum(axis=0)
    hits = confusions.diagonal()
    occurs = np.where(np.isnan(n_true), np.nan, 1.0)
    precision = occurs * hits / np.maximum(n_predicted, 1)
    return np.stack([precision, hits / n_true, 2 * hits / (n_true + n_predicted)])


def error_of_mean(scores: FloatArray, *, n_folds: int) -> FloatArray:
    """Standard error of the mean score of repeated folds, shape (...).

    Folds share training tiles, so that their scores vary less than those of fresh samples; the
    corrected resampled t test adds the ratio of tested to training tiles to the variance. It is
    that of the tiles folds are drawn from, 1 / (n_folds - 1): tiles that every fold is fitted on
    vary nothing. It holds for differences of scores as well.

    Args:
        scores: Shape (..., fold), folds of all repeats.
        n_folds: Folds of one repeat.

    Source: Nadeau and Bengio (2003), doi:10.1023/A:1024068626366; Bouckaert and Frank (2004),
    doi:10.1007/978-3-540-24775-3_3.
    """
    variance = (1 / scores.shape[-1] + 1 / (n_folds - 1)) * scores.var(axis=-1, ddof=1)
    return np.asarray(np.sqrt(variance))


def find_interval(scores: FloatArray, *, n_folds: int) -> tuple[FloatArray, FloatArray]:
    """Ends of the 95 % interval of the mean score of repeated folds, shape (...) each.

    Args:
        scores: Shape (..., fold), folds of all repeats.
        n_folds: Folds of one repeat.
    """
    mean = scores.mean(axis=-1)
    reach = special.stdtrit(scores.shape[-1] - 1, (1 + CONFIDENCE) / 2)
    reach = reach * error_of_mean(scores, n_folds=n_folds)
    return mean - reach, mean + reach
