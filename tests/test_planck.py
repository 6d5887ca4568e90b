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


@given(st.floats(0, 60), st.floats(200, 300), st.floats(0, 70))
def test_reflectance_is_recovered(reflectance: float, temperature: float, sun: float) -> None:
    window, zenith = np.array(temperature), np.array(sun)
    share = reflectance / 100
    emitted = (1 - share) * planck.radiance(planck.SHORTWAVE_INFRARED_UM, window)
    reflected = share * planck.solar_radiance_3_9um(zenith)
    measured = planck.brightness_temperature(planck.SHORTWAVE_INFRARED_UM, emitted + reflected)
    found = planck.solar_reflectance_3_9um(measured, window, zenith)
    assert float(found) == pytest.approx(reflectance, abs=1e-6)
