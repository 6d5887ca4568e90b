import numpy as np

from pipeline.core.repeats import Repeats, View
from pipeline.core.sphere import lattice


def _view(granule: str, seconds: float, *, west: float = 0.0, platform: str = "GOES-16") -> View:
    latitude, longitude = np.meshgrid(np.linspace(5, -5, 50), np.linspace(0, 10, 50) + west)
    time = np.datetime64("2020-01-01T12:00:00", "ms") + np.timedelta64(round(seconds * 1000), "ms")
    return View(granule, platform, time, lattice(latitude.T, longitude.T, 24))


def test_a_view_is_told_from_a_repeat_and_an_overlap() -> None:
    repeats = Repeats(repeat_seconds=1.0, max_overlap=0.5)
    assert repeats.find(_view("first", 0)) is None
    assert repeats.find(_view("again", 0.5)) == (
        "repeats another",
        "first is of the same platform, time and place",
    )
    reason, detail = repeats.find(_view("soon", 30, west=2.0)) or ("", "")
    assert reason == "overlaps another"
    assert detail.startswith("first covers 0.8")
    assert repeats.find(_view("beside", 31, west=8.0)) is None
    assert repeats.find(_view("other", 0.2, platform="GOES-17")) is None
    assert repeats.find(_view("next minute", 59.9)) is None


def test_a_repeat_across_the_full_minute_is_one() -> None:
    repeats = Repeats(repeat_seconds=1.0, max_overlap=0.5)
    assert repeats.find(_view("first", 59.9)) is None
    assert (repeats.find(_view("again", 60.1)) or [""])[0] == "repeats another"
    assert (repeats.find(_view("soon", 85, west=2.0)) or [""])[0] == "overlaps another"


def test_repeats_are_told_for_as_long_as_is_wanted() -> None:
    repeats = Repeats(repeat_seconds=200.0, max_overlap=1.0)
    assert repeats.find(_view("first", 0)) is None
    assert (repeats.find(_view("later", 199)) or [""])[0] == "repeats another"
    assert repeats.find(_view("latest", 201)) is None


def test_an_overlap_is_kept_where_it_may_be() -> None:
    repeats = Repeats(repeat_seconds=1.0, max_overlap=1.0)
    assert repeats.find(_view("first", 0)) is None
    assert repeats.find(_view("soon", 30, west=0.1)) is None
