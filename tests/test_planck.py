import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import planck


@given(st.floats(180, 330))
def test_temperature_and_radiance_are_inverse(temperature: float) -> None:
    radiance = planck.radiance(3.9, np.array(temperature))
    found = planck.brightness_temperature(3.9, radiance)
    assert float(found) == pytest.approx(temperature, rel=1e-9)


def test_solar_constant_follows_from_planck() -> None:
    """The sun's radiances over all wavelengths add up to the solar constant, 1361 W m⁻²."""
    wavelengths = np.linspace(0.1, 100, 200_000)
    radiances = np.array(
        planck.radiance(wavelengths, np.array(planck.SUN_TEMPERATURE))  # type: ignore[arg-type]
    )
    exitance = np.pi * np.trapezoid(radiances, wavelengths)
    distance = planck.ASTRONOMICAL_UNIT / planck.SUN_RADIUS
    assert exitance / distance**2 == pytest.approx(1361, rel=0.002)


WAVELENGTHS = st.sampled_from([3.7, 3.75, 3.8, 3.9, 3.92, 4.0])


@given(st.floats(0, 60), st.floats(200, 300), st.floats(0, 70), WAVELENGTHS)
def test_reflectance_is_recovered_at_every_wavelength(
    reflectance: float, temperature: float, sun: float, wavelength: float
) -> None:
    window, zenith = np.array(temperature), np.array(sun)
    share = reflectance / 100
    emitted = (1 - share) * planck.radiance(wavelength, window)
    reflected = share * planck.solar_radiance(wavelength, zenith)
    measured = planck.brightness_temperature(wavelength, emitted + reflected)
    found = planck.solar_reflectance_3_9um(measured, window, zenith, wavelength)
    assert float(found) == pytest.approx(reflectance, abs=1e-6)


@given(st.floats(0, 60), st.floats(200, 300), st.floats(0, 70))
def test_temperature_and_reflectance_at_3_9um_are_inverse(
    reflectance: float, temperature: float, sun: float
) -> None:
    window, zenith = np.array(temperature), np.array(sun)
    measured = planck.brightness_temperature_3_9um(np.array(reflectance), window, zenith)
    found = planck.solar_reflectance_3_9um(measured, window, zenith)
    assert float(found) == pytest.approx(reflectance, abs=1e-6)


def test_a_wrong_wavelength_is_a_wrong_reflectance() -> None:
    """Why each imager's own wavelength counts: VIIRS at 3.7 µm read as if at 3.9 µm."""
    window, zenith = np.array(280.0), np.array(30.0)
    radiance = 0.9 * planck.radiance(3.7, window) + 0.1 * planck.solar_radiance(3.7, zenith)
    measured = planck.brightness_temperature(3.7, radiance)
    right = planck.solar_reflectance_3_9um(measured, window, zenith, 3.7)
    wrong = planck.solar_reflectance_3_9um(measured, window, zenith, 3.9)
    assert float(right) == pytest.approx(10)
    assert float(wrong) > 12


def test_the_sun_shines_by_the_cosine_and_not_at_night() -> None:
    zenith = np.array([0.0, 60.0, 90.0, 120.0, 180.0])
    found = planck.solar_radiance(3.9, zenith)
    overhead = planck.radiance(3.9, np.array(planck.SUN_TEMPERATURE)) * 2.1626e-5
    np.testing.assert_allclose(found, overhead * np.array([1, 0.5, 0, 0, 0]), rtol=1e-4, atol=1e-9)


def test_there_is_no_reflectance_without_sun() -> None:
    """At 80 degrees a warm sea emits more than a white surface would reflect."""
    zenith = np.array([30.0, 82.0, 100.0])
    window = np.full(3, 300.0)
    found = planck.solar_reflectance_3_9um(window + 1, window, zenith, 3.9)
    np.testing.assert_array_equal(np.isfinite(found), [True, False, False])
