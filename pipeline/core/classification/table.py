"""The table of classifiers: scores with intervals, differences and confusion matrices."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.classification.calibration import (
    CALIBRATION_METRICS,
    CalibrationError,
    calibration_error,
    reliability,
    score_probabilities,
)
from pipeline.core.classification.classifiers import Classifier
from pipeline.core.classification.scores import (
    LABEL_METRICS,
    METRICS,
    count_confusions,
    find_interval,
    score,
    score_labels,
)

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]

UNSCORED = -1
INTERVAL = "95 % interval, corrected resampled t (doi:10.1023/A:1024068626366)"
COORDINATES = {
    "encoder": "network, or what stands in its place",
    "frozen": "the network was not trained on labels",
    "note": "why there is no score",
}
LONG_NAMES = {
    "score": "score on the tested tiles of a fold",
    "mean": "mean score over the folds of all repeats",
    "low": f"lower end of the {INTERVAL}",
    "high": f"upper end of the {INTERVAL}",
    "difference": "mean difference from the reference on the same folds",
    "difference_low": f"lower end of the difference's {INTERVAL}",
    "difference_high": f"upper end of the difference's {INTERVAL}",
    "label_score": "score of one label on the tested tiles of a fold",
    "label_mean": "mean over the folds that test the label",
    "label_low": f"lower end of its {INTERVAL}",
    "label_high": f"upper end of its {INTERVAL}",
    "calibration_score": "how far probabilities of a fold are from what comes true; 0 is best",
    "calibration_mean": "mean over the folds of all repeats",
    "calibration_low": f"lower end of its {INTERVAL}",
    "calibration_high": f"upper end of its {INTERVAL}",
    "calibration_error": "root mean square distance of the predicted label's probability from how "
    "often it is right, all folds together, debiased (arXiv:1909.10155)",
    "calibration_error_low": "lower end of its 95 % interval, jackknife over days",
    "calibration_error_high": "upper end of its 95 % interval, jackknife over days",
    "calibration_error_null": "below which it is in 95 % of worlds where probabilities mean what "
    "they say",
    "bin_probability": "mean probability of the predicted label in the bin, all repeats",
    "bin_accuracy": "share of the bin's predictions that are right",
    "bin_tiles": "number of tiles in the bin",
    "balanced_accuracy_by_day": "balanced accuracy of all repeats on days of one kind",
    "confusion": "number of tested tiles, all repeats",
    "predicted": "number of the predicted label, -1 where there is no score",
    "probability": "of the label by a classifier not trained on the tile's day",
    "tested_in_fold": "fold of the repeat in which the tile was tested",
}


def tabulate(
    probabilities: FloatArray,
    folds: BoolArray,
    labels: IntArray,
    *,
    names: Sequence[str],
    classifiers: Sequence[Classifier],
    reference: str,
    is_training_day: BoolArray,
    days: IntArray,
    seed: int,
) -> xr.Dataset:
    """Scores of every classifier, with what they rest on.

    Args:
        probabilities: Of labels, shape (classifier, repeat, tile, label); NaN where there is none.
        folds: Which tiles each fold tests, shape (repeat, fold, tile).
        labels: True numbers, shape (tile,).
        names: Label of each number.
        classifiers: What each classifier is.
        reference: Name of the classifier from which the others' differences are taken.
        is_training_day: Whether the encoder was trained on the tile's day, shape (tile,).
        days: Number of each tile's day, shape (tile,).
        seed: Of the worlds of `calibration_error`.

    Returns:
        Dimensions (classifier, fold, metric, label_metric, calibration_metric, true_label,
        predicted_label, bin, day, repeat, tile), folds of all repeats in one row; NaN for a
        classifier without predictions.
    """
    is_told = np.isfinite(probabilities).all(axis=-1)
    predicted = np.where(is_told, np.nan_to_num(probabilities).argmax(axis=-1), UNSCORED)
    n_repeats, n_folds, _ = folds.shape
    rows = [row.name for row in classifiers]
    scores = np.stack([_score_folds(one, folds, labels, len(names)) for one in predicted])
    low, high = find_interval(scores.transpose(0, 2, 1), n_folds=n_folds)
    differences = scores - scores[rows.index(reference)]
    ends = find_interval(differences.transpose(0, 2, 1), n_folds=n_folds)
    everywhere = np.ones_like(is_training_day)
    by_day = [
        [_score_days(one, labels, days, len(names)) for days in (is_training_day, ~is_training_day)]
        for one in predicted
    ]
    by_label = np.stack([_score_labels(one, folds, labels, len(names)) for one in predicted])
    label_mean, label_low, label_high = _known_intervals(by_label, n_folds)
    calibration = np.stack([_score_calibration(one, folds, labels) for one in probabilities])
    calibration_low, calibration_high = find_interval(
        calibration.transpose(0, 2, 1), n_folds=n_folds
    )
    errors = [
        calibration_error(one, labels, days, seed=seed)
        if np.isfinite(one).all()
        else CalibrationError(*[np.nan] * 4)
        for one in probabilities
    ]
    bins = [_find_reliability(one, labels) for one in probabilities]
    calibrated = ("classifier", "calibration_metric")
    of_label = ("classifier", "label_metric", "true_label")
    table = ("classifier", "metric")
    dataset = xr.Dataset(
        {
            "score": (("classifier", "fold", "metric"), scores),
            "mean": (table, scores.mean(axis=1)),
            "low": (table, low.clip(0, 1)),
            "high": (table, high.clip(0, 1)),
            "difference": (table, differences.mean(axis=1)),
            "difference_low": (table, ends[0]),
            "difference_high": (table, ends[1]),
            "label_score": (("classifier", "fold", "label_metric", "true_label"), by_label),
            "label_mean": (of_label, label_mean),
            "label_low": (of_label, label_low),
            "label_high": (of_label, label_high),
            "calibration_score": (("classifier", "fold", "calibration_metric"), calibration),
            "calibration_mean": (calibrated, calibration.mean(axis=1)),
            "calibration_low": (calibrated, np.maximum(calibration_low, 0)),
            "calibration_high": (calibrated, calibration_high),
            "calibration_error": ("classifier", [each.error for each in errors]),
            "calibration_error_low": ("classifier", [each.low for each in errors]),
            "calibration_error_high": ("classifier", [each.high for each in errors]),
            "calibration_error_null": ("classifier", [each.null for each in errors]),
            "bin_probability": (("classifier", "bin"), np.stack([each[0] for each in bins])),
            "bin_accuracy": (("classifier", "bin"), np.stack([each[1] for each in bins])),
            "bin_tiles": (("classifier", "bin"), np.stack([each[2] for each in bins])),
            "balanced_accuracy_by_day": (("classifier", "day"), by_day),
            "confusion": (
                ("classifier", "true_label", "predicted_label"),
                np.stack([_confuse(one, labels, everywhere, len(names)) for one in predicted]),
            ),
            "predicted": (("classifier", "repeat", "tile"), predicted.astype(np.int16)),
            "probability": (
                ("classifier", "repeat", "tile", "predicted_label"),
                probabilities.astype(np.float32),
            ),
            "tested_in_fold": (("repeat", "tile"), folds.argmax(axis=1).astype(np.int16)),
        },
        coords={
            "classifier": rows,
            "metric": list(METRICS),
            "label_metric": list(LABEL_METRICS),
            "calibration_metric": list(CALIBRATION_METRICS),
            "true_label": list(names),
            "predicted_label": list(names),
            "day": ["trained on", "unseen in training"],
            "repeat_of_fold": ("fold", np.repeat(np.arange(n_repeats), n_folds)),
        },
    )
    for name, long_name in LONG_NAMES.items():
        dataset[name].attrs = {"long_name": long_name, "units": "1"}
    return dataset.assign_coords(
        {
            name: ("classifier", [getattr(row, name) for row in classifiers], {"long_name": about})
            for name, about in COORDINATES.items()
        }
    )


def _score_folds(
    predicted: IntArray, folds: BoolArray, labels: IntArray, n_labels: int
) -> FloatArray:
    """Scores of one classifier, shape (fold, metric), folds of all repeats in one row."""
    if (predicted == UNSCORED).any():
        return np.full((folds.shape[0] * folds.shape[1], len(METRICS)), np.nan)
    return np.stack(
        [
            score(count_confusions(labels[tested], repeat_predicted[tested], n_labels))
            for repeat_predicted, repeat in zip(predicted, folds, strict=True)
            for tested in repeat
        ]
    )


def _score_calibration(probabilities: FloatArray, folds: BoolArray, labels: IntArray) -> FloatArray:
    """Calibration of one classifier, shape (fold, calibration metric)."""
    if not np.isfinite(probabilities).all():
        return np.full((folds.shape[0] * folds.shape[1], len(CALIBRATION_METRICS)), np.nan)
    return np.stack(
        [
            score_probabilities(of_repeat[tested], labels[tested])
            for of_repeat, repeat in zip(probabilities, folds, strict=True)
            for tested in repeat
        ]
    )


def _find_reliability(
    probabilities: FloatArray, labels: IntArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Reliability of one classifier over all repeats; empty bins without predictions."""
    told = probabilities.reshape(-1, probabilities.shape[-1])
    is_told = np.isfinite(told).all(axis=1)
    return reliability(told[is_told], np.tile(labels, len(probabilities))[is_told])


def _score_labels(
    predicted: IntArray, folds: BoolArray, labels: IntArray, n_labels: int
) -> FloatArray:
    """Scores of each label by one classifier, shape (fold, label metric, label)."""
    n_folds = folds.shape[0] * folds.shape[1]
    if (predicted == UNSCORED).any():
        return np.full((n_folds, len(LABEL_METRICS), n_labels), np.nan)
    return np.stack(
        [
            score_labels(count_confusions(labels[tested], repeat_predicted[tested], n_labels))
            for repeat_predicted, repeat in zip(predicted, folds, strict=True)
            for tested in repeat
        ]
    )


def _known_intervals(scores: FloatArray, n_folds: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean and ends of the interval of scores (classifier, fold, …) over folds that have one."""
    shape = (scores.shape[0], *scores.shape[2:])
    mean, low, high = (np.full(shape, np.nan) for _ in range(3))
    for index in np.ndindex(*shape):
        of_folds = scores[(index[0], slice(None), *index[1:])]
        known = of_folds[np.isfinite(of_folds)]
        if len(known) >= 2:
            mean[index] = known.mean()
            ends = find_interval(known, n_folds=n_folds)
            low[index], high[index] = (float(np.clip(end, 0, 1)) for end in ends)
    return mean, low, high


def _confuse(predicted: IntArray, labels: IntArray, chosen: BoolArray, n_labels: int) -> IntArray:
    """Confusions of all repeats on the chosen tiles; zeros without predictions."""
    if (predicted == UNSCORED).any():
        return np.zeros((n_labels, n_labels), np.int64)
    parts = [count_confusions(labels[chosen], one[chosen], n_labels) for one in predicted]
    return np.asarray(np.sum(parts, axis=0))


def _score_days(predicted: IntArray, labels: IntArray, chosen: BoolArray, n_labels: int) -> float:
    confusions = _confuse(predicted, labels, chosen, n_labels)
    if not confusions.any():
        return float("nan")
    return float(score(confusions)[METRICS.index("balanced_accuracy")])
