"""Stage plot_comparison: the comparison of encoders → one figure of all its measures."""

from pathlib import Path

import numpy as np
import xarray as xr

from pipeline.core.comparison import table
from pipeline.files import figures as draw
from pipeline.files import stage, stores


def run(comparison: Path, figures: Path) -> None:
    """Draw the rows of `comparison`."""
    product = stores.open_product(comparison / "comparison.nc").load()
    rows = {
        f"{name}{' (tuned)' if tuned else ''}": _read_row(product.sel(row=name))
        for name, tuned in zip(product.row.values.tolist(), product.tuned.values, strict=True)
    }
    draw.comparison(
        rows,
        *(figures / f"comparison.{suffix}" for suffix in ("png", "pdf")),
        title="{n_tiles} labelled tiles of {n_days} days that no encoder was trained on".format(
            **product.attrs
        ),
        chance=1 / product.attrs["n_labels"],
    )


def _read_row(row: xr.Dataset) -> draw.ComparedRow:
    def interval(of: xr.Dataset, prefix: str = "") -> draw.Interval:
        value, low, high = (of[f"{prefix}{end}"].item() for end in ("mean", "low", "high"))
        return value, low, high

    measures = row.measure.values[np.isfinite(row["mean"].values)].tolist()
    others = {name: interval(row.sel(measure=name)) for name in measures}
    counts = row["count"].values.tolist()
    return draw.ComparedRow(
        frozen=others.pop(table.PROBE),
        unfrozen=others.pop(table.UNFROZEN, None),
        efficiency={count: interval(row.sel(count=count), "efficiency_") for count in counts},
        others=others,
    )


if __name__ == "__main__":
    stage.start(run)
