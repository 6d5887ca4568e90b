"""Times of plain netCDF files, whatever their calendar."""

from collections.abc import Container, Hashable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import xarray as xr

from pipeline.files.base.time_choice import SeveralTimesError, choose_time, is_time
from pipeline.files.granules.granule import UnusableGranuleError

LONGEST_SCAN = timedelta(hours=1)
COVERAGE = ("time_coverage_start", "time_coverage_end")
START = "start_time"
YEARS = range(1678, 2262)  # those that nanoseconds since 1970 reach


def in_scope(file: xr.Dataset, bands: Sequence[str] = ()) -> xr.Dataset:
    """The part of `file` in which its times are told: its root, else the groups of `bands`.

    To these belong the groups around theirs. Where neither has a time, it is the whole file, but
    for one whose attributes tell the time.

    Raises:
        UnusableGranuleError: If nothing tells which of two variables is the time.
    """
    around = {group for band in bands for group in groups_around(band)}
    for groups in ({""}, around):
        names = [name for name in file.variables if str(name).rpartition("/")[0] in groups]
        if _time_name(part := file[names]) is not None:
            return part
    return part if COVERAGE[0] in file.attrs else file


def groups_around(name: str) -> Iterator[str]:
    """Paths of the groups that a variable is in, the innermost first, the root last.

    >>> list(groups_around("a/b/time"))
    ['a/b', 'a', '']
    """
    while name:
        name = name.rpartition("/")[0]
        yield name


def time_axis(scope: xr.Dataset, dimensions: Container[Hashable]) -> str | None:
    """The dimension along which the variables of `in_scope` tell times.

    Args:
        scope: As of `in_scope`.
        dimensions: Of the bands.

    Raises:
        UnusableGranuleError: If two of these are of several times each, or nothing tells which of
            two variables is the time.
    """
    name = _time_name(scope)
    axis = None if name is None or not scope[name].ndim else str(scope[name].dims[0])
    others = [
        str(each)
        for each, variable in scope.variables.items()
        if variable.dims == (each,) and each != axis and is_time(variable) and variable.size > 1
        if each in dimensions
    ]
    if axis and others:
        detail = f"{' and '.join([axis, *others])} are axes of several times each; keep one of them"
        raise UnusableGranuleError("unreadable", detail)
    return axis


def find_times(
    scope: xr.Dataset, bands: Mapping[str, xr.Variable | xr.DataArray]
) -> list[datetime | UnusableGranuleError]:
    """Times in UTC: those of `choose_time`, else what attributes tell of the start.

    These are time_coverage_start of the file, else start_time, of the file and of the bands.

    A day of another calendar is the day of the same name. In the place of a time that is missing,
    or no day of any year that products can hold, stands what is wrong with it.

    Args:
        scope: As of `in_scope`, with the attributes of the file.
        bands: By name.

    Raises:
        UnusableGranuleError: If nothing tells which variable is the time, if the one time lies more
            than an hour outside of the coverage, or if two attributes differ by more.
    """
    name = _time_name(scope)
    if name is None:
        return [*(_coverage(scope.attrs)[:1] or _starts(scope, bands))]
    times = [_as_datetime(time) for time in np.atleast_1d(scope[name].values)]
    first = times[0] if len(times) == 1 else None
    try:
        coverage = _coverage(scope.attrs)
    except UnusableGranuleError:  # words that tell no time deny none
        coverage = []
    if coverage and isinstance(first, datetime) and not _covers(coverage, first):
        detail = (
            f"its {name} is {first}, but its attribute time_coverage_start {coverage[0]}; "
            "correct one of them"
        )
        raise UnusableGranuleError("other time", detail)
    return times


def _time_name(file: xr.Dataset) -> str | None:
    try:
        return choose_time(file.variables)
    except SeveralTimesError as error:
        raise UnusableGranuleError("unreadable", str(error)) from error


def _coverage(attributes: Mapping[Hashable, Any]) -> list[datetime]:
    """Start and perhaps end, in UTC, as far as the attributes tell them."""
    if COVERAGE[0] not in attributes:
        return []
    return [_in_utc(name, attributes[name]) for name in COVERAGE if name in attributes]


def _starts(scope: xr.Dataset, bands: Mapping[str, xr.Variable | xr.DataArray]) -> list[datetime]:
    """The first start that an attribute tells, in the words of satpy's writers."""
    holders = {"file": scope.attrs, **{name: each.attrs for name, each in bands.items()}}
    told = sorted(
        (_in_utc(START, attributes[START]), holder)
        for holder, attributes in holders.items()
        if START in attributes
    )
    if told and told[-1][0] - told[0][0] > LONGEST_SCAN:
        (first, holder), (last, other) = told[0], told[-1]
        detail = (
            f"the attribute {START} of its {holder} is {first}, of its {other} {last}; correct one "
            "of them"
        )
        raise UnusableGranuleError("other time", detail)
    return [time for time, _ in told[:1]]


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


def _in_utc(name: str, text: Any) -> datetime:
    time = parse_time(f"attribute {name}", str(text))
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
