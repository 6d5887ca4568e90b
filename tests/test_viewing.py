from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyorbital.orbital import get_observer_look

from pipeline.core.viewing import (
    geostationary_view,
    glint_angle,
    local_solar_time,
    relative_azimuth,
    sun_distance,
)

ZENITHS = st.floats(0, 90)
AZIMUTHS = st.floats(-360, 360)
HEIGHT_M = 35_786_023.0
GEOSTATIONARY_RADIUS_M = 42_164_160.0


def direction(zenith: float, azimuth: float) -> np.ndarray:
    """East, north, up."""
    θ, φ = np.radians([zenith, azimuth])
    return np.array([np.sin(θ) * np.sin(φ), np.sin(θ) * np.cos(φ), np.cos(θ)])


def test_the_sun_is_nearest_in_january() -> None:
    assert sun_distance(np.datetime64("2025-01-04")) == pytest.approx(0.9833, abs=1e-3)
    assert sun_distance(np.datetime64("2025-07-04")) == pytest.approx(1.0167, abs=1e-3)


@given(ZENITHS, AZIMUTHS, ZENITHS, AZIMUTHS)
def test_glint_is_the_angle_to_the_mirrored_sun(a: float, b: float, c: float, d: float) -> None:
    to_sun, to_satellite = direction(a, b), direction(c, d)
    mirrored = to_sun * [-1, -1, 1]
    across = np.linalg.norm(np.cross(mirrored, to_satellite))
    expected = np.degrees(np.arctan2(across, mirrored @ to_satellite))
    found = glint_angle(*map(np.array, (a, b, c, d)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(ZENITHS, AZIMUTHS)
def test_glint_is_0_in_the_mirrored_sun_and_twice_the_zenith_below_the_sun(
    zenith: float, azimuth: float
) -> None:
    sun = np.array(zenith), np.array(azimuth)
    opposite = glint_angle(*sun, np.array(zenith), np.array(azimuth + 180))
    assert opposite == pytest.approx(0, abs=1e-9)
    assert glint_angle(*sun, *sun) == pytest.approx(2 * zenith, abs=1e-5)


@given(AZIMUTHS, AZIMUTHS, st.integers(-2, 2))
def test_relative_azimuth_is_symmetric_and_knows_the_circle(a: float, b: float, n: int) -> None:
    found = relative_azimuth(np.array(a), np.array(b))
    assert 0 <= found <= 180
    assert relative_azimuth(np.array(b), np.array(a)) == pytest.approx(float(found), abs=1e-9)
    turned = relative_azimuth(np.array(a + 360 * n), np.array(b))
    assert turned == pytest.approx(float(found), abs=1e-9)
    assert np.cos(np.radians(found)) == pytest.approx(np.cos(np.radians(a - b)), abs=1e-9)


def test_angles_keep_shape_missing_places_and_single_precision() -> None:
    angles = np.array([[10, np.nan], [50, 90]], np.float32)
    glint = glint_angle(angles, angles, angles, angles)
    assert glint.dtype == np.float32
    np.testing.assert_allclose(glint, [[20, np.nan], [100, 180]], rtol=1e-5)
    np.testing.assert_array_equal(relative_azimuth(angles, angles), [[0, np.nan], [0, 0]])


def test_local_solar_time_by_hand() -> None:
    times = np.array(["2020-02-29T23:30", "2020-03-01T00:00", "NaT"], "M8[ns]")
    np.testing.assert_allclose(
        local_solar_time(times[:, None], np.array([0.0, 15.0, -15.0, 179.999, -179.999, np.nan])),
        [
            [23.5, 0.5, 22.5, 11.5 - 1 / 15000, 11.5 + 1 / 15000, np.nan],
            [0, 1, 23, 12 - 1 / 15000, 12 + 1 / 15000, np.nan],
            [np.nan] * 6,
        ],
        atol=1e-9,
    )


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)), st.floats(-360, 360))
def test_local_solar_time_lies_within_the_day_and_knows_the_circle(
    time: datetime, longitude: float
) -> None:
    found = local_solar_time(np.datetime64(time), np.array(longitude))
    assert 0 <= found < 24
    turned = local_solar_time(np.datetime64(time), np.array(longitude + 360))
    apart = abs(float(turned - found))
    assert min(apart, 24 - apart) < 1e-9


@pytest.mark.parametrize(
    ("satellite_latitude", "satellite_longitude"), [(0.0, -75.2), (0.4, 140.7), (-3.0, 179.9)]
)
def test_view_is_that_of_pyorbital(satellite_latitude: float, satellite_longitude: float) -> None:
    rng = np.random.default_rng(1)
    latitude = np.degrees(np.arcsin(rng.uniform(-1, 1, 20_000)))
    longitude = rng.uniform(-180, 180, 20_000)
    zenith, azimuth = geostationary_view(
        latitude,
        longitude,
        satellite_latitude=satellite_latitude,
        satellite_longitude=satellite_longitude,
        satellite_height_m=HEIGHT_M,
    )
    expected_azimuth, elevation = get_observer_look(
        *map(np.array, (satellite_longitude, satellite_latitude, HEIGHT_M / 1000)),
        datetime(2024, 3, 20, 12),
        longitude,
        latitude,
        np.zeros_like(latitude),
    )
    np.testing.assert_allclose(zenith, 90 - elevation, atol=0.005)
    # Near the nadir and its antipode a small difference in place is a large one in azimuth.
    sharp = np.sin(np.radians(zenith)) > 0.1
    assert sharp.mean() > 0.95
    assert relative_azimuth(azimuth, expected_azimuth)[sharp].max() < 0.02
    assert ((azimuth >= 0) & (azimuth <= 360)).all()


def test_view_by_hand() -> None:
    zenith, azimuth = geostationary_view(
        np.array([0, 0, 0, 10, -10, np.nan, 0, 0]),
        np.array([179, 169, -171, 179, 179, 0, np.nan, -1]),
        satellite_latitude=0,
        satellite_longitude=179,
        satellite_height_m=HEIGHT_M,
    )
    ten = np.radians(10)
    equator = GEOSTATIONARY_RADIUS_M * np.array([np.cos(ten), np.sin(ten)]) - [6_378_137, 0]
    aside = np.degrees(np.arctan2(equator[1], equator[0]))
    np.testing.assert_allclose(zenith[:3], [0, aside, aside], atol=1e-5)
    np.testing.assert_allclose(azimuth[1:5], [90, 270, 180, 0], atol=1e-9)
    assert zenith[3] == pytest.approx(zenith[4], abs=1e-9)
    assert np.isnan(zenith[5:7]).all()
    assert np.isnan(azimuth[5:7]).all()
    assert zenith[7] == pytest.approx(180, abs=1e-6)


def test_view_takes_single_precision_and_any_shape() -> None:
    latitude, longitude = np.mgrid[-60:60:4j, -60:60:3j].astype(np.float32)
    zenith, azimuth = geostationary_view(
        latitude,
        longitude,
        satellite_latitude=0,
        satellite_longitude=0,
        satellite_height_m=HEIGHT_M,
    )
    assert zenith.shape == azimuth.shape == (4, 3)
    assert zenith.dtype == azimuth.dtype == np.float64
    np.testing.assert_allclose(zenith, zenith[::-1, ::-1], atol=1e-9)
