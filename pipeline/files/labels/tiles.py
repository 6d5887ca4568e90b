"""Tiles to which people, or the makers of synthetic granules, gave a label."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.files.labels.table import (
    find_scenes,
    read_table,
    refuse_lines,
    refuse_spellings,
    whole_numbers,
    without_rejected,
)

log = logging.getLogger(__name__)

IntArray = NDArray[np.int64]

COLUMNS = ("granule", "row", "column", "tile_size", "label")


@dataclass(frozen=True)
class LabelledTiles:
    """Tiles of one size in the order of their table; arrays of shape (tile,)."""

    scene: IntArray
    row: IntArray
    column: IntArray
    label: NDArray[np.object_]
    tile_size: int
    n_rejected: int  # tiles left out with the granules that ingest rejected


def read_labels(
    path: Path, rejected: Path, *, granules: Sequence[str], scene_shape: tuple[int, int]
) -> LabelledTiles:
    """The labelled tiles of the table at `path`, columns granule,row,column,tile_size,label.

    Args:
        path: CSV file; row and column are those of a tile's first pixel, lengths in pixels.
        rejected: Table of the granules that ingest left out; their tiles are left out and counted.
        granules: File name of each scene's granule.
        scene_shape: Rows and columns of the scenes.

    Raises:
        FileNotFoundError: If there is no table.
        ValueError: If it cannot be read, lacks a column, has a number which is none, an empty
            label, tiles of several sizes, a tile given twice or outside the scene, or a granule
            that is no scene's.
    """
    given = read_table(path, COLUMNS)
    table = without_rejected(path, given, rejected)
    row, column, tile_size = (whole_numbers(path, table[name], table.line) for name in COLUMNS[1:4])
    refuse_lines(path, table, table.label == "", "has no label", "give one")
    refuse_spellings(path, table.label)
    refuse_lines(path, table, tile_size < 1, "has no positive tile_size", "correct it")
    sizes = np.unique(tile_size)
    if len(sizes) > 1:
        raise ValueError(
            f"{path} has tiles of {', '.join(map(str, sizes))} pixels; keep one tile_size"
        )
    scene = find_scenes(path, table.granule, granules)
    last_row, last_column = np.array(scene_shape) - sizes[0]
    misplaced = (row < 0) | (row > last_row) | (column < 0) | (column > last_column)
    refuse_lines(
        path,
        table,
        misplaced,
        f"leaves the scene of {scene_shape[0]} × {scene_shape[1]} pixels with tile_size {sizes[0]}",
        "correct the table",
    )
    repeated = table.duplicated(["granule", "row", "column"])
    refuse_lines(path, table, repeated, "repeats an earlier tile", "give every tile one label")
    return LabelledTiles(
        scene,
        row,
        column,
        table.label.to_numpy(object),
        int(sizes[0]),
        n_rejected=len(given) - len(table),
    )


@dataclass(frozen=True)
class Labelled:
    """Usable labelled tiles; arrays of shape (tile, …).

    Attributes:
        place: Where they are.
        tiles: Colours, (tile, channel, row, column).
        label: Number of each tile's label.
        names: Label of each number.
        day: UTC day of each tile.
        n_incomplete: Tiles left out for their invalid pixels.
    """

    place: LabelledTiles
    tiles: NDArray[np.uint8]
    label: IntArray
    names: list[str]
    day: NDArray[np.datetime64]
    n_incomplete: int


class Cut(Protocol):
    """Cuts tiles from scenes, as `stores.cut_tiles`."""

    def __call__(
        self, scenes: xr.Dataset, scene: IntArray, row: IntArray, column: IntArray, tile_size: int
    ) -> NDArray[np.uint8]:
        """Tiles (tile, channel, row, column)."""


def gather_labelled(
    path: Path, scenes: xr.Dataset, rejected: Path, *, max_invalid_share: float, cut: Cut
) -> Labelled:
    """Labelled tiles whose pixels are valid, but for a share.

    Args:
        path: As of `read_labels`, as is `rejected`.
        scenes: The product that tiles are cut from.
        rejected: Table of the granules that ingest left out.
        max_invalid_share: So many of a tile's pixels may be invalid.
        cut: Cuts them.

    Raises:
        ValueError: If there is no such tile, or as of `read_labels`.
    """
    shape = (scenes.sizes["row"], scenes.sizes["column"])
    given = read_labels(path, rejected, granules=scenes.granule.values.tolist(), scene_shape=shape)
    if given.n_rejected:
        log.warning("%d labelled tiles are on rejected granules: left out", given.n_rejected)
    size = given.tile_size
    invalid_share = np.empty(len(given.scene))
    for scene in np.unique(given.scene):
        valid = scenes.valid.isel(scene=scene).values
        for tile in np.flatnonzero(given.scene == scene):
            row, column = given.row[tile], given.column[tile]
            invalid_share[tile] = 1 - valid[row : row + size, column : column + size].mean()
    kept = invalid_share <= max_invalid_share
    n_incomplete = int((~kept).sum())
    if n_incomplete:
        log.warning("%d of %d labelled tiles are incomplete: left out", n_incomplete, len(kept))
    if not kept.any():
        raise ValueError(
            f"every tile of {path} has more than {max_invalid_share:.0%} invalid pixels, at "
            f"best {invalid_share.min():.1%}; raise max_invalid_share in params.yaml"
        )
    place = replace(
        given,
        scene=given.scene[kept],
        row=given.row[kept],
        column=given.column[kept],
        label=given.label[kept],
    )
    names, label = np.unique(place.label.astype(str), return_inverse=True)
    return Labelled(
        place,
        cut(scenes, place.scene, place.row, place.column, size),
        label.astype(np.int64),
        names.tolist(),
        scenes.time.values[place.scene].astype("datetime64[D]"),
        n_incomplete,
    )
