import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.sphere import EARTH_RADIUS_KM, centre, great_circle_km

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
