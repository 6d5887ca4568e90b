"""Scans of GOES: from the names of an imager's files to those that are wanted."""

import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pipeline.files.archives.bucket import RemoteFile

# The bands of one scan start within a second; scans of a sector are 30 s apart or more.
SCAN_SPREAD = timedelta(seconds=10)
FILE_NAME = re.compile(
    r"OR_ABI-L(?:1b-Rad|2-MCMIP)(?P<sector>[FC]|M[12])-M\d+(?P<band>C\d\d)?"
    r"_G\d\d_s(?P<start>\d{14})_e\d{14}_c(?P<created>\d{14})\.nc"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scan:
    """One look at a sector: its start in UTC and the file of each band, "" for all in one."""

    sector: str
    start: datetime
    files: dict[str, RemoteFile]


def find_scans(
    files: Iterable[RemoteFile], *, sectors: Collection[str], bands: Collection[str]
) -> list[Scan]:
    """Scans of `sectors` by their start, with those of `bands` they have.

    The bands of a scan may start at fractions of a second from each other. Of a file that was
    made twice the newer one counts.
    """
    named = []
    for file in files:
        # Split at both slashes, so that odd keys are refused later instead of overlooked here.
        match = FILE_NAME.fullmatch(re.split(r"[/\\]", file.key)[-1])
        if match and match["sector"] in sectors and (match["band"] or "") in bands:
            start = datetime.strptime(match["start"][:13], "%Y%j%H%M%S")
            start += timedelta(seconds=int(match["start"][13]) / 10)
            named.append((start, match["created"], match["sector"], match["band"] or "", file))
    scans: list[Scan] = []
    latest: dict[str, Scan] = {}
    for start, _, sector, band, file in sorted(named, key=lambda entry: entry[:4]):
        if sector not in latest or start - latest[sector].start > SCAN_SPREAD:
            latest[sector] = Scan(sector, start, {})
            scans.append(latest[sector])
        latest[sector].files[band] = file
    return scans


def choose_scans(
    scans: Iterable[Scan],
    *,
    bands: Collection[str],
    start: datetime,
    end: datetime,
    days: Collection[date],
    cadence: timedelta,
) -> list[Scan]:
    """The first complete scan of each sector in each interval of `cadence` from `start` on.

    A scan that lacks one of `bands` is logged where it would have been taken.

    Args:
        scans: By their start.
        bands: All of them make a scan complete.
        start: First start of a scan, UTC.
        end: No scan starts then or later.
        days: The only ones, unless empty.
        cadence: Length of an interval; zero takes all scans.
    """
    chosen = []
    taken: set[tuple[str, int]] = set()
    for number, scan in enumerate(scans):
        if not start <= scan.start < end or (days and scan.start.date() not in days):
            continue
        interval = (scan.start - start) // cadence if cadence else number
        if (scan.sector, interval) in taken:
            continue
        missing = sorted(set(bands) - set(scan.files))
        if missing:
            name = next(iter(scan.files.values())).key.rpartition("/")[2]
            log.warning("the scan of %s is left out, it lacks %s", name, ", ".join(missing))
            continue
        taken.add((scan.sector, interval))
        chosen.append(scan)
    return chosen
