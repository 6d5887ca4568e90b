"""Granules of GOES-16 to GOES-19 from NOAA's open buckets.

Layout: bucket noaa-goes19, key product/year/day of year/hour/file; see
https://registry.opendata.aws/noaa-goes.
"""

import logging
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from obstore.store import S3Store

from pipeline.files.archives.bucket import MissingBucketError, RemoteFile, open_bucket
from pipeline.files.archives.scans import choose_scans, find_scans
from pipeline.files.archives.times import naive_utc
from pipeline.files.archives.transfer import fetch_files, list_files

log = logging.getLogger(__name__)


def fetch_goes(
    folder: Path,
    *,
    endpoint: str,
    satellite: int,
    product: str,
    bands: Sequence[str],
    sectors: Sequence[str],
    start: datetime,
    end: datetime,
    days: Sequence[date],
    cadence_minutes: float,
    n_parallel: int,
) -> list[Path]:
    """Files of the wanted scans, in `folder`/goes<satellite> under their keys, by time.

    Args:
        folder: Keeps what was fetched before; finished files are not fetched again.
        endpoint: URL of an S3 server; AWS itself where it is empty.
        satellite: 16 to 19.
        product: ABI-L2-MCMIP or ABI-L1b-Rad with F, C or M at its end.
        bands: Of radiances: "C01" to "C16".
        sectors: Of mesoscale products: "M1", "M2".
        start: First start of a scan; UTC where it has no zone.
        end: No scan starts then or later.
        days: The only days, unless empty.
        cadence_minutes: The first complete scan of each sector is taken in each interval of this
            length from `start` on; 0 takes all scans.
        n_parallel: Requests at a time.

    Raises:
        ValueError: If nothing is found, a key leads out of the folder, or the disk is too small.
        ConnectionError: If the archive does not answer after many attempts.
    """
    start, end = naive_utc(start), naive_utc(end)
    wanted_bands = bands if product.startswith("ABI-L1b") else [""]
    wanted_sectors = sectors if product.endswith("M") else [product[-1]]
    _check_choice(endpoint, wanted_bands, wanted_sectors)
    bucket = f"noaa-goes{satellite}"
    store = open_bucket(bucket, endpoint)
    prefixes = [f"{product}/{hour:%Y/%j/%H}" for hour in _hours(start, end, days)]
    log.info("listing %d hours of %s in %s", len(prefixes), product, bucket)
    files = _list(store, prefixes, bucket, n_parallel)
    scans = choose_scans(
        find_scans(files, sectors=wanted_sectors, bands=wanted_bands),
        bands=wanted_bands,
        start=start,
        end=end,
        days=days,
        cadence=timedelta(minutes=cadence_minutes),
    )
    if not scans:
        raise ValueError(
            f"none of {len(files)} files of {product} in {bucket} belongs to a complete scan from "
            f"{start} to {end}; change fetch.goes.sectors, fetch.goes.bands, fetch.goes.start or "
            "fetch.goes.end"
        )
    log.info("%d scans of %d files are wanted", len(scans), len(scans) * len(wanted_bands))
    wanted = [file for scan in scans for _, file in sorted(scan.files.items())]
    return fetch_files(store, wanted, folder / f"goes{satellite}", n_parallel=n_parallel)


def _check_choice(endpoint: str, bands: Sequence[str], sectors: Sequence[str]) -> None:
    url = urlsplit(endpoint)
    if endpoint and not (url.scheme in ("http", "https") and url.hostname):
        raise ValueError(f"{endpoint!r} is no URL of an S3 server; change fetch.goes.endpoint")
    if not bands:
        raise ValueError("radiances need at least one band; change fetch.goes.bands")
    if not sectors:
        raise ValueError("mesoscale products need a sector; change fetch.goes.sectors")


def _hours(start: datetime, end: datetime, days: Collection[date]) -> list[datetime]:
    """Every hour that has a part from `start` to `end`, on one of `days` where there are any."""
    if start >= end:
        raise ValueError(f"{start} is not before {end}; change fetch.goes.start or fetch.goes.end")
    first = start.replace(minute=0, second=0, microsecond=0)
    hours = [first + timedelta(hours=n) for n in range(-((first - end) // timedelta(hours=1)))]
    wanted = [hour for hour in hours if not days or hour.date() in days]
    if not wanted:
        raise ValueError(f"no day of fetch.goes.days lies from {start} to {end}; change them")
    return wanted


def _list(
    store: S3Store, prefixes: Sequence[str], bucket: str, n_parallel: int
) -> list[RemoteFile]:
    try:
        files = list_files(store, prefixes, n_parallel=n_parallel)
    except MissingBucketError as error:
        raise ValueError(
            f"there is no bucket {bucket}; change fetch.goes.satellite or fetch.goes.endpoint"
        ) from error
    if not files:
        raise ValueError(
            f"{bucket} has nothing from {prefixes[0]} to {prefixes[-1]}; change "
            "fetch.goes.satellite, fetch.goes.product, fetch.goes.start or fetch.goes.end"
        )
    return files
