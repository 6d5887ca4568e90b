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
from instruments.finding import READERS, find_granules
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


NPP = "_npp_d20120225_t1801245_e1802487_b01708_c20120226001734123892_noaa_ops.h5"
NOAA_ORBIT = ".NJ.D95056.S1116.E1303.B0080506.GC"
AHI_TILE = "OR_HFD-020-B14-M1C13-T009_GH8_s20200010000210_c20200010008520.nc"
FCI = (
    "W_XX-EUMETSAT-Darmstadt,IMG+SAT,MTI1+FCI-1C-RRAD-FDHSI-FD--CHK-{}---NC4E_C_EUMT_20240114081031"
    "_IDPFI_OPE_20240114080826_20240114080915_N__C_0049_0035.nc"
)
AFRICA = FCI.format("x").replace("1+FCI", "1-FCI").replace("FDHSI-FD--CHK", "3KM-AF-VIS06-x")
KNOWN = {
    CLASS_ORDER.format("1b-RadF-M6C13"): "abi_l1b",
    "OR_EFD-020-B12-M3C03-T001_G16_s2018010120000_c2018010120500.nc": "abi_l1b_scmi",
    "CG_EMESO-020-B14-S1-N34W077-M3C07-T001_G16_s2018257000420_c2018257142255.nc": "abi_l1b_scmi",
    "GOES16_CONUS_20180912_201712_0.64_500m_30.1N_87.1W.nc4": "abi_l1b_scmi",
    "OR_ABI-L2-CMIPF-M6C13_G16_s20200010000216_e20200010009535_c20200010010022.nc": "abi_l2_nc",
    "OR_ABI-L2-MCMIPM1-M6_G19_s20200010000216_e20200010009535_c20200010010022.nc": "abi_l2_nc",
    "IMG_DK01VIS_202001010000_001": "ahi_hrit",
    "IMG_DK01B04_201507070200_001.bz2": "ahi_hrit",
    "HS_H09_20250101_0000_B13_FLDK_R20_S0110.DAT": "ahi_hsd",
    "AVHR_xxx_1B_M03_20200101000003Z_20200101000303Z_N_O_20200101004512Z.nat": "avhrr_l1b_eps",
    **{f"NSS.{mode}{NOAA_ORBIT}": "avhrr_l1b_gaclac" for mode in ("GHRR", "LHRR", "HRPT", "FRAC")},
    f"1234567890.NSS.GHRR{NOAA_ORBIT}": "avhrr_l1b_gaclac",
    "N07_RPRO_AVH_L1B_1P_19850101T000000_19850101T010000_012345/image.l1b": "avhrr_l1b_gaclac",
    FCI.format("BODY"): "fci_l1c_nc",
    AFRICA: "fci_l1c_nc",
    **{
        f"{name}.A2020001.0000.061.2020001070000.hdf": "modis_l1b"
        for name in ("MOD021KM", "MYD02HKM", "MOD02QKM", "MYD03")
    },
    "t1.20001.0000.1000m.hdf": "modis_l1b",
    "A2020001000000.L1B_LAC": "modis_l1b",
    "T2020001000000.GEO": "modis_l1b",
    "H-000-MSG2__-MSG2_RSS____-IR_108___-000007___-202009060015-__": "seviri_l1b_hrit",
    "L-000-MSG1__-MSG1_IODC___-_________-PRO______-202009060015-__": "seviri_l1b_hrit",
    "MSG4-SEVI-MSG15-0100-NA-20200906001243.912000000Z-NA.nat": "seviri_l1b_native",
    "W_XX-EUMETSAT-Darmstadt,VIS+IR+HRV+IMAGERY,MSG3+SEVIRI_C_EUMG_20200906001500.nc": (
        "seviri_l1b_nc"
    ),
    f"SVMC{NPP.replace('noaa', 'eum')}": "viirs_compact",
    f"SVDNBC{NPP.replace('noaa', 'eum')}": "viirs_compact",
    **{
        f"{name}.A2024001.0000.002.2024001010203.nc": "viirs_l1b"
        for name in ("VNP02MOD", "VJ103MOD", "VJ202IMG", "VNP03DNB")
    },
    "VL1BM_snpp_d20200101_t000000_c20200101010000.nc": "viirs_l1b",
    **{
        f"{name}{NPP}": "viirs_sdr"
        for name in ("SVM05", "SVI01", "SVDNB", "GMTCO", "GITCO", "GMODO", "GIMGO", "GDNBO")
    },
    f"GMTCO-SVM05-SVM15{NPP}": "viirs_sdr",
}
FOREIGN = (
    # ATMS, CrIS, OMPS, and cloud masks of VIIRS itself, alone or with their places
    *(
        f"{name}{NPP}"
        for name in ("SATMS", "GATMO", "SCRIF", "GCRSO", "SOMTC", "IICMO", "VICMO", "GMODO-IICMO")
    ),
    # HIRS, AMSU-A and -B, MHS, and of TOVS
    *(f"NSS.{mode}{NOAA_ORBIT}" for mode in ("HIRX", "AMAX", "AMBX", "MHSX", "MSUX", "SSUX")),
    AHI_TILE,
    "HIMAWARI8_FLDK_20180912_201712_0.64_500m_30.1N_87.1E.nc4",
    "IMG_DK01IR1_200701010000_001",  # MTSAT-1R
    "S2004001000000.L1B_LAC",  # SeaWiFS
    "V2020001000000.GEO",  # VIIRS
    "L-000-GOMS1_-GOMS1_4____-_________-PRO______-201412100500-__",  # Electro-L
    "MSG4-GERB-MSG15-0100-NA-20200906001243.912000000Z-NA.nat",
)


@pytest.mark.parametrize("name", KNOWN)
def test_the_files_of_an_instrument_are_those_of_one_reader(name: str) -> None:
    knowing = [
        reader
        for reader, globs in READERS.items()
        if list(naming.named_files([Path(name)], reader, globs))
    ]
    assert knowing == [KNOWN[name]]


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_instruments_are_left(name: str) -> None:
    assert not any(
        list(naming.named_files([Path(name)], reader, globs)) for reader, globs in READERS.items()
    )
    assert naming.resembled_readers(Path(name), READERS) == []


def test_the_trailer_of_a_disk_resembles_no_reader() -> None:
    assert naming.resembled_readers(Path(FCI.format("TRAIL")), READERS) == []


@pytest.mark.parametrize(
    ("reader", "glob"),
    [
        ("abi_l2_nc", "abi_l2_cmip"),  # a type of file
        ("abi_l2_nc", "??_ABI-L2-CMIP"),  # no whole name
        ("viirs_l1b", "vnp02mod*"),
        ("viirs_l1b", "V??04MOD*"),
        ("seviri_l1b_hrit", "[!LH]-001*"),
        ("ahi_hsd", "HSD_*"),
    ],
)
def test_a_glob_of_no_name_is_refused(reader: str, glob: str) -> None:
    message = re.escape(f"no name of a file of satpy's {reader} fits {glob!r}; change it in fetch.")
    with pytest.raises(ValueError, match=message):
        granules.find_granules([], {reader: [glob]})


@pytest.mark.parametrize(
    ("reader", "glob"),
    [
        ("viirs_l1b", "V[NJ][P12]02MOD.A2024*"),
        ("viirs_sdr", "*"),
        ("ahi_hsd", "HS_H08_2025*B13*"),
        ("modis_l1b", "MOD*.hdf"),
        ("avhrr_l1b_gaclac", "image.l1b"),
    ],
)
def test_a_glob_may_be_of_any_names(reader: str, glob: str) -> None:
    assert granules.find_granules([], {reader: [glob]}) == ([], [])


ABI = "OR_ABI-L1b-RadF-M6C{:02d}_G16_s20200010000216_e20200010009535_c20200010010022.nc"
SCMI = "GOES16_CONUS_20180912_201712_0.64_500m_30.1N_87.1W.nc"
NO_SIDECARS = (".bak", ".gz", "~")


@pytest.mark.parametrize("name", [ABI.format(2), SCMI])
@pytest.mark.parametrize(
    "end",
    [".md5", ".aux.xml", ".xml", ".ovr", ".crc", ".sha256", ".png", ".dmrpp", "ml", *NO_SIDECARS],
)
def test_what_lies_beside_a_file_is_no_band(name: str, end: str) -> None:
    [granule], others = find_granules([Path(name), Path(name + end)])
    assert granule.files == (Path(name),)
    assert others == [Path(name + end)]
    assert end in NO_SIDECARS or naming.resembled_readers(others[0], READERS) == []


@pytest.mark.parametrize("end", ["", "4", ".1"])
def test_a_version_of_netcdf_ends_a_name(end: str) -> None:
    assert find_granules([Path(SCMI + end)])[0][0].reader == "abi_l1b_scmi"


@pytest.mark.parametrize(
    "name", [ABI.format(7), f"SVM05{NPP}", "IMG_DK01B04_201507070200_001", "model.nc", "mine.TIF"]
)
@pytest.mark.parametrize("end", [".part", ".aria2", ".crdownload", ".tmp", ".PART"])
def test_a_download_that_did_not_end_is_rejected_for_that(name: str, end: str) -> None:
    whole = Path(ABI.format(2))
    half = Path(name) if end == ".aria2" else Path(name + end)
    control = [Path(name + end)] if end == ".aria2" else []
    found, others = find_granules([whole, half, *control])
    assert [granule.files for granule in found] == [(whole,), (half,)]
    assert others == control
    with pytest.raises(UnusableGranuleError, match=f"download of {half} did not end") as raised:
        _read(found[1], {"red": ["C02"]})
    assert raised.value.reason == "unfinished download"


@pytest.mark.parametrize("name", ["notes.tmp", "report.docx.part", "nothing.nc.aria2"])
def test_other_unfinished_files_are_no_granules(name: str) -> None:
    assert find_granules([Path(name)]) == ([], [Path(name)])


HSD = "HS_H08_20250101_0000_B{:02d}_FLDK_R20_S{:02d}10.DAT"
AHI_HRIT = "IMG_DK01B{:02d}_202001010000_{:03d}"
SEVIRI = "H-000-MSG4__-MSG4________-IR_{:03d}___-{:06d}___-202009060015-__"
FCI_CHUNK = FCI.format("BODY").replace("_0035.nc", "_{:04d}.nc")
DISKS = {
    "ahi_hsd": [[HSD.format(band, number) for number in range(1, 11)] for band in (5, 13)],
    "ahi_hrit": [[AHI_HRIT.format(band, number) for number in range(1, 11)] for band in (4, 14)],
    "seviri_l1b_hrit": [
        [SEVIRI.format(band, number) for number in range(1, 9)] for band in (39, 108)
    ],
    "fci_l1c_nc": [[FCI_CHUNK.format(number) for number in range(1, 41)]],
}


@pytest.mark.parametrize("reader", DISKS)
@pytest.mark.parametrize(
    ("kept", "is_part"),
    [
        (slice(None), False),  # all of them
        (slice(None, -1), True),  # all bands lack the last one
        (slice(2, 5), True),
        (slice(0, 1), True),
        (slice(None, None, 2), False),  # gaps are filled up
    ],
)
def test_a_part_of_a_disk_lacks_segments(kept: slice, reader: str, *, is_part: bool) -> None:
    files = [Path(name) for names in DISKS[reader] for name in names[kept]]
    assert naming.is_part_of_disk(files, reader) is is_part


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        (HSD.format(13, 1).replace("FLDK", "R301").replace("S0110", "S0101"), "ahi_hsd"),
        (AFRICA.replace("_0035.nc", "_0000.nc"), "fci_l1c_nc"),
        ("IMG_DK01B04_202001010000", "ahi_hrit"),
        (ABI.format(2), "abi_l1b"),
    ],
)
def test_a_file_that_holds_all_is_no_part_of_a_disk(name: str, reader: str) -> None:
    assert not naming.is_part_of_disk([Path(name)], reader)


def test_names_that_only_begin_as_a_readers_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "0")
    folder = tmp_path / "mine"
    field = np.full((20, 20), 280.0)
    write_abi_l1b(folder, latitude=15, longitude=-55, bands={"C13": field}, start_time=START)
    (folder / "MOD021KM.A2020001.hdf").write_bytes(b"\x0e\x03\x13\x01")
    (folder / "OR_ABI-L2-CMIPF-M6C13_G16_s2020001.nc").write_bytes(b"CDF")
    (folder / f"{ABI.format(13)}.part").write_bytes(b"CDF")
    times = np.array(["2020-01-01T00", "2020-01-01T01"], "M8[ns]")
    several = xr.Dataset({"cloud": ("time", [0.0, 1.0])}, {"time": times})
    several.to_netcdf(folder / "OR_ABI-L2-CMIPF-M6C13_G16_s2020002.nc")
    prepare(tmp_path, {"fetch.source": "local", "fetch.local.granules": [str(folder)]})
    with caplog.at_level(logging.WARNING):
        assert run_stage(tmp_path, "-m pipeline.fetch") == 0
    [alike] = (each.getMessage() for each in caplog.records)
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


def test_a_target_area_of_one_segment_is_read_as_before(tmp_path: Path) -> None:
    field = np.linspace(220, 300, 2500).reshape(50, 50)
    files = write_ahi_hsd(
        tmp_path, latitude=0, longitude=140, bands={"B14": field}, start_time=START
    )
    [granule], _ = find_granules(files)
    read = _read(granule, {"infrared_window": ["B14"]})
    np.testing.assert_allclose(read.infrared_window, field, atol=0.2)
