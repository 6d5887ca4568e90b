"""Trees of clusters: which are joined first, and which split as their number grows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram as lay_out

from pipeline.files.base.palette import cluster_colours
from pipeline.files.base.pictures import as_rgb
from pipeline.files.figures.style import (
    INK,
    PAGE_WIDTH,
    ByteArray,
    FloatArray,
    IntArray,
    save,
    style,
    text_colour,
)

ROW_HEIGHT, LEAST_ROW_HEIGHT = 0.46, 0.27  # inches
TALLEST = 9.0  # inches
ABOVE, BELOW = 0.3, 0.5  # inches: the title, the axis
WIDEST_LINE, THINNEST_LINE = 9.0, 0.8  # points
SMALL_SHARE = 0.2  # of a cluster's tiles that come from elsewhere and are still drawn


def dendrogram(
    merges: FloatArray,
    tiles: Sequence[Sequence[ByteArray]],
    path: Path,
    *,
    x_label: str,
    title: str = "",
) -> None:
    """Write the tree that joins clusters, with tiles of each cluster at its leaf.

    Args:
        merges: As of `scipy.cluster.hierarchy.linkage`, shape (merge, 4).
        tiles: Tiles (channel, row, column) of each cluster, in the order of numbers.
        path: File to write.
        x_label: What the height of a merge is.
        title: Above the tree.
    """
    drawn: dict[str, Any] = lay_out(merges, no_plot=True)
    numbers = [int(leaf) for leaf in drawn["leaves"]]
    colours = cluster_colours(len(numbers))
    # scipy puts leaf n at 10 n + 5.
    across, along = np.array(drawn["dcoord"]), (np.array(drawn["icoord"]) - 5) / 10
    with style():
        figure, tree, sheet = _new_rows(len(numbers), max(map(len, tiles)))
        tree.add_collection(
            LineCollection(list(np.stack([across, along], axis=-1)), colors=INK, linewidths=1.1)
        )
        tree.set_xlim(1.04 * across.max(), 0)
        tree.set_xlabel(x_label)
        for place, number in enumerate(numbers):
            _draw_leaf(sheet, place, tiles[number], str(number), colours[number])
        if title:
            figure.suptitle(title, x=0.01, y=0.995, va="top", ha="left")
    save(figure, path)


def splits(
    origins: FloatArray,
    shares: FloatArray,
    order: IntArray,
    tiles: Sequence[Sequence[ByteArray]],
    path: Path,
    *,
    first_k: int,
    title: str = "",
) -> None:
    """Write how clusters split as k grows: a line a number, as wide as its share of the tiles.

    Args:
        origins: Share of each cluster's tiles that come from each one of k - 1, shape
            (k, number, previous number); the first k and numbers that are not yet there NaN.
        shares: Of each cluster among all tiles, shape (k, number); 0 where it is not yet there.
        order: Numbers from top to bottom.
        tiles: Tiles (channel, row, column) of each cluster of the largest k, by number.
        path: File to write.
        first_k: The smallest k.
        title: Above the lines.
    """
    n_k, n_numbers = shares.shape
    slot = np.argsort(order)
    colours = cluster_colours(n_numbers)
    ks = np.arange(first_k, first_k + n_k)
    with style():
        figure, lines, sheet = _new_rows(n_numbers, max(map(len, tiles)))
        segments, widths, inks = [], [], []
        for step in range(1, n_k):
            for number in range(ks[step]):
                came_from = np.nan_to_num(origins[step, number])
                main = int(came_from.argmax())
                for previous in np.flatnonzero(came_from >= SMALL_SHARE):
                    segments.append(_bend(ks[step] - 1, ks[step], slot[previous], slot[number]))
                    widths.append(_width(shares[step, number] * came_from[previous]))
                    inks.append(
                        colours[number] if previous == main else (*colours[previous][:3], 0.45)
                    )
        lines.add_collection(LineCollection(segments, linewidths=widths, colors=inks))
        for number in range(n_numbers):
            born = int(np.flatnonzero(shares[:, number] > 0)[0]) if shares[:, number].any() else 0
            lines.plot(ks[born], slot[number], "o", color=colours[number], markersize=5)
            _draw_leaf(sheet, slot[number], tiles[number], str(number), colours[number])
        lines.set_xlim(ks[0] - 0.4, ks[-1])
        lines.set_xticks(ks[:: max(1, n_k // 8)])
        lines.set_xlabel("number of clusters k")
        if title:
            figure.suptitle(title, x=0.01, y=0.995, va="top", ha="left")
    save(figure, path)


def _new_rows(n_rows: int, n_tiles: int) -> tuple[Figure, Axes, Axes]:
    """A figure with axes of the tree and, to their right, of the tiles; rows are 1 high."""
    row_height = max(LEAST_ROW_HEIGHT, min(ROW_HEIGHT, (TALLEST - ABOVE - BELOW) / n_rows))
    height = n_rows * row_height + ABOVE + BELOW
    width = (n_tiles + 1.2) * row_height
    figure = Figure(figsize=(PAGE_WIDTH, height))
    bottom, upright = BELOW / height, n_rows * row_height / height
    right = 1 - (width + 0.1) / PAGE_WIDTH
    tree = figure.add_axes((0.03, bottom, right - 0.03, upright))
    sheet = figure.add_axes((right, bottom, width / PAGE_WIDTH, upright))
    tree.set_ylim(n_rows - 0.5, -0.5)
    tree.set_yticks([])
    tree.spines["left"].set_visible(False)
    tree.grid(axis="y", visible=False)
    sheet.set_axis_off()
    sheet.set(xlim=(0, n_tiles + 1.2), ylim=(n_rows - 0.5, -0.5))
    return figure, tree, sheet


def _draw_leaf(
    sheet: Axes, place: int, tiles: Sequence[ByteArray], label: str, colour: npt.ArrayLike
) -> None:
    sheet.text(
        0.6,
        place,
        label,
        ha="center",
        va="center",
        fontsize=8,
        fontweight="bold",
        color=text_colour(colour),
        bbox={"boxstyle": "round,pad=0.25", "facecolor": np.asarray(colour), "linewidth": 0},
    )
    limits = sheet.get_xlim(), sheet.get_ylim()
    for column, tile in enumerate(tiles):
        left = 1.2 + column
        sheet.imshow(
            as_rgb(tile),
            extent=(left + 0.03, left + 0.97, place + 0.47, place - 0.47),
            aspect="auto",
            interpolation="antialiased",
        )
    sheet.set(xlim=limits[0], ylim=limits[1])


def _bend(left: int, right: int, start: int, end: int) -> FloatArray:
    """A smooth line from one row to another, shape (point, 2)."""
    along = np.linspace(0, 1, 25)
    rise = along**2 * (3 - 2 * along)
    return np.column_stack([left + along * (right - left), start + rise * (end - start)])


def _width(share: float) -> float:
    return float(np.clip(60 * share, THINNEST_LINE, WIDEST_LINE))
