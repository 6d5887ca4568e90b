from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from instruments.swath import swath_places

from pipeline.core.sphere import (
    EARTH_RADIUS_KM,
    centre,
    great_circle_km,
    lattice,
    overlap,
    tile_centres,
)
from pipeline.files.mcmip import sector_grid

LATITUDES = st.floats(-90, 90)
LONGITUDES = st.floats(-180, 180)


@given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
def test_distance_is_that_of_unit_vectors(a: float, b: float, c: float, d: float) -> None:
    distance = great_circle_km(*map(np.array, (a, b, c, d)))
    φ, λ = np.radians([a, c]), np.radians([b, d])
    u, v = np.stack([np.cos(φ) * np.cos(λ), np.cos(φ) * np.sin(λ), np.sin(φ)], axis=1)
    expected = EARTH_RADIUS_KM * np.arctan2(np.linalg.norm(np.cross(u, v)), u @ v)
    np.testing.assert_allclose(distance, expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"),
    [
        ([10, 10], [179, -179], (10.0015, 180)),
        ([89, 89], [0, 180], (90, None)),
        ([0, 0], [-50, -40], (0, -45)),
    ],
)
def test_centre_knows_the_date_line_and_the_pole(
    latitude: list[float], longitude: list[float], expected: tuple[float, float | None]
) -> None:
    found = centre(np.array(latitude, float), np.array(longitude, float))
    assert found[0] == pytest.approx(expected[0], abs=0.01)
    if expected[1] is not None:
        assert abs(found[1]) == pytest.approx(abs(expected[1]), abs=1e-6)


# --- extents ---

CENTRES = pytest.mark.parametrize(
    ("latitude", "longitude"), [(10.0, 20.0), (-17.0, 180.0), (89.5, 40.0), (-80.0, -60.0)]
)


def _places(
    latitude: float,
    longitude: float,
    *,
    first_column: int = 0,
    first_row: int = 0,
    n_points: int = 24,
) -> np.ndarray:
    """The lattice of a scene of 500 × 500 pixels, cut from a swath of 2000 × 2000 km."""
    places = swath_places(
        latitude=latitude, longitude=longitude, n_rows=1000, n_columns=1000, resolution_km=2.0
    )
    rows, columns = slice(first_row, first_row + 500), slice(first_column, first_column + 500)
    return lattice(*(degrees[rows, columns] for degrees in places), n_points)


def _sector(**kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
    grid = sector_grid(**kwargs)
    return grid.latitude, grid.longitude


def test_a_lattice_is_of_unit_vectors_in_the_middle_of_its_cells() -> None:
    latitude, longitude = np.mgrid[0:10.0, 20:50.0]
    vectors = lattice(latitude, longitude, 10)
    assert vectors.shape == (3 * 10, 3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    x, y, z = vectors[0]
    assert np.degrees(np.arcsin(z)) == pytest.approx(1)
    assert np.degrees(np.arctan2(y, x)) == pytest.approx(21)


def test_a_lattice_of_a_small_scene_is_its_pixels_on_the_earth() -> None:
    latitude, longitude = np.mgrid[0:3.0, 0:4.0]
    latitude[0, 1] = np.nan
    assert lattice(latitude, longitude, 24).shape == (11, 3)
    assert lattice(np.full((2, 2), np.nan), np.zeros((2, 2)), 24).shape == (0, 3)


@CENTRES
def test_a_scene_overlaps_with_itself(latitude: float, longitude: float) -> None:
    places = _places(latitude, longitude)
    assert overlap(places, places) == 1
    moved = _places(latitude, longitude, first_column=3, first_row=2)  # of a re-navigated repeat
    assert overlap(places, moved) == 1


@CENTRES
@pytest.mark.parametrize(
    ("shift", "expected"), [(0, 1.0), (125, 0.79), (250, 0.53), (375, 0.28), (450, 0.13)]
)
def test_shifted_scenes_overlap_in_part(
    latitude: float, longitude: float, shift: int, expected: float
) -> None:
    """A little more than 1 - shift / 500, as what is one spacing away lies within."""
    places = _places(latitude, longitude)
    moved = _places(latitude, longitude, first_column=shift)
    assert overlap(places, moved) == pytest.approx(expected, abs=0.04)
    assert overlap(moved, places) == pytest.approx(expected, abs=0.04)


@CENTRES
def test_scenes_apart_do_not_overlap(latitude: float, longitude: float) -> None:
    places = _places(latitude, longitude)
    assert overlap(places, _places(latitude, longitude, first_row=500)) < 0.05
    assert overlap(places, -places) == 0


def test_a_sector_within_another_is_covered_by_it() -> None:
    small, large = (
        lattice(*sector, 24)
        for sector in (
            _sector(latitude=20, longitude=-80, n_pixels=500),
            _sector(latitude=10, longitude=-75, n_pixels=1500),
        )
    )
    assert overlap(small, large) == 1
    assert 0.1 < overlap(large, small) < 0.15


def test_nothing_overlaps_with_nothing() -> None:
    places = _places(0, 0)
    assert overlap(places, places[:1]) == 0
    assert overlap(places[:0], places) == 0


@pytest.mark.parametrize(("tile_size", "middle"), [(1, 0.0), (2, 0.5), (3, 1.0), (4, 1.5)])
@pytest.mark.parametrize("west", [10.0, 178.0, -181.0, 359.0])
def test_the_middle_of_a_tile_lies_between_pixels_if_need_be(
    tile_size: int, middle: float, west: float
) -> None:
    row, column = np.mgrid[:6, :6]
    latitude, longitude = 0.01 * (2.0 - row), west + column
    places = np.array([[0, 0], [2, 2]])
    found = tile_centres(latitude, (longitude + 180) % 360 - 180, places, tile_size)
    np.testing.assert_allclose(found[0], 0.01 * (2 - middle - np.array([0, 2])), atol=1e-4)
    expected = (west + middle + np.array([0, 2]) + 180) % 360 - 180
    np.testing.assert_allclose((found[1] - expected + 180) % 360, 180, atol=1e-6)


def test_pixels_off_the_earth_do_not_move_a_middle() -> None:
    latitude, longitude = np.array([[np.nan, 2.0], [1.0, 1.0]]), np.array([[np.nan, 5.0], [4, 5]])
    found = tile_centres(latitude, longitude, np.array([[0, 0]]), 2)
    np.testing.assert_allclose(np.ravel(found), [4 / 3, 14 / 3], atol=1e-3)
    nothing = np.full((2, 2), np.nan)
    assert np.isnan(tile_centres(nothing, nothing, np.array([[0, 0]]), 2)).all()
