"""Maps that fit the data, with coastlines and a graticule."""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.path import Path as Outline
from matplotlib.patheffects import withStroke

from pipeline.files.figures.coastlines import choose_resolution, read_coastlines
from pipeline.files.figures.graticule import draw_graticule
from pipeline.files.figures.projections import (
    Window,
    central_longitude,
    choose_projection,
    find_window,
    is_global,
    is_polar,
    project,
    widen,
)
from pipeline.files.figures.style import PAGE_WIDTH, FloatArray, style

TITLE_INCHES = 0.3
COAST_COLOUR = "#4d4d4d"
TALLEST = 8.5  # inches: a page
MOST_COLUMNS = 6


def map_axes(
    latitude: npt.ArrayLike, longitude: npt.ArrayLike, *, width: float = PAGE_WIDTH
) -> tuple[Figure, Any]:
    """Return a figure and its map, in a projection that fits the data; see `map_panels`."""
    figure, maps = map_panels(latitude, longitude, n_panels=1, width=width)
    return figure, maps[0]


def map_panels(
    latitude: npt.ArrayLike,
    longitude: npt.ArrayLike,
    *,
    n_panels: int,
    width: float = PAGE_WIDTH,
) -> tuple[Figure, list[Any]]:
    """Return a figure and its maps, all in one projection that fits the data.

    Data near a pole are seen from above it, data all round the globe on a Robinson map, and
    a region, also one across the date line, on a cylindrical map true to shape at its middle.
    Each map has coastlines and a graticule, labelled at the outer edges.

    Args:
        latitude: Positions to be shown, any shape, degrees.
        longitude: Likewise.
        n_panels: Number of maps.
        width: Of the figure, inches.

    Raises:
        ValueError: If no position is finite.
        FileNotFoundError: If the package with the coastlines is missing.
    """
    window = widen(find_window(np.asarray(latitude), np.asarray(longitude)))
    ratio = shape_ratio(window)
    n_columns = _choose_columns(n_panels, ratio, width)
    n_rows = -(-n_panels // n_columns)
    # A single map higher than the page becomes narrower instead.
    width = min(width, TALLEST / ratio + 0.5) if n_panels == 1 else width
    height = n_rows * (width / n_columns * ratio + TITLE_INCHES)
    maps: list[Any] = []
    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        for number in range(n_panels):
            panel = figure.add_subplot(
                n_rows, n_columns, number + 1, projection=choose_projection(window)
            )
            set_extent(panel, window)
            draw_coastlines(panel, window, n_columns=n_columns)
            draw_graticule(
                panel,
                window,
                left=number % n_columns == 0,
                bottom=number >= n_panels - n_columns,
                size_inches=(width / n_columns, width / n_columns * ratio),
            )
            maps.append(panel)
    return figure, maps


def draw_coastlines(axes: Any, window: Window, *, n_columns: int = 1) -> LineCollection:
    """Draw the coastlines within `window`, coarser where maps stand in columns.

    No line runs across the seam of the projection.
    """
    left, right = axes.get_xlim()
    lower, upper = axes.get_ylim()
    width = 0.6 if n_columns == 1 else 0.4
    drawn = LineCollection(
        place_coastlines(window, (left, lower, right, upper), n_columns),
        colors=COAST_COLOUR,
        linewidths=width,
        zorder=3,
        path_effects=[withStroke(linewidth=2.3 * width, foreground="#ffffffb0")],
    )
    axes.add_collection(drawn, autolim=False)
    return drawn


@lru_cache(maxsize=4)
def place_coastlines(
    window: Window, box: tuple[float, float, float, float], n_columns: int
) -> tuple[FloatArray, ...]:
    """Return the coastlines on the map of `window`, each (point, 2), as far as they touch `box`.

    `box` is left, lower, right and upper edge, in the units of the projection.
    """
    projection = choose_projection(window)
    width = max(window.width, window.height)
    if is_polar(window):
        width = 2 * (90 - max(window.south, -window.north))
    lines = read_coastlines(choose_resolution(width * n_columns))
    ends = np.cumsum([len(line) for line in lines])[:-1]
    placed = project(projection, *np.concatenate(lines).T)
    span = projection.x_limits[1] - projection.x_limits[0]
    leaps = np.abs(np.diff(placed[:, 0])) > span / 2
    pieces = np.split(placed, np.union1d(np.flatnonzero(leaps) + 1, ends))
    lower_left, upper_right = np.array(box[:2]), np.array(box[2:])
    return tuple(
        piece
        for piece in pieces
        if len(piece) > 1
        and np.isfinite(piece).all()
        and (piece.max(axis=0) >= lower_left).all()
        and (piece.min(axis=0) <= upper_right).all()
    )


def shape_ratio(window: Window) -> float:
    """Return height over width of the map of `window`."""
    if is_polar(window):
        return 1.0
    if is_global(window):
        return 0.5
    return float(window.height / (window.width * np.cos(_middle(window))))


def _choose_columns(n_panels: int, ratio: float, width: float) -> int:
    if n_panels == 1:
        return 1
    fitting = [
        n_columns
        for n_columns in range(2, MOST_COLUMNS + 1)
        if -(-n_panels // n_columns) * (width / n_columns * ratio + TITLE_INCHES) <= TALLEST
    ] or [MOST_COLUMNS]
    # Of the three with the largest maps, the one that leaves the fewest gaps.
    return min(fitting[:3], key=lambda n_columns: (-n_panels % n_columns, n_columns))


def _middle(window: Window) -> float:
    return float(np.deg2rad((window.south + window.north) / 2))


def set_extent(axes: Any, window: Window) -> None:
    """Show `window`, and no more of the map than fits its projection."""
    if is_polar(window):
        lowest = window.south if window.south > 0 else window.north
        reach = np.abs(project(axes.projection, np.array([0.0]), np.array([lowest]))).max()
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
        turn = np.linspace(0, 2 * np.pi, 361)
        rim = np.column_stack([np.cos(turn), np.sin(turn)]) * 0.5 + 0.5
        axes.set_boundary(Outline(rim), transform=axes.transAxes)
    elif is_global(window):
        axes.set_global()
    else:
        half = window.width / 2
        centre = central_longitude(axes.projection) or 0.0
        middle = (window.west + half - centre + 180) % 360 - 180
        left, right = max(middle - half, -180.0), min(middle + half, 180.0)
        if right - left < window.width - 1:  # the data reach across the seam
            left, right = -180.0, 180.0
        axes.set(xlim=(left, right), ylim=(window.south, window.north))
        axes.set_aspect(1 / np.cos(_middle(window)))
