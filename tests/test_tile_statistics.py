import numpy as np
import pytest
import xarray as xr

from pipeline.core.scene import ANGLES, PLANE, scene_angles
from pipeline.core.tile import grid_tiles
from pipeline.core.tile_statistics import ATTRIBUTES, CloudRule, describe_tiles
from pipeline.core.viewing import solar_angles

TILE_SIZE = 16
CLOUD = CloudRule(reflectance=20.0, brightness_temperature=285.0)
TIME = np.datetime64("2020-06-01T15:00", "ns")


def _scene(shape: tuple[int, int] = (80, 96)) -> xr.Dataset:
    """A scene of the product west of Africa: every pixel its own reflectance and temperature."""
    row, column = np.mgrid[: shape[0], : shape[1]].astype(float)
    places = {"latitude": (PLANE, 20 - 0.02 * row), "longitude": (PLANE, -30 + 0.02 * column)}
    attributes = {
        "time": TIME,
        "satellite_longitude": -75.0,
        "satellite_latitude": 0.0,
        "satellite_height": 35.8e6,
    }
    angles = scene_angles(xr.Dataset(places, attrs=attributes))
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            **places,
            "valid": (PLANE, rng.random(shape) > 0.1),
            "reflectance": (PLANE, rng.uniform(0, 80, shape).astype(np.float32)),
            "brightness_temperature": (PLANE, rng.uniform(230, 300, shape).astype(np.float32)),
            "angles": (("angle", "lattice_row", "lattice_column"), angles.stacked()),
        },
        coords={"angle": list(ANGLES), "time": TIME},
    )


def _describe(scene: xr.Dataset, places: np.ndarray, tile_size: int = TILE_SIZE) -> xr.Dataset:
    land = scene.longitude.values > -29
    return describe_tiles(scene, land, places, tile_size, CLOUD)


def _tiles(field: np.ndarray, places: np.ndarray, size: int = TILE_SIZE) -> np.ndarray:
    return np.stack([field[row : row + size, column : column + size] for row, column in places])


@pytest.mark.parametrize("stride", [16, 13])
def test_statistics_are_those_of_the_pixels(stride: int) -> None:
    scene = _scene()
    places = grid_tiles(np.ones((80, 96), bool), tile_size=TILE_SIZE, stride=stride)
    found = _describe(scene, places)
    for name in ("reflectance", "brightness_temperature"):
        tiles = _tiles(scene[name].values.astype(float), places)
        np.testing.assert_allclose(found[name], tiles.mean((1, 2)), rtol=1e-6)
        np.testing.assert_allclose(found[f"{name}_spread"], tiles.std((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(
        found.invalid_fraction, (~_tiles(scene.valid.values, places)).mean((1, 2)), rtol=1e-6
    )
    land = _tiles(scene.longitude.values > -29, places)
    np.testing.assert_allclose(found.land_fraction, land.mean((1, 2)), rtol=1e-6)
    bright = _tiles(scene.reflectance.values >= 20, places)
    np.testing.assert_allclose(found.cloud_fraction, bright.mean((1, 2)), rtol=1e-6)
    assert "visible reflectance of at least 20.0 percent" in found.cloud_fraction.long_name
    cold = _tiles(scene.brightness_temperature.values <= 285, places)
    np.testing.assert_allclose(found.infrared_cloud_fraction, cold.mean((1, 2)), rtol=1e-6)
    longitude = _tiles(scene.longitude.values, places).mean((1, 2))  # that of the middle
    np.testing.assert_allclose(found.local_solar_time, 15 + longitude / 15, rtol=1e-6)


@pytest.mark.parametrize("shape", [(80, 96), (65, 65), (17, 33), (500, 73)])
@pytest.mark.parametrize("tile_size", [16, 17])
def test_angles_are_those_within_the_tile(shape: tuple[int, int], tile_size: int) -> None:
    """Means over every eighth pixel, whatever the size of the scene."""
    scene = _scene(shape)
    places = grid_tiles(np.ones(shape, bool), tile_size=tile_size, stride=5)
    found = _describe(scene, places, tile_size)
    sun, _ = solar_angles(TIME, scene.latitude.values, scene.longitude.values)
    centres = _tiles(sun, places, tile_size).mean((1, 2))
    np.testing.assert_allclose(found.solar_zenith_angle, centres, atol=0.1)
    thin = np.full(shape, np.nan)
    thin[::8, ::8] = sun[::8, ::8]
    expected = np.nanmean(_tiles(thin, places, tile_size), axis=(1, 2))
    np.testing.assert_allclose(found.solar_zenith_angle, expected, atol=1e-4)


def test_angles_outside_a_tile_do_not_count() -> None:
    """A tile beside the limb has angles, though the lattice points before it have none."""
    scene = _scene()
    scene["angles"][:, :2] = np.nan  # rows 0 and 8
    found = _describe(scene, np.array([[9, 0], [8, 0]]))
    rows_16_and_24, row_16 = (scene.angles.values[1, 2:end, :2].mean() for end in (4, 3))
    np.testing.assert_allclose(found.view_zenith_angle, [rows_16_and_24, row_16], rtol=1e-6)


def test_a_tile_smaller_than_the_lattice_has_the_angles_before_it() -> None:
    scene = _scene()
    found = _describe(scene, np.array([[9, 17], [12, 24]]), tile_size=4)
    np.testing.assert_allclose(
        found.view_zenith_angle, scene.angles.values[1, [1, 1], [2, 3]], rtol=1e-6
    )


def test_without_a_view_there_are_no_angles_of_it() -> None:
    scene = _scene()
    scene["angles"][1:] = np.nan
    found = _describe(scene, np.array([[0, 0]]))
    assert np.isfinite(found.solar_zenith_angle).all()
    for name in ("view_zenith_angle", "glint_angle", "relative_azimuth"):
        assert np.isnan(found[name]).all()


def test_cold_is_cloud_where_nothing_visible_was_measured() -> None:
    """The brightness temperature tells, too, in a product whose other scenes have daylight."""
    scene = _scene()
    places = np.array([[0, 0], [32, 32]])
    cold = _tiles(scene.brightness_temperature.values <= 285, places).mean((1, 2))
    dark = scene.assign(reflectance=scene.reflectance.where(False))
    for night in (dark, scene.drop_vars("reflectance")):
        found = _describe(night, places)
        np.testing.assert_allclose(found.cloud_fraction, cold, rtol=1e-6)
        assert "brightness temperature of at most 285.0 K" in found.cloud_fraction.long_name
    assert np.isnan(_describe(dark, places).reflectance).all()


def test_the_night_side_of_a_scene_is_told_by_temperature() -> None:
    scene = _scene()
    scene.reflectance.values[:, 8:] = np.nan
    cloudy = np.where(
        np.isnan(scene.reflectance), scene.brightness_temperature <= 285, scene.reflectance >= 20
    )
    places = np.array([[0, 0], [0, 32]])
    expected = _tiles(cloudy, places).mean((1, 2))
    np.testing.assert_allclose(_describe(scene, places).cloud_fraction, expected, rtol=1e-6)


def test_missing_pixels_are_not_clear() -> None:
    scene = _scene()
    half = scene.reflectance.values
    half[:, :8] = np.nan
    half[:, 8:16] = 50.0
    scene.brightness_temperature.values[:, :8] = np.nan
    found = _describe(scene, np.array([[0, 0]]))
    assert float(found.cloud_fraction[0]) == 1
    assert float(found.reflectance[0]) == 50


def test_a_scene_without_physical_fields_has_no_cloud() -> None:
    scene = _scene().drop_vars(["reflectance", "brightness_temperature", "angles"])
    found = _describe(scene, np.array([[0, 0]]))
    assert set(found.data_vars) == {"land_fraction", "invalid_fraction", "local_solar_time"}


def test_every_statistic_has_units() -> None:
    found = _describe(_scene(), np.array([[0, 0]]))
    assert set(found.data_vars) == {*ATTRIBUTES, "cloud_fraction", "infrared_cloud_fraction"}
    for name, statistic in found.data_vars.items():
        assert statistic.dims == ("tile",), name
        assert statistic.dtype == np.float32, name
        assert statistic.attrs["units"], name
