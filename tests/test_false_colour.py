from typing import Any

import numpy as np
import pytest

from pipeline.core import planck
from pipeline.core.false_colour import (
    Preset,
    compose,
    green_from_neighbours,
    missing_bands,
    needed_bands,
)
from pipeline.files.stage import parse_params


def _preset(channels: tuple[str, ...], minimum: Any, maximum: Any) -> Preset:
    return Preset("Of a test.", channels, minimum, maximum, 75.0)


PRESET = _preset(("visible", "infrared_window"), (0.0, 300.0), (100.0, 200.0))
REFLECTANCE = _preset(("solar_reflectance_3_9um",), (0.0,), (50.0,))
SHORTWAVE = ("M12", "20", "C07")  # of VIIRS, MODIS and ABI


def test_stretch_is_fixed_and_inverts() -> None:
    bands = {
        "visible": np.array([[0.0, 50.0, 120.0, -3.0]]),
        "infrared_window": np.array([[300.0, 250.0, 190.0, 310.0]]),
    }
    colour, valid = compose(bands, PRESET)
    np.testing.assert_array_equal(colour[0], [[0, 128, 255, 0]])
    np.testing.assert_array_equal(colour[1], [[0, 128, 255, 0]])
    assert colour.dtype == np.uint8
    assert valid.all()


def test_colour_does_not_depend_on_the_rest_of_the_granule() -> None:
    rng = np.random.default_rng(0)
    scene = {"visible": rng.uniform(0, 100, (4, 4)), "infrared_window": np.full((4, 4), 280.0)}
    part = {name: band[:2, :2] for name, band in scene.items()}
    np.testing.assert_array_equal(compose(scene, PRESET)[0][:, :2, :2], compose(part, PRESET)[0])


def test_a_pixel_without_a_channel_is_invalid_and_black() -> None:
    bands = {"visible": np.array([[50.0, 50.0]]), "infrared_window": np.array([[np.nan, 250.0]])}
    colour, valid = compose(bands, PRESET)
    np.testing.assert_array_equal(valid, [[False, True]])
    np.testing.assert_array_equal(colour[:, 0, 0], [0, 0])


def test_green_is_measured_or_derived() -> None:
    preset = _preset(("red", "green", "blue"), (0.0,) * 3, (100.0,) * 3)
    bands = {"red": np.array([[40.0]]), "blue": np.array([[20.0]])}
    assert missing_bands(preset, set(bands)) == ["near_infrared"]
    bands["near_infrared"] = np.array([[60.0]])
    assert missing_bands(preset, set(bands)) == []
    colour, _ = compose(bands, preset)
    assert colour[1, 0, 0] == round(2.55 * (0.45 * 40 + 0.1 * 60 + 0.45 * 20))
    measured, _ = compose({**bands, "green": np.array([[100.0]])}, preset)
    assert measured[1, 0, 0] == 255


def test_green_of_a_grey_scene_is_grey() -> None:
    grey = np.full((2, 2), 30.0)
    np.testing.assert_allclose(green_from_neighbours(grey, grey, grey), grey, rtol=1e-12)


@pytest.mark.parametrize("name", SHORTWAVE)
@pytest.mark.parametrize("distance", [0.983, 1.017])
def test_the_sun_near_3_9um_is_told_in_each_imagers_band(name: str, distance: float) -> None:
    """One cloud has one colour, though its brightness temperatures are kelvins apart."""
    share = np.array([[0.0, 0.1, 0.3]])
    window, sun = np.full((1, 3), 280.0), np.full((1, 3), 40.0)
    band = planck.SHORTWAVE_BANDS[name]
    emitted = (1 - share) * band.radiance(window)
    shortwave = band.brightness_temperature(emitted + share * band.solar_radiance(sun, distance))
    bands = {
        "shortwave_infrared": shortwave,
        "infrared_window": window,
        "solar_zenith_angle": sun,
        "shortwave_band": band,
        "sun_distance": distance,
    }
    colour, valid = compose(bands, REFLECTANCE)
    np.testing.assert_array_equal(colour, [[[0, 51, 153]]])
    assert valid.all()
    elsewhere, _ = compose({**bands, "shortwave_band": planck.narrow_band(3.8)}, REFLECTANCE)
    assert (elsewhere[0, 0, 1:] != colour[0, 0, 1:]).all()
    in_april, _ = compose({**bands, "sun_distance": 1.0}, REFLECTANCE)
    assert (in_april[0, 0, 1:] != colour[0, 0, 1:]).all()


def test_differences_of_the_window_channels() -> None:
    preset = _preset(("split_window_difference", "shortwave_difference"), (-5.0, 5.0), (5.0, -5.0))
    bands = {
        "infrared_window": np.array([[280.0, 280.0]]),
        "infrared_12um": np.array([[280.0, 277.5]]),
        "shortwave_infrared": np.array([[280.0, 277.5]]),
    }
    assert missing_bands(preset, set(bands) - {"infrared_12um"}) == ["infrared_12um"]
    colour, _ = compose(bands, preset)
    np.testing.assert_array_equal(colour[:, 0], [[128, 64], [128, 191]])


def test_needed_and_missing_bands_are_bands_alone() -> None:
    """Sun and wavelength are circumstances, which every granule has."""
    wanted = {"solar_reflectance_3_9um", "shortwave_infrared", "infrared_window"}
    assert needed_bands(REFLECTANCE) == wanted
    assert missing_bands(REFLECTANCE, {"infrared_window"}) == ["shortwave_infrared"]
    assert missing_bands(REFLECTANCE, {"solar_reflectance_3_9um"}) == []


def test_the_presets_of_the_parameters_need_bands_that_are_named(params: dict[str, Any]) -> None:
    named = set(params["ingest"]["bands"])
    derived = {"solar_reflectance_3_9um", "split_window_difference", "shortwave_difference"}
    for section in params["ingest"]["presets"].values():
        preset = parse_params("ingest", section, Preset)
        assert needed_bands(preset) - derived <= named
        assert missing_bands(preset, named) == []
        assert preset.physics.endswith(".")
        infrared = all("infrared" in name or "difference" in name for name in preset.channels)
        near = any("near_infrared" in name for name in preset.channels)
        assert preset.max_solar_zenith == (180.0 if infrared and not near else 75.0)


def test_uneven_preset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not 2, 1 and 2; complete it in ingest\.presets"):
        _preset(("red", "blue"), (0.0,), (1.0, 1.0))


def test_a_channel_without_a_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"red, blue has the same minimum and maximum; part them"):
        _preset(("red", "blue"), (0.0, 3.0), (1.0, 3.0))
