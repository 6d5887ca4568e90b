"""Stage fetch: a source of granules → the manifest of what there is to ingest."""

import csv
import glob
import itertools
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from pipeline.core.synthetic import MORPHOLOGIES, OFF_EARTH, UNSEEN, synthesise_scene
from pipeline.core.tile import pure_tiles
from pipeline.core.viewing import solar_angles, sun_distance
from pipeline.files import mcmip, stage, stores
from pipeline.files.archives import fetch_goes, fetch_nasa
from pipeline.files.granules import (
    PLAIN_READERS,
    Granule,
    find_granules,
    is_part_of_disk,
    resembled_readers,
    without_description,
)
from pipeline.files.manifests import fingerprints
from pipeline.files.progress import progress
from pipeline.files.workers import ordered_map

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalParams:
    """Granules that are on disk already: folders, searched at any depth, globs or files."""

    granules: tuple[str, ...]


@dataclass(frozen=True)
class GoesParams:
    """Granules in NOAA's open buckets; times in UTC."""

    endpoint: str
    satellite: Literal[16, 17, 18, 19]
    product: Literal[
        "ABI-L2-MCMIPF",
        "ABI-L2-MCMIPC",
        "ABI-L2-MCMIPM",
        "ABI-L1b-RadF",
        "ABI-L1b-RadC",
        "ABI-L1b-RadM",
    ]
    bands: tuple[Annotated[str, Field(pattern="^C(0[1-9]|1[0-6])$")], ...]
    sectors: tuple[Literal["M1", "M2"], ...]
    start: datetime
    end: datetime
    days: tuple[date, ...]
    cadence_minutes: NonNegativeFloat
    n_parallel: PositiveInt


@dataclass(frozen=True)
class NasaParams:
    """Granules of NASA's archives; the box is west, south, east, north in degrees."""

    product: Literal["MOD021KM", "MYD021KM", "VNP02MOD", "VJ102MOD", "VJ202MOD"]
    start: datetime
    end: datetime
    box: tuple[float, float, float, float]
    day_only: bool
    count: NonNegativeInt
    n_parallel: PositiveInt


@dataclass(frozen=True)
class SyntheticParams:
    """Made-up mesoscale sectors of known morphology; lengths in pixels of 2 km."""

    seed: int
    first_day: date
    n_days: PositiveInt
    n_new_days: NonNegativeInt
    days_apart: PositiveInt
    hours_utc: tuple[Annotated[int, Field(ge=0, lt=24)], ...]
    sectors: tuple[tuple[float, float], ...]
    n_pixels: PositiveInt
    label_tile_size: PositiveInt
    label_min_share: Annotated[float, Field(gt=0.5, le=1)]
    label_max_solar_zenith: Annotated[float, Field(gt=0, le=90)]
    n_labels_per_morphology: PositiveInt


@dataclass(frozen=True)
class FetchParams:
    """Section `fetch` of params.yaml."""

    source: Literal["synthetic", "local", "goes", "nasa"]
    max_seconds: PositiveFloat
    readers: Mapping[str, tuple[str, ...]]
    local: LocalParams
    goes: GoesParams
    nasa: NasaParams
    synthetic: SyntheticParams


@dataclass(frozen=True)
class _Task:
    """One synthetic granule to make."""

    index: int
    start_time: datetime
    sector: tuple[float, float]
    is_new: bool


def run(params: FetchParams, granules: Path, archive: Path, checksums: Path) -> None:
    """Write the manifest into `granules`, beside synthetic granules where they are the source.

    What comes from an archive is kept in the folder `archive`, for the next time too.
    """
    granules = granules.absolute()  # for workers in other folders
    granules.mkdir(parents=True)
    archive = archive.absolute()
    match params.source:
        case "synthetic":
            files = _write_synthetic(params.synthetic, granules)
        case "local":
            files = _list_files(params.local.granules)
        case "goes":
            files = fetch_goes(archive, **_arguments(params.goes))
        case "nasa":
            files = fetch_nasa(archive / "nasa", **_arguments(params.nasa))
    apart = partial(ordered_map, max_seconds=params.max_seconds, after_death=without_description)
    named = [path for path in files if _is_utf8(path)]
    if len(named) < len(files):
        lost = ascii(next(path for path in files if not _is_utf8(path)).name)
        log.warning(
            "files whose names are no UTF-8 are left out: %d, the first of them %s; rename them",
            len(files) - len(named),
            lost,
        )
    found, others = find_granules(named, params.readers, apart)
    if not found:
        first = f", the first of them {files[0].name!a}" if files else ""
        raise ValueError(
            f"there is no granule of a known format among {len(files)} files{first}; unpack what "
            f"is packed, or change fetch.{params.source}"
        )
    if others:
        log.info("%d files are no granules, %s the first of them", len(others), others[0].name)
    _warn_of_resemblance(found, others, params.readers)
    parts = [
        granule.name
        for granule in found
        if granule.reader in params.readers and is_part_of_disk(granule.files, granule.reader)
    ]
    if parts:
        log.info(
            "%d granules hold a part of their disk, %s the first of them", len(parts), parts[0]
        )
    manifest = _manifest(_named_apart(found), granules, checksums).assign_attrs(
        n_other_files=len(others) + len(files) - len(named)
    )
    stores.write_product(manifest, granules / "manifest.nc", _shaping(params))


def _warn_of_resemblance(
    found: Iterable[Granule], others: Iterable[Path], readers: Mapping[str, tuple[str, ...]]
) -> None:
    """Warn of files that no reader of satpy takes though their names begin as those of one."""
    unread = {path for each in found if each.reader in PLAIN_READERS for path in each.files}
    alike = [
        (path, names)
        for path in sorted({*unread, *others})
        if (names := resembled_readers(path, readers))
    ]
    if alike:
        log.warning(
            "%d files begin as those of %s but are named otherwise than satpy knows, %s the first "
            "of them; give them their archive's names",
            len(alike),
            " or ".join(sorted({reader for _, names in alike for reader in names})),
            alike[0][0].name,
        )


def _shaping(params: FetchParams) -> dict[str, Any]:
    """The parameters without those of other sources, which change nothing."""
    used = ("source", "max_seconds", "readers", params.source)
    return {name: value for name, value in asdict(params).items() if name in used}


def _arguments(params: GoesParams | NasaParams) -> dict[str, Any]:
    return {field.name: getattr(params, field.name) for field in fields(params)}


def _list_files(patterns: Iterable[str]) -> list[Path]:
    """Whatever is in folders, at any depth, or fits a glob; broken links too, to be counted."""
    files: set[Path] = set()
    for pattern in patterns:
        folder = Path(pattern)
        found = (
            _below(folder) if folder.is_dir() else map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207
        )
        here = {
            path.absolute()
            for path in found
            if (not path.is_dir() or path.suffix) and not _is_hidden(path, folder)
        }
        if not here:
            kind = "an empty folder" if folder.is_dir() else "a pattern without a file"
            raise ValueError(f"{pattern!r} is {kind}; change fetch.local.granules")
        files |= here
    return sorted(files)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _below(folder: Path) -> Iterator[Path]:
    """Files and folders at any depth, through links too, but none of a folder twice."""
    seen = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(here)) in seen:  # a link into a folder above, say
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(here) / name for name in (*folders, *files))


def _is_hidden(path: Path, folder: Path) -> bool:
    """Whether the file is one that is still being fetched, or otherwise out of sight."""
    inside = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
    return any(part.startswith(".") for part in inside.parts)


def _named_apart(granules: list[Granule]) -> list[Granule]:
    """Granules of one name in several folders are named with as much of these as they differ in."""
    folders: dict[str, set[Path]] = defaultdict(set)
    for granule in granules:
        folders[granule.name].add(granule.files[0].parent)
    shared = {name: Path(os.path.commonpath(each)) for name, each in folders.items()}
    return [
        replace(
            granule,
            name=str(granule.files[0].parent.relative_to(shared[granule.name]) / granule.name),
        )
        for granule in granules
    ]


def _manifest(found: list[Granule], folder: Path, checksums: Path) -> xr.Dataset:
    """One entry a file, with what is known of its granule."""
    entries = [(granule, path) for granule in found for path in granule.files]
    numbers = [number for number, granule in enumerate(found) for _ in granule.files]
    hashed = fingerprints((path for _, path in entries), checksums)
    seen = dict(progress(hashed, "checksums", total=len(entries), unit="files"))
    return xr.Dataset(
        {
            "path": ("file", [_relative(path, folder) for _, path in entries]),
            "size": (
                "file",
                np.array([seen[path].size for _, path in entries]),
                {"long_name": "size of the file", "units": "byte"},
            ),
            "sha256": ("file", [seen[path].sha256 for _, path in entries]),
            "number": ("file", numbers, {"long_name": "granule the file belongs to", "units": "1"}),
            "granule": ("file", [granule.name for granule, _ in entries]),
            "step": (
                "file",
                [granule.step for granule, _ in entries],
                {"long_name": "position on the time axis of the file", "units": "1"},
            ),
            "reader": ("file", [granule.reader for granule, _ in entries]),
            "platform": ("file", [granule.platform for granule, _ in entries]),
            "start_time": (
                "file",
                np.array([granule.start_time for granule, _ in entries], "datetime64[ns]"),
                {"long_name": "start time of the granule, UTC", "standard_name": "time"},
            ),
        },
        attrs={"title": "Manifest of granules"},
    )


def _relative(path: Path, folder: Path) -> str:
    """Files of the product itself are named from its folder, so that it can be moved."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _write_synthetic(params: SyntheticParams, folder: Path) -> list[Path]:
    """Write granules and labels; return the paths of the granules that are not new."""
    tasks = list(_plan(params))
    write = partial(_write_synthetic_granule, params=params, folder=folder)
    made = ordered_map(write, tasks)
    files, candidates = [], []
    shown = progress(made, "synthetic granules", total=len(tasks), unit="granules")
    for task, (path, labels) in zip(tasks, shown, strict=True):
        if not task.is_new:
            files.append(path)
            candidates += labels
    _write_labels(candidates, params, folder / "synthetic_labels.csv")
    return files


def _plan(params: SyntheticParams) -> Iterator[_Task]:
    """Granules to make, those of new days last."""
    index = itertools.count()
    for day in range(params.n_days + params.n_new_days):
        date_of = params.first_day + timedelta(params.days_apart * day)
        for hour, sector in itertools.product(params.hours_utc, params.sectors):
            start = datetime.combine(date_of, time(hour))
            yield _Task(next(index), start, sector, is_new=day >= params.n_days)


def _write_synthetic_granule(
    task: _Task, *, params: SyntheticParams, folder: Path
) -> tuple[Path, list[tuple[str, int, int, str]]]:
    """Write a granule and its truth; return its path and the tiles of one morphology."""
    latitude, longitude = task.sector
    grid = mcmip.sector_grid(latitude=latitude, longitude=longitude, n_pixels=params.n_pixels)
    sun, _ = solar_angles(np.datetime64(task.start_time), grid.latitude, grid.longitude)
    rng = np.random.default_rng([params.seed, task.index])
    distance = sun_distance(np.datetime64(task.start_time))
    scene = synthesise_scene(
        grid.latitude,
        grid.longitude,
        sun,
        sun_distance=distance,
        with_unseen=task.is_new,
        rng=rng,
    )
    sector = f"M{1 + params.sectors.index(task.sector) % 2}"
    path = mcmip.write_mcmip(
        folder / ("synthetic_new" if task.is_new else "synthetic"),
        grid=grid,
        bands=scene.bands,
        start_time=task.start_time + timedelta(minutes=params.sectors.index(task.sector) // 2),
        sector=sector,
    )
    names = (*MORPHOLOGIES, UNSEEN) if task.is_new else MORPHOLOGIES
    truth = xr.Dataset(
        {
            "morphology": (
                ("row", "column"),
                scene.morphology,
                {
                    "long_name": "true morphology, for judging only",
                    "flag_values": np.array([*range(len(names)), OFF_EARTH], np.uint8),
                    "flag_meanings": " ".join([*names, "off_earth"]),
                },
            )
        },
        attrs={"title": "True morphology of a synthetic granule"},
    )
    stores.write_product(truth, folder / "truth" / path.name, params)
    if task.is_new or np.nanmax(sun) > params.label_max_solar_zenith:
        return path, []
    size = params.label_tile_size
    places, codes = pure_tiles(
        scene.morphology, tile_size=size, stride=size, min_share=params.label_min_share
    )
    return path, [
        (path.name, int(row), int(column), MORPHOLOGIES[code])
        for (row, column), code in zip(places, codes, strict=True)
        if code != OFF_EARTH
    ]


def _write_labels(
    candidates: list[tuple[str, int, int, str]], params: SyntheticParams, path: Path
) -> None:
    """A few hundred tiles of known morphology, as a person might have labelled them."""
    rng = np.random.default_rng([params.seed, len(candidates)])
    shuffled = [candidates[index] for index in rng.permutation(len(candidates))]
    chosen = [
        candidate
        for name in MORPHOLOGIES
        for candidate in [tile for tile in shuffled if tile[3] == name][
            : params.n_labels_per_morphology
        ]
    ]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["granule", "row", "column", "tile_size", "label"])
        for name, row, column, label in sorted(chosen):
            writer.writerow([name, row, column, params.label_tile_size, label])


if __name__ == "__main__":
    stage.start(run, FetchParams)
