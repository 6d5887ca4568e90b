"""What is said of files that cannot be read: whether they are damaged, and what they lack."""

import csv
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from instruments.finding import find_granules
from pyproj.exceptions import CRSError, GeodError, ProjError
from rasterio.transform import from_origin
from tiny_flow import prepare, run_stage

from pipeline.files.granules import (
    GeotiffConventions,
    NetcdfConventions,
    UnusableGranuleError,
    read_granule,
)
from pipeline.files.granules.damage import refuse_what_is_no_data, unusable

VALUES = np.linspace(0, 100, 64, dtype=np.float32).reshape(8, 8)
BANDS = {"visible": ["visible"]}
LOGIN = b"<!DOCTYPE html>\n<html><head><title>Earthdata Login</title></head></html>"


def _refused(path: Path, reader: str, **conventions: Any) -> tuple[str, str]:
    netcdf = NetcdfConventions(
        **{"units": {}, "latitude": "latitude", "longitude": "longitude"},
        **{"projection": "", "platform": "", **conventions},
    )
    with pytest.raises(UnusableGranuleError) as raised:
        read_granule([path], reader, BANDS, netcdf=netcdf, geotiff=GeotiffConventions({}))
    return raised.value.reason, str(raised.value)


def _geotiff(path: Path, tags: dict[str, str], **profile: Any) -> Path:
    place = {"crs": "EPSG:4326", "transform": from_origin(-90, 20, 0.1, 0.1)}
    shape = {"driver": "GTiff", "height": 8, "width": 8, "count": 1, "dtype": "float32"}
    with rasterio.open(path, "w", **shape, **{**place, **profile}) as file:
        file.write(VALUES, 1)
        file.set_band_description(1, "visible")
        file.units = ("percent",)
        file.update_tags(**tags)
    return path


def _netcdf(**attributes: Any) -> xr.Dataset:
    return xr.Dataset(
        {"visible": (("latitude", "longitude"), VALUES, {"units": "%"})},
        coords={
            "latitude": ("latitude", np.arange(8.0), {"units": "degrees_north"}),
            "longitude": ("longitude", np.arange(8.0), {"units": "degrees_east"}),
        },
        attrs=attributes,
    )


# --- what is no data ---


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (LOGIN, "a web page"),
        (b"\n  <HTML><body>503 Slow Down</body></HTML>", "a web page"),
        (b"\xef\xbb\xbf<html>", "a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML document"),
    ],
)
@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("VNP02MOD.A2025079.1700.002.2025079230000.nc", "viirs_l1b"),
        ("MOD021KM.A2025079.1700.061.2025079230000.hdf", "modis_l1b"),
        ("a.tif", "geotiff"),
        ("a.nc", "netcdf"),
    ],
)
def test_pages_are_named(content: bytes, kind: str, name: str, reader: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    [granule], _ = find_granules([tmp_path / name])
    assert granule.reader == reader
    reason, detail = _refused(tmp_path / name, reader)
    assert reason == "unreadable"
    assert detail.startswith(f"{name} is {kind} of the archive's")


def test_pages_saved_as_granules_repeat_nothing(
    tmp_path: Path, write_geotiff: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "0")
    folder = tmp_path / "mine"
    names = [f"VNP02MOD.A2025079.17{minute:02d}.002.2025079230000.nc" for minute in range(0, 42, 6)]
    write_geotiff(folder / "good.tif", {"infrared_10_7um": 200 + VALUES})
    write_geotiff(folder / "same.tif", {"infrared_10_7um": 200 + VALUES})
    for name in names:
        (folder / name).write_bytes(LOGIN)
    changes = {"fetch.source": "local", "fetch.local.granules": [str(folder)]}
    prepare(tmp_path, {**changes, "ingest.preset": "infrared_window"})
    for stage in ("fetch", "ingest"):
        assert run_stage(tmp_path, f"-m pipeline.{stage}") == 0
    with (tmp_path / "data/rejected.csv").open() as file:
        reasons = {row["granule"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons == {**dict.fromkeys(names, "unreadable"), "same.tif": "repeats another"}


# --- what is sound and lacks something ---


@pytest.mark.parametrize(
    ("tags", "detail"),
    [
        ({"start_time": "June 1, 2020"}, "its tag start_time 'June 1, 2020' is no time such as"),
        ({"start_time": "2020-13-01T00:00Z"}, "its tag start_time '2020-13-01T00:00Z' is no time"),
        (
            {"start_time": "2020-06-01", "local_overpass_time": "noon"},
            "its tag local_overpass_time 'noon' is no time such as 12:00; correct it",
        ),
        ({"TIFFTAG_DATETIME": "2020:06:01 12:00:00"}, "it has no tag start_time; add it"),
        ({"day": "2020-06-01"}, "it has no tag start_time; add it"),
    ],
)
def test_odd_times_of_a_geotiff_are_no_damage(
    tags: dict[str, str], detail: str, tmp_path: Path
) -> None:
    reason, found = _refused(_geotiff(tmp_path / "a.tif", tags), "geotiff")
    assert reason == "unreadable"
    assert found.startswith(detail)


def test_a_time_without_a_zone_is_utc(tmp_path: Path) -> None:
    path = _geotiff(tmp_path / "a.tif", {"start_time": "2020-06-01T12:30:00"})
    [granule], _ = find_granules([path])
    assert granule.start_time == datetime(2020, 6, 1, 12, 30)


def test_a_geotiff_without_a_reference_system_is_no_damage(tmp_path: Path) -> None:
    path = _geotiff(tmp_path / "a.tif", {"start_time": "2020-06-01T12:00Z"}, crs=None)
    reason, detail = _refused(path, "geotiff")
    assert reason == "lacks its geolocation"
    assert detail == "it has no coordinate reference system, such as EPSG:4326"


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        (lambda model: model, "unreadable", "it has no time; give it a variable in hours since"),
        (
            lambda model: model.assign(
                time=((), 3.0, {"units": "months since 2000-01-01", "standard_name": "time"})
            ),
            "unreadable",
            "it has no time that is a date: its time is in months since 2000-01-01; give it in",
        ),
        (
            lambda model: model.assign_attrs(time_coverage_start="first of June"),
            "unreadable",
            "its attribute time_coverage_start 'first of June' is no time such as",
        ),
        (
            lambda model: model.assign_attrs(time_coverage_start="2020-06-01T00:00:00Z").rename(
                latitude="north"
            ),
            "lacks its geolocation",
            "it has no latitude; name them by ingest.netcdf, or its projection",
        ),
    ],
)
def test_sound_netcdf_lacks_what_is_named(
    change: Callable[[xr.Dataset], xr.Dataset], reason: str, detail: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.nc"
    change(_netcdf()).to_netcdf(path)
    found = _refused(path, "netcdf")
    assert found[0] == reason
    assert found[1].startswith(detail)


def test_odd_words_of_coverage_deny_no_time(tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    times = np.array(["2020-06-01T12"], "M8[ns]")
    _netcdf(time_coverage_start="20200601 at noon").expand_dims(time=times).to_netcdf(path)
    [granule], _ = find_granules([path])
    assert granule.start_time == times[0].astype("M8[us]").item()


EXCUSES = [
    *(ProjError("no operation found"), CRSError("invalid projection: +proj=odd")),
    *(NotImplementedError("no such projection"), RecursionError("too deep")),
    *(FileNotFoundError(2, "No such file", "calibration.txt"), PermissionError("may not be read")),
    GeodError("no ellipsoid"),
]


@pytest.mark.parametrize("error", EXCUSES, ids=repr)
def test_errors_of_other_things_than_content_tell_no_damage(
    error: Exception, tmp_path: Path
) -> None:
    _netcdf().to_netcdf(tmp_path / "a.nc")
    found = unusable([tmp_path / "a.nc"], error)
    assert (found.reason, str(found)) == ("unreadable", str(error))


@pytest.mark.parametrize("error", EXCUSES, ids=repr)
@pytest.mark.parametrize("beginning", [b"FormatName", b"BZh9", b"\x01\x1a\x01", b"\x1f\x8b"])
def test_nor_do_they_of_formats_without_a_header(
    beginning: bytes, error: Exception, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(beginning + bytes(100))
    assert unusable([tmp_path / "a"], error).reason == "unreadable"
    assert unusable([tmp_path / "a"], ValueError("too short")).reason == "damaged or truncated"


def test_they_excuse_no_broken_header(tmp_path: Path) -> None:
    _netcdf().to_netcdf(tmp_path / "a.nc")
    (tmp_path / "a.nc").write_bytes((tmp_path / "a.nc").read_bytes()[:100])
    assert unusable([tmp_path / "a.nc"], EXCUSES[0]).reason == "damaged or truncated"


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (KeyError("latitude"), "it has no latitude"),
        (KeyError("data/vis_06/measured"), "it has no data/vis_06/measured"),
        (KeyError("No dataset matching 'C14' found"), "No dataset matching 'C14' found"),
        (KeyError("Could not find it\nin these"), "Could not find it"),
        (KeyError(("C14", 2000)), "('C14', 2000)"),
        (KeyError(), "KeyError"),
        (KeyError(""), "KeyError"),
    ],
    ids=repr,
)
def test_a_file_lacks_what_a_lookup_names_and_no_sentence(
    error: KeyError, detail: str, tmp_path: Path
) -> None:
    _netcdf().to_netcdf(tmp_path / "a.nc")
    assert str(unusable([tmp_path / "a.nc"], error)) == detail


@pytest.mark.parametrize(
    ("is_replaced", "expected"), [(True, "unreadable"), (False, "damaged or truncated")]
)
def test_what_an_error_replaced_is_of_no_concern(
    is_replaced: bool, expected: str, tmp_path: Path
) -> None:
    _netcdf().to_netcdf(tmp_path / "a.nc")
    error = ValueError("it has no band")
    error.__context__ = OSError("cannot read the block")
    error.__suppress_context__ = is_replaced
    assert unusable([tmp_path / "a.nc"], error).reason == expected


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("AVHR_xxx_1B_M01_20250701_1500", b"\x00\x01\x00", "a line"),
        ("B02.jp2", b"\x00\x00\x00\x0cjP  ", "a line"),
        ("a.nc", b"not netCDF", "a line (a.nc is of no known format)"),
        ("a.TIF", b"not TIFF", "a line (a.TIF is of no known format)"),
    ],
)
def test_a_format_is_unknown_only_where_the_name_promises_one(
    name: str, content: bytes, expected: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    assert str(unusable([tmp_path / name], ValueError("a line"))) == expected


def test_a_document_that_is_part_of_a_granule_is_no_page(tmp_path: Path) -> None:
    for name in ("MTD_TL.xml", "B02.jp2"):
        (tmp_path / name).write_bytes(b"<?xml version='1.0'?><n1:Level-1C_Tile_ID/>")
    refuse_what_is_no_data(tmp_path / "MTD_TL.xml")
    with pytest.raises(UnusableGranuleError, match=r"B02\.jp2 is an XML document"):
        refuse_what_is_no_data(tmp_path / "B02.jp2")


# --- what is damaged ---


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_cut_files_are_damaged(share: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((256, 256), np.float32)
    model = xr.Dataset(
        {"visible": (("latitude", "longitude"), noise, {"units": "%"})},
        coords={"latitude": np.arange(256.0), "longitude": np.arange(256.0)},
        attrs={"time_coverage_start": "2020-06-01T00:00:00Z"},
    )
    model.to_netcdf(tmp_path / "a.nc")
    place = {"crs": "EPSG:4326", "transform": from_origin(-90, 20, 0.1, 0.1)}
    shape = {"driver": "GTiff", "height": 256, "width": 256, "count": 1, "dtype": "float32"}
    with rasterio.open(tmp_path / "a.tif", "w", **shape, **place, compress="deflate") as file:
        file.set_band_description(1, "visible")
        file.units = ("percent",)
        file.update_tags(start_time="2020-06-01T12:00Z")
        file.write(noise, 1)
    for name, reader in (("a.nc", "netcdf"), ("a.tif", "geotiff")):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: int(share * len(content))])
        assert _refused(tmp_path / name, reader)[0] == "damaged or truncated"


def test_a_cut_segment_of_hrit_is_damaged(tmp_path: Path) -> None:
    header = bytes([0, 0, 16, 0]) + (16).to_bytes(4, "big") + (8 * 1000).to_bytes(8, "big")
    names = [f"H-000-MSG4__-MSG4________-{part}-202009060015-__" for part in (
        "IR_108___-000004___", "_________-EPI______", "_________-PRO______"
    )]  # fmt: skip
    for name in names:
        (tmp_path / name).write_bytes(header + bytes(500))
    [granule], _ = find_granules(tmp_path.iterdir())
    netcdf = NetcdfConventions({}, "", "", "", "")
    with pytest.raises(UnusableGranuleError) as raised:
        read_granule(granule.files, granule.reader, {"window": ["IR_108"]}, netcdf=netcdf)
    assert raised.value.reason == "damaged or truncated"
