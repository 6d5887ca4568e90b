import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from instruments.abi_l1b import write_abi_l1b
from instruments.ahi import area_places, write_ahi_hsd
from instruments.damage import rewrite
from instruments.finding import READERS, find_granules
from instruments.modis import radiance as modis_radiance
from instruments.modis import write_modis
from instruments.swath import swath_places
from instruments.viirs import write_viirs
from netCDF4 import Dataset

from pipeline.core.sphere import great_circle_km
from pipeline.files import granules
from pipeline.files.granules import (
    NetcdfConventions,
    UnusableGranuleError,
    naming,
    satellite,
)
from pipeline.files.mcmip import sector_grid

REAL = Path(__file__).parents[2] / "shared" / "data"
needs_real_data = pytest.mark.skipif(
    not REAL.exists(), reason=f"the real granules in {REAL} are not here"
)
BANDS = {"visible": ["C03", "visible"], "blue": ["C01"], "infrared_window": ["infrared_10_7um"]}
CONVENTIONS = NetcdfConventions({}, "latitude", "longitude", "", "")
read_granule = partial(granules.read_granule, netcdf=CONVENTIONS)
START = datetime(2025, 3, 20, 17, 0, 0)


# --- which files are granules ---


def _found(files: Sequence[Path | str]) -> list[tuple[str, int]]:
    """Platform and number of files of every granule, all files being of a known format."""
    found, others = find_granules(map(Path, files))
    assert others == []
    assert sum(len(granule.files) for granule in found) == len(files)
    return [(granule.platform, len(granule.files)) for granule in found]


def _abi(product: str, start: datetime, tenths: int = 0, satellite: str = "G19") -> str:
    end = start + timedelta(seconds=30)
    return (
        f"OR_ABI-{product}_{satellite}_s{start:%Y%j%H%M%S}{tenths}_e{end:%Y%j%H%M%S}0"
        f"_c{end:%Y%j%H%M%S}{tenths}.nc"
    )


def _fci(start: datetime, chunk: int) -> str:
    cycle = 1 + (start.hour * 60 + start.minute) // 10
    begin = start + timedelta(seconds=13 * chunk)
    end = begin + timedelta(seconds=20)
    return (
        "W_XX-EUMETSAT-Darmstadt,IMG+SAT,MTI1+FCI-1C-RRAD-FDHSI-FD--CHK-BODY--DIS-NC4E_C_EUMT_"
        f"{end:%Y%m%d%H%M%S}_IDPFI_OPE_{begin:%Y%m%d%H%M%S}_{end:%Y%m%d%H%M%S}"
        f"_N_JLS_C_{cycle:04d}_{chunk:04d}.nc"
    )


def test_satellites_and_minutes_of_viirs_are_told_apart() -> None:
    names = [
        f"V{satellite}{level}MOD.A2025079.{minute}.002.2025079{created}0000.nc"
        for minute in ("1700", "1706")
        for satellite in ("NP", "J1", "J2")
        for level, created in (("02", 23), ("03", 22))
    ]
    three = [("NOAA-20", 2), ("NOAA-21", 2), ("Suomi-NPP", 2)]
    assert _found(names) == [*three, *three]


def test_terra_and_aqua_at_one_minute_are_two_granules() -> None:
    names = [
        f"M{satellite}D{level}.A2025079.1700.061.2025079{created}0000.hdf"
        for satellite in "OY"
        for level, created in (("021KM", 23), ("03", 22))
    ]
    assert _found(names) == [("Terra", 2), ("Aqua", 2)]


def test_chunks_of_a_repeat_cycle_are_one_granule() -> None:
    starts = [START, START + timedelta(minutes=10), START + timedelta(days=1)]
    names = [_fci(start, chunk) for start in starts for chunk in range(1, 41)]
    assert _found(names) == 3 * [("Meteosat-12", 40)]
    cycles = {name[-12:-8] for name in names}
    assert cycles == {"0103", "0104"}


def test_bands_and_segments_of_ahi_are_one_granule_each_area() -> None:
    names = [
        f"HS_H09_20250320_{minute}_{band}_{area}_R20_S{segment}.DAT"
        for minute in ("1700", "1710")
        for band in ("B03", "B13")
        for area, segment in (("FLDK", "0110"), ("FLDK", "0210"), ("R301", "0101"))
    ]
    assert _found(names) == 2 * [("Himawari-9", 4), ("Himawari-9", 2)]


def test_every_scan_of_seviri_is_a_granule() -> None:
    names = [
        f"MSG{number}-SEVI-MSG15-0100-NA-20250320{end}.243000000Z-NA.nat"
        for end in ("171242", "172742")
        for number in (3, 4)
    ]
    assert _found(names) == 2 * [("Meteosat-10", 1), ("Meteosat-11", 1)]


def test_bands_of_abi_that_start_fractions_of_a_second_apart_are_one_granule() -> None:
    names = [
        _abi(f"L1b-Rad{sector}-M6C{band:02d}", start, tenths=band % 10, satellite=satellite)
        for start in (START, START + timedelta(seconds=30))
        for sector in ("M1", "M2", "F")
        for satellite in ("G18", "G19")
        for band in (2, 7, 14)
    ]
    assert sorted(_found(names)) == sorted(6 * [("GOES-18", 3)] + 6 * [("GOES-19", 3)])


def test_the_version_processed_last_comes_first() -> None:
    versions = {
        "modis_l1b": [
            f"MOD{level}.A2025079.1700.{version}.hdf"
            for version in ("006.2025080000000", "061.2025120000000", "061.2025090000000")
            for level in ("021KM", "03")
        ],
        "abi_l1b": [
            _abi(f"L1b-RadM1-M6C{band:02d}", START).replace("_c2025079", f"_c{day}")
            for day in ("2025079", "2025099", "2025089")
            for band in (7, 14)
        ],
    }
    for reader, names in versions.items():
        found, _ = find_granules(map(Path, names))
        assert [granule.reader for granule in found] == 3 * [reader]
        files = [{path.name for path in granule.files} for granule in found]
        assert files == [set(names[2:4]), set(names[4:]), set(names[:2])]


def test_single_and_all_band_imagery_of_one_scan_are_two_granules() -> None:
    names = [_abi(f"L2-CMIPM1-M6C{band:02d}", START) for band in (1, 2, 3)]
    names.append(_abi("L2-MCMIPM1-M6", START))
    found, _ = find_granules(map(Path, names))
    assert [(granule.reader, len(granule.files)) for granule in found] == [
        ("abi_l2_nc", 3),
        ("abi_l2_nc", 1),
    ]


@pytest.mark.parametrize(
    "names",
    [
        [_abi(f"L1b-RadC-M6C{band:02d}", START, band % 10) for band in (1, 2, 3)],
        [f"VNP{level}MOD.A2025079.1700.002.2025079230000.nc" for level in ("02", "03")],
        [_fci(START, chunk) for chunk in (1, 2, 40)],
    ],
)
def test_copies_are_granules_of_their_own(names: list[str]) -> None:
    files = [Path(folder) / name for folder in ("a", "b") for name in names]
    found, _ = find_granules(files)
    assert {granule.files for granule in found} == {
        tuple(Path(folder) / name for name in sorted(names)) for folder in ("a", "b")
    }


def test_twenty_thousand_names_take_seconds() -> None:
    starts = [START + timedelta(minutes=5 * number) for number in range(1250)]
    names = [
        _abi(f"L1b-RadC-M6C{band:02d}", start, band % 10)
        for start in starts
        for band in range(1, 17)
    ]
    begin = time.perf_counter()
    found, _ = find_granules(map(Path, names))
    assert len(found) == 1250
    assert time.perf_counter() - begin < 60  # 5 on a desktop of 2020


def test_bands_of_one_scan_are_one_granule() -> None:
    name = "OR_ABI-L1b-RadM1-M3C{}_G16_s20171931811268_e20171931811326_c2017193181137{}.nc"
    files = [Path("a") / name.format("01", 0), Path("a") / name.format("03", 1)]
    again = Path("b") / name.format("01", 2)
    found, _ = find_granules([*files, again])
    assert [granule.files for granule in found] == [(again, files[1]), (files[0],)]
    assert found[0].platform == "GOES-16"
    assert found[0].start_time == datetime(2017, 7, 12, 18, 11, 26, 800000)
    assert found[0].reader == "abi_l1b"


def test_files_of_no_known_format_are_told_apart(
    tmp_path: Path, write_geotiff: Callable[..., Path]
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("granule\n")
    tif = write_geotiff(tmp_path / "a.tif", {"visible": np.ones((2, 2))})
    found, others = find_granules([table, tif])
    assert [granule.name for granule in found] == ["a.tif"]
    assert others == [table]


# --- names of bands ---

WAVELENGTHS_UM = {
    "blue": (0.44, 0.49),
    "green": (0.51, 0.56),
    "red": (0.63, 0.68),
    "visible": (0.63, 0.68),
    "near_infrared": (0.81, 0.87),
    "near_infrared_1_6um": (1.60, 1.64),
    "near_infrared_2_2um": (2.13, 2.30),
    "shortwave_infrared": (3.70, 3.92),
    "water_vapour": (6.18, 6.72),
    "infrared_window": (10.35, 11.2),
    "infrared_12um": (12.0, 12.4),
}
NOT_BY_SATPY = {"blue", "green", "red", "visible", "water_vapour_6_5um", "infrared_10_7um"}
N_CHANNELS = {  # that the bands of each instrument serve
    "abi_l1b": 10,
    "abi_l2_nc": 10,
    "viirs_l1b": 10,
    "modis_l1b": 11,
    "fci_l1c_nc": 11,
    "seviri_l1b_native": 8,
    "ahi_hsd": 11,
}


def _wavelengths(reader: str) -> dict[str, float]:
    """Central wavelengths of the calibrated bands that satpy's reader knows, µm."""
    return {
        str(data["name"]): data["wavelength"][1]
        for data in naming._config(reader)["datasets"].values()
        if "wavelength" in data
        and any(kind in data["calibration"] for kind in ("reflectance", "brightness_temperature"))
    }


def test_every_band_of_the_parameters_is_one_of_its_readers(params: dict[str, Any]) -> None:
    known: dict[str, dict[str, float]] = defaultdict(dict)
    for reader in READERS:
        for name, wavelength in _wavelengths(reader).items():
            known[name][reader] = known[f"{reader}/{name}"][reader] = wavelength
    served = defaultdict(set)
    for channel, names in params["ingest"]["bands"].items():
        shortest, longest = WAVELENGTHS_UM[channel]
        for name in set(names) - NOT_BY_SATPY:
            assert known[name], name
            for reader, wavelength in known[name].items():
                assert shortest <= wavelength <= longest, (channel, name, reader)
                served[reader].add(channel)
    assert {reader: len(served[reader]) for reader in N_CHANNELS} == N_CHANNELS


# --- GeoTIFF ---


def test_geotiff_is_scaled_placed_and_masked(
    tmp_path: Path, write_geotiff: Callable[..., Path]
) -> None:
    visible = np.array([[12.34, 50.0], [np.nan, 100.0]])
    path = write_geotiff(tmp_path / "a.tif", {"visible": visible}, west=179.99, north=10.0)
    granule = read_granule([path], "geotiff", BANDS)
    np.testing.assert_allclose(granule.visible, visible, atol=1e-4)
    np.testing.assert_allclose(granule.latitude[:, 0], [9.99, 9.97], atol=1e-5)
    np.testing.assert_allclose(granule.longitude[0], [-180, -179.98], atol=1e-4)
    assert granule.visible.attrs == {"units": "percent", "sun_corrected": True}
    assert granule.attrs["platform"] == "GOES-13"
    assert granule.attrs["time"] == np.datetime64("2020-01-10T15:00:00")
    assert "infrared_window" not in granule


def test_a_date_is_completed_by_the_local_overpass_time(
    tmp_path: Path, write_geotiff: Callable[..., Path]
) -> None:
    path = write_geotiff(
        tmp_path / "a.tif",
        {"visible": np.ones((10, 10))},
        start_time="2008-11-01",
        west=-120.1,
        local_overpass_time="13:30",
    )
    [granule], _ = find_granules([path])
    assert granule.start_time == datetime(2008, 11, 1, 21, 30)


def test_a_granule_without_a_time_is_unusable(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=2,
        width=2,
        count=1,
        dtype="uint8",
        crs="EPSG:4326",
        transform=rasterio.transform.from_origin(5, 5, 1, 1),
    ) as file:
        file.write(np.full((2, 2), 255, np.uint8), 1)
        file.set_band_description(1, "visible")
    with pytest.raises(UnusableGranuleError, match="it has no tag start_time"):
        read_granule([path], "geotiff", BANDS)


# --- satellites ---

HOLE = (slice(10, 20), slice(30, 33))
REFLECTIVE = {"blue", "green", "red", "visible", "near_infrared"} | {
    "near_infrared_1_6um",
    "near_infrared_2_2um",
}


def _fields(channels: Mapping[str, str], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """By channel its own ramp with a hole: 10 to 80 percent, or 270 to 300 K."""
    share = np.linspace(0, 1, shape[0] * shape[1]).reshape(shape)
    fields = {}
    for power, channel in enumerate(channels, start=1):
        ramp = share ** (1 / power)
        fields[channel] = 10 + 70 * ramp if channel in REFLECTIVE else 270 + 30 * ramp
        fields[channel][HOLE] = np.nan
    return fields


def _as_written(fields: Mapping[str, np.ndarray], names: Mapping[str, str]) -> dict[str, Any]:
    """Fields by the names of the instrument's bands, reflectances as factors."""
    return {
        names[channel]: field / 100 if channel in REFLECTIVE else field
        for channel, field in fields.items()
    }


def _assert_bands(
    granule: xr.Dataset,
    fields: Mapping[str, np.ndarray],
    names: Mapping[str, str],
    wavelengths: Sequence[float],
) -> None:
    for (channel, expected), wavelength in zip(fields.items(), wavelengths, strict=True):
        band = granule[channel]
        # A count of ABI is up to 0.24 %, and at 3.9 µm 0.15 K at 270 K.
        np.testing.assert_allclose(band, expected, atol=0.13, err_msg=channel)
        assert band.dtype == np.float32
        assert band.attrs == {
            "units": "percent" if channel in REFLECTIVE else "K",
            "sun_corrected": False,
            "band": names[channel],
            "wavelength": pytest.approx(wavelength),
        }


def _assert_places(granule: xr.Dataset, latitude: np.ndarray, longitude: np.ndarray) -> None:
    found = granule.latitude.values.astype(float), granule.longitude.values.astype(float)
    assert great_circle_km(*found, latitude, longitude).max() < 0.01


ABI = {
    "blue": "C01",
    "visible": "C02",
    "near_infrared": "C03",
    "near_infrared_1_6um": "C05",
    "near_infrared_2_2um": "C06",
    "shortwave_infrared": "C07",
    "infrared_window": "C14",
    "infrared_12um": "C15",
}


def test_abi_of_three_resolutions_is_read_on_the_coarsest(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    fields = _fields(ABI, (60, 60))
    files = write_abi_l1b(
        tmp_path,
        latitude=15,
        longitude=-55,
        bands=_as_written(fields, ABI),
        start_time=START.replace(microsecond=300_000),
    )
    [found], _ = find_granules(files)
    granule = read_granule(found.files, found.reader, params["ingest"]["bands"])
    _assert_bands(granule, fields, ABI, (0.47, 0.64, 0.865, 1.61, 2.25, 3.9, 11.2, 12.3))
    grid = sector_grid(latitude=15, longitude=-55, n_pixels=60)
    _assert_places(granule, grid.latitude, grid.longitude)
    assert not {"solar_zenith_angle", "satellite_zenith_angle"} & set(granule)
    seconds = granule.scan_seconds.values[:, 0]  # 26 of them from north to south
    np.testing.assert_allclose(seconds, (np.arange(60) + 0.5) * 26 / 60, atol=0.01)
    assert granule.attrs == {
        "time": np.datetime64("2025-03-20T17:00:00.3"),
        "platform": "GOES-19",
        "satellite_longitude": pytest.approx(-75.2),
        "satellite_latitude": 0.0,
        "satellite_height": pytest.approx(35786023, abs=1),
    }
    finer = read_granule(files[:3], found.reader, params["ingest"]["bands"])
    assert finer.visible.shape == (120, 120)
    np.testing.assert_allclose(finer.visible[::2, 1::2], fields["visible"], atol=0.13)


def test_abi_past_the_limb_has_no_place(tmp_path: Path, params: dict[str, Any]) -> None:
    files = write_abi_l1b(
        tmp_path,
        latitude=70,
        longitude=-75,
        bands={"C14": np.full((500, 500), 280.0)},
        start_time=START,
    )
    granule = read_granule(files, "abi_l1b", params["ingest"]["bands"])
    off_earth = np.isnan(sector_grid(latitude=70, longitude=-75, n_pixels=500).latitude)
    assert off_earth.mean() == pytest.approx(0.4, abs=0.01)
    for name in ("latitude", "longitude", "infrared_window"):
        np.testing.assert_array_equal(np.isnan(granule[name]), off_earth)


AHI = {
    "blue": "B01",
    "green": "B02",
    "visible": "B03",
    "near_infrared": "B04",
    "near_infrared_1_6um": "B05",
    "near_infrared_2_2um": "B06",
    "shortwave_infrared": "B07",
    "infrared_window": "B14",
    "infrared_12um": "B15",
}


def test_ahi_is_read_on_the_coarsest_grid(tmp_path: Path, params: dict[str, Any]) -> None:
    fields = _fields(AHI, (60, 60))
    bands = _as_written(fields, AHI)
    files = write_ahi_hsd(tmp_path, latitude=-20, longitude=155, bands=bands, start_time=START)
    [found], _ = find_granules(files)
    granule = read_granule(found.files, found.reader, params["ingest"]["bands"])
    central = (0.47, 0.51, 0.64, 0.86, 1.6, 2.3, 3.9, 11.2, 12.4)
    _assert_bands(granule, fields, AHI, central)
    _assert_places(granule, *area_places(latitude=-20, longitude=155, n_pixels=60))
    # satpy's time is that of the timeline: whole ten minutes, for every target area of them too.
    assert granule.attrs["time"] == np.datetime64("2025-03-20T17:00")
    assert granule.attrs["platform"] == "Himawari-9"
    assert granule.attrs["satellite_longitude"] == pytest.approx(140.7)


def _overcast(shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """A storm whose core, the upper left quarter, is colder than 3.9 µm can tell."""
    core = np.zeros(shape, bool)
    core[: shape[0] // 2, : shape[1] // 2] = True
    return {
        "core": core,
        "shortwave_infrared": np.where(core, 60.0, 230.0),
        "infrared_window": np.where(core, 195.0, 228.0),
    }


@pytest.mark.parametrize("reader", ["abi_l1b", "ahi_hsd", "modis_l1b", "viirs_l1b"])
def test_cold_tops_without_a_signal_are_told_from_missing_pixels(
    reader: str, tmp_path: Path, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    storm = _overcast((20, 20))
    core = storm.pop("core")
    storm["shortwave_infrared"][-1, -1] = np.nan
    if reader == "viirs_l1b":  # its counts begin below zero, too
        storm = {name: np.tile(values, (2, 1))[:32] for name, values in storm.items()}
        core = np.tile(core, (2, 1))[:32]
        files, *_ = _write_swath(reader, tmp_path, storm)
        with Dataset(files[0], "a") as file:
            band = file["observation_data/M12"]
            band.set_auto_maskandscale(False)
            band[:] = np.where(core, 0, band[:])
    elif reader == "modis_l1b":

        def noisy(band: str, kelvin: np.ndarray) -> np.ndarray:
            return np.where(kelvin < 100, -0.01, modis_radiance(band, kelvin))

        monkeypatch.setattr("instruments.modis.radiance", noisy)
        files, *_ = _write_swath(reader, tmp_path, storm)
    else:
        write, names = {"abi_l1b": (write_abi_l1b, ABI), "ahi_hsd": (write_ahi_hsd, AHI)}[reader]
        place = {"latitude": 5, "longitude": -75 if reader == "abi_l1b" else 140}
        bands = {names[name]: values for name, values in storm.items()}
        files = write(tmp_path, bands=bands, start_time=START, **place)
    if reader == "abi_l1b":  # its counts begin below zero
        with Dataset(files[0], "a") as file:
            file.set_auto_maskandscale(False)
            radiances = file["Rad"][:]
            radiances[core] = 10
            file["Rad"][:] = radiances
    granule = read_granule(files, reader, params["ingest"]["bands"])
    found = granule.shortwave_infrared.values
    np.testing.assert_array_equal(found < 100, core)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(storm["shortwave_infrared"]))
    np.testing.assert_allclose(granule.infrared_window, storm["infrared_window"], atol=1)


TEMPERATURES_ALONE = {"abi_l1b_scmi", "abi_l2_nc", "ahi_hrit", "avhrr_l1b_gaclac"}


def test_every_reader_tells_the_radiance_at_3_9_um(params: dict[str, Any]) -> None:
    names = params["ingest"]["bands"]["shortwave_infrared"]
    calibrations = ("radiance", "brightness_temperature")
    for reader in READERS:
        found = [
            data
            for data in naming._config(reader)["datasets"].values()
            if str(data["name"]) in names and "wavelength" in data
        ]
        for data in found:
            assert data["wavelength"][1] < satellite.SHORTWAVE_UM
            told = [kind for kind in calibrations if kind in data["calibration"]]
            assert len(told) == 1 + (reader not in TEMPERATURES_ALONE)


VIIRS = {
    "blue": "M03",
    "green": "M04",
    "visible": "M05",
    "near_infrared": "M07",
    "near_infrared_1_6um": "M10",
    "near_infrared_2_2um": "M11",
    "shortwave_infrared": "M12",
    "infrared_window": "M15",
    "infrared_12um": "M16",
}
MODIS = dict(zip(VIIRS, ("3", "4", "1", "2", "6", "7", "20", "31", "32"), strict=True))
SWATHS: dict[str, tuple[Any, ...]] = {
    "viirs_l1b": (
        write_viirs,
        VIIRS,
        (0.488, 0.555, 0.672, 0.865, 1.61, 2.25, 3.7, 10.763, 12.013),
        {"product": "VJ1"},
        "NOAA-20",
    ),
    "modis_l1b": (
        write_modis,
        MODIS,
        (0.469, 0.555, 0.645, 0.8585, 1.64, 2.13, 3.75, 11.03, 12.02),
        {"platform": "Aqua"},
        "Aqua",
    ),
}


def _write_swath(reader: str, folder: Path, fields: Mapping[str, np.ndarray]) -> tuple[Any, ...]:
    """Paths, latitude, longitude, and the angles by their names in a granule."""
    write, names, _, options, _ = SWATHS[reader]
    shape = next(iter(fields.values())).shape
    latitude, longitude = swath_places(
        latitude=-15, longitude=180, n_rows=shape[0], n_columns=shape[1], resolution_km=1
    )
    share = np.linspace(0, 1, shape[0] * shape[1]).reshape(shape)
    angles = {
        "solar_zenith": 20 + 50 * share,
        "solar_azimuth": 170 * share,
        "view_zenith": 68 * share,
        "view_azimuth": -170 * share,
    }
    files = write(
        folder,
        bands=_as_written(fields, names),
        latitude=latitude,
        longitude=longitude,
        start_time=START,
        **angles,
        **options,
    )
    named = {f"{name}_angle".replace("view", "satellite"): each for name, each in angles.items()}
    return files, latitude, longitude, named


@pytest.mark.parametrize("reader", SWATHS)
def test_a_swath_is_read_with_its_angles(
    reader: str, tmp_path: Path, params: dict[str, Any]
) -> None:
    _, names, wavelengths, _, platform = SWATHS[reader]
    fields = _fields(names, (80, 80))
    files, *places, angles = _write_swath(reader, tmp_path, fields)
    [found], _ = find_granules(files)
    granule = read_granule(found.files, found.reader, params["ingest"]["bands"])
    _assert_bands(granule, fields, names, wavelengths)
    _assert_places(granule, *places)
    assert granule.longitude.max() > 179.5
    assert granule.longitude.min() < -179.5
    for name, degrees in angles.items():
        np.testing.assert_allclose(granule[name], degrees, atol=0.0051)
    assert granule.attrs == {"time": np.datetime64(START, "ns"), "platform": platform}


@pytest.mark.parametrize("reader", SWATHS)
def test_observations_without_geolocation_and_the_reverse_are_refused(
    reader: str, tmp_path: Path, params: dict[str, Any]
) -> None:
    fields = _fields({"visible": ""}, (80, 80))
    files, *_ = _write_swath(reader, tmp_path, fields)
    bands = params["ingest"]["bands"]
    for file, reason, detail in (
        (files[0], "lacks its geolocation", "no .*03.* file tells where its pixels lie"),
        (files[1], "lacks a band", "it has no band for blue, green.*; ingest.bands names those"),
    ):
        [granule], _ = find_granules([file])
        with pytest.raises(UnusableGranuleError, match=detail) as raised:
            read_granule(granule.files, granule.reader, bands)
        assert raised.value.reason == reason


def test_a_swath_without_its_angles_is_refused(tmp_path: Path, params: dict[str, Any]) -> None:
    files, *_ = _write_swath("viirs_l1b", tmp_path, _fields({"visible": ""}, (80, 80)))
    rewrite(files[1], lambda name: ({"solar_zenith": "sun"}.get(name, name), ...))
    with pytest.raises(UnusableGranuleError, match="no solar_azimuth_angle, no solar_zenith_angle"):
        read_granule(files, "viirs_l1b", params["ingest"]["bands"])


# --- damaged files ---


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"not an image", "unreadable"), (b"II*\x00\x08\x00", "damaged or truncated")],
)
def test_damaged_files_have_their_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(UnusableGranuleError, match=r"not recognized|a\.tif") as raised:
        read_granule([path], "geotiff", BANDS)
    assert raised.value.reason == reason
    [granule], _ = find_granules([path])
    assert granule.start_time is None


@pytest.mark.parametrize("share", [0.001, 0.5, 0.98])
def test_truncated_abi_and_ahi_have_their_reason(share: float, tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(260, 300, (40, 40))
    place = {"latitude": 0, "start_time": START}
    abi = write_abi_l1b(tmp_path, longitude=-75, bands={"C14": values}, **place)
    ahi = write_ahi_hsd(tmp_path, longitude=140, bands={"B14": values}, **place)
    for [path], reader in ((abi, "abi_l1b"), (ahi, "ahi_hsd")):
        path.write_bytes(path.read_bytes()[: max(8, int(share * path.stat().st_size))])
        with pytest.raises(UnusableGranuleError) as raised:
            read_granule([path], reader, {"window": ["C14", "B14"]})
        assert raised.value.reason == "damaged or truncated"


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    name = _abi("L1b-RadM1-M6C14", START)
    (tmp_path / "directory" / name).mkdir(parents=True)
    for folder in ("empty", "page", "link"):
        (tmp_path / folder).mkdir()
    (tmp_path / "empty" / name).touch()
    (tmp_path / "page" / name).write_text("<html>503 Slow Down</html>")
    (tmp_path / "link" / name).symlink_to(tmp_path / "nowhere")
    details = {
        "directory": "is a directory",
        "empty": "has no content",
        "page": ".",
        "link": "is a link to nothing, or gone",
        "gone": "is a link to nothing, or gone",
    }
    for folder, detail in details.items():
        with pytest.raises(UnusableGranuleError, match=detail) as raised:
            read_granule([tmp_path / folder / name], "abi_l1b", {"window": ["C14"]})
        assert raised.value.reason == "unreadable"


# --- real files ---


@needs_real_data
@pytest.mark.parametrize(
    ("pattern", "reader", "blue"), [("*L1b*", "abi_l1b", 29.446), ("*L2*", "abi_l2_nc", 30.241)]
)
def test_real_abi_files(pattern: str, reader: str, blue: float) -> None:
    [granule], others = find_granules((REAL / "abi").glob(pattern))
    assert granule.reader == reader
    assert len(granule.files) == 2
    assert others == []
    scene = read_granule(granule.files, granule.reader, BANDS)
    assert scene.visible.shape == (1000, 1000)
    assert scene.visible.attrs["units"] == "percent"
    assert float(scene.blue.mean()) == pytest.approx(blue, abs=0.01)
    assert float(scene.latitude.mean()) == pytest.approx(40.18, abs=0.01)
    assert float(scene.longitude.mean()) == pytest.approx(-101.34, abs=0.01)


@needs_real_data
def test_real_abi_levels_agree() -> None:
    found, _ = find_granules((REAL / "abi").iterdir())
    first, second = (read_granule(granule.files, granule.reader, BANDS) for granule in found)
    # The two products use slightly different solar constants and packing.
    np.testing.assert_allclose(first.visible.values.mean(), second.visible.values.mean(), rtol=0.03)
    correlation = np.corrcoef(first.visible.values.ravel(), second.visible.values.ravel())[0, 1]
    assert correlation > 0.999


@needs_real_data
def test_real_geotiffs() -> None:
    found, others = find_granules(
        path for folder in ("goes13", "modis_true_colour") for path in (REAL / folder).iterdir()
    )
    assert [path.name for path in others] == ["labels_128px.csv"]
    assert len(found) == 55 + 502
    assert {granule.platform for granule in found} == {"GOES-13", "Terra", "Aqua"}
    goes = next(granule for granule in found if granule.platform == "GOES-13")
    scene = read_granule(goes.files, "geotiff", BANDS)
    assert scene.visible.shape == (461, 720)
    assert scene.attrs["time"] == np.datetime64("2017-09-06T13:45")
    assert 185 < scene.infrared_window.min() < scene.infrared_window.max() < 310
    modis = read_granule(found[0].files, "geotiff", {"red": ["red"]})
    assert modis.red.shape == (427, 640)
    assert 0 <= float(modis.red.min()) < float(modis.red.max()) <= 100
