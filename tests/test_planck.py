import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from instruments.responses import E490, E490_UM, response

from pipeline.core import planck

BANDS = st.sampled_from(sorted(planck.SHORTWAVE_BANDS))


@given(st.floats(180, 330))
def test_temperature_and_radiance_are_inverse(temperature: float) -> None:
    radiance = planck.radiance(3.9, np.array(temperature))
    found = planck.brightness_temperature(3.9, radiance)
    assert float(found) == pytest.approx(temperature, rel=1e-9)


@pytest.mark.parametrize("name", planck.SHORTWAVE_BANDS)
def test_a_reflectance_of_20_percent_comes_back_from_each_imagers_response(name: str) -> None:
    """Seen through the spectral response, by quadrature of Planck's function and of E490."""
    temperature, zenith = np.meshgrid([200.0, 230.0, 260.0, 280.0, 300.0], [0.0, 30.0, 60.0, 70.0])
    seen = response(name).seen(np.array(0.2), temperature, zenith)
    found = planck.solar_reflectance_3_9um(seen, temperature, zenith, planck.SHORTWAVE_BANDS[name])
    np.testing.assert_allclose(found, 20.0, atol=0.1)


@pytest.mark.parametrize("name", planck.SHORTWAVE_BANDS)
def test_the_sun_in_a_band_is_the_mean_of_the_standard_spectrum(name: str) -> None:
    """And not that of a black body of 5772 K, which is 4 to 5 % brighter."""
    band = planck.SHORTWAVE_BANDS[name]
    per_um = np.pi * response(name).of_the_sun() * band.wavenumber**2 / 1e8
    assert band.solar_irradiance == pytest.approx(per_um, rel=5e-4)
    solid_angle = np.pi * (6.957e8 / 1.495978707e11) ** 2
    black_body = solid_angle * planck.radiance(1e4 / band.wavenumber, np.array(5772.0))
    assert 1.02 < float(black_body) / band.solar_irradiance < 1.06


@given(st.floats(3.5, 4.2))
def test_a_narrow_band_sees_the_standard_spectrum(wavelength: float) -> None:
    band = planck.narrow_band(wavelength)
    assert band.solar_irradiance == pytest.approx(np.interp(wavelength, E490_UM, E490), rel=0.01)
    temperature = np.array([200.0, 300.0])
    expected = planck.radiance(wavelength, temperature)
    np.testing.assert_allclose(band.radiance(temperature), expected, rtol=1e-12)


@pytest.mark.parametrize("wavelength", [3.4, 4.3, 10.8])
def test_a_band_without_sun_has_no_reflectance(wavelength: float) -> None:
    with pytest.raises(ValueError, match=f"between 3.5 and 4.2 µm, not at {wavelength} µm"):
        planck.narrow_band(wavelength)


@given(st.floats(0, 60), st.floats(200, 300), st.floats(0, 70), BANDS)
def test_temperature_and_reflectance_are_inverse_in_every_band(
    reflectance: float, temperature: float, sun: float, name: str
) -> None:
    window, zenith, band = np.array(temperature), np.array(sun), planck.SHORTWAVE_BANDS[name]
    measured = planck.shortwave_temperature(np.array(reflectance), window, zenith, band)
    found = planck.solar_reflectance_3_9um(measured, window, zenith, band)
    assert float(found) == pytest.approx(reflectance, abs=1e-6)


def test_a_wrong_band_is_a_wrong_reflectance() -> None:
    """Why each imager's own band counts: VIIRS at 3.7 µm read as if ABI at 3.9 µm."""
    window, zenith = np.array(280.0), np.array(30.0)
    measured = response("M12").seen(np.array(0.1), window, zenith)
    right, wrong = (
        planck.solar_reflectance_3_9um(measured, window, zenith, planck.SHORTWAVE_BANDS[name])
        for name in ("M12", "C07")
    )
    assert float(right) == pytest.approx(10, abs=0.02)
    assert float(wrong) > 12


def test_the_sun_shines_by_the_cosine_and_not_at_night() -> None:
    zenith = np.array([0.0, 60.0, 90.0, 120.0, 180.0])
    band = planck.narrow_band(3.9)
    expected = 9.599 / np.pi * np.array([1, 0.5, 0, 0, 0])
    np.testing.assert_allclose(band.solar_radiance(zenith), expected, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(band.solar_radiance(zenith, 2.0), expected / 4, rtol=1e-4, atol=1e-9)


def test_there_is_no_reflectance_without_sun() -> None:
    """At 80 degrees a warm sea emits more than a white surface would reflect."""
    zenith = np.array([30.0, 82.0, 100.0])
    window = np.full(3, 300.0)
    band = planck.narrow_band(3.9)
    found = planck.solar_reflectance_3_9um(window + 1, window, zenith, band)
    np.testing.assert_array_equal(np.isfinite(found), [True, False, False])
