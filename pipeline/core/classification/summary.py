"""Short forms of the table of classifiers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.classification.scores import METRICS

DIGITS = 4
MAIN_METRIC = "balanced_accuracy"
COUNTS = ("n_tiles", "n_incomplete_tiles", "n_days", "n_tiles_on_training_days")
UNSEEN = "unseen"


def find_splits(
    days: NDArray[np.datetime64], days_of_split: Mapping[str, Sequence[str]]
) -> NDArray[np.object_]:
    """Which part of the encoder's days each tile's day is in, or unseen, shape (tile,).

    >>> find_splits(np.array(["2020-01-10", "2020-01-11"], "M8[D]"), {"train": ["2020-01-11"]})
    array(['unseen', 'train'], dtype=object)
    """
    split_of_day = {day: split for split, part in days_of_split.items() for day in part}
    return np.array([split_of_day.get(str(day), UNSEEN) for day in days], dtype=object)


def flatten(table: xr.Dataset) -> pd.DataFrame:
    """One line per classifier: means with ends of intervals, differences, note."""
    columns = {name: table[name].values for name in ("encoder", "frozen")}
    for metric in METRICS:
        for statistic, suffix in (("mean", ""), ("low", "_low"), ("high", "_high")):
            columns[metric + suffix] = table[statistic].sel(metric=metric).values.round(DIGITS)
    for statistic in ("difference", "difference_low", "difference_high"):
        values = table[statistic].sel(metric=MAIN_METRIC).values
        columns[f"{MAIN_METRIC}_{statistic}"] = values.round(DIGITS)
    columns["note"] = table.note.values
    return pd.DataFrame(columns, index=table.indexes["classifier"])


def flatten_labels(table: xr.Dataset) -> pd.DataFrame:
    """One line per classifier and label: precision, recall and F1 with ends of intervals."""
    scored = table.isel(classifier=np.isfinite(table["mean"].values).all(axis=1))
    columns = {
        f"{metric}{suffix}": scored[statistic].sel(label_metric=metric).values.ravel().round(DIGITS)
        for metric in scored.label_metric.values
        for statistic, suffix in (
            ("label_mean", ""),
            ("label_low", "_low"),
            ("label_high", "_high"),
        )
    }
    lines = pd.MultiIndex.from_product(
        [scored.classifier.values, scored.true_label.values], names=["classifier", "label"]
    )
    return pd.DataFrame(columns, index=lines)


def summarise(table: xr.Dataset) -> dict[str, Any]:
    """Counts of tiles and days, and the balanced accuracy of every classifier that has one."""
    means = table["mean"].sel(metric=MAIN_METRIC)
    return {
        **{name: table.attrs[name] for name in COUNTS},
        MAIN_METRIC: {
            str(name).replace(" ", "_"): round(float(mean), DIGITS)
            for name, mean in zip(table.classifier.values, means.values, strict=True)
            if np.isfinite(mean)
        },
    }
