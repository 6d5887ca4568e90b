"""Which files are granules, and which of them belong together."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from pipeline.files.granules.geotiff import describe_geotiff
from pipeline.files.granules.granule import Granule
from pipeline.files.granules.netcdf import describe_netcdf

CREATED = ("creation_time", "processing_time")  # fields of satpy's patterns
NEVER = datetime.min
GEOTIFF_SUFFIXES = {".tif", ".tiff"}
NETCDF_SUFFIXES = {".nc", ".nc4"}


@dataclass(frozen=True)
class Instrument:
    """How the files of an instrument's granule are known, by fields of the reader's patterns.

    Attributes:
        platform: Field that names the satellite.
        names: Of the satellites in that field, the others being their own.
        same: Fields equal in all files of a granule, beside the platform.
        part: Fields that tell its files apart, beside the type of file.
        seconds: The files of a granule start within so many.
        file_types: Beginnings of the reader's types of file that are taken.
    """

    platform: str
    names: Mapping[str, str]
    same: tuple[str, ...] = ()
    part: tuple[str, ...] = ()
    seconds: float = 10.0
    file_types: tuple[str, ...] = ("",)


GOES = {f"G{number}": f"GOES-{number}" for number in range(16, 20)}
INSTRUMENTS = {
    "abi_l1b": Instrument("platform_shortname", GOES, same=("scene_abbr",)),
    "abi_l2_nc": Instrument(
        "platform_shortname",
        GOES,
        same=("scene_abbr",),
        file_types=("abi_l2_mcmip", "abi_l2_cmip"),
    ),
    "viirs_l1b": Instrument(
        "platform_shortname",
        {
            **{"NP": "Suomi-NPP", "J1": "NOAA-20", "J2": "NOAA-21"},
            **{"snpp": "Suomi-NPP", "jpss1": "NOAA-20"},
        },
    ),
    "modis_l1b": Instrument("platform_indicator", {"O": "Terra", "Y": "Aqua"}),
    "fci_l1c_nc": Instrument(
        "spacecraft_id",
        {"1": "Meteosat-12"},
        same=("repeat_cycle_in_day",),
        part=("count_in_repeat_cycle",),
        seconds=600.0,
    ),
    "seviri_l1b_native": Instrument(
        "satid", {f"MSG{number}": f"Meteosat-{number + 7}" for number in range(1, 5)}
    ),
    "ahi_hsd": Instrument(
        "platform_shortname",
        {"H08": "Himawari-8", "H09": "Himawari-9"},
        same=("area",),
        part=("segment",),
    ),
}


@dataclass(frozen=True)
class _File:
    """A file and what its name says."""

    path: Path
    key: tuple[Any, ...]
    part: tuple[Any, ...]
    platform: str
    start_time: datetime
    created: datetime


def find_granules(
    paths: Iterable[Path], each: Callable[..., Iterable[list[Granule]]] = map
) -> tuple[list[Granule], list[Path]]:
    """Granules among `paths` by time and name, and the files of no known format.

    Of granules of one time those processed last come first, since what repeats them is rejected.

    Args:
        paths: Files, of which GeoTIFF and plain netCDF are opened.
        each: Applies a function to every one of these, perhaps in another process.
    """
    remaining = set(paths)
    granules: list[Granule] = []
    for reader, instrument in INSTRUMENTS.items():
        known = _known_files(sorted(remaining), reader, instrument)
        remaining -= {file.path for file in known}
        granules += _group(known, reader, instrument)
    known_suffixes = GEOTIFF_SUFFIXES | NETCDF_SUFFIXES
    if to_open := sorted(path for path in remaining if path.suffix.lower() in known_suffixes):
        granules += chain.from_iterable(each(_describe, to_open))
    remaining -= set(to_open)
    granules.sort(key=lambda granule: (str(granule.start_time), granule.name))
    return list(_newest_first(granules)), sorted(remaining)


def _newest_first(granules: Iterable[Granule]) -> Iterator[Granule]:
    """Those of one scan that follow each other, which differ in when they were processed."""
    for _, versions in groupby(granules, lambda granule: (granule.scan, granule.start_time)):
        yield from sorted(versions, key=lambda granule: granule.created or NEVER, reverse=True)


def without_description(path: Path) -> list[Granule]:
    """The granule of a file that ends the process which opens it; ingest says what is wrong."""
    reader = "geotiff" if path.suffix.lower() in GEOTIFF_SUFFIXES else "netcdf"
    return [Granule(path.name, (path,), reader, "unknown", None, step=-1)]


def _describe(path: Path) -> list[Granule]:
    if path.suffix.lower() in GEOTIFF_SUFFIXES:
        return [describe_geotiff(path)]
    return describe_netcdf(path)


@cache
def _patterns(reader: str) -> Any:
    """Satpy's reader, for the patterns of its files' names."""
    from satpy.readers.core.config import configs_for_reader  # slow to import
    from satpy.readers.core.loading import load_reader

    return load_reader(next(iter(configs_for_reader(reader))))


def _known_files(paths: Sequence[Path], reader: str, instrument: Instrument) -> list[_File]:
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        by_name[path.name].append(path)
    patterns = _patterns(reader)
    known = []
    for kind, file_type in patterns.config["file_types"].items():
        if not kind.startswith(instrument.file_types):
            continue
        for name, found in patterns.filename_items_for_filetype(list(by_name), file_type):
            code = str(found.get(instrument.platform))
            key = (code, *(found.get(name) for name in instrument.same), _family(kind))
            part = (kind, *(found.get(name) for name in instrument.part))
            time = found.get("start_time") or found["end_time"]
            platform = instrument.names.get(code, code)
            created = next((found[field] for field in CREATED if field in found), time)
            known += [
                _File(path, key, part, platform, time, created) for path in by_name.pop(name, [])
            ]
    return known


def _family(file_type: str) -> str:
    """Single-band and all-band imagery of ABI are not one granule, though of one scan."""
    return "mcmip" if file_type.endswith("mcmip") else ""


def _group(files: Sequence[_File], reader: str, instrument: Instrument) -> Iterator[Granule]:
    """Files of one scan together; a second file of the same part is of a granule of its own."""
    scans: dict[tuple[Any, ...], list[_File]] = defaultdict(list)
    newest_first = sorted(files, key=lambda file: (file.created, file.path), reverse=True)
    for file in sorted(newest_first, key=lambda file: file.start_time):
        scans[file.key].append(file)
    for scan in scans.values():
        open_granules: list[dict[tuple[Any, ...], _File]] = []
        for file in scan:
            latest = file.start_time - timedelta(seconds=instrument.seconds)
            for granule in [each for each in open_granules if _start(each) < latest]:
                open_granules.remove(granule)
                yield _as_granule(granule, reader)
            granule = next((each for each in open_granules if file.part not in each), {})
            if not granule:
                open_granules.append(granule)
            granule[file.part] = file
        yield from (_as_granule(granule, reader) for granule in open_granules)


def _as_granule(files: Mapping[tuple[Any, ...], _File], reader: str) -> Granule:
    paths = sorted((file.path for file in files.values()), key=lambda path: path.name)
    first = next(iter(files.values()))
    return Granule(
        paths[0].name,
        tuple(paths),
        reader,
        first.platform,
        _start(files),
        scan=(reader, *first.key),
        created=max(file.created for file in files.values()),
    )


def _start(granule: Mapping[tuple[Any, ...], _File]) -> datetime:
    return min(file.start_time for file in granule.values())
