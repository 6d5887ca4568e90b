import numpy as np
import pytest

from pipeline.core.false_colour import (
    Preset,
    compose,
    green_from_neighbours,
    missing_bands,
    needed_bands,
)

PRESET = Preset(("visible", "infrared_window"), (0.0, 300.0), (100.0, 200.0))


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
    preset = Preset(("red", "green", "blue"), (0.0,) * 3, (100.0,) * 3)
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


def test_needed_bands_include_those_of_derived_channels() -> None:
    preset = Preset(("solar_reflectance_3_9um",), (0.0,), (20.0,))
    wanted = {"solar_reflectance_3_9um", "shortwave_infrared", "infrared_window"}
    assert needed_bands(preset) == wanted


def test_uneven_preset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not 2, 1 and 2; complete it in ingest\.presets"):
        Preset(("red", "blue"), (0.0,), (1.0, 1.0))
