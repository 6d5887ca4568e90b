"""The table of the comparison: what each row scored, and which differences are more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.comparison.pairs import compare_pairs, estimate

FloatArray = NDArray[np.floating]

PROBE, NEAREST, UNFROZEN = "linear probe", "precision of the nearest", "unfrozen"
INVARIANCE, SHORTCUT = "turning invariance", "shortcut R²"
DIGITS = 4
ABOUT = {
    "value": "value on the tested tiles of a fold, of an encoder trained with a seed",
    "mean": "mean over seeds and folds",
    "low": "lower end of the 95 % interval: corrected resampled t over folds "
    "(doi:10.1023/A:1024068626366), and the variance of training over seeds",
    "high": "upper end of the 95 % interval",
    "efficiency": "balanced accuracy of a linear probe on so many tiles of each label",
    "efficiency_mean": "mean over seeds and folds",
    "efficiency_low": "lower end of the 95 % interval",
    "efficiency_high": "upper end of the 95 % interval",
    "difference": "row minus other row, mean over the folds of both",
    "difference_low": "lower end of the difference's 95 % interval",
    "difference_high": "upper end of the difference's 95 % interval",
    "chance": "p of the paired test that corresponds to the interval, corrected for all pairs of "
    "rows (Holm 1979)",
    "efficiency_difference": "row minus other row, of efficiency",
    "efficiency_difference_low": "lower end of its 95 % interval",
    "efficiency_difference_high": "upper end of its 95 % interval",
    "efficiency_chance": "p likewise",
    "row": "encoder, or features that no network is needed for",
    "other_row": "one of the rows, which the difference is from",
    "measure": "what rows are judged by",
    "count": "tiles of each label that the probe learns from",
    "tuned": "1 where choices were made by labels of validation days",
    "minutes": "time that one training took",
    "n_tiles_seen": "tiles that one training saw",
}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: What identifies it.
        values: By measure, (seed, fold) each, NaN on folds that were not computed.
        efficiency: Of `label_efficiency`, (count, seed, fold).
        minutes: Of one training; 0 where there was none.
        n_tiles_seen: In one training.
        is_tuned: Whether its settings were chosen by scores, on days that are not tested.
    """

    name: str
    values: dict[str, FloatArray]
    efficiency: FloatArray
    minutes: float = 0.0
    n_tiles_seen: int = 0
    is_tuned: bool = False


def tabulate(rows: Sequence[Row], *, counts: Sequence[int], n_folds: int) -> xr.Dataset:
    """The table.

    Args:
        rows: At least one; all have the same folds.
        counts: Of the label efficiency.
        n_folds: Folds of one repeat.

    Returns:
        Dimensions (row, measure, seed, fold, count, other_row); NaN for seeds of rows without
        training.
    """
    names = [row.name for row in rows]
    measures = list(dict.fromkeys(name for row in rows for name in row.values))
    n_seeds = max(len(values) for row in rows for values in row.values.values())
    shape = (n_seeds, rows[0].efficiency.shape[-1])
    value = np.full((len(rows), len(measures), *shape), np.nan)
    efficiency = np.full((len(rows), len(counts), *shape), np.nan)
    for number, row in enumerate(rows):
        efficiency[number, :, : row.efficiency.shape[1]] = row.efficiency
        for name, values in row.values.items():
            value[number, measures.index(name), : len(values)] = values
    dataset = xr.Dataset(
        {
            "value": (("row", "measure", "seed", "fold"), value),
            **_summary("", ("row", "measure"), value, n_folds),
            **_pairs("", "measure", value, n_folds),
            "efficiency": (("row", "count", "seed", "fold"), efficiency),
            **_summary("efficiency_", ("row", "count"), efficiency, n_folds),
            **_pairs("efficiency_", "count", efficiency, n_folds),
        },
        coords={
            "row": names,
            "other_row": names,
            "measure": measures,
            "count": list(counts),
            "tuned": ("row", [int(row.is_tuned) for row in rows]),
            "minutes": ("row", [row.minutes for row in rows]),
            "n_tiles_seen": ("row", [row.n_tiles_seen for row in rows]),
        },
    )
    for name, about in ABOUT.items():
        dataset[name].attrs["long_name"] = about
        if dataset[name].dtype.kind != "U":
            dataset[name].attrs["units"] = "min" if name == "minutes" else "1"
    return dataset


def flatten(table: xr.Dataset) -> pd.DataFrame:
    """A line a row: each measure with the ends of its interval, minutes and tiles of training."""
    columns = {}
    for measure in table.measure.values:
        for statistic, suffix in (("mean", ""), ("low", " low"), ("high", " high")):
            values = table[statistic].sel(measure=measure).values
            columns[f"{measure}{suffix}"] = values.round(DIGITS)
    columns["tuned"] = np.where(table.tuned.values, "yes", "no")
    columns["minutes of training"] = table.minutes.values.round(1)
    columns["tiles seen"] = table.n_tiles_seen.values
    return pd.DataFrame(columns, index=pd.Index(table.row.values, name="row"))


def _summary(
    prefix: str, dimensions: tuple[str, str], values: FloatArray, n_folds: int
) -> dict[str, tuple[tuple[str, str], FloatArray]]:
    """Mean and ends of the interval of values (…, …, seed, fold)."""
    shape = values.shape[:2]
    found = [estimate(values[index], n_folds=n_folds) for index in np.ndindex(*shape)]
    return {
        f"{prefix}{end}": (dimensions, np.reshape([getattr(each, end) for each in found], shape))
        for end in ("mean", "low", "high")
    }


def _pairs(
    prefix: str, dimension: str, values: FloatArray, n_folds: int
) -> dict[str, tuple[tuple[str, str, str], FloatArray]]:
    """Differences of all pairs of rows of values (row, …, seed, fold), with intervals and p."""
    compared = [compare_pairs(each, n_folds=n_folds) for each in values.swapaxes(0, 1)]
    names = ("difference", "difference_low", "difference_high", "chance")
    return {
        f"{prefix}{name}": ((dimension, "row", "other_row"), np.stack(parts))
        for name, parts in zip(names, zip(*compared, strict=True), strict=True)
    }
