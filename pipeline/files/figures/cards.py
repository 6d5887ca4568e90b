"""Cluster cards: one journal page a cluster."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.patches import Rectangle

from pipeline.files.base.palette import cluster_colours
from pipeline.files.base.pictures import as_rgb
from pipeline.files.figures.card_panels import (
    HEIGHT,
    LEFT,
    MAP_HEIGHT,
    MIDDLE,
    STRIP_STEP,
    TINY,
    ShareBars,
    ShareMap,
    Strip,
    draw_bars,
    draw_classes,
    draw_map,
    draw_strips,
    explain_bars,
    title,
)
from pipeline.files.figures.style import (
    DOTS_PER_INCH,
    PAGE_WIDTH,
    UNSTAMPED,
    ByteArray,
    save,
    style,
    text_colour,
)

TILE_WIDTH, TILE_STEP, ROW_STEP = 0.83, 0.91, 1.36  # inches
TILES_TOP = 0.62
MOST_STRIPS = 16


class TileRow(NamedTuple):
    """Tiles (channel, row, column) with what is said above them and below each."""

    title: str
    tiles: Sequence[ByteArray]
    labels: Sequence[str]


class Card(NamedTuple):
    """What the page of a cluster shows."""

    number: int
    n_clusters: int
    title: str
    share: float  # of all tiles
    rows: Sequence[TileRow]
    places: ShareMap
    bars: Sequence[ShareBars]
    composites: Mapping[str, Strip]  # by label
    classes: Mapping[str, int]  # labelled tiles in the cluster
    class_sentence: str


def cluster_card(card: Card, *paths: Path) -> None:
    """Write the page of a cluster to each of `paths`."""
    colour = cluster_colours(card.n_clusters)[card.number]
    with style():
        figure = Figure(figsize=(PAGE_WIDTH, HEIGHT))
        page = figure.add_axes((0, 0, 1, 1))
        page.set(xlim=(0, PAGE_WIDTH), ylim=(HEIGHT, 0))  # inches, downwards
        page.set_axis_off()
        page.add_patch(Rectangle((0, 0.04), 0.46, 0.34, color=colour, lw=0))
        page.text(
            0.23, 0.21, str(card.number), size=14, weight="bold", ha="center", va="center",
            color=text_colour(colour),
        )  # fmt: skip
        page.text(0.58, 0.21, card.title, size=11, weight="bold", va="center")
        for number, row in enumerate(card.rows):
            _draw_tiles(page, row, TILES_TOP + number * ROW_STEP)
        page.set(xlim=(0, PAGE_WIDTH), ylim=(HEIGHT, 0))  # which pictures changed
        draw_map(figure, card.places)
        top = MIDDLE + MAP_HEIGHT + 0.78
        for number, bars in enumerate(card.bars):
            draw_bars(figure, bars, card.share, colour, top + number * 0.98)
        title(page, LEFT, top + 1.74, explain_bars(card.share), size=TINY, weight="normal")
        strips = dict(list(card.composites.items())[:MOST_STRIPS])
        draw_strips(figure, page, strips, card.number, colour)
        lower = MIDDLE + 0.5 + max(len(strips), 1) * STRIP_STEP
        draw_classes(figure, page, card.classes, card.class_sentence, colour, lower)
    save(figure, *paths)


def thumbnail(tile: ByteArray, path: Path) -> None:
    """Write one tile (channel, row, column) as a PNG, pixel by pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata: Any = UNSTAMPED[path.suffix]
    imsave(path, as_rgb(tile), metadata=metadata)


def _draw_tiles(page: Axes, row: TileRow, top: float) -> None:
    title(page, 0, top, row.title)
    step = min(TILE_STEP, PAGE_WIDTH / max(len(row.tiles), 1))
    width = step * TILE_WIDTH / TILE_STEP
    for place, (tile, label) in enumerate(zip(row.tiles, row.labels, strict=True)):
        left = place * step
        page.imshow(
            as_rgb(tile),
            extent=(left, left + width, top + 0.1 + width, top + 0.1),
            aspect="auto",
            interpolation="nearest" if tile.shape[-1] < width * DOTS_PER_INCH else "antialiased",
        )
        below = top + 0.12 + width
        page.text(left + width / 2, below, label, size=TINY, ha="center", va="top", linespacing=1.1)
