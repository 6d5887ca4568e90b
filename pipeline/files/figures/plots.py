"""Plots of scores: over a number such as k, with intervals, and as confusion matrices."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.files.figures.style import (
    ACCENT,
    PAGE_WIDTH,
    WARNING,
    FloatArray,
    IntArray,
    hide_spare,
    new,
    save,
    style,
    text_colour,
)

Interval = tuple[float, float, float]  # value, lower end, upper end
COMPARED = "#777777"
HIGHEST_COUNTED = 12  # classes whose cells of a confusion matrix still have room for numbers


def curves(
    abscissa: npt.ArrayLike,
    panels: Mapping[str, npt.ArrayLike],
    path: Path,
    *,
    x_label: str,
    against: Mapping[str, npt.ArrayLike] | None = None,
    against_label: str = "",
    mark: float | None = None,
    title: str = "",
) -> None:
    """Write one small panel per score, all over the same `abscissa`.

    Args:
        abscissa: Shape (step,), such as the values of k.
        panels: Label of each panel, with its unit if it has one, to values (step,) or to values
            with an interval (3, step): value, lower and upper end. NaN leaves a gap.
        path: PNG to write.
        x_label: Below the panels.
        against: Likewise, grey and for some panels, what the score is compared with.
        against_label: What that is.
        mark: Abscissa recommended, where a vertical line stands.
        title: Above the panels.
    """
    along = np.asarray(abscissa, dtype=np.float64)
    n_columns = min(len(panels), 2)
    n_rows = -(-len(panels) // n_columns)
    width = PAGE_WIDTH if n_columns > 1 else 0.6 * PAGE_WIDTH
    figure, axes = new(n_rows, n_columns, width=width, height=2.1 * n_rows + 0.3, sharex=True)
    with style():
        for number, (panel, (label, values)) in enumerate(
            zip(hide_spare(axes, len(panels)), panels.items(), strict=True)
        ):
            if against is not None and label in against:
                _draw_curve(panel, along, against[label], COMPARED)
            _draw_curve(panel, along, values, ACCENT)
            panel.set_title(label)
            panel.margins(y=0.12)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.yaxis.set_major_locator(MaxNLocator(nbins=5))
            if mark is not None:
                panel.axvline(mark, color=WARNING, lw=1, ls=(0, (4, 2)), zorder=1)
                if number == 0:
                    panel.annotate(
                        f" recommended: {mark:g}",
                        (mark, 0.97),
                        xycoords=("data", "axes fraction"),
                        color=WARNING,
                        va="top",
                        ha="left" if mark <= along.mean() else "right",
                    )
            if number >= len(panels) - n_columns:
                panel.set_xlabel(x_label)
                panel.tick_params(labelbottom=True)
        if against_label:
            figure.legend(
                handles=[
                    Line2D([], [], color=ACCENT, marker="o", markersize=3, label="tiles"),
                    Line2D([], [], color=COMPARED, ls="--", label=against_label),
                ],
                loc="outside lower center",
                ncols=2,
            )
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    save(figure, path)


def _draw_curve(panel: Axes, along: FloatArray, values: npt.ArrayLike, colour: str) -> None:
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if len(table) == 3:
        panel.fill_between(along, table[1], table[2], color=colour, alpha=0.18, lw=0)
    if colour == COMPARED:
        panel.plot(along, table[0], color=colour, ls="--")
    else:
        panel.plot(along, table[0], color=colour, marker="o", markersize=3)


def intervals(
    panels: Mapping[str, Mapping[str, Interval]],
    path: Path,
    *,
    title: str = "",
    chance: float | None = None,
    limits: tuple[float, float] | None = None,
) -> None:
    """Write dots with intervals, one panel per score and one line per name.

    Args:
        panels: Score (such as "accuracy") to name (such as an encoder) to (value, low, high).
        path: PNG to write.
        title: Above the panels.
        chance: Score of a guess, drawn as a thin line.
        limits: Of every panel; by default each shows its own scores.
    """
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    height = 0.27 * len(names) + 0.8
    figure, axes = new(1, len(panels), height=height, sharey=True)
    with style():
        for panel, (label, scores) in zip(axes.flat, panels.items(), strict=True):
            for line, name in enumerate(names):
                if name not in scores:
                    continue
                value, low, high = scores[name]
                panel.plot([low, high], [line, line], color=ACCENT, lw=1.6, alpha=0.55)
                panel.plot([value], [line], "o", color=ACCENT, markersize=4.5)
                panel.annotate(
                    f"{value:.2f}",
                    (value, line),
                    xytext=(0, 4),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7,
                )
            if chance is not None:
                panel.axvline(chance, color="#777777", lw=0.8, ls=":")
            panel.set_title("\n".join(wrap(label, 60 // len(panels))))
            panel.margins(x=0.12)
            if limits is not None:
                panel.set_xlim(*limits)
            panel.set_ylim(len(names) - 0.5, -0.7)
            panel.set_yticks(range(len(names)), names)
            panel.xaxis.set_major_locator(MaxNLocator(nbins=4))
            panel.spines["left"].set_visible(False)
            panel.tick_params(axis="y", length=0)
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    save(figure, path)


def confusion(
    matrices: Mapping[str, IntArray | FloatArray],
    labels: Sequence[str],
    path: Path,
    *,
    title: str = "",
) -> None:
    """Write confusion matrices, one panel each: colours are shares of the true label, numbers %.

    Args:
        matrices: Title of the panel to counts (true label, predicted label).
        labels: In the order of rows and columns.
        path: PNG to write.
        title: Above the panels.
    """
    if not matrices:
        raise ValueError(f"{path.name} needs at least one confusion matrix, but was given none")
    for name, counts in matrices.items():
        if np.shape(counts) != (len(labels), len(labels)):
            raise ValueError(
                f"confusion matrix {name!r} has shape {np.shape(counts)}, "
                f"but there are {len(labels)} labels"
            )
    n_columns = min(len(matrices), 3)
    n_rows = -(-len(matrices) // n_columns)
    width = PAGE_WIDTH if n_columns > 1 else 0.6 * PAGE_WIDTH
    height = (0.8 * width / n_columns + 0.3) * n_rows + 1.4 + 0.7 * (n_rows > 1)
    figure, axes = new(n_rows, n_columns, width=width, height=height, sharex=True, sharey=True)
    with style():
        used = hide_spare(axes, len(matrices))
        for number, (panel, (name, counts)) in enumerate(zip(used, matrices.items(), strict=True)):
            image = _draw_matrix(panel, np.asarray(counts, dtype=np.float64))
            panel.set_title("\n".join(wrap(name, 26)), fontsize=8)
            panel.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
            panel.set_yticks(range(len(labels)), labels)
            lowest = number >= len(matrices) - n_columns
            panel.tick_params(length=0, labelbottom=lowest)
            if lowest:
                panel.set_xlabel("predicted")
        for panel in axes[:, 0]:
            panel.set_ylabel("true")
        figure.colorbar(
            image,
            ax=axes,
            orientation="horizontal",
            shrink=0.5,
            aspect=40,
            label="share of the true label (%)",
            format=FuncFormatter(lambda value, _: f"{100 * value:.0f}"),
        )
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    save(figure, path)


def _draw_matrix(panel: Axes, counts: FloatArray) -> AxesImage:
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    image = panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    panel.grid(False)
    if len(counts) > HIGHEST_COUNTED:
        return image
    for row, column in zip(*np.nonzero(counts), strict=True):
        panel.text(
            column,
            row,
            f"{100 * shares[row, column]:.0f}",
            ha="center",
            va="center",
            fontsize=7 if len(counts) <= 8 else 5.5,
            color=text_colour(image.to_rgba(shares[row, column])),
        )
    return image


def heat_map(
    values: FloatArray,
    path: Path,
    *,
    rows: Sequence[str],
    columns: Sequence[object],
    x_label: str,
    label: str,
    title: str = "",
) -> None:
    """Write shares as a table of colours and numbers, in percent.

    Args:
        values: Shape (row, column), from 0 to 1; those below 0 are shown as 0, NaN stays white.
        path: File to write.
        rows: Names, from top to bottom.
        columns: Names, from left to right.
        x_label: Below the columns.
        label: What the shares are.
        title: Above the table.
    """
    figure, axes = new(height=0.24 * len(rows) + 1.4)
    with style():
        panel = axes[0, 0]
        image = panel.imshow(values, cmap="YlGnBu", vmin=0, vmax=1, aspect="auto")
        panel.grid(False)
        panel.set_yticks(range(len(rows)), rows)
        panel.set_xticks(range(len(columns)), [str(each) for each in columns])
        panel.tick_params(length=0)
        panel.set_xlabel(x_label)
        for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
            share = max(values[row, column], 0.0)
            panel.text(
                column,
                row,
                f"{100 * share:.0f}",
                ha="center",
                va="center",
                fontsize=6.5,
                color=text_colour(image.to_rgba(share)),
            )
        figure.colorbar(
            image,
            ax=panel,
            orientation="horizontal",
            shrink=0.5,
            aspect=40,
            label=f"{label}, %",
            format=FuncFormatter(lambda value, _: f"{100 * value:.0f}"),
        )
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    save(figure, path)
