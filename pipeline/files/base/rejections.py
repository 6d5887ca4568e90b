"""Granules left out, and why."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Rejection:
    """A granule left out: the kind of fault, and its detail."""

    granule: str
    reason: str
    detail: str


def write_rejections(path: Path, rejections: Sequence[Rejection]) -> None:
    """Write a table with one line a granule."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["granule", "reason", "detail"])
        writer.writerows((each.granule, each.reason, each.detail) for each in rejections)


def read_rejections(path: Path) -> list[Rejection]:
    """The lines of such a table."""
    with path.open(newline="") as file:
        return [Rejection(**line) for line in csv.DictReader(file)]


def count_reasons(rejections: Sequence[Rejection]) -> Counter[str]:
    """Number of granules for each reason."""
    return Counter(each.reason for each in rejections)
