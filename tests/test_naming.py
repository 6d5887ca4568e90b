"""Which files satpy's readers are told to read, by their names and lines of parameters."""

import logging
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import satpy
import xarray as xr
import yaml
from instruments.abi_l1b import write_abi_l1b
from instruments.ahi import write_ahi_hsd
from instruments.finding import PARAMS, READERS, find_granules
from instruments.swath import swath_places
from instruments.viirs import write_viirs
from tiny_flow import prepare, run_stage

from pipeline.files import granules
from pipeline.files.granules import NetcdfConventions, UnusableGranuleError, naming

START = datetime(2025, 3, 20, 17)
CONVENTIONS = NetcdfConventions({}, "latitude", "longitude", "", "")
CLASS_ORDER = "OR_ABI-L{}_G16_s20200010000216_e20200010009535_c20200010010022-118900_0.nc"


def _read(granule: granules.Granule, bands: dict[str, list[str]]) -> Any:
    return granules.read_granule(granule.files, granule.reader, bands, netcdf=CONVENTIONS)


@pytest.mark.parametrize(
    ("reader", "platform", "names"),
    [
        (
            "seviri_l1b_hrit",
            "Meteosat-11",
            [
                f"H-000-MSG4__-MSG4________-{part}-202009060015-__"
                for part in (
                    "IR_039___-000004___",
                    "IR_108___-000004___",
                    "IR_108___-000005___",
                    "_________-EPI______",
                    "_________-PRO______",
                )
            ],
        ),
        (
            "viirs_sdr",
            "Suomi-NPP",
            [
                f"{kind}_npp_d20120225_t1801245_e1802487_b01708_c20120226{made}_noaa_ops.h5"
                for kind, made in (
                    ("GMTCO", "001734123892"),
                    ("SVM05", "002130255476"),
                    ("SVM15", "002131255476"),
                )
            ],
        ),
        (
            "viirs_compact",
            "Suomi-NPP",
            ["SVMC_npp_d20120225_t1801245_e1802487_b01708_c20120226002130255476_eum_ops.h5"],
        ),
        ("avhrr_l1b_gaclac", "NJ", ["NSS.GHRR.NJ.D95056.S1116.E1303.B0080506.GC"]),
        (
            "abi_l1b_scmi",
            "G16",
            [
                f"OR_EFD-020-B12-M3C{band}-T{tile:03d}_G16_s2018010120000_c2018010120500.nc"
                for band in ("03", "13")
                for tile in (1, 2)
            ],
        ),
        (
            "ahi_hrit",
            "unknown",
            [
                f"IMG_DK01{band}_202001010000_{part:03d}"
                for band in ("B14", "VIS")
                for part in (1, 2)
            ],
        ),
        (
            "seviri_l1b_nc",
            "Meteosat-10",
            ["W_XX-EUMETSAT-Darmstadt,VIS+IR+HRV+IMAGERY,MSG3+SEVIRI_C_EUMG_20200906001500.nc"],
        ),
    ],
)
def test_files_of_a_granule_are_put_together(reader: str, platform: str, names: list[str]) -> None:
    [granule], others = find_granules(map(Path, names))
    assert (granule.reader, granule.platform) == (reader, platform)
    assert sorted(path.name for path in granule.files) == sorted(names)
    assert others == []


@pytest.mark.parametrize(
    ("reader", "name"),
    [
        ("abi_l1b", CLASS_ORDER.format("1b-RadF-M6C13")),
        ("abi_l2_nc", CLASS_ORDER.format("2-CMIPF-M6C13")),
        ("abi_l2_nc", CLASS_ORDER.format("2-MCMIPF-M6")),
        ("viirs_l1b", "VNP02MOD_NRT.A2024001.0000.002.nrt.nc"),
        ("viirs_l1b", "VNP02MOD.A2024001.0000.002.nrt.nc"),
        ("viirs_l1b", "VJ102MOD.A2024001.0006.002.2024001010203.nrt.nc"),
        ("modis_l1b", "MOD021KM.A2020001.0000.061.NRT.hdf"),
        ("modis_l1b", "MOD021KM.A2020001.0000.061.2020001070000 (1).hdf"),
        ("modis_l1b", "MYD03.A2020001.0000.061.2020001070000.hdf.1"),
    ],
)
def test_names_that_archives_and_browsers_change_are_known(reader: str, name: str) -> None:
    [granule], _ = find_granules([Path(name)])
    assert granule.reader == reader
    assert granule.name == name


def test_granules_are_read_under_the_names_of_an_order(tmp_path: Path) -> None:
    field = np.linspace(230, 300, 400).reshape(20, 20)
    [path] = write_abi_l1b(
        tmp_path, latitude=15, longitude=-55, bands={"C13": field}, start_time=START
    )
    ordered = path.rename(path.with_name(path.name.replace(".nc", "-118900_0.nc")))
    again = ordered.with_name(ordered.name.replace(".nc", " (1).nc"))
    again.symlink_to(ordered)
    for name in (ordered, again):
        [granule], _ = find_granules([name])
        read = _read(granule, {"infrared_window": ["C13"]})
        np.testing.assert_allclose(read.infrared_window, field, atol=0.2)
    assert sorted(tmp_path.iterdir()) == sorted([again, ordered])  # no link is left


ABI = "OR_ABI-L1b-RadM1-M6C13_G16_s20250791700000_e20250791700000_c20250791700000.nc"
SDR = "{}_npp_d20120225_t1801245_e1802487_b01708_c20120226001734123892_noaa_ops.h5"
NSS = "NSS.{}.NJ.D95056.S1116.E1303.B0080506.GC"


@pytest.mark.parametrize(
    "name",
    [
        *(SDR.format(kind) for kind in ("SATMS", "SCRIF", "GATMO", "GCRSO", "IICMO", "VICMO")),
        *(SDR.format(kind) for kind in ("IVAOT", "REDRO", "TATMS", "SOMPS", "GOTCO")),
        *(NSS.format(kind) for kind in ("HIRX", "AMAX", "AMBX", "MHSX", "TOVS", "SSUX")),
        *(f"{ABI}.{suffix}" for suffix in ("md5", "part", "aria2", "aux.xml", "xml", "sha256")),
        *(f"{ABI}.{suffix}" for suffix in ("crdownload", "tmp", "gz", "ovr")),
    ],
)
def test_files_of_others_and_beside_data_are_no_granules(name: str) -> None:
    granule, sidecar = Path(ABI), Path(name)
    [found], others = find_granules([granule, sidecar])
    assert found.files == (granule,)
    assert others == [sidecar]
    assert naming.resembled_readers(sidecar, READERS) == ([] if "gz" not in name else ["abi_l1b"])


@pytest.mark.parametrize(
    ("reader", "name"),
    [
        ("viirs_sdr", SDR.format("GMODO-SVM01-SVM15")),
        ("viirs_sdr", SDR.format("GDNBO-SVDNB")),
        *(("viirs_sdr", SDR.format(kind)) for kind in ("SVI05", "SVM16", "GITCO", "GIMGO")),
        ("viirs_compact", SDR.format("SVMC").replace("noaa", "eum")),
        ("viirs_compact", SDR.format("SVDNBC").replace("noaa", "eum")),
        *(("avhrr_l1b_gaclac", NSS.format(kind)) for kind in ("GHRR", "LHRR", "HRPT", "FRAC")),
        ("abi_l1b", ABI),
        ("abi_l1b", f"{ABI}4"),
    ],
)
def test_a_name_is_of_one_reader_whatever_their_order(reader: str, name: str) -> None:
    taken = {each: [*naming.named_files([Path(name)], each, READERS[each])] for each in READERS}
    assert [each for each, files in taken.items() if files] == [reader]


HSD = "HS_H08_20200101_0000_B14_FLDK_R20_S{:02d}10.DAT"
HRIT = "H-000-MSG4__-MSG4________-IR_108___-{:06d}___-202009060015-__"


@pytest.mark.parametrize(
    ("reader", "name", "n_segments"), [("ahi_hsd", HSD, 10), ("seviri_l1b_hrit", HRIT, 8)]
)
def test_a_disk_is_in_parts_until_its_last_segment(reader: str, name: str, n_segments: int) -> None:
    names = [Path(name.format(segment)) for segment in range(1, n_segments + 1)]
    assert naming.is_part_of_disk(names[:-1], reader)
    assert not naming.is_part_of_disk(names, reader)
    assert not naming.is_part_of_disk([names[0], names[2]], reader)


def test_names_that_only_begin_as_a_readers_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "0")
    folder = tmp_path / "mine"
    field = np.full((20, 20), 280.0)
    write_abi_l1b(folder, latitude=15, longitude=-55, bands={"C13": field}, start_time=START)
    (folder / "MOD021KM.A2020001.hdf").write_bytes(b"\x0e\x03\x13\x01")
    (folder / "OR_ABI-L2-CMIPF-M6C13_G16_s2020001.nc").write_bytes(b"CDF")
    (folder / f"{ABI}.part").write_bytes(b"CDF")
    times = np.array(["2020-01-01T00", "2020-01-01T01"], "M8[ns]")
    several = xr.Dataset({"cloud": ("time", [0.0, 1.0])}, {"time": times})
    several.to_netcdf(folder / "OR_ABI-L2-CMIPF-M6C13_G16_s2020002.nc")
    prepare(tmp_path, {"fetch.source": "local", "fetch.local.granules": [str(folder)]})
    with caplog.at_level(logging.WARNING):
        assert run_stage(tmp_path, "-m pipeline.fetch") == 0
    unfinished, alike = (each.getMessage() for each in caplog.records)
    assert unfinished == (
        f"1 of these were not fetched whole, {ABI}.part the first of them; fetch them again"
    )
    assert alike == (
        "3 files begin as those of abi_l2_nc or modis_l1b but are named otherwise than satpy "
        "knows, MOD021KM.A2020001.hdf the first of them; give them their archive's names"
    )


def test_names_of_other_files_resemble_no_reader() -> None:
    names = (
        *("era5.nc", "IR_108_20200906_001500.tif", "a_b_20200101_000000.nc", "S_1.nc"),
        "MERRA2_400.tavg1_2d_slv_Nx.20200101.nc4",
        "GRIDSAT-B1.2017.09.06.12.v02r01.nc",
        "MOD06_L2.A2020001.0000.061.2020001000000.hdf",
        # Of satpy's abi_l2_nc, of a type that is not taken: plain netCDF.
        "OR_ABI-L2-ACHAF-M6_G16_s20200010000216_e20200010009524_c20200010011000.nc",
    )
    for name in names:
        assert naming.resembled_readers(Path(name), READERS) == []
        assert not any(
            list(naming.named_files([Path(name)], reader, globs))
            for reader, globs in READERS.items()
        )


def test_a_reader_that_satpy_does_not_have_is_named() -> None:
    with pytest.raises(ValueError, match=r"satpy has no reader 'abi_l1'; change fetch\.readers"):
        granules.find_granules([Path("a.nc")], {"abi_l1": []})


def test_what_is_no_glob_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(tmp_path, {"fetch.readers.abi_l2_nc": ["abi_l2_mcmip"]})
    assert run_stage(tmp_path, "-m pipeline.fetch") == 1
    assert "fetch.readers.abi_l2_nc" in capsys.readouterr().err


def test_a_reader_whose_package_is_absent_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "NSS.GHRR.NJ.D95056.S1116.E1303.B0080506.GC"
    path.write_bytes(bytes(100))
    monkeypatch.setitem(__import__("sys").modules, "pygac", None)
    with pytest.raises(UnusableGranuleError, match="without the package pygac; install it"):
        _read(find_granules([path])[0][0], {"infrared_window": ["4"]})


def _add_reader(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    handler: str,
    pattern: str,
    band: dict[str, Any],
    **file_type: Any,
) -> str:
    """A reader of one's own for files of other names, which satpy finds by its configuration."""
    name = f"my_{handler.rpartition('.')[2].lower()}"  # readers are known once a process
    reader = {
        "reader": {
            **{"name": name, "short_name": "-", "long_name": "-", "description": "-"},
            **{"status": "-", "supports_fsspec": False, "sensors": ["mine"]},
            "reader": "@satpy.readers.core.yaml_reader.FileYAMLReader",
        },
        "file_types": {
            "mine": {"file_reader": f"@{handler}", "file_patterns": [pattern], **file_type}
        },
        "datasets": {band["name"]: {**band, "file_type": "mine"}},
    }
    text = re.sub(r"'@([\w.]+)'", r"!!python/name:\1", yaml.safe_dump(reader))
    (folder / "readers").mkdir()
    (folder / f"readers/{name}.yaml").write_text(text)
    paths = {**satpy.config.config, "config_path": [str(folder)]}
    monkeypatch.setattr(satpy.config, "config", paths)
    return name


@pytest.mark.parametrize("modifiers", [[], ["sunz_corrected"]])
def test_a_reader_is_a_line_of_parameters(
    modifiers: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = np.linspace(0.1, 0.9, 1600).reshape(40, 40)
    [path] = write_abi_l1b(
        tmp_path, latitude=15, longitude=-55, bands={"C03": field}, start_time=START
    )
    mine = path.rename(tmp_path / "mine_G16_202503201700.bin")
    reflectance = {"standard_name": "toa_bidirectional_reflectance", "units": "%"}
    reader = _add_reader(
        tmp_path,
        monkeypatch,
        handler="satpy.readers.abi_l1b.NC_ABI_L1B",
        pattern="mine_{platform_shortname}_{start_time:%Y%m%d%H%M}.bin",
        band={
            "name": "C03",
            "wavelength": [0.846, 0.865, 0.885],
            "calibration": {"reflectance": reflectance},
            "modifiers": modifiers,
        },
        observation_type="Rad",
    )
    assert find_granules([mine]) == ([], [mine])
    [granule], _ = granules.find_granules([mine], {**READERS, reader: []})
    assert (granule.reader, granule.platform) == (reader, "GOES-16")
    read = _read(granule, {"near_infrared": ["C03"]})
    np.testing.assert_allclose(read.near_infrared, 100 * np.kron(field, np.ones((2, 2))), atol=0.2)
    assert read.near_infrared.attrs["sun_corrected"] is bool(modifiers)


def test_a_reader_without_places_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (16, 40)
    latitude, longitude = swath_places(
        latitude=0, longitude=0, n_rows=shape[0], n_columns=shape[1], resolution_km=1
    )
    angles = ("solar_zenith", "solar_azimuth", "view_zenith", "view_azimuth")
    path, _ = write_viirs(
        tmp_path,
        bands={"M15": np.full(shape, 280.0)},
        latitude=latitude,
        longitude=longitude,
        start_time=START,
        **dict.fromkeys(angles, np.full(shape, 30.0)),
    )
    mine = path.rename(tmp_path / "mine_NP_202503201700.nc")
    temperature = {"standard_name": "toa_brightness_temperature", "units": "K"}
    reader = _add_reader(
        tmp_path,
        monkeypatch,
        handler="satpy.readers.viirs_l1b.VIIRSL1BFileHandler",
        pattern="mine_{platform_shortname}_{start_time:%Y%m%d%H%M}.nc",
        band={
            "name": "M15",
            "wavelength": [10.263, 10.763, 11.263],
            "calibration": {"brightness_temperature": temperature},
            "file_key": "observation_data/M15",
        },
    )
    [granule], _ = granules.find_granules([mine], {reader: []})
    with pytest.raises(UnusableGranuleError, match="satpy finds no places for its bands"):
        _read(granule, {"infrared_window": ["M15"]})


def test_default_readers_are_those_of_satpy() -> None:
    available = yaml.safe_load(PARAMS.read_text())["fetch"]["readers"]
    assert list(naming._file_types("seviri_l1b_hrit"))
    assert all(naming._file_types(reader) for reader in available)


def test_a_target_area_of_one_segment_is_read_as_before(tmp_path: Path) -> None:
    field = np.linspace(220, 300, 2500).reshape(50, 50)
    files = write_ahi_hsd(
        tmp_path, latitude=0, longitude=140, bands={"B14": field}, start_time=START
    )
    [granule], _ = find_granules(files)
    read = _read(granule, {"infrared_window": ["B14"]})
    np.testing.assert_allclose(read.infrared_window, field, atol=0.2)
