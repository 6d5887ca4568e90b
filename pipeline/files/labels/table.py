"""Tables of labels: their lines as text, and what of them is refused by line."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pipeline.files.base.rejections import read_rejections

IntArray = NDArray[np.int64]

LINE = "line"  # of the file, for messages


def read_header(path: Path) -> list[str]:
    """Names of the columns of the table at `path`.

    Raises:
        FileNotFoundError: If there is no table.
        ValueError: If it is none.
    """
    return _read_lines(path)[0]


def read_table(path: Path, columns: Sequence[str], *, optional: Sequence[str] = ()) -> pd.DataFrame:
    """The columns of the table at `path` as stripped text, and the `line` of each entry.

    Args:
        path: CSV file.
        columns: That must be there, beside others.
        optional: Left empty where they are not.

    Raises:
        FileNotFoundError: If there is no table.
        ValueError: If it cannot be read, lacks a column, has two of one name or is empty.
    """
    names, lines = _read_lines(path)
    missing = [name for name in columns if name not in names]
    if missing:
        raise ValueError(
            f"{path} lacks the column(s) {', '.join(missing)}; a label table has "
            f"{','.join(columns)}, separated by commas"
        )
    if twice := [name for name in (*columns, *optional) if names.count(name) > 1]:
        raise ValueError(f"{path} has {names.count(twice[0])} columns {twice[0]}; keep one")
    given = [*columns, *(name for name in optional if name in names)]
    table = pd.DataFrame(lines, columns=[*given, LINE])
    table[given] = table[given].apply(lambda texts: texts.str.strip())
    table = table.assign(**{name: "" for name in optional if name not in names})
    if table.empty:
        raise ValueError(f"{path} holds no labels; add some or change labels in params.yaml")
    return table


def _read_lines(path: Path) -> tuple[list[str], list[dict[str, object]]]:
    if not path.is_file():
        raise FileNotFoundError(
            f"the label table {path} does not exist; correct labels in params.yaml"
        )
    try:
        # Spreadsheets begin a table with a byte-order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True, restval="")
            names = reader.fieldnames = [name.strip() for name in reader.fieldnames or []]
            return names, [
                {**fields, LINE: reader.line_num}
                for fields in reader
                if any(fields[name] for name in names)  # spreadsheets leave lines of commas alone
            ]
    except (csv.Error, UnicodeError) as error:
        raise ValueError(
            f"{path} is no table of comma-separated values ({error}); correct labels in params.yaml"
        ) from None


def without_rejected(path: Path, table: pd.DataFrame, rejected: Path) -> pd.DataFrame:
    """The table without granules that ingest left out.

    Raises:
        ValueError: If nothing is left.
    """
    left_out = table.granule.isin({each.granule for each in read_rejections(rejected)})
    if left_out.all():
        raise ValueError(
            f"every granule that {path} names was rejected, see {rejected}; change labels in "
            "params.yaml"
        )
    return table[~left_out].reset_index(drop=True)


def find_scenes(path: Path, named: pd.Series, granules: Sequence[str]) -> IntArray:
    """Number of the scene of each granule that is named.

    Raises:
        ValueError: If a granule is that of no scene.
    """
    scenes = pd.Series(np.arange(len(granules)), index=list(granules))
    scene = scenes.reindex(named).fillna(-1).to_numpy(np.int64)
    unknown = named[scene < 0]
    if len(unknown):
        raise ValueError(
            f"{path} names {unknown.nunique()} granule(s) that are not among the scenes, the first "
            f"{unknown.iloc[0]!r}; ingest them or change labels in params.yaml"
        )
    return scene


def whole_numbers(path: Path, texts: pd.Series, lines: pd.Series) -> IntArray:
    """Numbers of pixels, (line,).

    Raises:
        ValueError: If one is none.
    """
    is_whole = texts.str.fullmatch(r"-?\d{1,9}").to_numpy(bool)
    if not is_whole.all():
        first = int(np.argmin(is_whole))
        raise ValueError(
            f"line {lines[first]} of {path} has {texts.name} {texts[first]!r}; it should be "
            "a whole number of pixels"
        )
    return np.array([int(text) for text in texts], np.int64)


def refuse_spellings(path: Path, texts: pd.Series) -> None:
    """Refuse entries that differ only in capitals.

    Raises:
        ValueError: If any do.
    """
    spellings = pd.Series(texts.unique())
    folded = spellings.str.casefold()
    if folded.duplicated().any():
        same = spellings[folded == folded[folded.duplicated(keep=False)].iloc[0]]
        raise ValueError(
            f"{path} has the {texts.name}s {' and '.join(map(repr, same))}; write them one way"
        )


def refuse_lines(
    path: Path, table: pd.DataFrame, is_wrong: ArrayLike, what: str, remedy: str
) -> None:
    """Refuse a table of which some entries are wrong.

    Raises:
        ValueError: If any is, with the line of the first.
    """
    wrong = np.flatnonzero(is_wrong)
    if len(wrong):
        first = table.iloc[wrong[0]]
        raise ValueError(
            f"{len(wrong)} of {len(table)} lines of {path} cannot be used: line "
            f"{first.line}, {first.granule} row {first.row} column {first.column}, "
            f"{what}; {remedy}"
        )
