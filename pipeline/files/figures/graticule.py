"""Meridians and parallels of a map, with their labels at its edges."""

from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.ticker import FixedFormatter, FixedLocator

from pipeline.files.figures.projections import (
    SEAM_MARGIN,
    Window,
    central_longitude,
    is_global,
    is_polar,
    project,
)
from pipeline.files.figures.style import INK, FloatArray

STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 90.0)  # degrees
LINE_COLOUR = "#8c8c8c"
LABEL_GAP = 3.0  # points
LABEL_WIDTH, LABEL_HEIGHT = 0.6, 0.4  # inches of a map for every label
SMALL_WIDTH = 4.0  # inches


def draw_graticule(
    axes: Any, window: Window, *, size_inches: tuple[float, float], left: bool, bottom: bool
) -> None:
    """Draw meridians and parallels at round degrees, as many as a map of this size can label.

    Labels stand left of and below the map, or around the rim of a map from above a pole. A small
    map of a pole, and the meridians of a small map of the globe, have none.
    """
    width, height = size_inches
    small = width < SMALL_WIDTH
    meridians, parallels = choose_graticule(
        window,
        most_meridians=int(np.clip(width / LABEL_WIDTH, 2, 7)),
        most_parallels=int(np.clip(height / LABEL_HEIGHT, 2, 7)),
    )
    size = 6.0 if small else 7.0
    axes.add_collection(
        LineCollection(
            _trace(axes.projection, meridians, parallels),
            colors=LINE_COLOUR,
            linewidths=0.3 if small else 0.4,
            linestyles=[(0, (4, 3))],
            zorder=2.5,
        ),
        autolim=False,
    )
    if is_polar(window):
        if not small:
            _label_rim(axes, meridians, parallels, size)
    elif is_global(window):
        no_lines = meridians[:0]
        _label_outline(
            axes,
            meridians if bottom and not small else no_lines,
            parallels if left else no_lines,
            size,
        )
    else:
        _label_frame(axes, meridians, parallels, size, left=left, bottom=bottom)


def choose_graticule(
    window: Window, *, most_meridians: int, most_parallels: int
) -> tuple[FloatArray, FloatArray]:
    """Return meridians and parallels (degrees), of a region about as many as wanted or fewer."""
    if is_polar(window):
        sign = 1 if window.south > 0 else -1
        lowest = max(window.south, -window.north)
        step = 10.0 if lowest < 75 else 5.0
        return np.arange(-180.0, 180.0, 45.0), sign * np.arange(90 - step, lowest, -step)
    if is_global(window):
        return np.arange(-180.0, 180.0, 60.0), np.arange(-60.0, 61.0, 30.0)
    return (
        _multiples(window.west, window.east, most_meridians),
        _multiples(window.south, window.north, most_parallels),
    )


def name_longitude(degrees: float) -> str:
    """Return a label such as 175°W.

    >>> [name_longitude(value) for value in (185.0, -20.5, 360.0, -180.0)]
    ['175°W', '20.5°W', '0°', '180°']
    """
    turned = round((degrees + 180) % 360 - 180, 6)
    side = "" if abs(turned) in (0, 180) else "E" if turned > 0 else "W"
    return f"{abs(turned):g}°{side}"


def name_latitude(degrees: float) -> str:
    """Return a label such as 15°S.

    >>> [name_latitude(value) for value in (-15.0, 0.0, 2.5)]
    ['15°S', '0°', '2.5°N']
    """
    degrees = round(degrees, 6)
    return f"{abs(degrees):g}°{'N' if degrees > 0 else 'S' if degrees < 0 else ''}"


def _multiples(low: float, high: float, n_lines: int) -> FloatArray:
    step = next((step for step in STEPS if (high - low) / step <= n_lines), STEPS[-1])
    multiples: FloatArray = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return multiples


def _trace(projection: Any, meridians: FloatArray, parallels: FloatArray) -> list[FloatArray]:
    centre = central_longitude(projection) or 0.0
    along = np.linspace(-90, 90, 181)
    around = centre + np.linspace(-180 + SEAM_MARGIN, 180 - SEAM_MARGIN, 361)
    lines = [project(projection, np.full_like(along, value), along) for value in meridians]
    lines += [project(projection, around, np.full_like(around, value)) for value in parallels]
    return [line[np.isfinite(line).all(axis=1)] for line in lines]


def _label_frame(
    axes: Any,
    meridians: FloatArray,
    parallels: FloatArray,
    size: float,
    *,
    left: bool,
    bottom: bool,
) -> None:
    centre = central_longitude(axes.projection) or 0.0
    shown = (meridians - centre + 180) % 360 - 180
    axes.xaxis.set_major_locator(FixedLocator(shown.tolist()))
    axes.yaxis.set_major_locator(FixedLocator(parallels.tolist()))
    axes.xaxis.set_major_formatter(FixedFormatter([name_longitude(value) for value in meridians]))
    axes.yaxis.set_major_formatter(FixedFormatter([name_latitude(value) for value in parallels]))
    axes.xaxis.set_visible(True)
    axes.yaxis.set_visible(True)
    axes.grid(False)
    axes.tick_params(
        labelsize=size, labelcolor=INK, length=2, width=0.5, labelleft=left, labelbottom=bottom
    )


def _label_rim(axes: Any, meridians: FloatArray, parallels: FloatArray, size: float) -> None:
    sign = np.sign(parallels[0]) if len(parallels) else 1.0
    for value in meridians:
        across, up = project(axes.projection, np.array([value]), np.array([80.0 * sign]))[0]
        across, up = np.array([across, up]) / np.hypot(across, up)
        axes.annotate(
            name_longitude(value),
            (0.5 + 0.5 * across, 0.5 + 0.5 * up),
            xycoords="axes fraction",
            xytext=(LABEL_GAP * across, LABEL_GAP * up),
            textcoords="offset points",
            ha=("right", "center", "left")[int(np.sign(round(across, 3))) + 1],
            va=("top", "center", "bottom")[int(np.sign(round(up, 3))) + 1],
            fontsize=size,
            color=INK,
            annotation_clip=False,
        )
    # Half-way between two meridians, where no line runs through the label.
    for value, place in zip(
        parallels, project(axes.projection, np.full_like(parallels, 22.5), parallels), strict=True
    ):
        axes.annotate(
            name_latitude(value),
            place,
            ha="center",
            va="center",
            fontsize=size - 1,
            color=INK,
            annotation_clip=True,
            zorder=5,
            bbox={"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.6},
        )


def _label_outline(axes: Any, meridians: FloatArray, parallels: FloatArray, size: float) -> None:
    centre = central_longitude(axes.projection) or 0.0
    west = np.full_like(parallels, centre - 180 + SEAM_MARGIN)
    for value, place in zip(parallels, project(axes.projection, west, parallels), strict=True):
        axes.annotate(
            name_latitude(value),
            place,
            xytext=(-LABEL_GAP, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=size,
            color=INK,
            annotation_clip=False,
        )
    for value in meridians:
        if abs((value - centre + 180) % 360 - 180) > 150:
            continue  # beside the labels of the parallels
        place = project(axes.projection, np.array([value]), np.array([-90.0]))[0]
        axes.annotate(
            name_longitude(value),
            place,
            xytext=(0, -LABEL_GAP),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=size,
            color=INK,
            annotation_clip=False,
        )
