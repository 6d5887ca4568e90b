"""One look for every figure: sizes, fonts, and the writing of files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]

PAGE_WIDTH = 7.2  # inches: two columns of a journal page
MARGIN = 0.05  # inches
DOTS_PER_INCH = 150
INK = "#222222"
PALE = "#d9d9d9"
ACCENT = "#0b5394"
WARNING = "#b45309"

# Neither dates nor releases, by which the bytes of one figure would differ.
UNSTAMPED: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}

STYLE: Any = {  # matplotlib's releases differ in the type of its keys
    "axes.axisbelow": True,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.titlesize": 10,
    "figure.titleweight": "bold",
    "font.size": 8,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "image.cmap": "viridis",
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "pdf.fonttype": 42,  # letters stay letters for who edits the figure
    "svg.fonttype": "none",
    "svg.hashsalt": "tile2vec-clouds",
    "text.color": INK,
    "xtick.color": "#555555",
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.color": "#555555",
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8,
}


@contextmanager
def style() -> Iterator[None]:
    """Give everything drawn inside this context the common look."""
    with matplotlib.rc_context(STYLE):
        yield


def new(
    n_rows: int = 1,
    n_columns: int = 1,
    *,
    width: float = PAGE_WIDTH,
    height: float | None = None,
    **subplots: Any,
) -> tuple[Figure, npt.NDArray[Any]]:
    """Return a figure and its axes, shape (n_rows, n_columns); `width`, `height` in inches.

    Without `height`, panels are three quarters as high as wide. Further keywords go to
    `Figure.subplots`, such as `sharex=True`.
    """
    if height is None:
        height = 0.75 * width / n_columns * n_rows
    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(n_rows, n_columns, squeeze=False, **subplots)
    return figure, axes


def save(figure: Figure, *paths: Path) -> None:
    """Write `figure` as PNG, PDF or SVG, by the suffix; the same figure gives the same bytes."""
    with style():
        figure.set_dpi(DOTS_PER_INCH)
        if layout := figure.get_layout_engine():
            layout.execute(figure)
        figure.set_layout_engine(None)  # which would lay it out anew for each file
        box = figure.get_tightbbox().padded(MARGIN)
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(
                path,
                dpi=DOTS_PER_INCH,
                bbox_inches=box,
                facecolor="white",
                metadata=UNSTAMPED[path.suffix],
            )


def text_colour(colour: npt.ArrayLike) -> str:
    """Return the colour of text, dark or white, to be read on `colour` (red, green, blue, ...)."""
    red, green, blue = np.asarray(colour, dtype=float)[:3]
    # Rec. 709 luma is close enough to lightness to choose between two inks.
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5 else "white"


def hide_spare(axes: npt.NDArray[Any], n_used: int) -> list[Axes]:
    """Return the first `n_used` axes and switch the others off."""
    panels: list[Axes] = list(axes.flat)
    for spare in panels[n_used:]:
        spare.set_axis_off()
    return panels[:n_used]
