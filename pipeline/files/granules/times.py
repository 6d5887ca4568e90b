"""Times of plain netCDF files, whatever their calendar."""

from collections.abc import Hashable, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import zip_longest
from typing import Any

import numpy as np
import xarray as xr

from pipeline.files.base.places import rows_and_columns
from pipeline.files.base.time_choice import SeveralTimesError, choose_time, is_time
from pipeline.files.granules.granule import UnusableGranuleError
from pipeline.files.granules.groups import groups_around

LONGEST_SCAN = timedelta(hours=1)
COVERAGE = ("time_coverage_start", "time_coverage_end")
START = "start_time"
YEARS = range(1678, 2262)  # those that nanoseconds since 1970 reach

Variables = Mapping[str, xr.Variable | xr.DataArray]


def find_time(file: xr.Dataset, bands: Variables) -> str | None:
    """Name of the variable that tells the times of `bands`, as of `choose_time`.

    It is looked for at the root, then in the groups of the bands, then in those around them; in any
    other only where no attribute tells a start.

    Args:
        file: Variables of all groups by path.
        bands: By path.

    Raises:
        UnusableGranuleError: If nothing tells which of two variables is the time.
    """
    try:
        for groups in (("",), *zip_longest(*map(groups_around, bands), fillvalue="")):
            among = {name for name in file.variables if str(name).rpartition("/")[0] in groups}
            if name := choose_time(file.variables, among):
                return name
        is_told = COVERAGE[0] in file.attrs or any(
            START in each.attrs for each in (file, *bands.values())
        )
        return None if is_told else choose_time(file.variables)
    except SeveralTimesError as error:
        raise UnusableGranuleError("unreadable", str(error)) from error


def time_axis(file: xr.Dataset, name: str | None, bands: Variables) -> str | None:
    """The dimension along which the variable of `find_time` has its times.

    Raises:
        UnusableGranuleError: If bands lie along another dimension of several times, too.
    """
    if name is None or not file[name].ndim:
        return None
    axis = str(file[name].dims[0])
    dimensions = {each for band in bands.values() for each in band.dims}
    others = [
        str(each)
        for each in sorted(dimensions - {axis} - rows_and_columns(file.variables), key=str)
        if each in file.variables and file.sizes[each] > 1 and is_time(file.variables[each])
    ]
    if others:
        detail = f"{' and '.join([axis, *others])} are axes of several times each; keep one of them"
        raise UnusableGranuleError("unreadable", detail)
    return axis


def times_at(
    file: xr.Dataset, name: str | None, bands: Variables
) -> list[datetime | UnusableGranuleError]:
    """Times in UTC: those of the variable of `find_time`, else what attributes tell of the start.

    These are time_coverage_start of the file, else start_time, of the file and of the bands.

    A day of another calendar is the day of the same name. In the place of a time that is missing,
    or no day of any year that products can hold, stands what is wrong with it.

    Raises:
        UnusableGranuleError: If the one time lies more than an hour outside of the coverage, or if
            two attributes differ by more.
    """
    if name is None:
        _refuse_date(f"attribute {COVERAGE[0]}", file.attrs.get(COVERAGE[0]))
        return [*(_coverage(file.attrs)[:1] or _starts(file, bands))]
    times = [_as_datetime(time) for time in np.atleast_1d(file[name].values)]
    first = times[0] if len(times) == 1 else None
    try:
        coverage = _coverage(file.attrs)
    except UnusableGranuleError:  # words that tell no time deny none
        coverage = []
    if coverage and isinstance(first, datetime) and not _covers(coverage, first):
        detail = (
            f"its {name} is {first}, but its attribute time_coverage_start {coverage[0]}; "
            "correct one of them"
        )
        raise UnusableGranuleError("other time", detail)
    return times


def _coverage(attributes: Mapping[Hashable, Any]) -> list[datetime]:
    """Start and, if stated, end of the coverage in UTC; a date stands for its whole day."""
    if COVERAGE[0] not in attributes:
        return []
    stated = [name for name in COVERAGE if name in attributes]
    coverage = [_in_utc(f"attribute {name}", attributes[name]) for name in stated]
    if is_date(attributes[stated[-1]]):
        coverage.append(coverage[-1] + timedelta(days=1))
    return coverage


def _starts(file: xr.Dataset, bands: Variables) -> list[datetime]:
    """The first start that an attribute tells, in the words of satpy's writers."""
    holders = {"file": file.attrs, **{name: each.attrs for name, each in bands.items()}}
    stated = {holder: each[START] for holder, each in holders.items() if START in each}
    name = f"attribute {START}"
    for text in stated.values():
        _refuse_date(name, text)
    starts = sorted((_in_utc(name, text), holder) for holder, text in stated.items())
    if starts and starts[-1][0] - starts[0][0] > LONGEST_SCAN:
        (first, holder), (last, other) = starts[0], starts[-1]
        detail = (
            f"the attribute {START} of its {holder} is {first}, of its {other} {last}; correct one "
            "of them"
        )
        raise UnusableGranuleError("other time", detail)
    return [time for time, _ in starts[:1]]


def parse_time(name: str, text: Any, form: str | None = None) -> datetime:
    """The time that `text` tells, of the form of `strptime` or ISO 8601, in its own time zone.

    Raises:
        UnusableGranuleError: If it tells none; `name` stands for it in the sentence.
    """
    try:
        return (
            datetime.strptime(text.strip(), form) if form else datetime.fromisoformat(text.strip())
        )
    except (AttributeError, ValueError) as error:
        wanted = datetime(2020, 6, 1, 12).strftime(form or "%Y-%m-%dT%H:%M:%SZ")
        detail = f"its {name} {text!r} is no time such as {wanted}; correct it"
        raise UnusableGranuleError("unreadable", detail) from error


def is_date(text: Any) -> bool:
    """Whether it is a date without a time of day.

    >>> is_date("2020-06-01"), is_date("2020-W23-1"), is_date("2020-06-01T00:00")
    (True, True, False)
    """
    try:
        date.fromisoformat(str(text).strip())
    except ValueError:
        return False
    return True


def _refuse_date(name: str, text: Any) -> None:
    if is_date(text):
        detail = f"its {name} {text} has no time of day; add it"
        raise UnusableGranuleError("unreadable", detail)


def _in_utc(name: str, text: Any) -> datetime:
    time = parse_time(name, str(text))
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _covers(coverage: list[datetime], time: datetime) -> bool:
    return coverage[0] - LONGEST_SCAN <= time <= coverage[-1] + LONGEST_SCAN


def _as_datetime(time: Any) -> datetime | UnusableGranuleError:
    if isinstance(time, np.datetime64):
        time = time.astype("datetime64[us]").item()
    if time is None:
        return UnusableGranuleError("unreadable", "its time is missing")
    if time.year not in YEARS:
        detail = f"its time {time} is not in the years {YEARS[0]} to {YEARS[-1]}"
        return UnusableGranuleError("unreadable", detail)
    try:
        clock = time.hour, time.minute, time.second, time.microsecond
        return datetime(time.year, time.month, time.day, *clock)
    except ValueError:
        detail = f"its time {time} is no day outside of its calendar {time.calendar}"
        return UnusableGranuleError("unreadable", detail)
