"""Sheets of tiles: every row one group, every tile with its own small label."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.files.base.pictures import as_rgb
from pipeline.files.figures.style import PAGE_WIDTH, ByteArray, save, style

GAP = 0.06  # between tiles, in tile widths
LABEL_HEIGHT = 0.13  # inches a line
TITLE_HEIGHT = 0.3
LARGEST_TILE = 0.95
ROW_LABEL_WIDTH = 0.075  # inches a character
BAR_WIDTH = 0.09

Sheet = npt.NDArray[np.uint8] | Sequence[Sequence[ByteArray | None]]


def tile_sheet(
    tiles: Sheet,
    path: Path,
    *,
    row_labels: Sequence[str],
    tile_labels: Sequence[Sequence[str]] | None = None,
    row_colours: npt.ArrayLike | None = None,
    title: str = "",
) -> None:
    """Write a sheet of tiles, one row of the sheet per group.

    Args:
        tiles: Shape (sheet row, sheet column, channel, row, column), or a list of lists of tiles
            (channel, row, column) where rows may be shorter and `None` leaves a gap.
        path: PNG to write.
        row_labels: One per sheet row, at its left.
        tile_labels: One per tile, below it; may hold line breaks, an empty one prints nothing.
        row_colours: One colour per sheet row, shown as a bar beside it.
        title: Printed above the sheet.

    Raises:
        ValueError: If there is no tile, or labels or colours do not match the rows.
    """
    n_rows = len(tiles)
    n_columns = max((len(row) for row in tiles), default=0)
    if n_columns == 0:
        raise ValueError(f"a sheet needs at least one tile, {path.name} was given none")
    for name, entries in (("row_labels", row_labels), ("tile_labels", tile_labels)):
        if entries is not None and len(entries) != n_rows:
            raise ValueError(f"{path.name} has {n_rows} rows of tiles but {len(entries)} {name}")
    colours = None if row_colours is None else np.asarray(row_colours)
    if colours is not None and len(colours) != n_rows:
        raise ValueError(f"{path.name} has {n_rows} rows of tiles but {len(colours)} row_colours")

    left = _left_margin(row_labels, coloured=colours is not None)
    n_lines = _count_lines(tile_labels)
    tile_width = min(LARGEST_TILE, (PAGE_WIDTH - left) / (n_columns * (1 + GAP)))
    step = tile_width * (1 + GAP)
    row_step = step + n_lines * LABEL_HEIGHT
    top = TITLE_HEIGHT if title else 0.0
    width, height = left + n_columns * step, top + n_rows * row_step

    with style():
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))  # inches, downwards
        axes.set_axis_off()
        axes.grid(False)
        if title:
            axes.text(0, 0.02, title, va="top", fontsize=10, fontweight="bold")
        for sheet_row, (row, row_label) in enumerate(zip(tiles, row_labels, strict=True)):
            upper = top + sheet_row * row_step
            middle = upper + tile_width / 2
            label_right = left - 0.08 - (BAR_WIDTH if colours is not None else 0)
            axes.text(label_right, middle, row_label, ha="right", va="center", fontsize=8)
            if colours is not None:
                corner = (left - 0.04 - BAR_WIDTH, upper)
                axes.add_patch(
                    Rectangle(corner, BAR_WIDTH, tile_width, color=colours[sheet_row], lw=0)
                )
            for column, tile in enumerate(row):
                if tile is None:
                    continue
                across = left + column * step
                axes.imshow(
                    as_rgb(tile),
                    extent=(across, across + tile_width, upper + tile_width, upper),
                    interpolation="nearest" if tile.shape[-1] < 96 else "antialiased",
                    aspect="auto",
                )
                if tile_labels is not None and column < len(tile_labels[sheet_row]):
                    axes.text(
                        across + tile_width / 2,
                        upper + tile_width + 0.02,
                        tile_labels[sheet_row][column],
                        ha="center",
                        va="top",
                        fontsize=6.5,
                        linespacing=1.05,
                    )
        axes.set(xlim=(0, width), ylim=(height, 0))
    save(figure, path)


def _left_margin(row_labels: Sequence[str], *, coloured: bool) -> float:
    longest = max(len(line) for label in row_labels for line in (label or " ").split("\n"))
    return 0.12 + longest * ROW_LABEL_WIDTH + (BAR_WIDTH if coloured else 0)


def _count_lines(tile_labels: Sequence[Sequence[str]] | None) -> int:
    labels = [label for row in tile_labels or [] for label in row if label]
    return max((label.count("\n") + 1 for label in labels), default=0)
