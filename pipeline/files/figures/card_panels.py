"""Panels of cluster cards: where, when, what of, and labelled tiles."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.files.figures.composites import Dots
from pipeline.files.figures.graticule import draw_graticule
from pipeline.files.figures.layers import map_grid
from pipeline.files.figures.maps import draw_coastlines, set_extent, shape_ratio
from pipeline.files.figures.projections import choose_projection, find_window, widen
from pipeline.files.figures.style import INK, PAGE_WIDTH, PALE, FloatArray, IntArray

HEIGHT = 9.4  # inches; with the width and a caption, a page
MIDDLE = 4.8  # inches: top of the panels
LEFT, RIGHT = 0.45, 3.95  # their left edges
PANEL_WIDTH = 3.1
MAP_HEIGHT = 1.75
STRIP_STEP = 0.165
MOST_CLASSES = 8
FEWEST_DAYS = 3  # bars of fewer are pale
SMALL, TINY = 7.0, 6.0  # points


class ShareMap(NamedTuple):
    """Share of the tiles of each cell which are of the cluster."""

    latitude_edges: FloatArray
    longitude_edges: FloatArray
    share: FloatArray  # (latitude, longitude); NaN without tiles


class ShareBars(NamedTuple):
    """Share of the tiles of each bin which are of the cluster."""

    edges: FloatArray  # (bin + 1,)
    share: FloatArray  # (bin,); NaN without tiles
    n_days: IntArray  # (bin,)
    label: str
    ticks: Mapping[float, str]


class Strip(NamedTuple):
    """A quantity of all clusters, and that of the card's cluster in words."""

    dots: Dots
    text: str


def title(page: Axes, left: float, top: float, text: str, **look: Any) -> None:
    """Write a line; `look` is that of matplotlib's text."""
    page.text(left, top, text, **{"size": SMALL, "weight": "bold", "va": "center", **look})


def _place_box(left: float, top: float, width: float, height: float) -> tuple[float, ...]:
    """Inches from the upper left corner as shares of the page from the lower left."""
    return left / PAGE_WIDTH, 1 - (top + height) / HEIGHT, width / PAGE_WIDTH, height / HEIGHT


def draw_map(figure: Figure, places: ShareMap) -> None:
    """Draw where the cluster is found."""
    window = widen(find_window(*np.meshgrid(places.latitude_edges, places.longitude_edges)))
    height = min(MAP_HEIGHT, PANEL_WIDTH * shape_ratio(window))
    box: Any = _place_box(LEFT, MIDDLE + 0.12, PANEL_WIDTH, height)
    panel: Any = figure.add_axes(box, projection=choose_projection(window), anchor="N")
    set_extent(panel, window)
    draw_coastlines(panel, window, n_columns=2)
    draw_graticule(panel, window, left=True, bottom=True, size_inches=(PANEL_WIDTH, height))
    largest = max(float(np.nanmax(places.share)), 1e-3)
    mesh = map_grid(
        panel,
        places.latitude_edges,
        places.longitude_edges,
        places.share,
        norm=Normalize(0, largest),
    )
    panel.set_title("Where: share of the tiles of each cell", size=SMALL, pad=4)
    bar_box: Any = _place_box(LEFT + 0.5, MIDDLE + height + 0.37, PANEL_WIDTH - 1.0, 0.07)
    bar = figure.colorbar(mesh, cax=figure.add_axes(bar_box), orientation="horizontal")
    bar.ax.tick_params(labelsize=TINY, length=2, pad=1)
    bar.ax.xaxis.set_major_formatter("{x:.0%}" if largest >= 0.05 else "{x:.1%}")
    bar.ax.xaxis.set_major_locator(MaxNLocator(nbins=4))
    bar.outline.set(linewidth=0.4)


def draw_bars(
    figure: Figure, bars: ShareBars, share: float, colour: FloatArray, top: float
) -> None:
    """Draw when the cluster is found, beside its share of all tiles."""
    box: Any = _place_box(LEFT, top, PANEL_WIDTH, 0.55)
    panel = figure.add_axes(box)
    sure = bars.n_days >= FEWEST_DAYS
    panel.bar(
        bars.edges[:-1],
        np.nan_to_num(bars.share),
        np.diff(bars.edges) * 0.86,
        align="edge",
        color=[colour if each else PALE for each in sure],
        edgecolor=INK,
        linewidth=np.where(bars.n_days > 0, 0.3, 0.0).tolist(),
    )
    panel.axhline(share, color=INK, lw=0.8, ls=(0, (4, 2)))
    panel.set_xlim(bars.edges[0], bars.edges[-1])
    panel.set_ylim(0, 1.15 * max(share, float(np.nanmax(bars.share)), 1e-3))
    panel.set_xticks(list(bars.ticks), list(bars.ticks.values()))
    panel.grid(False, axis="x")
    panel.yaxis.set_major_locator(MaxNLocator(nbins=4))
    panel.yaxis.set_major_formatter("{x:.0%}" if panel.get_ylim()[1] >= 0.05 else "{x:.1%}")
    panel.tick_params(labelsize=TINY, length=2, pad=1)
    panel.set_title(bars.label, size=SMALL, pad=3)


def explain_bars(share: float) -> str:
    """Return the key of the bars."""
    return f"dashed: share of all tiles, {share:.1%}; grey: fewer than {FEWEST_DAYS} days"


def draw_strips(
    figure: Figure, page: Axes, strips: Mapping[str, Strip], number: int, colour: FloatArray
) -> None:
    """Draw the quantities of the cluster among those of the others."""
    has_intervals = any(np.isfinite(strip.dots.low[number]) for strip in strips.values())
    title(page, RIGHT, MIDDLE, "Composites" + (", with 95 % intervals" if has_intervals else ""))
    line, left, width = MIDDLE + 0.14, RIGHT + 1.26, 0.92
    title(page, left, line, "dashed: all tiles; small: other clusters", size=TINY, weight="normal")
    if not strips:
        title(page, RIGHT, line + 0.2, "none of these tiles are known", weight="normal")
        return
    height = len(strips) * STRIP_STEP
    box: Any = _place_box(left, line + 0.1, width, height)
    panel = figure.add_axes(box, facecolor="none")
    panel.set(xlim=(-0.06, 1.06), ylim=(len(strips) - 0.5, -0.5), yticks=[], xticks=[])
    panel.grid(False)
    panel.spines[:].set_visible(False)
    for place, (label, strip) in enumerate(strips.items()):
        values, low, high, reference = _scale(strip.dots, number)
        panel.axhline(place, color="#ebebeb", lw=0.6, zorder=0)
        panel.plot(np.delete(values, number), np.full(len(values) - 1, place), "|", color="#9a9a9a",
                   ms=4, mew=0.7, zorder=1)  # fmt: skip
        panel.vlines(reference, place - 0.42, place + 0.42, color=INK, lw=0.8, ls=(0, (2, 1)))
        panel.hlines(place, low, high, color=colour, lw=2.4, zorder=3)
        panel.plot(values[number], place, "o", color=colour, mec=INK, mew=0.5, ms=5, zorder=4)
        middle = line + 0.1 + (place + 0.5) * STRIP_STEP
        title(page, RIGHT, middle, label, size=TINY, weight="normal")
        title(page, PAGE_WIDTH, middle, strip.text, size=TINY, weight="normal", ha="right")


def _scale(dots: Dots, number: int) -> tuple[FloatArray, float, float, float]:
    """Values, the ends of the interval of cluster `number` and the reference, from 0 to 1."""
    ends = np.array([dots.low[number], dots.high[number], dots.reference])
    seen = np.concatenate([dots.values, ends])
    smallest, largest = np.nanmin(seen, initial=np.inf), np.nanmax(seen, initial=-np.inf)
    span = largest - smallest if largest > smallest else 1.0
    low, high, reference = (ends - smallest) / span
    return (dots.values - smallest) / span, float(low), float(high), float(reference)


def draw_classes(
    figure: Figure,
    page: Axes,
    classes: Mapping[str, int],
    sentence: str,
    colour: FloatArray,
    top: float,
) -> None:
    """Draw how many labelled tiles of each class are in the cluster."""
    title(page, RIGHT, top, "Labelled tiles in the cluster")
    lines = wrap(sentence, 66)
    title(page, RIGHT, top + 0.1, "\n".join(lines), size=TINY, weight="normal", va="top")
    shown = sorted(classes.items(), key=lambda item: -item[1])[:MOST_CLASSES]
    if not any(n_tiles for _, n_tiles in shown):
        return
    height = min(len(shown) * 0.15, HEIGHT - top - 0.35)
    box: Any = _place_box(RIGHT + 1.48, top + 0.18 + 0.1 * len(lines), 1.4, height)
    panel = figure.add_axes(box)
    counts = [n_tiles for _, n_tiles in shown]
    drawn = panel.barh(range(len(shown)), counts, color=[colour], edgecolor=INK, linewidth=0.3)
    panel.bar_label(drawn, fontsize=TINY, padding=2)
    panel.set_yticks(range(len(shown)), [name[:34] for name, _ in shown])
    panel.set(ylim=(len(shown) - 0.5, -0.5), xticks=[], xlim=(0, 1.15 * max(counts)))
    panel.grid(False)
    panel.spines["bottom"].set_visible(False)
    panel.tick_params(labelsize=TINY, length=0)
