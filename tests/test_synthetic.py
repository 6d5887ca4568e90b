from itertools import pairwise

import numpy as np
import pytest

from pipeline.core.planck import SHORTWAVE_BANDS, solar_reflectance_3_9um
from pipeline.core.synthetic import (
    EQUAL_HISTOGRAM,
    MORPHOLOGIES,
    OFF_EARTH,
    Scene,
    climatology,
    synthesise_scene,
)
from pipeline.core.tile import pure_tiles

PLACES = ((-20.0, -86.0), (17.0, -48.0), (6.0, -102.0), (28.0, -60.0))


def _scene(latitude: float, longitude: float, seed: int, *, sun: float = 30, n: int = 300) -> Scene:
    step = 0.018  # degrees, 2 km
    rows, columns = np.mgrid[:n, :n] * step
    return synthesise_scene(
        latitude - rows + n * step / 2,
        longitude + columns - n * step / 2,
        np.full((n, n), float(sun)),
        rng=np.random.default_rng(seed),
    )


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [_scene(*PLACES[seed % 4], seed) for seed in range(24)]


def test_every_morphology_is_there(scenes: list[Scene]) -> None:
    found = set(np.concatenate([np.unique(scene.morphology) for scene in scenes]))
    assert found == set(range(len(MORPHOLOGIES)))


def test_four_morphologies_have_equal_histograms_in_every_band(scenes: list[Scene]) -> None:
    """Within a scene, so under one sun: quantiles agree to a few packing steps."""
    codes = [MORPHOLOGIES.index(name) for name in EQUAL_HISTOGRAM]
    assert len(codes) >= 4
    n_compared = 0
    for scene in scenes:
        present = [code for code in codes if (scene.morphology == code).sum() > 5000]
        for band, values in scene.bands.items():
            # C10 and shorter water-vapour bands are the same; the middle of the histogram holds
            # most pixels, so a handful of quantiles describes it.
            quantiles = [
                np.quantile(values[scene.morphology == code], np.linspace(0.02, 0.98, 49))
                for code in present
            ]
            tolerance = 0.01 if int(band[1:]) <= 6 else 0.5
            for other in quantiles[1:]:
                np.testing.assert_allclose(other, quantiles[0], atol=tolerance, err_msg=band)
                n_compared += 1
    assert n_compared > 100


def _spectrum(tile: np.ndarray) -> np.ndarray:
    """Share of the variance in four ranges of wavelength, in pixels."""
    power = np.abs(np.fft.fft2(tile - tile.mean())) ** 2
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(len(tile))] * 2))
    limits = 1 / np.array([100, 20, 11, 6, 0.5])
    ranges = pairwise(limits)
    return np.array([power[(frequency >= a) & (frequency < b)].sum() for a, b in ranges]) / (
        power.sum()
    )


def test_their_organisation_tells_them_apart(scenes: list[Scene]) -> None:
    spectra: dict[int, list[np.ndarray]] = {}
    for scene in scenes:
        places, codes = pure_tiles(scene.morphology, tile_size=64, stride=32, min_share=0.95)
        for (row, column), code in zip(places, codes, strict=True):
            tile = scene.bands["C02"][row : row + 64, column : column + 64]
            spectra.setdefault(code, []).append(_spectrum(tile))
    means = [np.mean(spectra[MORPHOLOGIES.index(name)], axis=0) for name in EQUAL_HISTOGRAM]
    for index, first in enumerate(means):
        for second in means[:index]:
            assert np.abs(first - second).sum() > 0.1


@pytest.mark.parametrize(
    ("morphology", "quantile", "low", "high"),
    [
        ("clear_sky", 0.5, 290, 302),
        ("closed_cells", 0.1, 278, 290),
        ("flowers", 0.02, 275, 292),
        ("cirrus", 0.02, 210, 285),
        ("deep_convection", 0.02, 185, 225),
    ],
)
def test_temperatures_are_plausible(
    scenes: list[Scene], morphology: str, quantile: float, low: float, high: float
) -> None:
    code = MORPHOLOGIES.index(morphology)
    values = np.concatenate([scene.bands["C14"][scene.morphology == code] for scene in scenes])
    assert low < np.quantile(values, quantile) < high


def test_low_cloud_reflects_at_3_9um_and_anvils_do_not(scenes: list[Scene]) -> None:
    scene = next(
        scene
        for scene in scenes
        if {MORPHOLOGIES.index("closed_cells"), MORPHOLOGIES.index("deep_convection")}
        <= set(np.unique(scene.morphology))
    )
    reflectance = solar_reflectance_3_9um(
        scene.bands["C07"],
        scene.bands["C14"],
        np.full(scene.morphology.shape, 30.0),
        SHORTWAVE_BANDS["C07"],
    )
    low = scene.morphology == MORPHOLOGIES.index("closed_cells")
    cold = scene.bands["C14"] < 230
    assert np.quantile(reflectance[low], 0.9) > 10
    assert np.median(reflectance[cold]) < 6


def test_one_seed_gives_the_same_scene() -> None:
    first, second, other = _scene(0, -60, 1), _scene(0, -60, 1), _scene(0, -60, 2)
    for band in first.bands:
        np.testing.assert_array_equal(first.bands[band], second.bands[band])
    np.testing.assert_array_equal(first.morphology, second.morphology)
    assert not np.array_equal(first.bands["C02"], other.bands["C02"])


def test_night_is_dark_in_the_sun_and_not_in_the_infrared() -> None:
    scene = _scene(0, -60, 1, sun=100)
    for band in ("C01", "C02", "C03", "C04", "C05", "C06"):
        assert (scene.bands[band] == 0).all()
    assert (scene.bands["C14"] > 180).all()


def test_pixels_off_the_earth_are_missing() -> None:
    latitude, longitude = np.mgrid[0:2:100j, -60:-58:100j]
    latitude[:10] = longitude[:10] = np.nan
    sun = np.full(latitude.shape, 30.0)
    scene = synthesise_scene(latitude, longitude, sun, rng=np.random.default_rng(0))
    assert (scene.morphology[:10] == OFF_EARTH).all()
    for values in scene.bands.values():
        assert np.isnan(values[:10]).all()
        assert np.isfinite(values[10:]).all()


def test_grids_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"differ in shape; give all three on one grid"):
        synthesise_scene(
            np.zeros((3, 3)), np.zeros((3, 4)), np.zeros((3, 3)), rng=np.random.default_rng(0)
        )


def test_climatology_puts_each_where_it_belongs() -> None:
    def share(name: str, latitude: float, longitude: float) -> float:
        return float(climatology(latitude, longitude)[MORPHOLOGIES.index(name)])

    for latitude in np.linspace(-60, 60, 13):
        assert climatology(latitude, -60).sum() == pytest.approx(1)
    assert share("closed_cells", -20, -80) > 2 * share("closed_cells", -20, -130)
    assert share("deep_convection", 6, -60) > 4 * share("deep_convection", -25, -60)
    assert share("flowers", 15, -50) > share("flowers", -20, -80)
    assert share("open_cells", 45, -40) > share("open_cells", 6, -40)
