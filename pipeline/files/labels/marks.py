"""What people marked in granules: boxes of several volunteers, or run-length masks."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.files.base.rejections import read_rejections
from pipeline.files.labels.table import (
    find_scenes,
    read_header,
    read_table,
    refuse_lines,
    refuse_spellings,
    whole_numbers,
    without_rejected,
)

IntArray = NDArray[np.int64]

BOX = ("row", "column", "height", "width")
BOX_COLUMNS = ("granule", *BOX, "label")
VOLUNTEER = "volunteer"
RUN_COLUMNS = ("Image_Label", "EncodedPixels")
NO_LABEL = -1


@dataclass(frozen=True)
class Marks:
    """Boxes or masks in the order of their table.

    Attributes:
        scene: Of each, (mark,).
        volunteer: Number of who marked it, (mark,); one for all of a table that names none.
        label: Its number, (mark,); -1 where a volunteer looked and marked nothing.
        names: Label of each number.
        boxes: First row and column, height and width in pixels, (mark, 4); none of masks.
        runs: First pixel, counted from 1 down the columns, and length of the runs of each mask,
            (run, 2); none of boxes.
        n_rejected: Marks left out with the granules that ingest rejected.
    """

    scene: IntArray
    volunteer: IntArray
    label: IntArray
    names: list[str]
    boxes: IntArray | None
    runs: list[IntArray] | None
    n_rejected: int


def read_marks(path: Path, rejected: Path, *, granules: Sequence[str]) -> Marks:
    """The boxes or run-length masks of the table at `path`, told apart by its columns.

    Boxes have granule,row,column,height,width,label and may have a volunteer, who with nothing
    else in the line looked at the granule and marked nothing. Masks have Image_Label, which is the
    granule's file name or its stem, an underscore and the label, and EncodedPixels, empty for none.

    Args:
        path: CSV file.
        rejected: Table of the granules that ingest left out; their marks are left out and counted.
        granules: File name of each scene's granule.

    Raises:
        FileNotFoundError: If there is no table.
        ValueError: If it is neither, cannot be read, has a number which is none, a box without a
            label or pixels, runs that are no pairs, or a granule that is no scene's.

    Source of masks: the format of the competition of Rasp et al. (2020),
    doi:10.1175/BAMS-D-19-0324.1.
    """
    if set(RUN_COLUMNS) <= set(read_header(path)):
        return _read_masks(path, rejected, granules)
    return _read_boxes(path, rejected, granules)


def _read_boxes(path: Path, rejected: Path, granules: Sequence[str]) -> Marks:
    given = read_table(path, BOX_COLUMNS, optional=[VOLUNTEER])
    table = without_rejected(path, given, rejected)
    for name in ("label", VOLUNTEER):
        refuse_spellings(path, table[name])
    is_empty = (table[[*BOX, "label"]] == "").to_numpy(bool).all(axis=1)
    looked = is_empty & (table[VOLUNTEER] != "").to_numpy(bool)
    is_unlabelled = (table.label == "").to_numpy(bool) & ~looked
    refuse_lines(path, table, is_unlabelled, "has no label", "give one")
    filled = table[list(BOX)].copy()
    filled.loc[looked] = "0"
    boxes = np.stack([whole_numbers(path, filled[name], table.line) for name in BOX], axis=1)
    is_flat = (boxes[:, 2:] < 1).any(axis=1) & ~looked
    refuse_lines(path, table, is_flat, "has a box without pixels", "correct its height and width")
    names, label = np.unique(table.label[~looked].to_numpy(str), return_inverse=True)
    numbers = np.full(len(table), NO_LABEL)
    numbers[~looked] = label
    return Marks(
        find_scenes(path, table.granule, granules),
        np.unique(table[VOLUNTEER].to_numpy(str), return_inverse=True)[1],
        numbers,
        names.tolist(),
        boxes,
        None,
        n_rejected=len(given) - len(table),
    )


def _read_masks(path: Path, rejected: Path, granules: Sequence[str]) -> Marks:
    given = read_table(path, RUN_COLUMNS)
    parts = given.Image_Label.str.rpartition("_")
    left_out = [each.granule for each in read_rejections(rejected)]
    whole = _whole_names(path, parts[0].unique(), granules, left_out)
    given = given.assign(granule=parts[0].map(whole), label=parts[2])
    is_unnamed = (parts[0] == "") | (parts[2] == "")
    if is_unnamed.any():
        first = given[is_unnamed].iloc[0]
        raise ValueError(
            f"line {first.line} of {path} has Image_Label {first.Image_Label!r}; it should be a "
            "granule, an underscore and a label"
        )
    table = without_rejected(path, given, rejected)
    refuse_spellings(path, table.label)
    names, label = np.unique(table.label.to_numpy(str), return_inverse=True)
    runs = [
        _read_runs(path, line, text)
        for line, text in zip(table.line, table.EncodedPixels, strict=True)
    ]
    return Marks(
        find_scenes(path, table.granule, granules),
        np.zeros(len(table), np.int64),
        label.astype(np.int64),
        names.tolist(),
        None,
        runs,
        n_rejected=len(given) - len(table),
    )


def _whole_names(
    path: Path, given: Iterable[str], granules: Sequence[str], rejected: Sequence[str]
) -> dict[str, str]:
    """Full name of each granule that is `given` with its own suffix, another or none.

    A scene takes precedence over a rejected granule of the same stem.

    Raises:
        ValueError: If several scenes share the stem.
    """
    scenes, left_out = defaultdict(list), {Path(name).stem: name for name in rejected}
    for granule in granules:
        scenes[Path(granule).stem].append(granule)
    whole = {name: name for name in (*granules, *rejected)}
    for name in given:
        stem = Path(name).stem
        alike = scenes.get(stem) or [left_out.get(stem, name)]
        if name not in whole and len(alike) > 1:
            raise ValueError(
                f"{path} names {name!r}, by which {' and '.join(alike)} may be meant; write the "
                "whole name"
            )
        whole.setdefault(name, alike[0])
    return whole


def _read_runs(path: Path, line: int, text: str) -> IntArray:
    words = text.split()
    if len(words) % 2 or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise ValueError(
            f"line {line} of {path} has EncodedPixels {text[:30]!r}; they should be pairs of a "
            "first pixel, from 1, and a length"
        )
    return np.array([int(word) for word in words], np.int64).reshape(-1, 2)
