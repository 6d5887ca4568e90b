"""Units of bands: converted where they are known, refused in a sentence where they are not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.transform import from_origin

from pipeline.files.granules import (
    GeotiffConventions,
    NetcdfConventions,
    UnusableGranuleError,
    read_granule,
)

KINDS = ["geotiff", "netcdf"]


def _read(
    folder: Path,
    kind: str,
    values: Any,
    wanted: str,
    *,
    units: str | None,
    declared: Mapping[str, str] | None = None,
    scale: float = 1.0,
    offset: float = 0.0,
) -> xr.DataArray:
    """The band `wanted` of a file with one band called `band`, of 2 x 2 stored values."""
    stored = np.asarray(values).reshape(2, 2)
    path = folder / f"a.{kind}"
    if kind == "geotiff":
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=2,
            width=2,
            count=1,
            dtype=stored.dtype,
            crs="EPSG:4326",
            transform=from_origin(0, 2, 1, 1),
        ) as file:
            file.write(stored, 1)
            file.set_band_description(1, "band")
            file.scales, file.offsets = (scale,), (offset,)
            if units is not None:
                file.units = (units,)
            file.update_tags(start_time="2020-06-01T12:00:00Z")
    else:
        packed = {"scale_factor": scale, "add_offset": offset} if scale != 1 or offset else {}
        said = {} if units is None else {"units": units}
        xr.Dataset(
            {"band": (("latitude", "longitude"), stored, {**packed, **said})},
            coords={"latitude": [1.5, 0.5], "longitude": [0.5, 1.5]},
            attrs={"time_coverage_start": "2020-06-01T12:00:00Z"},
        ).to_netcdf(path)
    granule = read_granule(
        [path],
        kind,
        {wanted: ["band"]},
        geotiff=GeotiffConventions(declared or {}),
        netcdf=NetcdfConventions(declared or {}, "latitude", "longitude", "", ""),
    )
    return granule[wanted]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("wanted", "units", "values", "expected", "standard"),
    [
        ("visible", "1", [0.0, 0.25, 0.5, 1.0], [0, 25, 50, 100], "percent"),
        ("red", "0.01", [0.0, 25, 50, 100], [0, 25, 50, 100], "percent"),
        ("near_infrared_2_2um", "percent ", [0.0, 25, 50, 100], [0, 25, 50, 100], "percent"),
        ("near_infrared_1_6um", "%", [0.0, 25, 50, 100], [0, 25, 50, 100], "percent"),
        ("infrared_window", "degC", [-80.0, -26.9, 0, 20], [193.15, 246.25, 273.15, 293.15], "K"),
        ("shortwave_infrared", "degF", [-40.0, 32, 50, 68], [233.15, 273.15, 283.15, 293.15], "K"),
        ("water_vapour", "Celsius", [-80.0, -60, -40, -20], [193.15, 213.15, 233.15, 253.15], "K"),
        *(
            ("infrared_window", units, [-80.0, -40, 0, 20], [193.15, 233.15, 273.15, 293.15], "K")
            for units in ("C", "deg C", "degrees C", "degree_Celsius", "°C", "º C")
        ),
        ("infrared_window", "F", [-40.0, 32, 50, 68], [233.15, 273.15, 283.15, 293.15], "K"),
        ("infrared_window", "deg K", [200.0, 220, 240, 300], [200, 220, 240, 300], "K"),
        ("infrared_12um", "mK", [2e5, 2.2e5, 2.4e5, 3e5], [200, 220, 240, 300], "K"),
        ("optical_depth", "1", [0.0, 0.5, 3, 40], [0, 0.5, 3, 40], "1"),
    ],
)
def test_known_units_are_converted(
    tmp_path: Path,
    kind: str,
    wanted: str,
    units: str,
    values: list[float],
    expected: list[float],
    standard: str,
) -> None:
    band = _read(tmp_path, kind, np.array(values, np.float32), wanted, units=units)
    np.testing.assert_allclose(band.values.ravel(), expected, rtol=1e-5)
    assert band.attrs["units"] == standard


@pytest.mark.parametrize("kind", KINDS)
def test_packed_fractions_are_converted(tmp_path: Path, kind: str) -> None:
    counts = np.array([0, 2500, 5190, 10000], np.int16)
    band = _read(tmp_path, kind, counts, "visible", units="1", scale=1e-4)
    np.testing.assert_allclose(band.values.ravel(), [0, 25, 51.9, 100], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_file_says_the_parameters_do(tmp_path: Path, kind: str) -> None:
    counts = np.array([0, 2500, 5190, 10000], np.int16)
    declared = {"band": "1"}
    band = _read(tmp_path, kind, counts, "red", units=None, declared=declared, scale=1e-4)
    np.testing.assert_allclose(band.values.ravel(), [0, 25, 51.9, 100], rtol=1e-5)
    fluxes = np.array([0.1, 0.2, 0.25, 0.3], np.float32)
    declared = {"band": "W m-2"}
    flux = _read(tmp_path, kind, fluxes, "infrared_window", units="kW m-2", declared=declared)
    np.testing.assert_allclose(flux.values.ravel(), [100, 200, 250, 300], rtol=1e-5)
    assert flux.attrs["units"] == "W m-2"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("wanted", "units", "detail"),
    [
        ("visible", None, "its band has no units; give them in the file or by band in ingest."),
        ("visible", "reflectance", "its band is in reflectance, which is no known unit; give"),
        ("visible", "K", "its band is in K, but visible should be in percent; change ingest.bands"),
        ("visible", "radian", "its band is in radian, but visible should be in percent"),
        ("visible", "count", "its band is in count, but visible should be in percent"),
        ("infrared_window", "%", "its band is in %, but infrared_window should be in K"),
        ("infrared_window", "W m-2 sr-1 um-1", "infrared_window should be in K; change ingest.ban"),
    ],
)
def test_what_cannot_be_told_is_refused(
    tmp_path: Path, kind: str, wanted: str, units: str | None, detail: str
) -> None:
    values = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    with pytest.raises(UnusableGranuleError) as refused:
        _read(tmp_path, kind, values, wanted, units=units)
    assert refused.value.reason == "other units"
    assert detail in str(refused.value)


def test_plain_bytes_are_brightness_and_no_temperature(tmp_path: Path) -> None:
    counts = np.array([0, 51, 102, 255], np.uint8)
    band = _read(tmp_path, "geotiff", counts, "visible", units=None)
    np.testing.assert_allclose(band.values.ravel(), [0, 20, 40, 100], rtol=1e-5)
    with pytest.raises(UnusableGranuleError, match="its band is in percent, but infrared_window"):
        _read(tmp_path, "geotiff", counts, "infrared_window", units=None)
    declared = {"band": "degC"}
    band = _read(tmp_path, "geotiff", counts, "infrared_window", units=None, declared=declared)
    np.testing.assert_allclose(band.values.ravel(), [273.15, 324.15, 375.15, 528.15], rtol=1e-5)
