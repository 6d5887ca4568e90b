"""Pairs of radiances and geolocation: from search results of NASA's archive to files."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

FILE_NAME = re.compile(
    r"(?P<product>[A-Z0-9]+)\.A(?P<start>\d{7}\.\d{4})\.\d{3}\.(?P<made>\d{13})(\.NRT)?\.(hdf|nc)"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EarthdataFile:
    """A file as a search result describes it; start in UTC, `made` when it was processed."""

    name: str
    link: str
    start: datetime
    made: str
    by_day: bool
    size: int | None  # byte
    estimate: int  # byte, where the size is not known
    md5: str | None


def describe_results(results: Iterable[Any], product: str) -> list[EarthdataFile]:
    """Files of `product` by their start, of each granule the newest processing.

    A result whose link does not end in a name of the product is logged and left out.

    Args:
        results: As of `earthaccess.search_data`.
        product: Short name.
    """
    newest: dict[datetime, EarthdataFile] = {}
    for result in results:
        link = next(iter(result.data_links()), "")
        match = FILE_NAME.fullmatch(link.rpartition("/")[2])
        if not match or match["product"] != product:
            log.warning("%r is left out, it is not named as a file of %s", link, product)
            continue
        file = _describe(result, link, match)
        if file.start not in newest or newest[file.start].made < file.made:
            newest[file.start] = file
    return [newest[start] for start in sorted(newest)]


def pair_by_time(
    radiances: Iterable[EarthdataFile], places: Iterable[EarthdataFile], *, day_only: bool
) -> list[tuple[EarthdataFile, EarthdataFile]]:
    """Radiances with their geolocation; one without the other is logged by name and left out.

    Args:
        radiances: By their start.
        places: Geolocation of the same platform.
        day_only: No radiances belong to geolocation with a part at night.
    """
    lonely = {file.start: file for file in places}
    pairs = []
    for file in radiances:
        if place := lonely.pop(file.start, None):
            pairs.append((file, place))
        else:
            log.warning("%s is left out, it has no geolocation", file.name)
    for place in lonely.values():
        if place.by_day or not day_only:
            log.warning("%s is left out, it has no radiances", place.name)
    return pairs


def _describe(result: Any, link: str, match: re.Match[str]) -> EarthdataFile:
    content = result["umm"].get("DataGranule", {})
    entries = content.get("ArchiveAndDistributionInformation", [])
    # Records from before names were kept say "Not provided"; they hold one file.
    own = [entry for entry in entries if entry.get("Name") in (match[0], "Not provided")]
    entry = own[0] if own else {}
    checksum = entry.get("Checksum", {})
    return EarthdataFile(
        name=match[0],
        link=link,
        start=datetime.strptime(match["start"], "%Y%j.%H%M"),
        made=match["made"],
        by_day=content.get("DayNightFlag", "").casefold() == "day",
        size=entry.get("SizeInBytes"),
        estimate=entry.get("SizeInBytes") or round(result.size() * 2**20),  # size() is in MiB
        md5=checksum["Value"].lower() if checksum.get("Algorithm") == "MD5" else None,
    )
