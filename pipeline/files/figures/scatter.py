"""Scatter plots of a layout such as t-SNE: clusters, a variable, or the tiles themselves."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from pipeline.files.base.palette import cluster_colours
from pipeline.files.base.pictures import as_rgb
from pipeline.files.figures.style import (
    INK,
    PAGE_WIDTH,
    PALE,
    ByteArray,
    FloatArray,
    IntArray,
    new,
    save,
    style,
)

LARGEST_MARKER, SMALLEST_MARKER = 14.0, 1.0  # points squared


def scatter_clusters(
    positions: FloatArray,
    clusters: IntArray,
    path: Path,
    *,
    n_clusters: int,
    title: str = "",
) -> None:
    """Write `positions` (tile, 2) in cluster colours, each cluster's number at its median.

    `clusters` (tile,) are numbers from 0; `n_clusters` of them exist, so that colours are the
    same in every figure even where a cluster has no tile.
    """
    colours = cluster_colours(n_clusters)
    figure, axes = _new_layout(positions, title)
    with style():
        # One random-looking but fixed order, so that no cluster hides another.
        order = np.random.default_rng(0).permutation(len(positions))
        axes.scatter(
            positions[order, 0],
            positions[order, 1],
            c=colours[clusters[order]],
            s=_marker_area(len(positions)),
            lw=0,
            rasterized=True,
        )
        for number in np.unique(clusters):
            across, up = _median_point(positions[clusters == number])
            label = axes.text(
                across, up, str(number), ha="center", va="center", fontsize=10, fontweight="bold"
            )
            label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    save(figure, path)


def scatter_values(
    positions: FloatArray,
    values: FloatArray,
    path: Path,
    *,
    label: str,
    title: str = "",
    colour_map: str = "viridis",
) -> None:
    """Write `positions` (tile, 2) coloured by a variable; `label` names it, with its unit.

    The colours span the middle 98 % of `values` (tile,); tiles without a value are pale.
    """
    figure, axes = _new_layout(positions, title)
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    with style():
        area = _marker_area(len(positions))
        across, up = positions.T
        axes.scatter(across[~known], up[~known], color=PALE, s=area, lw=0, rasterized=True)
        limits = np.percentile(values[known], [1, 99]) if known.any() else (0.0, 1.0)
        order = np.random.default_rng(0).permutation(int(known.sum()))
        drawn = axes.scatter(
            across[known][order],
            up[known][order],
            c=values[known][order],
            s=area,
            lw=0,
            cmap=colour_map,
            norm=Normalize(*limits),
            rasterized=True,
        )
        figure.colorbar(drawn, ax=axes, label=label, shrink=0.7, aspect=30, extend="both")
    save(figure, path)


def pick_thumbnails(positions: FloatArray, *, n_columns: int = 24) -> IntArray:
    """Return the tiles to show: in each occupied cell of a grid, the one nearest its middle.

    `positions` (tile, 2) are covered by square cells, `n_columns` of them across the wider side.
    """
    _, centres, cells = _cells(positions, n_columns)
    distance = np.square(positions - centres).sum(axis=1)
    order = np.lexsort((np.arange(len(positions)), distance, cells[:, 1], cells[:, 0]))
    _, first = np.unique(cells[order], axis=0, return_index=True)
    picked: IntArray = order[first]
    return picked


def thumbnails(
    positions: FloatArray,
    picked: IntArray,
    tiles: ByteArray,
    path: Path,
    *,
    n_columns: int = 24,
    colours: npt.ArrayLike | None = None,
    title: str = "",
) -> None:
    """Write the layout as pictures of tiles on a grid, without overlap.

    Args:
        positions: Of all tiles, shape (tile, 2).
        picked: Tiles to show, from `pick_thumbnails` with the same `n_columns`.
        tiles: Of these, shape (picked, channel, row, column).
        path: PNG to write.
        n_columns: Cells across the wider side.
        colours: One per picked tile, drawn as its frame; such as those of its cluster.
        title: Above the layout.
    """
    size, centres, _ = _cells(positions, n_columns)
    figure, axes = _new_layout(positions, title, width=PAGE_WIDTH)
    frames = None if colours is None else np.asarray(colours)
    half = size * (0.46 if frames is None else 0.42)
    with style():
        for number, (tile, index) in enumerate(zip(tiles, picked, strict=True)):
            across, up = centres[index]
            if frames is not None:
                corner = (across - 0.48 * size, up - 0.48 * size)
                axes.add_patch(
                    Rectangle(corner, 0.96 * size, 0.96 * size, lw=0, color=frames[number])
                )
            axes.imshow(
                as_rgb(tile),
                extent=(across - half, across + half, up - half, up + half),
                interpolation="antialiased",
                zorder=2,
            )
        lower, upper = centres.min(axis=0) - size / 2, centres.max(axis=0) + size / 2
        axes.set(xlim=(lower[0], upper[0]), ylim=(lower[1], upper[1]), aspect="equal")
    save(figure, path)


def _cells(positions: FloatArray, n_columns: int) -> tuple[float, FloatArray, IntArray]:
    low, high = positions.min(axis=0), positions.max(axis=0)
    size = float((high - low).max()) / n_columns or 1.0
    cells = np.minimum((positions - low) // size, n_columns - 1).astype(np.int64)
    return size, low + (cells + 0.5) * size, cells


def _median_point(points: FloatArray) -> FloatArray:
    median = np.median(points, axis=0)
    # The median of a ring lies in its hole: the label belongs on a tile.
    nearest: FloatArray = points[np.square(points - median).sum(axis=1).argmin()]
    return nearest


def _marker_area(n_tiles: int) -> float:
    return float(np.clip(12_000 / max(n_tiles, 1), SMALLEST_MARKER, LARGEST_MARKER))


def _new_layout(
    positions: FloatArray, title: str, *, width: float = 0.8 * PAGE_WIDTH
) -> tuple[Figure, Axes]:
    if positions.ndim != 2 or positions.shape[1] != 2 or len(positions) == 0:
        raise ValueError(f"a layout needs positions (tile, 2), this array has {positions.shape}")
    figure, axes = new(width=width, height=width)
    panel: Axes = axes[0, 0]
    with style():
        panel.set(xticks=[], yticks=[], aspect="equal")
        panel.grid(False)
        panel.spines[:].set_visible(False)
        if title:
            panel.set_title(title, color=INK)
    return figure, panel
