"""Months, seasons and hours that tiles are counted in."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.core import periods

TIMES = arrays("i8", st.integers(1, 30), elements=st.integers(-(10**9), 2 * 10**9)).map(
    lambda seconds: seconds.astype("M8[s]").astype("M8[ns]")
)
DIVIDERS = [periods.whole_record, periods.months, periods.seasons]


def day(text: str) -> np.datetime64:
    return np.datetime64(text, "ns")


@pytest.mark.parametrize("divide", DIVIDERS)
@given(times=TIMES)
def test_every_time_lies_within_its_period(
    divide: Callable[[np.ndarray], periods.Periods], times: np.ndarray
) -> None:
    found = divide(times)
    starts, ends = found.edges[found.number].T
    assert (starts <= times).all()
    assert (times < ends).all()
    assert (np.diff(found.edges[:, 0]) > np.timedelta64(0)).all()
    assert np.unique(found.number).tolist() == list(range(len(found.edges)))


def test_seasons_by_hand() -> None:
    times = np.array(
        [day("2020-11-30T23"), day("2020-12-01"), day("2021-02-28"), day("2021-03-01")]
    )
    found = periods.seasons(times)
    assert found.number.tolist() == [0, 1, 1, 2]
    assert found.edges[1].tolist() == [day("2020-12-01").item(), day("2021-03-01").item()]
    names = [periods.season_name(start) for start in found.edges[:, 0]]
    assert names == ["SON 2020", "DJF 2020/21", "MAM 2021"]


def test_calendar_months_join_the_years() -> None:
    times = np.array([day("2019-12-05"), day("2020-01-31"), day("2021-12-31"), day("2020-02-01")])
    found = periods.months_of_year(times)
    assert found.number.tolist() == [0, 1, 0, 2]
    assert found.edges[0].tolist() == [day("2019-12-01").item(), day("2022-01-01").item()]
    assert (np.diff(found.edges[:, 0]) > np.timedelta64(0)).all()


@given(
    arrays(np.float32, 20, elements=st.floats(0, 24, width=32)),
    st.sampled_from([0.5, 1.0, 3.0, 24.0]),
)
def test_every_hour_lies_within_its_bin(hours: np.ndarray, bin_hours: float) -> None:
    found = periods.hours_of_day(hours, bin_hours=bin_hours, key="")
    low, high = found.edges[found.number].T
    assert (low <= hours % 24).all()
    assert (hours % 24 < high).all()
    assert len(found.edges) == 24 / bin_hours


def test_impossible_hours_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"local_time_hours is 5, which does not divide 24; .* 4.8"
    ):
        periods.hours_of_day(np.zeros(3), bin_hours=5.0, key="local_time_hours")
    with pytest.raises(ValueError, match="1 of 2 tiles have no local solar time"):
        periods.hours_of_day(np.array([1.0, np.nan]), bin_hours=3.0, key="")
