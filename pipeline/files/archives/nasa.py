"""Granules of MODIS and VIIRS from NASA's Earthdata, each with its geolocation."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from threading import Event

from tqdm import tqdm

from pipeline.files.archives import earthdata
from pipeline.files.archives.attempts import TransientError, retrying
from pipeline.files.archives.byte_bar import byte_bar
from pipeline.files.archives.pairs import EarthdataFile, describe_results, pair_by_time
from pipeline.files.archives.targets import is_whole, local_path, refuse_full_disk
from pipeline.files.archives.times import naive_utc

GEOLOCATION = {
    "MOD021KM": "MOD03",
    "MYD021KM": "MYD03",
    "VNP02MOD": "VNP03MOD",
    "VJ102MOD": "VJ103MOD",
    "VJ202MOD": "VJ203MOD",
}

log = logging.getLogger(__name__)


def fetch_nasa(
    folder: Path,
    *,
    product: str,
    start: datetime,
    end: datetime,
    box: tuple[float, float, float, float],
    day_only: bool,
    count: int,
    n_parallel: int,
) -> list[Path]:
    """Files of radiances and of their geolocation in `folder`/<product>, pair by pair in time.

    Args:
        folder: Keeps what was fetched before; finished files are not fetched again.
        product: Radiances, one of `GEOLOCATION`.
        start: First start of a granule; UTC where it has no zone.
        end: No granule starts then or later.
        box: West, south, east, north in degrees; granules touch it.
        day_only: Leave out granules with a part at night.
        count: At most so many pairs, the first ones; 0 takes all.
        n_parallel: Downloads at a time.

    Raises:
        ValueError: If no account is known, no pair is found, or the disk is too small.
        ConnectionError: If Earthdata refuses the account or does not answer.
    """
    start, end = naive_utc(start), naive_utc(end)
    _check_range(start, end, box)
    earthdata.log_in()
    area = {"temporal": (start, end), "bounding_box": box}
    flag = {"day_night_flag": "day"} if day_only else {}
    # Places without the flag: one that differs between the two must not part a pair.
    radiances, places = (
        [
            file
            for file in describe_results(earthdata.search(name, **area, **more), name)
            if start <= file.start < end
        ]
        for name, more in ((product, flag), (GEOLOCATION[product], {}))
    )
    pairs = pair_by_time(radiances, places, day_only=day_only)
    if not pairs:
        raise ValueError(
            f"no pair of {product} and {GEOLOCATION[product]} is there from {start} to {end} "
            f"({len(radiances)} and {len(places)} lack the other); change fetch.nasa.product, "
            "fetch.nasa.start, fetch.nasa.end or fetch.nasa.box"
        )
    chosen = pairs[: count or None]
    log.info("%d pairs of %s are wanted of %d", len(chosen), product, len(pairs))
    return _fetch([file for pair in chosen for file in pair], folder, n_parallel)


def _check_range(start: datetime, end: datetime, box: tuple[float, float, float, float]) -> None:
    if start >= end:
        raise ValueError(f"{start} is not before {end}; change fetch.nasa.start or fetch.nasa.end")
    west, south, east, north = box
    if not (min(west, east) >= -180 and max(west, east) <= 180 and -90 <= south < north <= 90):
        raise ValueError(
            f"{box} is no box of west, south, east and north in degrees; change fetch.nasa.box"
        )


def _fetch(files: Sequence[EarthdataFile], folder: Path, n_parallel: int) -> list[Path]:
    """Paths of `files`; a file has its final name only when it is whole."""
    paths = {file: local_path(folder, f"{file.name.split('.')[0]}/{file.name}") for file in files}
    waiting = [file for file, path in paths.items() if not _is_whole(path, file)]
    n_bytes = sum(file.estimate for file in waiting)
    folder.mkdir(parents=True, exist_ok=True)
    refuse_full_disk(folder, n_bytes)
    size = tqdm.format_sizeof(n_bytes, "B")
    log.info("%d files to fetch, %s; %d are there", len(waiting), size, len(paths) - len(waiting))
    if unsized := [file.name for file in waiting if file.size is None]:
        log.warning("%d files have no listed size to check, as %s", len(unsized), unsized[0])
    hidden = folder / ".partial"
    with byte_bar("fetched", n_bytes) as count:
        for first in range(0, len(waiting), 4 * n_parallel):
            batch = {file: paths[file] for file in waiting[first : first + 4 * n_parallel]}
            try:
                retrying(Event())(_attempt, batch, hidden, n_parallel)
            except TransientError as error:
                raise ConnectionError(
                    f"cannot fetch {error}; run the stage again later, finished files are kept"
                ) from error
            count(sum(file.estimate for file in batch))
    shutil.rmtree(hidden, ignore_errors=True)
    return list(paths.values())


def _attempt(paths: Mapping[EarthdataFile, Path], hidden: Path, n_parallel: int) -> None:
    """Bring what is missing of a batch into a hidden folder, and from there what is whole."""
    _take_whole(paths, hidden)  # what an interrupted run left there
    shutil.rmtree(hidden, ignore_errors=True)  # a cut file would pass there for a finished one
    missing = {file: path for file, path in paths.items() if not _is_whole(path, file)}
    if not missing:
        return
    fault = None
    try:
        earthdata.download([file.link for file in missing], hidden, n_parallel)
    except TransientError as error:
        fault = error
    for file in _take_whole(missing, hidden, trusted=fault is None):
        fault = fault or TransientError(f"{file.name}: it came with another size or checksum")
    if fault:
        raise fault


def _take_whole(
    paths: Mapping[EarthdataFile, Path], hidden: Path, *, trusted: bool = False
) -> list[EarthdataFile]:
    """Give whole files of the hidden folder their names; return those that are not there whole.

    One without a listed size is whole only where the download is `trusted`.
    """
    rest = []
    for file, path in paths.items():
        if (trusted or file.size is not None) and _is_whole(hidden / file.name, file):
            path.parent.mkdir(exist_ok=True)
            (hidden / file.name).replace(path)
        else:
            rest.append(file)
    return rest


def _is_whole(path: Path, file: EarthdataFile) -> bool:
    return is_whole(path, size=file.size, md5=file.md5)
