"""Tiles among earlier ones and on a map, some of them marked."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from pipeline.files.base.palette import cluster_colours
from pipeline.files.figures.layers import map_tiles
from pipeline.files.figures.maps import map_axes
from pipeline.files.figures.style import (
    INK,
    PAGE_WIDTH,
    PALE,
    BoolArray,
    FloatArray,
    IntArray,
    new,
    save,
    style,
)

MARKER, EARLIER_MARKER = 9.0, 3.0  # points squared


def scatter_placed(
    earlier: FloatArray,
    positions: FloatArray,
    path: Path,
    *,
    clusters: IntArray,
    is_marked: BoolArray,
    n_clusters: int,
    mark: str,
    title: str = "",
) -> None:
    """Write `positions` (tile, 2) in cluster colours over `earlier` ones, which are pale.

    Args:
        earlier: Shape (earlier tile, 2).
        positions: Shape (tile, 2).
        path: Picture to write.
        clusters: Numbers from 0, shape (tile,).
        is_marked: Whether a tile gets a dark outline, shape (tile,).
        n_clusters: Clusters that exist.
        mark: What the outline means.
        title: Above the layout.
    """
    figure, axes = new(width=0.8 * PAGE_WIDTH, height=0.8 * PAGE_WIDTH)
    panel = axes[0, 0]
    with style():
        panel.set(xticks=[], yticks=[], aspect="equal")
        panel.grid(False)
        panel.spines[:].set_visible(False)
        panel.set_title(title, color=INK)
        panel.scatter(*earlier.T, color=PALE, s=EARLIER_MARKER, lw=0, rasterized=True)
        colours = cluster_colours(n_clusters)[clusters]
        for chosen, edge in ((~is_marked, 0.0), (is_marked, 0.5)):
            panel.scatter(
                *positions[chosen].T,
                c=colours[chosen],
                s=MARKER,
                lw=edge,
                edgecolors=INK,
                rasterized=True,
            )
        for number in np.unique(clusters):
            own = positions[clusters == number]
            # The tile nearest the median: that of a bent cluster may lie in another.
            place = own[np.square(own - np.median(own, axis=0)).sum(axis=1).argmin()]
            label = panel.text(*place, str(number), ha="center", va="center", fontweight="bold")
            label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
        figure.legend(handles=_keys(mark), loc="outside lower center", ncols=3)
    save(figure, path)


def _keys(mark: str) -> list[Line2D]:
    kinds = (("of the atlas", PALE, 0.0), ("new, by cluster", "#8a8a8a", 0.0))
    return [
        Line2D([], [], ls="", marker="o", color=colour, markeredgewidth=edge, label=label)
        for label, colour, edge in kinds
    ] + [
        Line2D([], [], ls="", marker="o", color="white", markeredgecolor=INK, label=f"new, {mark}")
    ]


def map_marked(
    latitude_bounds: FloatArray,
    longitude_bounds: FloatArray,
    path: Path,
    *,
    colours: npt.NDArray[np.float64],
    is_marked: BoolArray,
    title: str,
) -> None:
    """Write a map of tiles (tile, vertex) in `colours`, those marked with an outline, on top."""
    figure, panel = map_axes(latitude_bounds, longitude_bounds)
    with style():
        map_tiles(panel, latitude_bounds, longitude_bounds, colours)
        if is_marked.any():
            marked = map_tiles(
                panel,
                latitude_bounds[is_marked],
                longitude_bounds[is_marked],
                colours[is_marked],
            )
            marked.set(edgecolor=INK, linewidth=0.4)
        panel.set_title(title)
    save(figure, path)
