"""Periods that tiles are counted in: months, seasons, hours of local solar time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]
TimeArray = NDArray[np.datetime64]

SEASONS = ("DJF", "MAM", "JJA", "SON")


@dataclass(frozen=True)
class Periods:
    """The period of each tile, from 0, shape (tile,), and the edges of each, (period, 2)."""

    number: IntArray
    edges: NDArray[np.datetime64] | FloatArray


def whole_record(times: TimeArray) -> Periods:
    """One period from the first day to the last."""
    days = times.astype("datetime64[D]")
    edges = np.array([[days.min(), days.max() + 1]])
    return Periods(np.zeros(len(times), np.int64), edges.astype("datetime64[ns]"))


def months(times: TimeArray) -> Periods:
    """The months (UTC) that hold tiles, in order.

    >>> months(np.array(["2020-03-05", "2019-12-31"], "M8[ns]")).edges.astype("M8[D]").tolist()[0]
    [datetime.date(2019, 12, 1), datetime.date(2020, 1, 1)]
    """
    return _number(times.astype("datetime64[M]"), n_months=1)


def seasons(times: TimeArray) -> Periods:
    """The seasons (UTC) that hold tiles, in order; a winter starts in December.

    >>> seasons(np.array(["2020-02-05", "2019-12-31", "2020-03-01"], "M8[ns]")).number.tolist()
    [0, 0, 1]
    """
    month = times.astype("datetime64[M]")
    since_start = ((month.astype(np.int64) + 1) % 3).astype("timedelta64[M]")
    return _number(month - since_start, n_months=3)


def _number(starts: TimeArray, *, n_months: int) -> Periods:
    distinct, number = np.unique(starts, return_inverse=True)
    edges = np.stack([distinct, distinct + n_months], axis=1)
    return Periods(number, edges.astype("datetime64[ns]"))


def months_of_year(times: TimeArray) -> Periods:
    """The calendar months that hold tiles, whatever the year, in the order they first come.

    Edges are those of a CF climatology: from a month's start in its first year to its end in its
    last.

    >>> times = np.array(["2021-01-05", "2020-02-03", "2022-01-31"], "M8[ns]")
    >>> months_of_year(times).edges.astype("M8[M]").tolist()[1]
    [datetime.date(2021, 1, 1), datetime.date(2022, 2, 1)]
    """
    month = times.astype("datetime64[M]")
    of_year = month.astype(np.int64) % 12
    first = {int(each.astype(np.int64)) % 12: each for each in np.unique(month)[::-1]}
    in_order = sorted(first, key=lambda each: first[each])
    edges = [(first[each], month[of_year == each].max() + 1) for each in in_order]
    place = np.zeros(12, np.int64)
    place[in_order] = np.arange(len(in_order))
    return Periods(place[of_year], np.array(edges).astype("datetime64[ns]"))


def hours_of_day(local_solar_time: FloatArray, *, bin_hours: float, key: str) -> Periods:
    """Bins of local solar time (hours) round the clock, also those without tiles.

    Args:
        local_solar_time: Shape (tile,).
        bin_hours: Width of a bin.
        key: Of params.yaml that `bin_hours` comes from.

    Raises:
        ValueError: If bins do not divide the day, or a tile has no local solar time.

    >>> hours_of_day(np.array([0.5, 23.0, 24.0]), bin_hours=6.0, key="").number.tolist()
    [0, 3, 0]
    """
    n_bins = round(24 / bin_hours)
    if n_bins < 1 or not np.isclose(n_bins * bin_hours, 24, rtol=1e-9):
        raise ValueError(
            f"{key} is {bin_hours:g}, which does not divide 24; set it to {24 / max(n_bins, 1):g}"
        )
    unknown = ~np.isfinite(local_solar_time)
    if unknown.any():
        raise ValueError(
            f"{unknown.sum()} of {len(unknown)} tiles have no local solar time; run dvc repro embed"
        )
    edges = np.linspace(0, 24, n_bins + 1)
    hour = local_solar_time.astype(np.float64) % 24
    number = np.minimum(np.searchsorted(edges, hour, side="right") - 1, n_bins - 1)
    return Periods(number, np.stack([edges[:-1], edges[1:]], axis=1))


def season_name(start: np.datetime64) -> str:
    """Name of the season that starts then, such as "DJF 2019/20".

    >>> season_name(np.datetime64("2019-12-01")), season_name(np.datetime64("2020-03-01"))
    ('DJF 2019/20', 'MAM 2020')
    """
    month = start.astype("datetime64[M]")
    year = int(month.astype("datetime64[Y]").astype(int)) + 1970
    name = SEASONS[(int(month.astype(int)) + 1) % 12 // 3]
    return f"{name} {year}/{(year + 1) % 100:02d}" if name == "DJF" else f"{name} {year}"
