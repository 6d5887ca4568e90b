"""Real files of instruments and models, read by the stages and compared with values by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from instruments.finding import find_granules
from netCDF4 import Dataset
from rasterio.warp import transform
from tiny_flow import prepare, run_stage

from pipeline.core.footprint import means_within
from pipeline.core.sphere import great_circle_km
from pipeline.files import granules, stores
from pipeline.files.granules import (
    Level2Variable,
    NetcdfConventions,
    UnusableGranuleError,
    list_level2,
    read_level2,
)
from pipeline.files.gridded import GriddedVariable, open_gridded

REAL = Path(__file__).parents[2] / "shared/data"
CONVENTIONS = NetcdfConventions({}, "latitude", "longitude", "", "")

pytestmark = pytest.mark.skipif(not REAL.exists(), reason=f"the real files in {REAL} are not here")


def _read(path: Path, bands: dict[str, list[str]], **conventions: Any) -> Any:
    [granule], _ = find_granules([path])
    netcdf = NetcdfConventions(**{**vars(CONVENTIONS), **conventions})
    return granules.read_granule(granule.files, granule.reader, bands, netcdf=netcdf)


# --- SEVIRI's original files ---


def test_a_segment_of_seviri_is_read_as_in_the_geotiff_of_its_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "0")
    folder = REAL / "seviri_hrit"
    changes = {"fetch.source": "local", "fetch.local.granules": [str(folder)]}
    prepare(tmp_path, {**changes, "ingest.preset": "infrared_window"})
    for stage in ("fetch", "ingest"):
        assert run_stage(tmp_path, f"-m pipeline.{stage}") == 0
    scenes = stores.open_product(tmp_path / "data/scenes.zarr")
    assert scenes.sizes["scene"] == 1
    assert scenes.platform.values[0] == "Meteosat-11"
    assert scenes.time.values[0] == np.datetime64("2020-09-06T00:15")
    [granule], others = find_granules(folder.iterdir())
    assert others == []
    read = granules.read_granule(
        granule.files, granule.reader, {"window": ["IR_108"]}, netcdf=CONVENTIONS
    )
    assert read.window.shape == (464, 3712)  # a segment of eight, not the disk
    assert read.window.attrs["units"] == "K"
    assert 0 < float(read.latitude[0, 1856]) - float(read.latitude[1, 1856]) < 0.03  # north is up
    with rasterio.open(REAL / "seviri_night/seviri_msg4_se_atlantic_20200906T0015Z.tif") as night:
        expected = night.read(2) * 0.02
        rows, columns = np.mgrid[100:260:19, 200:700:31].reshape(2, -1)
        x, y = night.xy(rows, columns)
        longitude, latitude = map(np.array, transform(night.crs, "EPSG:4326", x, y))
    inside = latitude > -12.5
    assert inside.sum() > 100
    near = [
        np.nanargmin(np.hypot(read.latitude.values - north, read.longitude.values - east))
        for north, east in zip(latitude[inside], longitude[inside], strict=True)
    ]
    found = read.window.values.ravel()[near]
    places = [read[name].values.ravel()[near] for name in ("latitude", "longitude")]
    assert great_circle_km(*places, latitude[inside], longitude[inside]).max() < 0.1
    np.testing.assert_allclose(found, expected[rows, columns][inside], atol=0.011)


# --- ABI ---


def _places_of_abi(file: Dataset, row: int, column: int) -> tuple[float, float]:
    """Latitude and longitude by section 5.1.2.8 of the GOES-R Product Definition Users' Guide."""
    projection = file["goes_imager_projection"]
    equator, pole = projection.semi_major_axis, projection.semi_minor_axis
    height = projection.perspective_point_height + equator
    x, y = float(file["x"][column]), float(file["y"][row])
    a = np.sin(x) ** 2 + np.cos(x) ** 2 * (np.cos(y) ** 2 + (equator / pole * np.sin(y)) ** 2)
    b = -2 * height * np.cos(x) * np.cos(y)
    distance = (-b - np.sqrt(b**2 - 4 * a * (height**2 - equator**2))) / (2 * a)
    toward = distance * np.cos(x) * np.cos(y)
    east, north = -distance * np.sin(x), distance * np.cos(x) * np.sin(y)
    latitude = np.arctan((equator / pole) ** 2 * north / np.hypot(height - toward, east))
    longitude = np.radians(projection.longitude_of_projection_origin) - np.arctan(
        east / (height - toward)
    )
    return float(np.degrees(latitude)), float(np.degrees(longitude))


def test_a_thermal_band_of_abi() -> None:
    [path] = (REAL / "abi_more").glob("*C08*")
    read = _read(path, {"water_vapour": ["C08"]})
    assert read.attrs["platform"] == "GOES-16"
    assert read.attrs["time"] == np.datetime64("2017-07-11T18:17:18.9")
    with Dataset(path) as file:
        radiance = file["Rad"][:].filled(np.nan).astype(float)
        fk1, fk2, bc1, bc2 = (
            float(file[f"planck_{name}"][:]) for name in ("fk1", "fk2", "bc1", "bc2")
        )
        temperature = (fk2 / np.log(fk1 / radiance + 1) - bc1) / bc2
        for row, column in ((300, 700), (750, 1250), (1200, 1800)):
            place = [float(read[name][row, column]) for name in ("latitude", "longitude")]
            np.testing.assert_allclose(place, _places_of_abi(file, row, column), atol=0.002)
    np.testing.assert_allclose(read.water_vapour, temperature, atol=0.01)
    assert float(read.water_vapour[750, 1250]) == pytest.approx(temperature[750, 1250], abs=0.01)


def test_the_bands_of_hurricane_maria_are_one_granule() -> None:
    found, _ = find_granules((REAL / "abi_more").glob("*CMIPM2*"))
    [granule] = found
    assert len(granule.files) == 2
    bands = {"blue": ["C01"], "near_infrared": ["C03"]}
    read = granules.read_granule(granule.files, granule.reader, bands, netcdf=CONVENTIONS)
    for path, name in zip(granule.files, bands, strict=True):
        with Dataset(path) as file:
            np.testing.assert_allclose(read[name], 100 * file["CMI"][:].filled(np.nan), atol=0.01)
            place = [float(read[each][500, 500]) for each in ("latitude", "longitude")]
            np.testing.assert_allclose(place, _places_of_abi(file, 500, 500), atol=0.002)
    assert 20 < place[0] < 30
    assert -75 < place[1] < -65


# --- merged infrared ---


def test_merged_infrared_scenes() -> None:
    path = REAL / "merg_ir/merg_ir_20191225T0300Z.tif"
    read = _read(path, {"infrared_window": ["infrared_10_7um"]})
    with rasterio.open(path) as file:
        kelvin = file.read(1, masked=True).filled(0) * 0.01
        assert file.tags()["start_time"].startswith("2019-12-25T03:00")
    found = np.nan_to_num(read.infrared_window.values)
    np.testing.assert_allclose(found, kelvin, atol=0.001)
    assert read.attrs["time"] == np.datetime64("2019-12-25T03:00")
    step = 30 / 825
    corners = read.latitude.values[[0, -1], 0], read.longitude.values[0, [0, -1]]
    np.testing.assert_allclose(corners[0], [20 - step / 2, -10 + step / 2], atol=0.02)
    np.testing.assert_allclose(corners[1], [-90 + step / 2, -60 - step / 2], atol=0.02)


# --- fields ---


def test_fields_of_era_interim_join_composites_at_a_level() -> None:
    path = REAL / "fields/eraint_uvz.nc"
    wanted = GriddedVariable("wind", str(path), "u", {"level": 500, "month": 7}, 3.0)
    field = open_gridded(wanted)
    with Dataset(path) as file:
        level, month = list(file["level"][:]).index(500), list(file["month"][:]).index(7)
        wind = file["u"]
        wind.set_auto_maskandscale(False)
        expected = int(wind[month, level, 60, 120]) * wind.scale_factor + wind.add_offset
        assert float(file["latitude"][60]) == 45
        assert float(file["longitude"][120]) == -90
    assert float(field.sel(latitude=45, longitude=-90)) == pytest.approx(expected, abs=1e-9)
    with pytest.raises(ValueError, match=r"dimension level of 200, 500, 850; choose one of these"):
        open_gridded(GriddedVariable("wind", str(path), "u", {"month": 7}, 3.0))


def test_a_field_without_times_is_no_granule() -> None:
    with pytest.raises(UnusableGranuleError, match="it has no time"):
        _read(REAL / "fields/eraint_uvz.nc", {"wind": ["u"]}, units={"u": "m s-1"})


def test_every_month_of_ostia_is_a_granule_at_its_own_time() -> None:
    path = REAL / "fields/ostia_monthly.nc"
    found, _ = find_granules([path])
    assert len(found) == 54
    with Dataset(path) as file:
        hours = file["time"][:]
        month = found[7]
        assert month.start_time == np.datetime64("1970-01-01T00") + np.timedelta64(
            round(hours[7] * 3600), "s"
        )
        expected = file["surface_temperature"][7].filled(np.nan)[::-1]
        south_up = file["latitude"][0] < file["latitude"][-1]
        longitude = (file["longitude"][:] + 180) % 360 - 180
    read = granules.read_granule(
        month.files, month.reader, {"sst": ["surface_temperature"]}, netcdf=CONVENTIONS, step=7
    )
    assert south_up
    np.testing.assert_allclose(read.sst, expected, atol=1e-3)
    np.testing.assert_allclose(read.longitude[0], longitude, atol=1e-4)


def test_pixels_of_a_polar_grid_are_averaged_over_tiles() -> None:
    path = REAL / "fields/toa_brightness_stereographic.nc"
    wanted = Level2Variable("window", str(path), "data", {}, "lat", "lon", "", 1.0)
    [granule] = list_level2(wanted)
    assert str(granule.start_time) == "2016-05-16 12:00:00"
    read = read_level2(granule, wanted)
    assert read.window.attrs["units"] == "K"
    rows, columns = slice(40, 72), slice(100, 132)  # as a tile, whose corners are its own pixels
    corners = ([40, 40, 71, 71], [100, 131, 131, 100])
    bounds = (read[name].values[corners][None] for name in ("latitude", "longitude"))
    [mean] = means_within(read.window.values, read.latitude.values, read.longitude.values, *bounds)
    expected = read.window[rows, columns].mean()
    assert abs(mean - float(expected)) < 0.5  # some pixels lie on its edges
    assert abs(mean - float(read.window.mean())) > 5
