"""The comparison of encoders: one figure of all its measures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from pipeline.files.figures.style import ACCENT, INK, WARNING, new, save, style

Interval = tuple[float, float, float]  # value, and the ends of its interval
N_LINES = 8
PER_LINE = 6  # panels of measures
LOWEST, HIGHEST = -1.0, 1.05  # of measures shown, which are 1 at best
WRAPPED = 30  # characters of a line of a row's name


@dataclass(frozen=True)
class ComparedRow:
    """What is drawn of a row.

    Attributes:
        frozen: Balanced accuracy of a linear probe.
        unfrozen: After fine-tuning; None where there is none.
        efficiency: Of a probe, by the number of tiles of each label.
        others: Further measures by name.
    """

    frozen: Interval
    unfrozen: Interval | None
    efficiency: Mapping[int, Interval]
    others: Mapping[str, Interval]


def comparison(
    rows: Mapping[str, ComparedRow],
    *paths: Path,
    title: str,
    chance: float,
) -> None:
    """Write rows by their accuracy, the curves of the best over few labels, and other measures.

    Args:
        rows: By name.
        paths: To write to, as of `save`.
        title: Above the figure.
        chance: Balanced accuracy of a guess.
    """
    names = sorted(rows, key=lambda name: rows[name].frozen[0], reverse=True)
    measures = list(dict.fromkeys(name for row in rows.values() for name in row.others))
    per_row = max(0.26 * len(names) + 0.75, 1.8)
    in_lines = [measures[first : first + PER_LINE] for first in range(0, len(measures), PER_LINE)]
    heights = [per_row, 2.6, *[per_row] * len(in_lines)]
    figure, _ = new(height=sum(heights))
    figure.clear()
    with style():
        outer = figure.add_gridspec(len(heights), 1, height_ratios=heights)
        _accuracy(figure.add_subplot(outer[0]), rows, names, chance)
        _efficiency(figure.add_subplot(outer[1]), rows, names[:N_LINES])
        for line, shown in enumerate(in_lines):
            inner = outer[2 + line].subgridspec(1, PER_LINE)
            for number, measure in enumerate(shown):
                panel = figure.add_subplot(inner[number])
                _dots(panel, {name: rows[name].others.get(measure) for name in names}, color=INK)
                panel.set_title(measure.replace(" ", "\n", 1), fontsize=7)
                panel.xaxis.set_major_locator(MaxNLocator(nbins=3))
                left, right = panel.get_xlim()
                panel.set_xlim(max(left, LOWEST), min(right, HIGHEST))
                _name_rows(panel, names if number == 0 else None, len(names))
        figure.suptitle(title, x=0.01, ha="left")
    save(figure, *paths)


def _accuracy(
    panel: Axes, rows: Mapping[str, ComparedRow], names: Sequence[str], chance: float
) -> None:
    unfrozen = {name: rows[name].unfrozen for name in names}
    _dots(panel, {name: rows[name].frozen for name in names}, color=ACCENT, offset=-0.14)
    _dots(panel, unfrozen, color=WARNING, offset=0.14, marker="s")
    panel.plot([], [], "o", color=ACCENT, label="frozen: linear probe")
    panel.plot([], [], "s", color=WARNING, label="unfrozen: fine-tuned")
    panel.axvline(chance, color="#777777", lw=0.8, ls=":", label="a guess")
    panel.set_xlabel("balanced accuracy on days not trained on")
    panel.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=7)
    _name_rows(panel, names, len(names))


def _efficiency(panel: Axes, rows: Mapping[str, ComparedRow], names: Sequence[str]) -> None:
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    counts = sorted({count for name in names for count in rows[name].efficiency})
    for number, name in enumerate(names):
        known = {
            count: interval
            for count, interval in rows[name].efficiency.items()
            if np.isfinite(interval[0])
        }
        if not known:
            continue
        shift = 1.02 ** (number - len(names) / 2)  # so that intervals do not hide each other
        x = np.array(list(known)) * shift
        value, low, high = np.array(list(known.values())).T
        panel.plot(x, value, "o-", color=colours[number % 10], label=name, markersize=3, lw=1.2)
        panel.vlines(x, low, high, color=colours[number % 10], lw=0.8, alpha=0.5)
    panel.set_xscale("log")
    panel.set_xticks(counts, [str(count) for count in counts])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel("labelled tiles of each class")
    panel.set_ylabel("balanced accuracy, frozen")
    panel.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7)


def _dots(
    panel: Axes,
    values: Mapping[str, Interval | None],
    *,
    color: str,
    offset: float = 0.0,
    marker: str = "o",
) -> None:
    for line, interval in enumerate(values.values()):
        if interval is None or not np.isfinite(interval[0]):
            continue
        value, low, high = interval
        panel.plot([low, high], [line + offset] * 2, color=color, lw=1.4, alpha=0.5)
        panel.plot([value], [line + offset], marker, color=color, markersize=3.6)


def _name_rows(panel: Axes, names: Sequence[str] | None, n_rows: int) -> None:
    panel.set_ylim(n_rows - 0.4, -0.6)
    if names is None:
        panel.tick_params(axis="y", labelleft=False)
    else:
        panel.set_yticks(range(n_rows), [fill(name, WRAPPED) for name in names], fontsize=7)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)
