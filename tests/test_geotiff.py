"""Times and places of GeoTIFFs, in every form in which files state them."""

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
        file.units = ("percent",)
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


@pytest.mark.parametrize("date", ["2020-06-01", "20200601"])
def test_a_date_alone_is_no_time(date: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tif", tags={"start_time": date})
    [granule], _ = find_granules([path])
    assert granule.start_time is None
    with pytest.raises(UnusableGranuleError, match=f"start_time {date} has no time of day; add"):
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
    ],
)
def test_without_places_the_sentence_says_what_is_lacking(
    profile: dict[str, Any], detail: str, tmp_path: Path
) -> None:
    with pytest.raises(UnusableGranuleError, match=detail) as refused:
        _read(_write(tmp_path / "a.tif", **profile))
    assert refused.value.reason == "lacks its geolocation"
