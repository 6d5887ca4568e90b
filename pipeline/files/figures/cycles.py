"""Frequencies of clusters over latitude, local solar time and the months of the year."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from pipeline.files.base.palette import cluster_colours
from pipeline.files.figures.climatology import save_both
from pipeline.files.figures.style import INK, FloatArray, hide_spare, new, style

INTERVAL_ERRORS = 2.0  # standard errors on either side, about 95 %
MOST_CURVES_ACROSS = 5


def zonal_means(product: xr.Dataset, stem: Path) -> None:
    """Write the zonal mean frequency of each cluster; `product` is of one period."""
    _cluster_curves(
        product.latitude_bounds.values,
        product.zonal_frequency.values,
        np.where(product.zonal_sampling.values == 0, product.zonal_standard_error.values, np.nan),
        stem,
        x_label="latitude (degrees north)",
    )


def diurnal_cycle(product: xr.Dataset, stem: Path) -> None:
    """Write the mean frequency of each cluster over local solar time."""
    _cluster_curves(
        product.local_solar_time_bounds.values,
        product.frequency.values.T,
        _trusted_errors(product),
        stem,
        reference=product.record_frequency.values.T,
        x_label="local solar time (h)",
        ticks=(np.arange(0, 25, 6), None),
    )


def seasonal_cycle(product: xr.Dataset, stem: Path) -> None:
    """Write the mean frequency of each cluster over the calendar months."""
    table = np.full((3, product.sizes["cluster"], 12), np.nan)
    month = product.time.dt.month.values - 1
    table[0][:, month] = product.frequency.values.T
    table[1][:, month] = _trusted_errors(product)
    table[2][:, month] = product.record_frequency.values.T
    middles = np.arange(1, 13)
    _cluster_curves(
        np.stack([middles - 0.5, middles + 0.5], axis=1),
        table[0],
        table[1],
        stem,
        reference=table[2],
        x_label="calendar month",
        ticks=([1, 4, 7, 10], ["Jan", "Apr", "Jul", "Oct"]),
    )


def _trusted_errors(product: xr.Dataset) -> FloatArray:
    """Standard errors (cluster, period) of a cycle, NaN where tiles or days do not suffice."""
    return np.where(product.sampling.values == 0, product.standard_error.values.T, np.nan)


def _cluster_curves(
    edges: FloatArray,
    values: FloatArray,
    errors: FloatArray,
    stem: Path,
    *,
    x_label: str,
    reference: FloatArray | None = None,
    ticks: tuple[Any, Any] | None = None,
) -> None:
    """One panel per cluster of `values` (cluster, step) between `edges` (step, 2)."""
    n_rows = -(-len(values) // (MOST_CURVES_ACROSS if len(values) > 9 else 3))
    n_columns = -(-len(values) // n_rows)
    figure, axes = new(n_rows, n_columns, height=1.35 * n_rows + 0.9, sharex=True)
    middles = edges.mean(axis=1)
    with style():
        for number, (panel, colour) in enumerate(
            zip(hide_spare(axes, len(values)), cluster_colours(len(values)), strict=True)
        ):
            _draw_interval(panel, edges, values[number], errors[number], colour)
            if reference is not None:
                panel.plot(middles, reference[number], color=INK, lw=0.8, ls=(0, (3, 2)))
            panel.plot(middles, values[number], color=colour, marker="o", markersize=2.5)
            panel.set_title(f"{number}")
            panel.set_ylim(bottom=0)
            panel.yaxis.set_major_locator(MaxNLocator(nbins=4))
            panel.tick_params(labelbottom=number >= len(values) - n_columns)
            if ticks:
                panel.set_xticks(ticks[0], ticks[1])
        figure.supxlabel(x_label, fontsize=9)
        figure.supylabel("frequency of occurrence", fontsize=9)
        handles: list[Artist] = [
            Line2D([], [], color="#888888", marker="o", markersize=2.5, label="mean by area"),
        ]
        if np.isfinite(errors).any():
            shade = Patch(color="#888888", alpha=0.3, lw=0, label="± 2 standard errors, from days")
            handles.append(shade)
        if reference is not None:
            dashes = Line2D([], [], color=INK, lw=0.8, ls=(0, (3, 2)))
            dashes.set_label("the same cells in the whole record")
            handles.append(dashes)
        figure.legend(handles=handles, loc="outside upper right", ncols=3)
    save_both(figure, stem)


def _draw_interval(
    panel: Axes, edges: FloatArray, values: FloatArray, errors: FloatArray, colour: FloatArray
) -> None:
    """Shade the interval of each step over its width, so that lone steps have one as well."""
    reach = INTERVAL_ERRORS * errors
    known = np.flatnonzero(np.isfinite(reach))
    panel.bar(
        edges[known, 0],
        2 * reach[known],
        np.diff(edges[known])[:, 0],
        values[known] - reach[known],
        align="edge",
        color=colour,
        alpha=0.3,
        lw=0,
    )
