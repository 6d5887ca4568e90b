"""What a granule is, and what its readers hand on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
Bands = Mapping[str, Sequence[str]]

PLAIN_READERS = ("geotiff", "netcdf")  # which are no reader of satpy
NETCDF_SUFFIXES = {".nc", ".nc4"}  # in lower case
UNFINISHED = "unfinished"  # in the place of a reader, of a download that did not end


@dataclass(frozen=True)
class Granule:
    """One observation of one area: the files that hold it, and what their names or tags say.

    Attributes:
        name: No other has it in the same folder.
        files: All of them.
        reader: As of `read_granule`.
        platform: Name of the satellite.
        start_time: UTC, None where nothing tells it.
        step: Its place on the time axis of a file that holds several.
        scan: What its versions, processed at different times, have in common; None of no version.
        created: When it was processed, where its name tells it.
    """

    name: str
    files: tuple[Path, ...]
    reader: str
    platform: str
    start_time: datetime | None
    step: int = 0
    scan: tuple[Any, ...] | None = None
    created: datetime | None = None


class UnusableGranuleError(Exception):
    """A granule that cannot be read: `reason` is a kind of fault, the message its detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Reading:
    """What a reader found: bands by wanted name, shape (row, column), with what describes them.

    Attributes:
        values: NaN where nothing was measured.
        attributes: Of each band: `units`, and where known the instrument's name for it, `band`,
            and its `wavelength` in µm.
        latitude: Degrees north; not finite off the Earth.
        longitude: Degrees east.
        time: Start, UTC.
        platform: Name of the satellite.
        angles: Those which the files hold, by their names in a granule.
        satellite: Longitude, latitude (degrees) and height (m) of one that stands still.
        row_times: When each row was scanned, UTC, shape (row,), where it is known.
    """

    values: Mapping[str, FloatArray]
    attributes: Mapping[str, Mapping[str, Any]]
    latitude: FloatArray
    longitude: FloatArray
    time: datetime
    platform: str
    angles: Mapping[str, FloatArray] = field(default_factory=dict)
    satellite: Mapping[str, float] = field(default_factory=dict)
    row_times: NDArray[np.datetime64] | None = None


def choose_bands(bands: Bands, available: Iterable[str]) -> dict[str, str]:
    """For each wanted name the first of its bands that is available.

    >>> choose_bands({"window": ["C14", "C13"], "blue": ["C01"]}, ["C02", "C13"])
    {'window': 'C13'}
    """
    present = set(available)
    found = {wanted: [name for name in names if name in present] for wanted, names in bands.items()}
    return {wanted: names[0] for wanted, names in found.items() if names}


def refuse_without(chosen: Mapping[str, str], bands: Bands, *, key: str = "ingest.bands") -> None:
    """Raise `UnusableGranuleError` if no band was chosen of those that `key` of params names."""
    if not chosen:
        detail = f"it has no band for {', '.join(bands)}; {key} names those that are known"
        raise UnusableGranuleError("lacks a band", detail)
