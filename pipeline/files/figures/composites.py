"""What clusters are made of: a dot with its interval for each of them."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator

from pipeline.files.base.palette import cluster_colours
from pipeline.files.figures.style import INK, PAGE_WIDTH, FloatArray, hide_spare, new, save, style

PAGE_HEIGHT = 9.0  # inches
FEW_CLUSTERS = 15  # whose numbers have room below a panel of a third of the page
LETTERS_PER_INCH = 16


UNIT_SIGNS = {"percent": "%", "degree": "°", "1": ""}
PROPER_NAMES = {
    "iorg": "I_org",
    "iorg_at_random": "I_org at random",
    "iorg_departure": "I_org less that at random",
    "scai": "SCAI",
    "cop": "COP",
}


class Dots(NamedTuple):
    """A quantity of each cluster, and its value where a cluster does not differ from the others."""

    values: FloatArray  # (cluster,)
    low: FloatArray  # ends of the intervals
    high: FloatArray
    reference: float


def quantity_label(name: str, units: str) -> str:
    """What an axis says of a quantity, given its name and units in a product.

    >>> quantity_label("cloud_fraction", "percent"), quantity_label("iorg", "1")
    ('Cloud fraction (%)', 'I_org')
    """
    label = PROPER_NAMES.get(name, name.replace("_", " ").capitalize())
    sign = UNIT_SIGNS.get(units, units)
    return f"{label} ({sign})" if sign else label


def cluster_dots(panels: Mapping[str, Dots], path: Path, *, title: str = "") -> None:
    """Write one small panel per quantity: dots of the clusters in their colours, with intervals.

    Args:
        panels: Label of each panel, with its unit, to the quantity.
        path: Figure to write.
        title: Above the panels.
    """
    n_clusters = len(next(iter(panels.values())).values)
    n_columns = min(len(panels), 3 if n_clusters <= FEW_CLUSTERS else 2)
    n_rows = -(-len(panels) // n_columns)
    height = n_rows * float(np.clip(PAGE_HEIGHT / n_rows, 1.0, 1.35)) + 0.5 if n_rows > 1 else 2.6
    figure, axes = new(n_rows, n_columns, height=height, sharex=True)
    colours = cluster_colours(n_clusters)
    numbers = np.arange(n_clusters)
    # Of many numbers every other one stands a line lower, so that they do not touch.
    lower = n_clusters > FEW_CLUSTERS
    names = ["\n" * (lower and number % 2) + str(number) for number in numbers]
    letters = int(PAGE_WIDTH / n_columns * LETTERS_PER_INCH)
    with style():
        used = hide_spare(axes, len(panels))
        for place, (panel, (label, dots)) in enumerate(zip(used, panels.items(), strict=True)):
            panel.axhline(dots.reference, color="#777777", lw=0.8, ls=(0, (4, 2)), zorder=1)
            panel.vlines(
                numbers, dots.low, dots.high, colors=list(map(tuple, colours)), lw=2.0, zorder=2
            )
            panel.scatter(
                numbers, dots.values, c=colours, s=20, edgecolors=INK, linewidths=0.5, zorder=3
            )
            panel.set_title("\n".join(wrap(label, letters)), fontsize=7, fontweight="normal")
            panel.grid(False, axis="x")
            panel.margins(y=0.12)
            panel.set_xlim(-0.7, n_clusters - 0.3)
            panel.set_xticks(numbers, names)
            panel.tick_params(axis="x", length=0, labelsize=6, pad=1)
            panel.tick_params(axis="y", labelsize=7)
            panel.yaxis.set_major_locator(MaxNLocator(nbins=4))
            if place >= len(panels) - n_columns:
                panel.tick_params(labelbottom=True)
                panel.set_xlabel("cluster", fontsize=7)
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    save(figure, path)
