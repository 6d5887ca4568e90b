"""The table of the comparison: what each row scored, and which differences are more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.classification.scores import find_interval
from pipeline.core.comparison.pairs import compare_pairs

FloatArray = NDArray[np.floating]

PROBE, NEAREST, UNFROZEN = "linear probe", "k-NN", "unfrozen"
INVARIANCE, SHORTCUT = "turning invariance", "shortcut R²"
TESTED_MEASURES = (PROBE, UNFROZEN)  # of which rows are compared in pairs
DIGITS = 4
ABOUT = {
    "value": "value on the tested tiles of a fold",
    "mean": "mean over folds",
    "low": "lower end of the 95 % interval, corrected resampled t (doi:10.1023/A:1024068626366)",
    "high": "upper end of the 95 % interval",
    "efficiency": "balanced accuracy of a linear probe on so many tiles of each label",
    "efficiency_mean": "mean over folds",
    "efficiency_low": "lower end of the 95 % interval",
    "efficiency_high": "upper end of the 95 % interval",
    "difference": "row minus other row, mean over the folds of both",
    "difference_low": "lower end of the difference's 95 % interval",
    "difference_high": "upper end of the difference's 95 % interval",
    "chance": "p of the paired corrected resampled t test, corrected for all pairs (Holm 1979)",
}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        network: What the features are of.
        layer: Layer of it; empty where there is no network.
        values: By measure, (fold,) each, NaN on folds that were not computed.
        efficiency: Of `label_efficiency`, (count, fold).
        minutes: Of training; 0 where there was none.
        n_tiles_seen: In training.
    """

    network: str
    layer: str
    values: dict[str, FloatArray]
    efficiency: FloatArray
    minutes: float = 0.0
    n_tiles_seen: int = 0

    @property
    def name(self) -> str:
        """What identifies the row."""
        return f"{self.network}, {self.layer}" if self.layer else self.network


def tabulate(rows: Sequence[Row], *, counts: Sequence[int], test_ratio: float) -> xr.Dataset:
    """The table.

    Args:
        rows: At least one; all have the same folds.
        counts: Of the label efficiency.
        test_ratio: Tested tiles per training tile of a fold.

    Returns:
        Dimensions (row, measure, fold, count, tested_measure, other_row).
    """
    names = [row.name for row in rows]
    measures = list(dict.fromkeys(name for row in rows for name in row.values))
    n_folds = rows[0].efficiency.shape[1]
    value = np.full((len(rows), len(measures), n_folds), np.nan)
    for number, row in enumerate(rows):
        for name, values in row.values.items():
            value[number, measures.index(name)] = values
    efficiency = np.stack([row.efficiency for row in rows])
    pairs = {
        name: compare_pairs(value[:, measures.index(name)], test_ratio=test_ratio)
        for name in TESTED_MEASURES
        if name in measures
    }
    between = ("tested_measure", "row", "other_row")
    compared = [np.stack(parts) for parts in zip(*pairs.values(), strict=True)]
    dataset = xr.Dataset(
        {
            "value": (("row", "measure", "fold"), value),
            **_summary("", ("row", "measure"), value, test_ratio),
            "efficiency": (("row", "count", "fold"), efficiency),
            **_summary("efficiency_", ("row", "count"), efficiency, test_ratio),
            **{
                name: (between, part)
                for name, part in zip(
                    ("difference", "difference_low", "difference_high", "chance"),
                    compared,
                    strict=True,
                )
            },
        },
        coords={
            "row": names,
            "other_row": names,
            "measure": measures,
            "tested_measure": list(pairs),
            "count": list(counts),
            "network": ("row", [row.network for row in rows]),
            "layer": ("row", [row.layer for row in rows]),
            "minutes": ("row", [row.minutes for row in rows], {"units": "min"}),
            "n_tiles_seen": ("row", [row.n_tiles_seen for row in rows], {"units": "1"}),
        },
    )
    for name, about in ABOUT.items():
        dataset[name].attrs = {"long_name": about, "units": "1"}
    return dataset


def flatten(table: xr.Dataset) -> pd.DataFrame:
    """A line a row: each measure with the ends of its interval, minutes and tiles of training."""
    columns = {}
    for measure in table.measure.values:
        for statistic, suffix in (("mean", ""), ("low", " low"), ("high", " high")):
            values = table[statistic].sel(measure=measure).values
            columns[f"{measure}{suffix}"] = values.round(DIGITS)
    columns["minutes of training"] = table.minutes.values.round(1)
    columns["tiles seen"] = table.n_tiles_seen.values
    return pd.DataFrame(columns, index=pd.Index(table.row.values, name="row"))


def _summary(
    prefix: str, dimensions: tuple[str, str], values: FloatArray, test_ratio: float
) -> dict[str, tuple[tuple[str, str], FloatArray]]:
    """Mean and ends of the interval of values (…, …, fold), over the folds there are."""
    shape = values.shape[:2]
    mean, low, high = (np.full(shape, np.nan) for _ in range(3))
    for index in np.ndindex(*shape):
        known = values[index][np.isfinite(values[index])]
        if len(known) >= 2:
            mean[index] = known.mean()
            low[index], high[index] = find_interval(known.astype(np.float64), test_ratio=test_ratio)
    return {
        f"{prefix}mean": (dimensions, mean),
        f"{prefix}low": (dimensions, low),
        f"{prefix}high": (dimensions, high),
    }
