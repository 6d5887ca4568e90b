import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files.land import land_mask

PLACES = {
    "Sahara": (23.0, 10.0, True),
    "Iceland": (65.0, -18.5, True),
    "Antarctic plateau": (-80.0, 60.0, True),
    "Greenland ice sheet": (72.0, -40.0, True),
    "Canterbury Plains": (-43.9, 171.8, True),
    "Viti Levu": (-17.8, 178.0, True),
    "Taveuni, across the date line from Fiji": (-16.85, -179.97, True),
    "Chukotka, beyond the date line": (67.5, -178.0, True),
    "South Pole": (-90.0, 0.0, True),
    "North Pole": (90.0, 0.0, False),
    "mid-Pacific": (0.0, -150.0, False),
    "Tasman Sea": (-40.0, 160.0, False),
    "sea east of Fiji": (-18.0, -179.5, False),
    "Caspian Sea": (42.0, 50.5, False),
    "Lake Superior": (47.7, -87.5, False),
    "Lake Victoria": (-1.0, 33.0, False),
    "Mediterranean": (34.0, 18.0, False),
}


@pytest.mark.parametrize("name", PLACES)
def test_known_places(name: str) -> None:
    latitude, longitude, expected = PLACES[name]
    found = land_mask(np.array([latitude]), np.array([longitude]))
    np.testing.assert_array_equal(found, [expected])


@given(st.floats(-90, 90), st.integers(-4320, 4319), st.integers(-3, 3))
def test_any_turn_of_the_circle(latitude: float, cell: int, turns: int) -> None:
    longitude = (cell + 0.5) / 24
    here = land_mask(np.array(latitude), np.array(longitude))
    assert land_mask(np.array(latitude), np.array(longitude + 360 * turns)) == here


def test_the_date_line_is_one_meridian() -> None:
    latitude = np.linspace(-90, 90, 2000)
    east = land_mask(latitude, np.full(2000, 180.0))
    np.testing.assert_array_equal(east, land_mask(latitude, np.full(2000, -180.0)))
    assert east.any()
    assert not east.all()


def test_shape_kept_and_missing_places_not_on_land() -> None:
    latitude = np.array([[23, np.nan, 23], [np.inf, 0, 65]], np.float32)
    longitude = np.array([[10, 10, np.nan], [10, -150, -18.5]], np.float32)
    found = land_mask(latitude, longitude)
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, [[True, False, False], [False, False, True]])


def test_share_of_the_globe() -> None:
    rng = np.random.default_rng(1)
    latitude = np.degrees(np.arcsin(rng.uniform(-1, 1, 200_000)))
    share = land_mask(latitude, rng.uniform(-180, 180, 200_000)).mean()
    assert share == pytest.approx(0.291, abs=0.006)  # 149 of 510 million km², less lakes
