"""Label tables: tiles to which people, or the makers of synthetic granules, gave a label."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

log = logging.getLogger(__name__)

IntArray = NDArray[np.int64]

COLUMNS = ("granule", "row", "column", "tile_size", "label")
LINE = "line"  # of the file, for messages


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
    given = _read_table(path)
    table = _without_rejected(path, given, rejected)
    row, column, tile_size = (
        _whole_numbers(path, table[name], table.line) for name in COLUMNS[1:4]
    )
    _refuse(path, table, table.label == "", "has no label", "give one")
    _refuse(path, table, tile_size < 1, "has no positive tile_size", "correct it")
    sizes = np.unique(tile_size)
    if len(sizes) > 1:
        raise ValueError(
            f"{path} has tiles of {', '.join(map(str, sizes))} pixels; keep one tile_size"
        )
    scenes = pd.Series(np.arange(len(granules)), index=list(granules))
    scene = scenes.reindex(table.granule).fillna(-1).to_numpy(np.int64)
    _refuse_unknown(path, table.granule[scene < 0])
    last_row, last_column = np.array(scene_shape) - sizes[0]
    misplaced = (row < 0) | (row > last_row) | (column < 0) | (column > last_column)
    _refuse(
        path,
        table,
        misplaced,
        f"leaves the scene of {scene_shape[0]} × {scene_shape[1]} pixels with tile_size {sizes[0]}",
        "correct the table",
    )
    repeated = table.duplicated(["granule", "row", "column"])
    _refuse(path, table, repeated, "repeats an earlier tile", "give every tile one label")
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


def _without_rejected(path: Path, table: pd.DataFrame, rejected: Path) -> pd.DataFrame:
    left_out = table.granule.isin(pd.read_csv(rejected).granule)
    if left_out.all():
        raise ValueError(
            f"every granule that {path} names was rejected, see {rejected}; change labels in "
            "params.yaml"
        )
    return table[~left_out].reset_index(drop=True)


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(
            f"the label table {path} does not exist; correct labels in params.yaml"
        )
    try:
        # Spreadsheets begin a table with a byte-order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True, restval="")
            names = reader.fieldnames or []
            lines = [{**fields, LINE: reader.line_num} for fields in reader]
    except (csv.Error, UnicodeError) as error:
        raise ValueError(
            f"{path} is no table of comma-separated values ({error}); correct labels in params.yaml"
        ) from None
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise ValueError(
            f"{path} lacks the column(s) {', '.join(missing)}; a label table has "
            f"{','.join(COLUMNS)}"
        )
    table = pd.DataFrame(lines, columns=[*COLUMNS, LINE])
    table[list(COLUMNS)] = table[list(COLUMNS)].apply(lambda texts: texts.str.strip())
    if table.empty:
        raise ValueError(f"{path} holds no labels; add some or change labels in params.yaml")
    return table


def _whole_numbers(path: Path, texts: pd.Series, lines: pd.Series) -> IntArray:
    is_whole = texts.str.fullmatch(r"-?\d{1,9}").to_numpy(bool)
    if not is_whole.all():
        first = int(np.argmin(is_whole))
        raise ValueError(
            f"line {lines[first]} of {path} has {texts.name} {texts[first]!r}; it should be "
            "a whole number of pixels"
        )
    return np.array([int(text) for text in texts], np.int64)


def _refuse_unknown(path: Path, unknown: pd.Series) -> None:
    if len(unknown):
        raise ValueError(
            f"{path} names {unknown.nunique()} granule(s) that are not among the scenes, the first "
            f"{unknown.iloc[0]!r}; ingest them or change labels in params.yaml"
        )


def _refuse(path: Path, table: pd.DataFrame, is_wrong: ArrayLike, what: str, remedy: str) -> None:
    wrong = np.flatnonzero(is_wrong)
    if len(wrong):
        first = table.iloc[wrong[0]]
        raise ValueError(
            f"{len(wrong)} of {len(table)} tiles of {path} cannot be used: line "
            f"{first.line}, {first.granule} row {first.row} column {first.column}, "
            f"{what}; {remedy}"
        )
