from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.core.planck import (
    SHORTWAVE_BANDS,
    shortwave_temperature,
    solar_reflectance_3_9um,
)
from pipeline.core.synthetic import EQUAL_HISTOGRAM, MORPHOLOGIES, climatology
from pipeline.core.synthetic.bands import BANDS, observe
from pipeline.core.synthetic.layers import Layers, no_cloud
from pipeline.core.synthetic.regions import split_scene
from pipeline.core.synthetic.textures import ranked_texture
from pipeline.core.synthetic.weather import WEATHER
from pipeline.files.mcmip import sector_grid

SIZE = 192
TILE = 64
SUN = 35.0


@cache
def _draw_bands(morphology: str, seed: int) -> dict[str, np.ndarray]:
    """Bands of a scene of one morphology."""
    rng = np.random.default_rng([seed, MORPHOLOGIES.index(morphology)])
    shape = (SIZE, SIZE)
    clouds = no_cloud(shape)
    if morphology in EQUAL_HISTOGRAM:
        clouds["low_cloud"] = ranked_texture(morphology, np.ones(shape, bool), rng=rng)
    else:
        clouds |= WEATHER[morphology](shape, rng=rng)
    latitude = np.full(shape, 15, np.float32)
    return observe(Layers(**clouds), latitude=latitude, solar_zenith_angle=np.full(shape, SUN))


def _cut(image: np.ndarray) -> np.ndarray:
    """Tiles of an image, shape (tile, row, column)."""
    n = SIZE // TILE
    return image.reshape(n, TILE, n, TILE).swapaxes(1, 2).reshape(-1, TILE, TILE)


def _log_spectrum(tile: np.ndarray) -> np.ndarray:
    """Logarithm of the power at each whole wavenumber."""
    window = np.outer(np.hanning(TILE), np.hanning(TILE))
    power = np.abs(np.fft.fft2((tile - tile.mean()) * window)) ** 2
    waves = np.fft.fftfreq(TILE, 1 / TILE)
    wavenumber = np.hypot(waves[:, None], waves).astype(int)
    return np.log(np.bincount(wavenumber.ravel(), power.ravel())[1 : TILE // 2])


def _accuracy(features: list[np.ndarray], labels: list[str]) -> float:
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000))
    return float(cross_val_score(classifier, np.array(features), labels, cv=4).mean())


@pytest.mark.parametrize("band", BANDS)
def test_equal_histograms_in_every_band(band: str) -> None:
    first, *others = (np.sort(_draw_bands(name, 0)[band], None) for name in EQUAL_HISTOGRAM)
    assert np.ptp(first) > 0
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-6)


def test_organisation_tells_apart_what_statistics_of_tiles_do_not() -> None:
    labels, statistics, spectra = [], [], []
    for name in EQUAL_HISTOGRAM:
        for seed in range(6):
            for tile in _cut(_draw_bands(name, seed)["C02"]):
                labels.append(name)
                quantiles = np.quantile(tile, [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])
                statistics.append(np.array([tile.mean(), tile.std(), *quantiles]))
                spectra.append(_log_spectrum(tile))
    assert _accuracy(statistics, labels) < 0.6
    assert _accuracy(spectra, labels) > 0.9


def test_scales_are_those_of_the_morphologies_and_fit_into_tiles() -> None:
    waves = {}
    for name in EQUAL_HISTOGRAM:
        tiles = _cut(_draw_bands(name, 0)["C02"])
        power = np.exp(np.mean([_log_spectrum(tile) for tile in tiles], axis=0))
        waves[name] = TILE / np.average(np.arange(1, TILE // 2) + 0.5, weights=power)
    assert waves["sugar"] < 0.8 * min(waves["gravel"], waves["closed_cells"], waves["open_cells"])
    assert max(waves.values()) < TILE / 4


def test_bands_of_water_and_ice_cloud() -> None:
    water, ice = _draw_bands("closed_cells", 0), _draw_bands("deep_convection", 0)
    thick, core = np.argmax(water["C02"]), np.argmin(ice["C14"])
    sun = np.cos(np.deg2rad(SUN))
    assert 0.4 < water["C02"].flat[thick] / sun < ice["C02"].flat[core] / sun < 1
    assert water["C05"].flat[thick] > 1.5 * ice["C05"].flat[core]  # ice absorbs at 1.6 µm
    assert water["C04"].flat[thick] < 0.01 < 0.3 < ice["C04"].flat[core]  # 1.38 µm: high cloud
    assert water["C07"].flat[thick] > water["C14"].flat[thick] + 10  # reflected sun
    assert np.ptp(water["C08"]) < 1.5  # low cloud is all but out of sight at 6.2 µm
    assert ice["C08"].flat[core] == pytest.approx(ice["C14"].flat[core], abs=5)


def test_no_reflectance_where_the_sun_is_down() -> None:
    shortwave, window, sun = np.array([285.0]), np.array([290.0]), np.array([100.0])
    night = solar_reflectance_3_9um(shortwave, window, sun, SHORTWAVE_BANDS["C07"])
    assert np.isnan(night).all()


def test_cloud_looks_cold_at_3_9um_by_night_and_warm_by_day() -> None:
    cloud, window = np.array([18.0, 18.0]), np.array([285.0, 285.0])
    sun = np.array([30.0, 150.0])
    day, night = shortwave_temperature(cloud, window, sun, SHORTWAVE_BANDS["C07"])
    assert night < 285 - 3
    assert day > 285 + 15


@pytest.mark.parametrize("size", [128, 200, 500])
def test_regions_are_few_and_leave_room_for_tiles(size: int) -> None:
    for seed in range(4):
        counts = np.bincount(split_scene((size, size), rng=np.random.default_rng(seed)).ravel())
        assert 2 <= len(counts) <= 5
        assert counts.min() > 0.05 * size**2


def test_equal_histograms_are_never_rare() -> None:
    for place in ((-20, -82), (15, -50), (6, -105), (45, -45)):
        chance = dict(zip(MORPHOLOGIES, climatology(*place), strict=True))
        assert sum(chance[name] for name in EQUAL_HISTOGRAM) > 0.3
        assert min(chance[name] for name in EQUAL_HISTOGRAM) > 0.05


def test_places_follow_the_users_guide() -> None:
    """Section 4.2.8.1 of the guide: a place from its scan angles, on the GRS 80 ellipsoid."""
    grid = sector_grid(latitude=33.8, longitude=-84.7, n_pixels=8)
    major, minor, distance = 6378137.0, 6356752.31414, 42164160.0
    x, y = np.meshgrid(grid.x, grid.y)
    ratio = (major / minor) ** 2
    a = np.sin(x) ** 2 + np.cos(x) ** 2 * (np.cos(y) ** 2 + ratio * np.sin(y) ** 2)
    b = -2 * distance * np.cos(x) * np.cos(y)
    c = distance**2 - major**2
    reach = (-b - np.sqrt(b**2 - 4 * a * c)) / (2 * a)
    sx, sy = reach * np.cos(x) * np.cos(y), -reach * np.sin(x)
    sz = reach * np.cos(x) * np.sin(y)
    latitude = np.rad2deg(np.arctan(ratio * sz / np.hypot(distance - sx, sy)))
    longitude = -75.0 - np.rad2deg(np.arctan(sy / (distance - sx)))
    np.testing.assert_allclose(grid.latitude, latitude, atol=1e-6)
    np.testing.assert_allclose(grid.longitude, longitude, atol=1e-6)
