"""How often predictions are right, against how probable they are said to be."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from matplotlib.ticker import MultipleLocator

from pipeline.files.figures.style import (
    ACCENT,
    PALE,
    FloatArray,
    IntArray,
    hide_spare,
    new,
    save,
    style,
)

MOST_COLUMNS = 4
LARGEST_DOT = 120.0  # square points, of the bin of the most tiles


@dataclass(frozen=True)
class Reliability:
    """Of one classifier: mean probability, share that is right and tiles of each bin, (bin,)."""

    probability: FloatArray
    accuracy: FloatArray
    n_tiles: IntArray
    note: str


def reliability_diagrams(rows: Mapping[str, Reliability], path: Path, *, title: str) -> None:
    """Write one panel per classifier; dots on the diagonal mean what they say.

    Args:
        rows: Title of a panel to what it shows; the area of a dot tells the tiles of its bin.
        path: PNG to write.
        title: Above the panels.
    """
    n_columns = min(len(rows), MOST_COLUMNS)
    n_lines = -(-len(rows) // n_columns)
    figure, axes = new(n_lines, n_columns, height=2.1 * n_lines + 0.7, sharex=True, sharey=True)
    with style():
        for panel, (name, row) in zip(hide_spare(axes, len(rows)), rows.items(), strict=True):
            panel.plot([0, 1], [0, 1], color=PALE, lw=1)
            panel.plot(row.probability, row.accuracy, color=ACCENT, lw=0.8, alpha=0.6)
            panel.scatter(
                row.probability,
                row.accuracy,
                s=LARGEST_DOT * row.n_tiles / max(row.n_tiles.max(), 1),
                color=ACCENT,
                alpha=0.7,
                lw=0,
                zorder=3,
            )
            panel.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
            panel.xaxis.set_major_locator(MultipleLocator(0.5))
            panel.yaxis.set_major_locator(MultipleLocator(0.5))
            panel.set_title("\n".join(wrap(name, 22)), fontsize=8)
            panel.text(
                0.97, 0.04, row.note, ha="right", va="bottom", fontsize=7, transform=panel.transAxes
            )
        figure.supxlabel("mean probability of the predicted label (1)", fontsize=8)
        figure.supylabel("share that is right (1)", fontsize=8)
        figure.suptitle(title, x=0.01, ha="left")
    save(figure, path)
