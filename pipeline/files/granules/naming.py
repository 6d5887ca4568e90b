"""What names of files say, by the patterns of satpy's readers."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase, translate
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from pipeline.files.base.sidecars import is_sidecar

Readers = Mapping[str, Sequence[str]]

GOES = {f"G{number}": f"GOES-{number}" for number in range(16, 20)}
METEOSAT = {f"MSG{number}": f"Meteosat-{number + 7}" for number in range(1, 5)}
HIMAWARI = {"H08": "Himawari-8", "H09": "Himawari-9"}
SUOMI_NPP = dict.fromkeys(("NP", "snpp", "npp"), "Suomi-NPP")
NOAA = {"J1": "NOAA-20", "J2": "NOAA-21", "jpss1": "NOAA-20", "j01": "NOAA-20", "j02": "NOAA-21"}

# Fields of satpy's patterns, the first that a pattern has being taken. Of the platform, with names
# of satellites by their codes.
PLATFORM: Mapping[str, Mapping[str, str]] = {
    "platform_shortname": {**GOES, **METEOSAT, **HIMAWARI, **SUOMI_NPP, **NOAA},
    "satid": METEOSAT,
    "platform_indicator": {"O": "Terra", "Y": "Aqua"},
    "spacecraft_id": {"1": "Meteosat-12"},
    "platform_short_name": {},
    "platform_id": {},
    "platform_name": {},
    "platform": {},
    "satellite": {},
    "spacecraft_name": {},
    "mission_id": {},
}
START = ("start_time", "sensing_start_time", "observation_time", "nominal_time", "end_time")
CREATED = ("creation_time", "processing_time", "production_time")
# Those that are equal in all files of a granule, and those that tell its files apart.
CYCLE = "repeat_cycle_in_day"
SAME = ("scene_abbr", "area", "area_code", "sector_id", "meso_scene", CYCLE)
SEGMENT = ("segment", "count_in_repeat_cycle")
PART = (*SEGMENT, "tile", "lat", "lon", "view", "stripe", "datasets")

SAME_SCAN = timedelta(seconds=10)  # between the starts of a granule's files
SAME_CYCLE = timedelta(minutes=10)  # of one whose files are scanned one after the other

# What archives and browsers make of the names that satpy knows.
OTHER_NAMES = (
    (re.compile(r" ?\(\d+\)(\.\w+)$"), r"\1"),  # second downloads
    (re.compile(r"(\.\w+)\.\d+$"), r"\1"),
    (re.compile(r"(-\d+)?_\d+(\.\w+)$"), r"\2"),  # orders from NOAA's CLASS
    (re.compile(r"^(V\w\w0[23][A-Z]{3})(\.A\d{7}\.\d{4}\.\d{3})\.nrt(\.nc)$"), r"\1_NRT\2\3"),
    (re.compile(r"\.nrt(\.\w+)$", re.IGNORECASE), r"\1"),  # near-real time
)
SYMBOL = re.compile(r"\[.[^]]*\]|.")  # of a glob


class _Loader(yaml.CSafeLoader):
    """Of readers' configurations; classes, which need packages of their own, stay names."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda _, name, __: name)


@dataclass(frozen=True)
class NamedFile:
    """A file and what its name says.

    Attributes:
        key: What the files of a granule have in common.
        part: What tells them apart.
        platform: Name of the satellite, or its code where that is unknown.
        start_time: Of what is in the file.
        created: When it was made.
        spread: The files of its granule start within this.
    """

    path: Path
    key: tuple[Any, ...]
    part: tuple[Any, ...]
    platform: str
    start_time: datetime
    created: datetime
    spread: timedelta


def named_files(
    paths: Iterable[Path], reader: str, globs: Sequence[str] = ()
) -> Iterator[NamedFile]:
    """Those of `paths` which a reader of satpy knows by name.

    Args:
        paths: Files, which are not opened.
        reader: Its name.
        globs: Of the names that are taken; all that the reader knows where there are none.

    Raises:
        ValueError: If satpy has no such reader, or a glob fits no name that the reader knows.
    """
    _refuse_foreign(tuple(globs), reader)
    for path in paths:
        known = _known(path, reader)
        if known and _fits(known.name, globs):
            yield _described(path, known.kind, known.fields)


@contextmanager
def under_known_names(files: Iterable[Path], reader: str) -> Iterator[list[Path]]:
    """The files by names that satpy knows, which are links where theirs are others."""
    known = {file: found.name for file in files if (found := _known(file, reader))}
    with TemporaryDirectory() as folder:
        named = {file: Path(folder) / known.get(file, file.name) for file in files}
        for file, path in named.items():
            if path.name != file.name:
                path.symlink_to(file.absolute())
        yield [path if path.name != file.name else file for file, path in named.items()]


def is_part_of_disk(files: Iterable[Path], reader: str) -> bool:
    """Whether a part of the segments of a disk was fetched: some that adjoin, of each band."""
    segments, totals = defaultdict(set), {}
    for found in filter(None, (_known(file, reader) for file in files)):
        expected = _file_types(reader)[found.kind].get("expected_segments")
        totals[found.kind] = found.fields.get("total_segments", expected)
        for field in SEGMENT:
            if isinstance(number := found.fields.get(field), int):
                segments[found.kind].add(number)
    if not segments or "Segment" not in _config(reader)["reader"]["reader"]:
        return False
    first, *others = segments.values()
    adjoin = len(first) == max(first) - min(first) + 1
    is_whole = all(len(each) == totals[kind] for kind, each in segments.items())
    return adjoin and not is_whole and all(other == first for other in others)


def resembled_readers(path: Path, readers: Readers) -> list[str]:
    """Readers with a glob that takes the name of this file, which satpy does not know."""
    if is_sidecar(path):
        return []
    return [reader for reader, globs in readers.items() if globs and _fits(path.name, globs)]


def _fits(name: str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


def _described(path: Path, kind: str, found: Mapping[str, Any]) -> NamedFile:
    field = next((field for field in PLATFORM if field in found), "")
    code = str(found.get(field, "unknown"))
    time = next(found[field] for field in START if field in found)
    created = (found[field] for field in CREATED if isinstance(found.get(field), datetime))
    return NamedFile(
        path,
        (code, _family(kind), *(found.get(field) for field in SAME)),
        (kind, *(found.get(field) for field in PART)),
        PLATFORM.get(field, {}).get(code, code),
        time,
        next(created, time),
        SAME_CYCLE if CYCLE in found else SAME_SCAN,
    )


def _family(file_type: str) -> str:
    """Single-band and all-band imagery of ABI are not one granule, though of one scan."""
    return "mcmip" if file_type.endswith("mcmip") else ""


@dataclass(frozen=True)
class _Known:
    """A name that a reader knows, the type of file it is of, and what its fields say."""

    name: str
    kind: str
    fields: Mapping[str, Any]


def _known(path: Path, reader: str) -> _Known | None:
    """What a reader knows a file as, by its own name or another that it may have had."""
    for name in _possible_names(path.name):
        if not _names(reader).match(name):
            continue
        for kind, patterns in _parsers(reader).items():
            for n_folders, glob, parser in patterns:
                own = "/".join([*path.parts[-1 - n_folders : -1], name])
                if glob.match(own) and (fields := _parsed(parser, own)):
                    return _Known(name, kind, fields)
    return None


def _parsed(parser: Any, name: str) -> Mapping[str, Any]:
    """Fields of a name, none where it is not of the pattern after all."""
    try:
        fields: Mapping[str, Any] = parser.parse(name)
    except ValueError:
        return {}
    return fields if str(fields.get("nc_version") or 4).isdecimal() else {}


@cache
def _parsers(reader: str) -> Mapping[str, Sequence[tuple[int, re.Pattern[str], Any]]]:
    """For each type of file its patterns: how many folders they name, as a glob, and parsed."""
    from trollsift import Parser, globify

    return {
        kind: [
            (pattern.count("/"), re.compile(translate(globify(pattern))), Parser(pattern))
            for pattern in file_type["file_patterns"]
        ]
        for kind, file_type in _file_types(reader).items()
    }


@cache
def _possible_names(name: str) -> tuple[str, ...]:
    names = [name]
    for old, new in OTHER_NAMES:
        names += [old.sub(new, each) for each in names]
    return tuple(dict.fromkeys(names))


@cache
def _config(reader: str) -> Mapping[str, Any]:
    from satpy.readers.core.config import configs_for_reader
    from satpy.readers.core.yaml_reader import load_yaml_configs

    try:
        files = next(iter(configs_for_reader(reader)))
    except ValueError as error:
        raise ValueError(
            f"satpy has no reader {reader!r}; change fetch.readers, whose names are those of "
            "satpy.available_readers()"
        ) from error
    return dict(load_yaml_configs(*files, loader=_Loader))


@cache
def _file_types(reader: str) -> Mapping[str, Mapping[str, Any]]:
    """Types of file that tell a time in their names, by name."""
    return {
        kind: {**file_type, "file_patterns": patterns}
        for kind, file_type in _config(reader)["file_types"].items()
        if (patterns := [each for each in file_type["file_patterns"] if _tells_time(each)])
    }


def _tells_time(pattern: str) -> bool:
    return any(f"{{{field}" in pattern for field in START)


@cache
def _globs(reader: str) -> list[str]:
    """Of the names alone that a reader knows, without the folders of some."""
    from trollsift import globify

    return [
        globify(pattern.rsplit("/", 1)[-1])
        for file_type in _file_types(reader).values()
        for pattern in file_type["file_patterns"]
    ]


@cache
def _names(reader: str) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, _globs(reader))))


@cache
def _refuse_foreign(globs: tuple[str, ...], reader: str) -> None:
    known = [tuple(SYMBOL.findall(glob)) for glob in _globs(reader)]
    for glob in globs:
        if not any(_share_a_name(tuple(SYMBOL.findall(glob)), each) for each in known):
            raise ValueError(
                f"no name of a file of satpy's {reader} fits {glob!r}; change it in fetch.readers, "
                "or leave the brackets empty to take all files"
            )


@cache
def _share_a_name(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether a name can fit both globs, each in symbols: `*`, `?`, `[…]` or a letter."""
    if not (one and other):
        return {*one, *other} <= {"*"}
    if one[0] == "*":
        return _share_a_name(one[1:], other) or _share_a_name(one, other[1:])
    if other[0] == "*":
        return _share_a_name(other, one)
    first = (one[0], other[0])
    fits = "?" in first or fnmatchcase(*first) or fnmatchcase(*reversed(first))
    return fits and _share_a_name(one[1:], other[1:])
