"""Which files are granules, and which of them belong together."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from pipeline.files.base.sidecars import as_finished, is_unfinished
from pipeline.files.granules.geotiff import describe_geotiff
from pipeline.files.granules.granule import NETCDF_SUFFIXES, UNFINISHED, Granule
from pipeline.files.granules.naming import NamedFile, Readers, named_files
from pipeline.files.granules.netcdf import describe_netcdf

NEVER = datetime.min
GEOTIFF_SUFFIXES = {".tif", ".tiff"}
PLAIN_SUFFIXES = GEOTIFF_SUFFIXES | NETCDF_SUFFIXES


def find_granules(
    paths: Iterable[Path],
    readers: Readers,
    each: Callable[..., Iterable[list[Granule]]] = map,
) -> tuple[list[Granule], list[Path]]:
    """Granules among `paths` by time and name, and the files of no known format.

    Of granules of one time those processed last come first, since what repeats them is rejected.

    Args:
        paths: Files, of which GeoTIFF and plain netCDF are opened.
        readers: Of satpy, with globs of the names that are taken; all where there are none.
        each: Applies a function to every one of these, perhaps in another process.
    """
    paths = set(paths)
    granules = [
        Granule(path.name, (path,), UNFINISHED, "unknown", None)
        for path in sorted(paths)
        if is_unfinished(path, paths) and _is_taken(as_finished(path), readers)
    ]
    remaining = paths - {granule.files[0] for granule in granules}
    for reader, globs in readers.items():
        known = list(named_files(sorted(remaining), reader, globs))
        remaining -= {file.path for file in known}
        granules += _group(known, reader)
    if to_open := sorted(path for path in remaining if path.suffix.lower() in PLAIN_SUFFIXES):
        granules += _joined(chain.from_iterable(each(_describe, to_open)))
    remaining -= set(to_open)
    granules.sort(key=lambda granule: (str(granule.start_time), granule.name))
    return list(_newest_first(granules)), sorted(remaining)


def _is_taken(path: Path, readers: Readers) -> bool:
    """Whether a file of this name is that of a granule."""
    return path.suffix.lower() in PLAIN_SUFFIXES or any(
        any(named_files([path], reader, globs)) for reader, globs in readers.items()
    )


def _joined(granules: Iterable[Granule]) -> Iterator[Granule]:
    """Single bands of a scene as one granule, the others as they are."""
    scenes: dict[tuple[Any, ...], list[Granule]] = defaultdict(list)
    for granule in granules:
        if granule.scan is None:
            yield granule
        else:
            scenes[granule.scan].append(granule)
    for bands in scenes.values():
        yield replace(bands[0], files=tuple(band.files[0] for band in bands), scan=None)


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


def _group(files: Sequence[NamedFile], reader: str) -> Iterator[Granule]:
    """Files of one scan together; a second file of the same part is of a granule of its own."""
    scans: dict[tuple[Any, ...], list[NamedFile]] = defaultdict(list)
    newest_first = sorted(files, key=lambda file: (file.created, file.path), reverse=True)
    for file in sorted(newest_first, key=lambda file: file.start_time):
        scans[file.key].append(file)
    for scan in scans.values():
        open_granules: list[dict[tuple[Any, ...], NamedFile]] = []
        for file in scan:
            earliest = file.start_time - file.spread
            for granule in [each for each in open_granules if _start(each) < earliest]:
                open_granules.remove(granule)
                yield _as_granule(granule, reader)
            granule = next((each for each in open_granules if file.part not in each), {})
            if not granule:
                open_granules.append(granule)
            granule[file.part] = file
        yield from (_as_granule(granule, reader) for granule in open_granules)


def _as_granule(files: Mapping[tuple[Any, ...], NamedFile], reader: str) -> Granule:
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


def _start(granule: Mapping[tuple[Any, ...], NamedFile]) -> datetime:
    return min(file.start_time for file in granule.values())
