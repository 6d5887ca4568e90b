"""Granules in the true formats of instruments, read back by satpy's own readers."""

import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instruments import abi_l1b, ahi, modis, viirs
from instruments.abi_l1b import write_abi_l1b
from instruments.ahi import write_ahi_hsd
from instruments.modis import write_modis
from instruments.swath import swath_places
from instruments.viirs import write_viirs
from netCDF4 import Dataset
from satpy.dataset import DataQuery
from satpy.scene import Scene

from pipeline.core import planck
from pipeline.core.sphere import great_circle_km
from pipeline.files.mcmip import WAVELENGTHS_UM, sector_grid

REAL = Path(__file__).parents[2] / "shared" / "data" / "abi"
START = datetime(2025, 1, 1, 12)
NOON_GOES_EAST = datetime(2025, 3, 20, 17, 0, 0, 300_000)
MISSING = (slice(10, 20), slice(30, 33))
ANGLES = (
    "solar_zenith_angle",
    "solar_azimuth_angle",
    "satellite_zenith_angle",
    "satellite_azimuth_angle",
)
SWATHS = {
    "viirs_l1b": (write_viirs, (64, 80), ("M05", "M12", "M15", "M16"), ("m_lat", "m_lon"), 742),
    "modis_l1b": (
        write_modis,
        (60, 80),
        ("1", "2", "3", "4", "20", "31", "32"),
        ("latitude", "longitude"),
        1000,
    ),
}


def _fields(names: Sequence[str], reflective: Sequence[str], shape: tuple[int, int]) -> dict:
    """Each band its own ramp, with a hole: 0 to 1, or from 230 K."""
    share = np.linspace(0, 1, shape[0] * shape[1]).reshape(shape)
    fields = {
        name: share**power if name in reflective else 230 + 80 * share**power
        for power, name in enumerate(names, start=1)
    }
    for field in fields.values():
        field[MISSING] = np.nan
    return fields


def _load(reader: str, files: Sequence[Path], names: Sequence[Any], **kwargs: Any) -> Scene:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scene = Scene(filenames=[str(file) for file in files], reader=reader)
        scene.load(names, **kwargs)
        for name in names:
            scene[name].load()
    return scene


def _half_step_k(radiance: Callable[..., Any], step: float, temperature: np.ndarray) -> np.ndarray:
    """Half a count of radiance in K, a little widened for the curvature and float32."""
    slope = radiance(temperature + 0.5) - radiance(temperature - 0.5)
    return 1.1 * 0.5 * step / slope + 0.005


def _assert_within(found: np.ndarray, expected: np.ndarray, tolerance: Any) -> None:
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    there = np.isfinite(expected)
    assert (np.abs(found - expected)[there] <= np.broadcast_to(tolerance, found.shape)[there]).all()


def _assert_same_places(found: tuple, expected: tuple) -> None:
    """Latitudes and longitudes to a metre, however the longitudes are wound."""
    assert great_circle_km(*(np.asarray(part, float) for part in (*found, *expected))).max() < 0.01


# --- ABI ---


def _write_abi(folder: Path, platform: str = "G19") -> tuple[list[Path], dict]:
    fields = _fields(
        ("C01", "C02", "C03", "C05", "C07", "C13", "C15"), ("C01", "C02", "C03", "C05"), (60, 60)
    )
    files = write_abi_l1b(
        folder,
        latitude=15,
        longitude=-55,
        bands=fields,
        start_time=NOON_GOES_EAST,
        platform=platform,
    )
    return files, fields


def test_abi_l1b_radiances_are_read_as_reflectance_and_temperature(tmp_path: Path) -> None:
    files, fields = _write_abi(tmp_path)
    assert files[1].name == (
        "OR_ABI-L1b-RadM1-M6C02_G19_s20250791700003_e20250791700263_c20250791700313.nc"
    )
    scene = _load("abi_l1b", files, list(fields))
    assert scene.start_time == NOON_GOES_EAST
    for name, values in fields.items():
        read, packing = scene[name], abi_l1b.PACKING[name]
        finer = abi_l1b.FINER.get(name, 1)
        expected = np.kron(values, np.ones((finer, finer)))
        if name in abi_l1b.SOLAR_IRRADIANCE:
            white = abi_l1b.radiance(name, np.asarray(1.0), NOON_GOES_EAST)
            _assert_within(read.values, 100 * expected, 51 * packing.scale / white)
        else:

            def radiance(temperature: np.ndarray, band: str = name) -> np.ndarray:
                return abi_l1b.radiance(band, temperature, NOON_GOES_EAST)

            _assert_within(read.values, expected, _half_step_k(radiance, packing.scale, expected))
        assert read.attrs["units"] == ("%" if name in abi_l1b.SOLAR_IRRADIANCE else "K")
        assert read.attrs["platform_name"] == "GOES-19"
        assert read.attrs["sensor"] == "abi"
        assert read.attrs["start_time"] == NOON_GOES_EAST
        assert read.attrs["modifiers"] == ()
        assert read.attrs["resolution"] == 2000 / finer
        assert read.attrs["wavelength"].central == pytest.approx(WAVELENGTHS_UM[name], abs=0.02)


def test_abi_l1b_lies_on_its_sector_at_every_resolution(tmp_path: Path) -> None:
    files, fields = _write_abi(tmp_path)
    scene = _load("abi_l1b", files, ["C02", "C13"])
    grid = sector_grid(latitude=15, longitude=-55, n_pixels=60)
    longitude, latitude = scene["C13"].attrs["area"].get_lonlats()
    _assert_same_places((latitude, longitude), (grid.latitude, grid.longitude))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # means of blocks that are missing
        coarse = scene.resample(scene.coarsest_area(), resampler="native")["C02"].values
    step = 51 * abi_l1b.PACKING["C02"].scale / abi_l1b.radiance("C02", 1.0, NOON_GOES_EAST)
    _assert_within(coarse, 100 * fields["C02"], step)


def test_abi_l1b_reflectance_is_not_divided_by_the_cosine_of_the_sun(tmp_path: Path) -> None:
    files, _ = _write_abi(tmp_path)
    corrected = DataQuery(name="C03", modifiers=("sunz_corrected",))
    plain = _load("abi_l1b", files, ["C03"])["C03"]
    divided = _load("abi_l1b", files, [corrected])[corrected]
    ratio = (plain / divided).values[np.isfinite(plain.values) & (plain.values > 10)]
    assert divided.attrs["modifiers"] == ("sunz_corrected",)
    assert 0.88 < ratio.min() < ratio.max() < 0.97  # the sun 24 degrees west, 15 south, at equinox


def test_abi_l1b_flags_what_is_missing_or_out_of_range(tmp_path: Path) -> None:
    values = np.full((20, 20), 0.5)
    values[0, 0], values[1, 1] = np.nan, 5.0
    [path] = write_abi_l1b(
        tmp_path, latitude=0, longitude=-75, bands={"C06": values}, start_time=START
    )
    with Dataset(path) as file:
        file.set_auto_maskandscale(False)
        counts, flags = file["Rad"][:], file["DQF"][:]
    assert (counts[0, 0], flags[0, 0]) == (1023, 3)
    assert (counts[1, 1], flags[1, 1]) == (1022, 2)
    assert flags.sum() == 5


def test_abi_l1b_beyond_the_limb_is_missing(tmp_path: Path) -> None:
    warm = np.full((500, 500), 280.0)
    files = write_abi_l1b(
        tmp_path, latitude=70, longitude=-75, bands={"C13": warm}, start_time=START
    )
    grid = sector_grid(latitude=70, longitude=-75, n_pixels=500)
    read = _load("abi_l1b", files, ["C13"])["C13"]
    np.testing.assert_array_equal(np.isnan(read.values), np.isnan(grid.latitude))


@pytest.mark.parametrize("band", abi_l1b.PLANCK)
def test_abi_coefficients_are_those_of_the_wavelength(band: str) -> None:
    fk1, fk2, *_ = abi_l1b.PLANCK[band]
    wavenumber = 1e4 / WAVELENGTHS_UM[band]  # cm-1
    assert fk2 == pytest.approx(planck.SECOND_RADIATION_CONSTANT * 1e-4 * wavenumber, rel=0.01)
    per_wavenumber = planck.FIRST_RADIATION_CONSTANT * 1e-13  # mW m-2 sr-1 cm4
    assert fk1 == pytest.approx(per_wavenumber * (fk2 / 1.438777) ** 3, rel=1e-4)


@pytest.mark.skipif(not REAL.exists(), reason=f"the real granules in {REAL} are not here")
def test_abi_l1b_has_the_variables_of_a_real_file(tmp_path: Path) -> None:
    files, _ = _write_abi(tmp_path, platform="G16")
    with Dataset(next(REAL.glob("OR_ABI-L1b-*C03_*"))) as real, Dataset(files[2]) as ours:
        for name, variable in ours.variables.items():
            assert variable.dtype == real[name].dtype, name
            assert variable.dimensions == real[name].dimensions, name
            assert set(variable.ncattrs()) <= {*real[name].ncattrs(), "_FillValue"}, name
        assert set(ours.ncattrs()) <= {*real.ncattrs(), "timeline_id"}
        for name in ("scale_factor", "add_offset", "valid_range", "_FillValue", "units"):
            assert np.array_equal(ours["Rad"].getncattr(name), real["Rad"].getncattr(name)), name
        assert ours["esun"][...] == pytest.approx(float(real["esun"][...]), rel=1e-3)
        july = float(real["earth_sun_distance_anomaly_in_AU"][...])
        assert abi_l1b.sun_distance(datetime(2017, 7, 12)) == pytest.approx(july, abs=2e-4)


# --- swaths ---


def _write_swath(
    reader: str, folder: Path, *, latitude: float = 20, longitude: float = 30, **kwargs: Any
) -> tuple[list[Path], dict, tuple, dict]:
    write, shape, names, _, _ = SWATHS[reader]
    places = swath_places(
        latitude=latitude,
        longitude=longitude,
        n_rows=shape[0],
        n_columns=shape[1],
        resolution_km=1,
    )
    fields = _fields(names, ("M05", "1", "2", "3", "4"), shape)
    share = np.linspace(0, 1, shape[0] * shape[1]).reshape(shape)
    angles = dict(
        zip(ANGLES, (20 + 50 * share, 350 * share, 68 * share, -170 * share), strict=True)
    )
    files = write(
        folder,
        bands=fields,
        latitude=places[0],
        longitude=places[1],
        solar_zenith=angles["solar_zenith_angle"],
        solar_azimuth=angles["solar_azimuth_angle"],
        view_zenith=angles["satellite_zenith_angle"],
        view_azimuth=angles["satellite_azimuth_angle"],
        start_time=START,
        **kwargs,
    )
    return files, fields, places, angles


def _swath_tolerance(name: str, values: np.ndarray) -> Any:
    if name.startswith("M"):
        step, _ = viirs.packing(name)
        if name in viirs.SATURATION_K:
            centre = viirs.CENTRES_UM[name]
            return _half_step_k(lambda t: planck.radiance(centre, t), step, values)
        return 51 * step
    if name in modis.SPECTRAL:
        step, _ = modis.RADIANCE_PACKING[name]
        return _half_step_k(lambda t: modis.radiance(name, t), step, values)
    return 51 * modis.REFLECTANCE_SCALES[name]


@pytest.mark.parametrize(
    ("reader", "names"),
    [
        (
            "viirs_l1b",
            [
                "VNP02MOD.A2025001.1200.002.2025001180000.nc",
                "VNP03MOD.A2025001.1200.002.2025001180000.nc",
            ],
        ),
        (
            "modis_l1b",
            [
                "MOD021KM.A2025001.1200.061.2025001180000.hdf",
                "MOD03.A2025001.1200.061.2025001150000.hdf",
            ],
        ),
    ],
)
def test_a_swath_is_read_as_it_was_written(reader: str, names: list[str], tmp_path: Path) -> None:
    files, fields, places, angles = _write_swath(reader, tmp_path)
    assert [file.name for file in files] == names
    place_names, resolution = SWATHS[reader][3:]
    scene = _load(reader, files, [*fields, *place_names, *ANGLES], resolution=resolution)
    assert scene.start_time == START
    platform = {"viirs_l1b": "Suomi-NPP", "modis_l1b": "Terra"}[reader]
    for name, values in fields.items():
        read, reflective = scene[name], np.nanmax(values) <= 1
        expected = 100 * values if reflective else values
        _assert_within(read.values, expected, _swath_tolerance(name, values))
        assert read.attrs["units"] == ("%" if reflective else "K")
        assert read.attrs["platform_name"] == platform
        assert read.attrs["sensor"] == reader.removesuffix("_l1b")
        assert read.attrs["start_time"] == START
        assert read.attrs["modifiers"] == ()
        assert read.attrs["rows_per_scan"] == {"viirs_l1b": 16, "modis_l1b": 10}[reader]
        longitude, latitude = read.attrs["area"].get_lonlats()
        _assert_same_places((np.asarray(latitude), np.asarray(longitude)), places)
    _assert_same_places(tuple(scene[name].values for name in place_names), places)
    for name, degrees in angles.items():
        turned = (degrees + 180) % 360 - 180
        assert np.abs(scene[name].values - turned).max() < 0.00501, name


@pytest.mark.parametrize("reader", SWATHS)
def test_the_reflectance_of_a_swath_is_not_divided_by_the_cosine_of_the_sun(
    reader: str, tmp_path: Path
) -> None:
    """satpy's own correction divides what these files hold."""
    files, *_, angles = _write_swath(reader, tmp_path)
    name = SWATHS[reader][2][0]
    resolution = SWATHS[reader][4]
    corrected = DataQuery(name=name, modifiers=("sunz_corrected",))
    plain = _load(reader, files, [name], resolution=resolution)[name]
    divided = _load(reader, files, [corrected], resolution=resolution)[corrected]
    bright = plain.values > 10
    ratio = (plain / divided).values[bright]
    if reader == "modis_l1b":  # by the angles of the file; viirs_l1b computes its own
        cosine = np.cos(np.deg2rad(angles["solar_zenith_angle"]))[bright]
        np.testing.assert_allclose(ratio, cosine, atol=2e-4)
    assert ratio.max() < 0.95
    assert divided.attrs["modifiers"] == ("sunz_corrected",)


@pytest.mark.parametrize("reader", SWATHS)
@pytest.mark.parametrize(("latitude", "longitude"), [(-15.0, 180.0), (89.9, 40.0), (-89.9, 40.0)])
def test_a_swath_crosses_the_date_line_and_the_poles(
    reader: str, latitude: float, longitude: float, tmp_path: Path
) -> None:
    files, _, places, _ = _write_swath(reader, tmp_path, latitude=latitude, longitude=longitude)
    band, resolution = SWATHS[reader][2][0], SWATHS[reader][4]
    read = _load(reader, files, [band], resolution=resolution)[band]
    found = [np.asarray(degrees) for degrees in read.attrs["area"].get_lonlats()]
    _assert_same_places((found[1], found[0]), places)
    assert found[0].min() < -179
    assert found[0].max() > 179
    assert np.abs(found[1]).max() > (89.98 if abs(latitude) > 89 else 15)


@pytest.mark.parametrize(
    ("reader", "options", "platform"),
    [
        ("viirs_l1b", {"product": "VJ1"}, "NOAA-20"),
        ("viirs_l1b", {"product": "VJ2"}, "NOAA-21"),
        ("modis_l1b", {"platform": "Aqua"}, "Aqua"),
    ],
)
def test_sister_satellites_are_told_apart(
    reader: str, options: dict[str, str], platform: str, tmp_path: Path
) -> None:
    files, *_ = _write_swath(reader, tmp_path, **options)
    name = SWATHS[reader][2][0]
    read = _load(reader, files, [name], resolution=SWATHS[reader][4])[name]
    assert read.attrs["platform_name"] == platform


@pytest.mark.parametrize(("write", "rows"), [(write_viirs, 60), (write_modis, 64)])
def test_rows_that_are_not_whole_scans_are_refused(
    write: Callable[..., list[Path]], rows: int, tmp_path: Path
) -> None:
    field = np.zeros((rows, 20))
    names = ("latitude", "longitude", "solar_zenith", "solar_azimuth")
    places = dict.fromkeys((*names, "view_zenith", "view_azimuth"), field)
    with pytest.raises(ValueError, match=f"{rows} rows are not whole scans"):
        write(tmp_path, bands={}, start_time=START, **places)


def test_modis_loses_what_is_past_the_range_of_its_counts(tmp_path: Path) -> None:
    shape = (20, 30)
    field = np.zeros(shape)
    bright = np.full(shape, 0.9)
    bright[:5] = 1.2
    latitude, longitude = swath_places(
        latitude=0, longitude=0, n_rows=20, n_columns=30, resolution_km=1
    )
    files = write_modis(
        tmp_path,
        bands={"2": bright},
        latitude=latitude,
        longitude=longitude,
        solar_zenith=field,
        solar_azimuth=field,
        view_zenith=field,
        view_azimuth=field,
        start_time=START,
    )
    scene = _load("modis_l1b", files, ["1", "2"], resolution=1000)
    assert np.isnan(scene["2"].values[:5]).all()
    np.testing.assert_allclose(scene["2"].values[5:], 90, atol=0.01)
    assert np.isnan(scene["1"].values).all()  # listed by the reader, empty in the file


@pytest.mark.parametrize(
    ("latitude", "longitude"), [(0.0, 0.0), (-40.0, 179.99), (89.95, 10.0), (-75.0, -180.0)]
)
def test_a_plain_swath_is_even_around_its_place(latitude: float, longitude: float) -> None:
    latitudes, longitudes = swath_places(
        latitude=latitude, longitude=longitude, n_rows=41, n_columns=31, resolution_km=2.0
    )
    place = np.array(latitude), np.array(longitude)
    assert great_circle_km(latitudes[20, 15], longitudes[20, 15], *place) < 1e-3
    along = great_circle_km(latitudes[:-1], longitudes[:-1], latitudes[1:], longitudes[1:])
    across = great_circle_km(
        latitudes[:, :-1], longitudes[:, :-1], latitudes[:, 1:], longitudes[:, 1:]
    )
    np.testing.assert_allclose(along, 2.0, rtol=1e-4)
    np.testing.assert_allclose(across, 2.0, rtol=1e-4)
    assert longitudes.min() >= -180
    assert longitudes.max() < 180


def test_a_swath_looks_along_its_heading() -> None:
    latitudes, longitudes = swath_places(
        latitude=0, longitude=0, n_rows=3, n_columns=3, resolution_km=1, heading=0
    )
    assert (np.diff(latitudes[:, 1]) > 0).all()
    assert (np.diff(longitudes[1]) > 0).all()


# --- AHI ---


def test_ahi_hsd_is_read_as_it_was_written(tmp_path: Path) -> None:
    fields = _fields(("B03", "B04", "B06", "B07", "B13"), ("B03", "B04", "B06"), (60, 60))
    files = write_ahi_hsd(tmp_path, latitude=-20, longitude=155, bands=fields, start_time=START)
    assert files[0].name == "HS_H09_20250101_1200_B03_R301_R05_S0101.DAT"
    scene = _load("ahi_hsd", files, list(fields))
    assert scene.start_time == START
    for name, values in fields.items():
        read, finer, (step, _) = scene[name], ahi.FINER.get(name, 1), ahi.packing(name)
        expected = np.kron(values, np.ones((finer, finer)))
        if int(name[1:]) < 7:
            _assert_within(read.values, 100 * expected, 51 * step)
        else:

            def radiance(temperature: np.ndarray, band: str = name) -> np.ndarray:
                return planck.radiance(ahi.CENTRES_UM[band], temperature)

            _assert_within(read.values, expected, _half_step_k(radiance, -step, expected))
        assert read.attrs["platform_name"] == "Himawari-9"
        assert read.attrs["modifiers"] == ()
        assert read.attrs["wavelength"].central == pytest.approx(ahi.CENTRES_UM[name], abs=0.05)
    places = ahi.area_places(latitude=-20, longitude=155, n_pixels=60)
    longitude, latitude = scene["B13"].attrs["area"].get_lonlats()
    _assert_same_places((latitude, longitude), places)
    assert great_circle_km(places[0][30, 30], places[1][30, 30], np.array(-20), np.array(155)) < 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # means of blocks that are missing
        coarse = scene.resample(scene.coarsest_area(), resampler="native")["B03"].values
    _assert_within(coarse, 100 * fields["B03"], 51 * ahi.packing("B03")[0])
