"""Bands, times and places of GeoTIFFs, in every form in which files state them."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from instruments.finding import find_granules
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import from_origin

from pipeline.files.granules import (
    GeotiffConventions,
    NetcdfConventions,
    UnusableGranuleError,
    read_granule,
)

VALUES = np.arange(24, dtype=np.float32).reshape(4, 6)


def _write(path: Path, *, tags: dict[str, str] | None = None, **profile: Any) -> Path:
    with rasterio.open(
        path,
        "w",
        **{
            "driver": "GTiff",
            "height": 4,
            "width": 6,
            "count": 1,
            "dtype": "float32",
            "crs": "EPSG:4326",
            "transform": from_origin(10, 40, 1, 1),
            **profile,
        },
    ) as file:
        file.write(VALUES, 1)
        file.set_band_description(1, "visible")
        file.units = ("percent",) * file.count
        file.update_tags(**(tags or {"start_time": "2020-06-01T12:00:00Z"}))
    return path


def _read(path: Path) -> Any:
    conventions = NetcdfConventions({}, "", "", "", "")
    return read_granule([path], "geotiff", {"visible": ["visible"]}, netcdf=conventions)


@pytest.mark.parametrize(
    ("west", "clock", "date", "expected"),
    [
        (237.0, "13:30", "2020-06-01", datetime(2020, 6, 1, 21, 30)),  # the same as 120 W
        (-123.0, "13:30", "20200601", datetime(2020, 6, 1, 21, 30)),
        (172.0, "13:30", "2020-06-01", datetime(2020, 6, 1, 1, 50)),
        (357.0, "00:15", "20200601", datetime(2020, 6, 1, 0, 15)),
    ],
)
def test_an_overpass_is_on_its_own_day_in_any_longitudes(
    west: float, clock: str, date: str, expected: datetime, tmp_path: Path
) -> None:
    tags = {"start_time": date, "local_overpass_time": clock}
    path = _write(tmp_path / "a.tif", transform=from_origin(west, 2, 1, 1), tags=tags)
    [granule], _ = find_granules([path])
    assert granule.start_time == expected
    assert _read(path).attrs["time"] == np.datetime64(expected)


@pytest.mark.parametrize("date", ["2020-06-01", "20200601", "2020-W23-1"])
def test_a_date_alone_is_no_time(date: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tif", tags={"start_time": date})
    [granule], _ = find_granules([path])
    assert granule.start_time is None
    with pytest.raises(UnusableGranuleError, match=f"start_time {date} has no time of day; add"):
        _read(path)


@pytest.mark.parametrize(
    ("profile", "changes", "detail"),
    [
        (
            {"count": 2},
            {"descriptions": ("visible", "visible")},
            "2 of its bands are called visible",
        ),
        ({"dtype": "complex64"}, {}, "its visible is of complex numbers"),
        ({}, {"offsets": (np.inf,)}, "visible is scaled by 1 with the offset inf"),
        ({}, {"scales": (np.nan,)}, "visible is scaled by nan with the offset 0"),
    ],
)
def test_what_is_no_band_of_numbers_is_refused(
    profile: dict[str, Any], changes: dict[str, Any], detail: str, tmp_path: Path
) -> None:
    path = _write(tmp_path / "a.tif", **profile)
    with rasterio.open(path, "r+") as file:
        for name, value in changes.items():
            setattr(file, name, value)
    with pytest.raises(UnusableGranuleError, match=detail):
        _read(path)


def test_south_up_is_turned(tmp_path: Path) -> None:
    upright = _read(_write(tmp_path / "a.tif"))
    np.testing.assert_allclose(upright.latitude[:, 0], [39.5, 38.5, 37.5, 36.5])
    np.testing.assert_array_equal(upright.visible, VALUES)
    south_up = _read(_write(tmp_path / "b.tif", transform=Affine(1, 0, 10, 0, 1, 36)))
    np.testing.assert_allclose(south_up.latitude, upright.latitude)
    np.testing.assert_array_equal(south_up.visible, VALUES[::-1])
    mirrored = _read(_write(tmp_path / "c.tif", transform=Affine(-1, 0, 16, 0, -1, 40)))
    np.testing.assert_allclose(mirrored.longitude, upright.longitude)
    np.testing.assert_array_equal(mirrored.visible, VALUES[:, ::-1])


@pytest.mark.filterwarnings("ignore:The given matrix")
def test_ground_control_points_tell_places(tmp_path: Path) -> None:
    corners = [(0, 0), (0, 6), (4, 0), (4, 6), (2, 3)]
    points = [
        GroundControlPoint(row=row, col=column, x=10 + column, y=40 - row)
        for row, column in corners
    ]
    path = _write(tmp_path / "a.tif", transform=Affine.identity(), gcps=points)
    upright = _read(_write(tmp_path / "b.tif"))
    for name in ("latitude", "longitude", "visible"):
        np.testing.assert_allclose(_read(path)[name], upright[name], atol=1e-4)


@pytest.mark.filterwarnings("ignore:The given matrix")
def test_rational_polynomials_tell_places(tmp_path: Path) -> None:
    """Row and column grow linearly with latitude and longitude."""
    unit = [0.0] * 20
    coefficients = RPC(
        height_off=0.0,
        height_scale=1.0,
        lat_off=38.0,
        lat_scale=2.0,
        line_den_coeff=[1.0, *unit[1:]],
        line_num_coeff=[0.0, 0.0, -1.0, *unit[3:]],
        line_off=1.5,
        line_scale=2.0,
        long_off=13.0,
        long_scale=3.0,
        samp_den_coeff=[1.0, *unit[1:]],
        samp_num_coeff=[0.0, 1.0, *unit[2:]],
        samp_off=2.5,
        samp_scale=3.0,
    )
    path = _write(tmp_path / "a.tif", crs=None, transform=Affine.identity(), rpcs=coefficients)
    upright = _read(_write(tmp_path / "b.tif"))
    for name in ("latitude", "longitude", "visible"):
        np.testing.assert_allclose(_read(path)[name], upright[name], atol=1e-4)


@pytest.mark.filterwarnings("ignore:The given matrix")
@pytest.mark.parametrize(
    ("profile", "detail"),
    [
        ({"transform": Affine.identity()}, "it has no geotransform, ground control points or RPC"),
        ({"crs": None}, "it has no coordinate reference system, such as EPSG:4326"),
        (
            {"crs": 'LOCAL_CS["site",UNIT["metre",1]]'},
            "its coordinate reference system 'site' leads to no latitudes and longitudes; give one",
        ),
    ],
)
def test_without_places_the_sentence_says_what_is_lacking(
    profile: dict[str, Any], detail: str, tmp_path: Path
) -> None:
    with pytest.raises(UnusableGranuleError, match=detail) as refused:
        _read(_write(tmp_path / "a.tif", **profile))
    assert refused.value.reason == "lacks its geolocation"


def _write_counts(path: Path, values: np.ndarray, *, tags: dict[str, str], **profile: Any) -> Path:
    """A file whose bands nothing describes, as programs write it that know of pictures alone."""
    with rasterio.open(
        path,
        "w",
        **{
            **{"driver": "GTiff", "count": len(values), "height": 4, "width": 6},
            **{"dtype": values.dtype, "crs": "EPSG:4326", "transform": from_origin(10, 40, 1, 1)},
            **profile,
        },
    ) as file:
        file.write(values)
        file.update_tags(**tags)
    return path


WRITTEN = {"TIFFTAG_DATETIME": "2020:09:06 00:15:00"}


@pytest.mark.parametrize(
    "other",
    [
        {"transform": from_origin(50, 40, 1, 1)},
        {"crs": "EPSG:3857"},
        {"tags": {**WRITTEN, "platform": "GOES-16"}},
        {"tags": {"start_time": "2020-09-06T00:20:00Z"}},
        {"transform": Affine.identity(), "gcps": [GroundControlPoint(0, 0, 10, 40)]},
    ],
    ids=["place", "projection", "platform", "time", "points"],
)
@pytest.mark.filterwarnings("ignore:The given matrix")
def test_single_bands_are_one_granule_only_if_all_that_they_say_agrees(
    other: dict[str, Any], tmp_path: Path
) -> None:
    given = {"values": VALUES[None], "tags": WRITTEN}
    for band in ("IR_039", "IR_108"):
        _write_counts(tmp_path / f"{band}_20200906_001500.tif", **given)
    [granule], _ = find_granules(tmp_path.iterdir())
    assert len(granule.files) == 2
    _write_counts(tmp_path / "IR_108_20200906_001500.tif", **{**given, **other})
    found, _ = find_granules(tmp_path.iterdir())
    assert [len(each.files) for each in found] == [1, 1]


def _read_declared(path: Path, *names: str, units: dict[str, str] | None = None) -> Any:
    return read_granule(
        [path],
        "geotiff",
        {name: [name] for name in names},
        netcdf=NetcdfConventions({}, "", "", "", ""),
        geotiff=GeotiffConventions(units or {}),
    )


SCALED = {**WRITTEN, "scale": "0.5", "offset": "100"}


@pytest.mark.parametrize(
    ("values", "tags", "expected"),
    [
        (VALUES[None].astype(np.uint8), SCALED, VALUES / 2 + 100),
        (VALUES[None].astype(np.uint8), {**SCALED, "scale": "1:50000"}, VALUES),
        (VALUES[None].astype(np.uint8), {**SCALED, "offset": "none"}, VALUES),
        (VALUES[None].astype(np.uint8), {**SCALED, "offset": "nan"}, VALUES),
        (VALUES[None].astype(np.uint8), {**SCALED, "scale": "inf"}, VALUES),
        (VALUES[None] + 280, SCALED, VALUES + 280),
    ],
    ids=["counts", "scale of a map", "no number", "nan", "inf", "kelvin already"],
)
def test_tags_of_a_file_scale_the_counts_of_its_one_band(
    values: np.ndarray, tags: dict[str, str], expected: np.ndarray, tmp_path: Path
) -> None:
    path = _write_counts(tmp_path / "IR_108_20200906_001500.tif", values, tags=tags)
    read = _read_declared(path, "IR_108", units={"IR_108": "K"})
    np.testing.assert_allclose(read.IR_108, expected)


def test_tags_of_a_file_scale_neither_of_two_bands(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    counts = np.stack([VALUES, VALUES + 200]).astype(np.uint16)
    _write_counts(path, counts, tags={**SCALED, "start_time": "2020-09-06T00:15Z"})
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("visible", "infrared_10_7um")
    units = {"visible": "percent", "infrared_10_7um": "K"}
    read = _read_declared(path, *units, units=units)
    np.testing.assert_array_equal(read.visible, VALUES)
    np.testing.assert_array_equal(read.infrared_10_7um, VALUES + 200)


@pytest.mark.parametrize(
    ("name", "stamp", "expected"),
    [
        ("IR_108_20200906_001500.tif", "2020:09:06 00:15:00", datetime(2020, 9, 6, 0, 15)),
        ("IR_108_20200906_001500.tif", "2024:01:31 09:12:44", None),
        ("scene.tif", "2020:09:06 00:15:00", None),
    ],
    ids=["satpy", "changed since", "other program"],
)
def test_when_a_file_was_written_is_no_time_of_observation(
    name: str, stamp: str, expected: datetime | None, tmp_path: Path
) -> None:
    tags = {"TIFFTAG_DATETIME": stamp}
    path = _write_counts(tmp_path / name, VALUES[None], tags=tags)
    [granule], _ = find_granules([path])
    assert granule.start_time == expected


PICTURE = np.stack([VALUES, VALUES + 50, VALUES + 100]).astype(np.uint8)
COLOURS = ("red", "green", "blue")


@pytest.mark.parametrize(
    "composite", ["true_color", "true_color_raw", "my_true_colour", "true_color_reproduction"]
)
def test_colours_of_true_colour_are_reflectances(composite: str, tmp_path: Path) -> None:
    name = f"{composite}_20200906_001500.tif"
    read = _read_declared(_write_counts(tmp_path / name, PICTURE, tags=WRITTEN), *COLOURS)
    np.testing.assert_allclose(read.green, (VALUES + 50) / 2.55, rtol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        *(f"{each}_20200906_001500.tif" for each in ("airmass", "natural_color", "dust", "ash")),
        *("night_microphysics_20200906_001500.tif", "snapshot.tif", "true_color.tif"),
        *("true_color_with_night_ir_20200906_001500.tif", "untrue_color_20200906_001500.tif"),
        "true_color_reproduction_night_ir_20200906_001500.tif",
        "ndsi_with_true_color_20200906_001500.tif",
    ],
)
def test_colours_of_other_pictures_are_refused_unless_declared(name: str, tmp_path: Path) -> None:
    path = _write_counts(tmp_path / name, PICTURE, tags={"start_time": "2020-09-06T00:15Z"})
    with pytest.raises(UnusableGranuleError, match=r"in true colour alone; describe its bands"):
        _read_declared(path, *COLOURS)
    declared = dict.fromkeys(COLOURS, "255^-1")
    read = _read_declared(path, *COLOURS, units=declared)
    assert read.red.attrs["units"] == "percent"
    np.testing.assert_allclose(read.green, (VALUES + 50) / 2.55, rtol=1e-6)


def test_indices_of_a_palette_are_no_brightness(tmp_path: Path) -> None:
    tags = {"start_time": "2020-09-06T00:15Z"}
    path = _write_counts(tmp_path / "a.tif", PICTURE[:1], tags=tags)
    with rasterio.open(path, "r+") as file:
        file.set_band_description(1, "visible")
    assert _read(path).visible.attrs["units"] == "percent"
    path = _write_counts(tmp_path / "b.tif", PICTURE[:1], tags=tags, photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {number: (number, 0, 0, 255) for number in range(256)})
        file.set_band_description(1, "visible")
    with pytest.raises(UnusableGranuleError, match="its visible has no units"):
        _read(path)


def test_descriptions_go_before_colours(tmp_path: Path) -> None:
    path = _write_counts(
        tmp_path / "true_color_20200906_001500.tif", PICTURE, tags=WRITTEN, photometric="RGB"
    )
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("C01", "C13", "")
        file.units = ("percent", "K", "")
    read = _read_declared(path, "C01", "C13")
    np.testing.assert_array_equal(read.C13, VALUES + 50)
    with pytest.raises(UnusableGranuleError, match="it has no band for red"):
        _read_declared(path, "red")


def test_units_in_the_file_tell_what_a_colour_is(tmp_path: Path) -> None:
    tags = {"start_time": "2020-09-06T00:15Z"}
    path = _write_counts(tmp_path / "a.tif", PICTURE, tags=tags, photometric="RGB")
    with rasterio.open(path, "r+") as file:
        file.units = ("%", "%", "%")
    np.testing.assert_array_equal(_read_declared(path, *COLOURS).green, VALUES + 50)
