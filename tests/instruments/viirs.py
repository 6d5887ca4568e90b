"""Granules written in the true format of NASA VIIRS Level-1B: VNP02MOD with VNP03MOD.

The reflectances in the file are not divided by the cosine of the solar zenith angle, unlike those
of NOAA's SDR. Thermal bands hold radiances and a table from count to brightness temperature.

Source: NASA VIIRS Level-1B Product User Guide, and the file specifications
https://ladsweb.modaps.eosdis.nasa.gov/filespec/VIIRS/2/VNP02MOD and VNP03MOD.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from instruments.responses import white_radiance
from netCDF4 import Dataset
from numpy.typing import NDArray

from pipeline.core import planck

FloatArray = NDArray[np.floating]

ROWS_PER_SCAN = 16
SCAN_SECONDS = 1.7864
TAI93 = datetime(1993, 1, 1)
LEAP_SECONDS = 10  # since 1993, from 2017 on
FILL, MAX_COUNT = 65535, 65527
N_COUNTS = 65536
FLAGS = {"Missing_EV": 65532, "Bowtie_Deleted": 65533, "Cal_Fail": 65534}
MAX_REFLECTANCE = 1.3
MIN_RADIANCE_SHARE = -0.005  # of the largest radiance: noise about zero stays in range
ANGLE_SCALE, ANGLE_FILL, PLACE_FILL = 0.01, -32768, -999.9
RADIANCE_UNITS = "Watts/meter^2/steradian/micrometer"

CENTRES_UM = {
    "M01": 0.412,
    "M02": 0.445,
    "M03": 0.488,
    "M04": 0.555,
    "M05": 0.672,
    "M06": 0.746,
    "M07": 0.865,
    "M08": 1.240,
    "M09": 1.378,
    "M10": 1.610,
    "M11": 2.250,
    "M12": 3.700,
    "M13": 4.050,
    "M14": 8.550,
    "M15": 10.763,
    "M16": 12.013,
}
SATURATION_K = {"M12": 353.0, "M13": 634.0, "M14": 336.0, "M15": 343.0, "M16": 340.0}
PLATFORMS = {"VNP": "Suomi-NPP", "VJ1": "JPSS-1", "VJ2": "JPSS-2"}


def write_viirs(
    folder: Path,
    *,
    bands: Mapping[str, FloatArray],
    latitude: FloatArray,
    longitude: FloatArray,
    solar_zenith: FloatArray,
    solar_azimuth: FloatArray,
    view_zenith: FloatArray,
    view_azimuth: FloatArray,
    start_time: datetime,
    product: str = "VNP",
) -> list[Path]:
    """Write a granule of moderate resolution, and return its paths: observations, geolocation.

    Args:
        folder: Where to write; the names follow from the other arguments.
        bands: M01 to M11 as reflectance factors (reflectance times the cosine of the solar zenith
            angle), M12 to M16 in K; shape (row, column), NaN is missing, for whatever reason.
        latitude: Degrees, same shape; NaN is missing.
        longitude: Degrees, same shape.
        solar_zenith: Degrees, same shape, as the other angles.
        solar_azimuth: Clockwise from north.
        view_zenith: Of the satellite.
        view_azimuth: Of the satellite.
        start_time: Of the first scan, UTC; to a second.
        product: "VNP", "VJ1" or "VJ2".

    Raises:
        ValueError: If the rows are not whole scans.
    """
    if len(latitude) % ROWS_PER_SCAN:
        raise ValueError(f"{len(latitude)} rows are not whole scans of {ROWS_PER_SCAN} rows")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for level in ("02", "03"):
        created = start_time + timedelta(hours=6)
        name = f"{product}{level}MOD.A{start_time:%Y%j.%H%M}.002.{created:%Y%j%H%M%S}.nc"
        with Dataset(folder / name, "w", format="NETCDF4") as file:
            _write_frame(file, latitude.shape, start_time)
            day = {"day": solar_zenith < 90, "night": solar_zenith >= 90}
            flag = next((name for name, there in day.items() if there.all()), "both").title()
            file.setncatts(
                {
                    "Conventions": "CF-1.6",
                    "title": f"VIIRS M-band {'L1B' if level == '02' else 'Geolocation'} Data",
                    "ShortName": f"{product}{level}MOD",
                    "product_name": name,
                    "LocalGranuleID": name,
                    "platform": PLATFORMS[product],
                    "instrument": "VIIRS",
                    "processing_level": "L1B",
                    "DayNightFlag": flag,
                    "startDirection": "Descending",
                    "endDirection": "Descending",
                    "OrbitNumber": np.int32(1),
                    "time_coverage_start": _iso(start_time),
                    "time_coverage_end": _iso(start_time + timedelta(minutes=6)),
                }
            )
            if level == "02":
                observations = file.createGroup("observation_data")
                for band, values in bands.items():
                    _write_band(observations, band, values)
            else:
                places = file.createGroup("geolocation_data")
                _write_place(places, "latitude", latitude, 90)
                _write_place(places, "longitude", longitude, 180)
                _write_angle(places, "sensor_zenith", view_zenith)
                _write_angle(places, "sensor_azimuth", view_azimuth)
                _write_angle(places, "solar_zenith", solar_zenith)
                _write_angle(places, "solar_azimuth", solar_azimuth)
        paths.append(folder / name)
    return paths


def packing(band: str) -> tuple[float, float]:
    """Step and offset of the counts: in reflectance to M11, in W m-2 sr-1 um-1 from M12."""
    if band not in SATURATION_K:
        return MAX_REFLECTANCE / MAX_COUNT, 0.0
    largest = float(planck.radiance(CENTRES_UM[band], np.asarray(SATURATION_K[band])))
    offset = MIN_RADIANCE_SHARE * largest
    return (largest - offset) / MAX_COUNT, offset


def _write_frame(file: Dataset, shape: tuple[int, ...], start_time: datetime) -> None:
    """Dimensions, and the times of the scans in seconds of atomic time since 1993."""
    n_scans = shape[0] // ROWS_PER_SCAN
    file.createDimension("number_of_scans", n_scans)
    file.createDimension("number_of_lines", shape[0])
    file.createDimension("number_of_pixels", shape[1])
    file.createDimension("number_of_LUT_values", N_COUNTS)
    group = file.createGroup("scan_line_attributes")
    first = (start_time - TAI93).total_seconds() + LEAP_SECONDS
    for name, delay in (("scan_start_time", 0), ("ev_mid_time", 0.5), ("scan_end_time", 1)):
        times = group.createVariable(name, "f8", ("number_of_scans",), fill_value=PLACE_FILL)
        times.setncatts({"units": "seconds", "long_name": f"{name} (TAI93)"})
        times[:] = first + (np.arange(n_scans) + delay) * SCAN_SECONDS


def _write_band(group: Dataset, band: str, values: FloatArray) -> None:
    scale, offset = packing(band)
    thermal = band in SATURATION_K
    physical = planck.radiance(CENTRES_UM[band], values) if thermal else values
    counts = np.clip(np.rint((physical - offset) / scale), 0, MAX_COUNT)
    attributes = {
        "long_name": f"M-band {band[1:]} earth view {'radiance' if thermal else 'reflectance'}",
        "valid_min": np.uint16(0),
        "valid_max": np.uint16(MAX_COUNT),
        "scale_factor": np.float32(scale),
        "add_offset": np.float32(offset),
        "flag_values": np.array([*FLAGS.values()], np.uint16),
        "flag_meanings": " ".join(FLAGS),
    }
    if thermal:
        attributes["units"] = RADIANCE_UNITS
        _write_table(group, band, scale, offset)
    else:
        attributes["radiance_scale_factor"] = np.float32(scale * white_radiance(CENTRES_UM[band]))
        attributes["radiance_add_offset"] = np.float32(0)
        attributes["radiance_units"] = RADIANCE_UNITS
    pixels = np.where(np.isnan(values), FILL, np.nan_to_num(counts)).astype(np.uint16)
    lines = ("number_of_lines", "number_of_pixels")
    _write(group, band, pixels, lines, FILL, attributes)
    quality = np.where(np.isnan(values), 512, 0).astype(np.uint16)  # 512: Missing_EV
    meaning = {"long_name": f"M-band {band[1:]} quality flags"}
    _write(group, f"{band}_quality_flags", quality, lines, FILL, meaning)


def _write_table(group: Dataset, band: str, scale: float, offset: float) -> None:
    """Brightness temperature of every count."""
    radiances = np.arange(N_COUNTS) * scale + offset
    usable = (radiances > 0) & (np.arange(N_COUNTS) <= MAX_COUNT)
    safe = np.where(usable, radiances, 1.0)
    table = np.where(usable, planck.brightness_temperature(CENTRES_UM[band], safe), PLACE_FILL)
    attributes = {
        "long_name": f"M-band {band[1:]} brightness temperature lookup table",
        "units": "Kelvin",
        "valid_min": np.float32(0),
        "valid_max": np.float32(2000),
    }
    name = f"{band}_brightness_temperature_lut"
    _write(group, name, table.astype(np.float32), ("number_of_LUT_values",), PLACE_FILL, attributes)


def _write_place(group: Dataset, name: str, degrees: FloatArray, limit: float) -> None:
    attributes = {
        "long_name": f"{name.title()} of pixel locations",
        "units": "degrees_north" if name == "latitude" else "degrees_east",
        "valid_min": np.float32(-limit),
        "valid_max": np.float32(limit),
    }
    pixels = np.where(np.isnan(degrees), PLACE_FILL, degrees).astype(np.float32)
    _write(group, name, pixels, ("number_of_lines", "number_of_pixels"), PLACE_FILL, attributes)


def _write_angle(group: Dataset, name: str, degrees: FloatArray) -> None:
    azimuth = name.endswith("azimuth")
    attributes = {
        "long_name": name.replace("_", " ") + " angle at pixel locations",
        "units": "degrees",
        "valid_min": np.int16(-18000 if azimuth else 0),
        "valid_max": np.int16(18000),
        "scale_factor": np.float32(ANGLE_SCALE),
        "add_offset": np.float32(0),
    }
    turned = (degrees + 180) % 360 - 180 if azimuth else degrees
    counts = np.rint(turned / ANGLE_SCALE)
    pixels = np.where(np.isnan(counts), ANGLE_FILL, np.nan_to_num(counts)).astype(np.int16)
    _write(group, name, pixels, ("number_of_lines", "number_of_pixels"), ANGLE_FILL, attributes)


def _write(
    group: Dataset,
    name: str,
    values: NDArray[Any],
    dimensions: tuple[str, ...],
    fill_value: float,
    attributes: Mapping[str, Any],
) -> None:
    variable = group.createVariable(
        name, values.dtype, dimensions, zlib=True, complevel=1, fill_value=fill_value
    )
    variable.setncatts(attributes)
    variable.set_auto_maskandscale(False)
    variable[:] = values


def _iso(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.000Z"
