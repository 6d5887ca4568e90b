"""Granules written in the true format of Himawari AHI: Himawari Standard Data, one segment.

Source: Himawari-8/9 Himawari Standard Data User's Guide (JMA, version 1.3),
https://www.data.jma.go.jp/mscweb/en/himawari89/space_segment/hsd_sample/HS_D_users_guide_en_v13.pdf;
the blocks of the header are laid out by satpy's own types.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from instruments.responses import white_radiance
from numpy.typing import NDArray
from pyproj import Proj
from satpy.readers import ahi_hsd

from pipeline.core import planck

FloatArray = NDArray[np.floating]

SUBPOINT_LONGITUDE = 140.7
DISTANCE_KM, EQUATORIAL_KM, POLAR_KM = 42164.0, 6378.137, 6356.7523
COLUMN_FACTOR = 20466275  # of 2 km pixels: 2^16 per degree of scan angle
DISK_CENTRE = 2750.5  # column and line of 2 km pixels, from 1
PIXEL_RAD = float(np.deg2rad(2**16 / COLUMN_FACTOR))
MODIFIED_JULIAN_EPOCH = datetime(1858, 11, 17)
ERROR_COUNT, OUTSIDE_COUNT = 65535, 65534
LIGHT_SPEED, PLANCK_CONSTANT, BOLTZMANN_CONSTANT = 299792458.0, 6.62607015e-34, 1.380649e-23
MAX_ALBEDO = 1.2
MAX_TEMPERATURE = 400.0  # K
FINER = {"B01": 2, "B02": 2, "B03": 4, "B04": 2}  # pixels along the edge of a 2 km pixel
BAND_WAVELENGTHS = (
    "0.471 0.510 0.639 0.857 1.610 2.257 3.885 6.243 6.941 7.347 8.593 9.637 10.407 11.240 12.381 "
    "13.281"
)
CENTRES_UM = {
    f"B{number:02d}": float(wavelength)
    for number, wavelength in enumerate(BAND_WAVELENGTHS.split(), start=1)
}
BITS = {"B07": 14, "B08": 11, "B09": 11, **dict.fromkeys(list(CENTRES_UM)[:6], 11)}  # else 12


def write_ahi_hsd(
    folder: Path,
    *,
    latitude: float,
    longitude: float,
    bands: Mapping[str, FloatArray],
    start_time: datetime,
    platform: str = "Himawari-9",
) -> list[Path]:
    """Write a target area, one file a band, and return the paths in the order of `bands`.

    Args:
        folder: Where to write; the names follow from the other arguments.
        latitude: Of the area's centre, degrees.
        longitude: Of the area's centre, degrees.
        bands: B01 to B06 as reflectance factors (reflectance times the cosine of the solar zenith
            angle), B07 to B16 in K; shape (n, n) on `area_places`, NaN is missing. B01, B02 and
            B04 are written at 1 km and B03 at 0.5 km, as they are, by repeating pixels.
        start_time: Of the observation, UTC; at whole ten minutes, as the reader rounds it.
        platform: "Himawari-8" or "Himawari-9".
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for band, values in bands.items():
        finer = FINER.get(band, 1)
        path = folder / (
            f"HS_{platform.replace('imawari-', '0')}_{start_time:%Y%m%d_%H%M}_{band}_R301"
            f"_R{20 // finer:02d}_S0101.DAT"
        )
        column, line = _first_pixel(latitude, longitude, len(values))
        gain, offset = packing(band)
        physical = (
            values if int(band[1:]) < 7 else planck.radiance(CENTRES_UM[band], np.asarray(values))
        )
        counts = np.clip(np.rint((physical - offset) / gain), 0, 2 ** BITS.get(band, 12) - 1)
        pixels = np.where(np.isnan(values), ERROR_COUNT, np.nan_to_num(counts)).astype("<u2")
        blocks = _header(band, len(values) * finer, start_time, platform, (column, line), path.name)
        with path.open("wb") as file:
            for block in blocks:
                file.write(block)
            file.write(np.kron(pixels, np.ones((finer, finer), "<u2")).tobytes())
        paths.append(path)
    return paths


def area_places(
    *, latitude: float, longitude: float, n_pixels: int
) -> tuple[FloatArray, FloatArray]:
    """Latitudes and longitudes of the 2 km pixels of an area, shape (row, column)."""
    column, line = _first_pixel(latitude, longitude, n_pixels)
    steps = np.arange(n_pixels) + 1 - DISK_CENTRE
    height = (DISTANCE_KM - EQUATORIAL_KM) * 1000
    eastings, northings = np.meshgrid(
        (column + steps) * PIXEL_RAD * height, -(line + steps) * PIXEL_RAD * height
    )
    longitudes, latitudes = _projection()(eastings, northings, inverse=True)
    return latitudes, longitudes


def packing(band: str) -> tuple[float, float]:
    """Step and offset of the counts: in reflectance to B06, in W m-2 sr-1 um-1, falling, after."""
    n_steps = 2 ** BITS.get(band, 12) - 1
    if int(band[1:]) < 7:
        return MAX_ALBEDO / n_steps, 0.0
    largest = float(planck.radiance(CENTRES_UM[band], np.asarray(MAX_TEMPERATURE)))
    return -largest / n_steps, largest


def _projection() -> Proj:
    height = (DISTANCE_KM - EQUATORIAL_KM) * 1000
    return Proj(
        proj="geos",
        h=height,
        a=EQUATORIAL_KM * 1000,
        b=POLAR_KM * 1000,
        lon_0=SUBPOINT_LONGITUDE,
        sweep="y",
    )


def _first_pixel(latitude: float, longitude: float, n_pixels: int) -> tuple[int, int]:
    """Column and line of the area's first 2 km pixel on the full disk, from 0."""
    easting, northing = _projection()(longitude, latitude)
    pixel_m = PIXEL_RAD * (DISTANCE_KM - EQUATORIAL_KM) * 1000
    first = DISK_CENTRE - n_pixels / 2
    return int(np.floor(first + easting / pixel_m)), int(np.floor(first - northing / pixel_m))


def _header(
    band: str,
    n_pixels: int,
    start_time: datetime,
    platform: str,
    first: tuple[int, int],
    name: str,
) -> list[bytes]:
    """The eleven blocks of the header."""
    start = (start_time - MODIFIED_JULIAN_EPOCH) / timedelta(days=1)
    basic = {
        "total_number_of_hblocks": 11,
        "satellite": platform,
        "proc_center_name": "synthetic",
        "observation_area": "R301",
        "observation_timeline": int(f"{start_time:%H%M}"),
        "observation_start_time": start,
        "observation_end_time": start + 150 / 86400,
        "total_data_length": 2 * n_pixels**2,
        "file_format_version": "1.3",
        "file_name": name,
    }
    data = {
        "number_of_bits_per_pixel": 16,
        "number_of_columns": n_pixels,
        "number_of_lines": n_pixels,
    }
    navigation = {
        "navigation_info_time": start,
        "SSP_longitude": SUBPOINT_LONGITUDE,
        "distance_earth_center_to_satellite": DISTANCE_KM,
        "nadir_longitude": SUBPOINT_LONGITUDE,
    }
    segment = {
        "total_number_of_segments": 1,
        "segment_sequence_number": 1,
        "first_line_number_of_image_segment": 1,
    }
    blocks = [
        _block(1, ahi_hsd._BASIC_INFO_TYPE, basic),
        _block(2, ahi_hsd._DATA_INFO_TYPE, data),
        _projection_block(band, first),
        _block(4, ahi_hsd._NAV_INFO_TYPE, navigation),
        _calibration_block(band),
        _block(6, ahi_hsd._INTER_CALIBRATION_INFO_TYPE, {}),
        _block(7, ahi_hsd._SEGMENT_INFO_TYPE, segment),
        _block(8, ahi_hsd._NAVIGATION_CORRECTION_INFO_TYPE, {}, bytes(40)),
        _block(9, ahi_hsd._OBSERVATION_TIME_INFO_TYPE, {}, bytes(40)),
        _block(10, ahi_hsd._ERROR_INFO_TYPE, {}, bytes(40)),
        _block(11, ahi_hsd._SPARE_TYPE, {}),
    ]
    basic["total_header_length"] = sum(map(len, blocks))
    return [_block(1, ahi_hsd._BASIC_INFO_TYPE, basic), *blocks[1:]]


def _projection_block(band: str, first: tuple[int, int]) -> bytes:
    finer = FINER.get(band, 1)
    centre = (DISK_CENTRE - 0.5) * finer + 0.5
    values = {
        "sub_lon": SUBPOINT_LONGITUDE,
        "CFAC": COLUMN_FACTOR * finer,
        "LFAC": COLUMN_FACTOR * finer,
        "COFF": centre - first[0] * finer,
        "LOFF": centre - first[1] * finer,
        "distance_from_earth_center": DISTANCE_KM,
        "earth_equatorial_radius": EQUATORIAL_KM,
        "earth_polar_radius": POLAR_KM,
    }
    return _block(3, ahi_hsd._PROJ_INFO_TYPE, values)


def _calibration_block(band: str) -> bytes:
    """Counts to radiances, and these to albedo or, by plain Planck, to temperature."""
    gain, offset = packing(band)
    if int(band[1:]) < 7:
        white = white_radiance(CENTRES_UM[band])
        gain, offset = gain * white, offset * white
        kind = ahi_hsd._VISCAL_INFO_TYPE
        own = {"coeff_rad2albedo_conversion": 1 / white, "cali_gain_count2rad_conversion": gain}
    else:
        kind = ahi_hsd._IRCAL_INFO_TYPE
        own = {
            "c1_rad2tb_conversion": 1.0,
            "c1_tb2rad_conversion": 1.0,
            "speed_of_light": LIGHT_SPEED,
            "planck_constant": PLANCK_CONSTANT,
            "boltzmann_constant": BOLTZMANN_CONSTANT,
        }
    values = {
        "band_number": int(band[1:]),
        "central_wave_length": CENTRES_UM[band],
        "valid_number_of_bits_per_pixel": BITS.get(band, 12),
        "count_value_error_pixels": ERROR_COUNT,
        "count_value_outside_scan_pixels": OUTSIDE_COUNT,
        "gain_count2rad_conversion": gain,
        "offset_count2rad_conversion": offset,
    }
    return _block(5, ahi_hsd._CAL_INFO_TYPE, values, _fill(kind, own))


def _block(number: int, kind: np.dtype[Any], values: Mapping[str, Any], tail: bytes = b"") -> bytes:
    length = kind.itemsize + len(tail)
    return _fill(kind, {"hblock_number": number, "blocklength": length, **values}) + tail


def _fill(kind: np.dtype[Any], values: Mapping[str, Any]) -> bytes:
    record = np.zeros((), kind)
    for name, value in values.items():
        record[name] = value
    return record.tobytes()
