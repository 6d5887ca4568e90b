"""What names of files say, by the patterns of satpy's readers."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import translate
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

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
FEW_LETTERS = 4  # with which a name begins by chance as a pattern does


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
    paths: Iterable[Path], reader: str, beginnings: Sequence[str]
) -> Iterator[NamedFile]:
    """Those of `paths` which a reader of satpy knows by name.

    Args:
        paths: Files, which are not opened.
        reader: Its name.
        beginnings: Of the types of file that are taken; all where there are none.

    Raises:
        ValueError: If satpy has no such reader.
    """
    for path, _, kind, found in _matches(paths, reader):
        if kind.startswith(tuple(beginnings) or ""):
            yield _described(path, kind, found)


@contextmanager
def under_known_names(files: Iterable[Path], reader: str) -> Iterator[list[Path]]:
    """The files by names that satpy knows, which are links where theirs are others."""
    known = {file: name for file, name, _, _ in _matches(files, reader)}
    with TemporaryDirectory() as folder:
        named = {file: Path(folder) / known.get(file, file.name) for file in files}
        for file, path in named.items():
            if path.name != file.name:
                path.symlink_to(file.absolute())
        yield [path if path.name != file.name else file for file, path in named.items()]


def is_part_of_disk(files: Iterable[Path], reader: str) -> bool:
    """Whether a part of the segments of a disk was fetched: some that adjoin, of each band."""
    segments = defaultdict(set)
    for _, _, kind, found in _matches(files, reader):
        for field in SEGMENT:
            if isinstance(number := found.get(field), int):
                segments[kind].add(number)
    if not segments or "Segment" not in _config(reader)["reader"]["reader"]:
        return False
    first, *others = segments.values()
    adjoin = len(first) == max(first) - min(first) + 1
    return adjoin and all(other == first for other in others)


def resembled_readers(path: Path, readers: Readers) -> list[str]:
    """Readers whose files, of the types that are taken, begin as this one, which ends otherwise."""
    return [
        reader
        for reader, beginnings in readers.items()
        if _beginnings(reader, tuple(beginnings)).match(path.name)
    ]


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


def _matches(
    paths: Iterable[Path], reader: str
) -> Iterator[tuple[Path, str, str, Mapping[str, Any]]]:
    """Files known by their own or another name, with that name, their type and its fields."""
    from satpy.readers.core.yaml_reader import FileYAMLReader  # slow to import

    left = {path: _possible_names(path.name) for path in paths}
    for rank in range(max(map(len, left.values()), default=0)):
        named = defaultdict(list)
        for path, names in left.items():
            if rank < len(names) and _names(reader).match(names[rank]):
                named[str(path.with_name(names[rank]))].append(path)
        for kind, file_type in _file_types(reader).items():
            for name, found in FileYAMLReader.filename_items_for_filetype(list(named), file_type):
                for path in named.pop(name):
                    left.pop(path)
                    yield path, Path(name).name, kind, found


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


def _patterns(reader: str, beginnings: tuple[str, ...] = ()) -> list[str]:
    """Of the names alone, without the folders of some, of the types that are taken."""
    return [
        pattern.rsplit("/", 1)[-1]
        for kind, file_type in _file_types(reader).items()
        if kind.startswith(beginnings or "")
        for pattern in file_type["file_patterns"]
    ]


@cache
def _names(reader: str) -> re.Pattern[str]:
    from trollsift import globify

    return re.compile("|".join(translate(globify(pattern)) for pattern in _patterns(reader)))


@cache
def _beginnings(reader: str, beginnings: tuple[str, ...]) -> re.Pattern[str]:
    """What names of the reader's files begin with, up to their time."""
    from trollsift import globify

    starts = [re.split(r"\{\w*time", pattern)[0] for pattern in _patterns(reader, beginnings)]
    long = {start for start in starts if _n_letters(start) >= FEW_LETTERS}
    return re.compile("|".join(translate(globify(start) + "*") for start in sorted(long)) or "(?!)")


def _n_letters(pattern: str) -> int:
    """Letters outside of the fields of a pattern."""
    return sum(map(str.isalpha, re.sub(r"\{[^}]*\}", "", pattern)))
