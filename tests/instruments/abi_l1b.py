"""Granules written in the true format of GOES-R ABI L1b radiances, mesoscale sector.

Source: GOES-R Product Definition and Users' Guide (PUG), volume 3, section 5.1,
https://www.goes-r.gov/users/docs/PUG-L1b-vol3.pdf: layout of the files, bit depths, formulae of
reflectance factor and brightness temperature. The coefficients are those in files of GOES-16.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from netCDF4 import Dataset
from numpy.typing import NDArray

from pipeline.files.mcmip import (
    GRID_LONGITUDE,
    J2000,
    PIXEL_RAD,
    SATELLITE_HEIGHT_M,
    SCAN_SECONDS,
    SEMI_MAJOR_AXIS_M,
    SEMI_MINOR_AXIS_M,
    SUBPOINT_LONGITUDE,
    WAVELENGTHS_UM,
    SectorGrid,
    sector_grid,
)

FloatArray = NDArray[np.floating]

ABSENT = -999.0  # value of a coefficient that a band has no use for
TITLE = "ABI L1b Radiances"
FINER = {"C01": 2, "C02": 4, "C03": 2, "C05": 2}  # pixels along the edge of a 2 km pixel


@dataclass(frozen=True)
class Packing:
    """Counts to radiances: W m-2 sr-1 um-1 to C06, mW m-2 sr-1 cm from C07."""

    bits: int
    scale: float
    offset: float


PACKING = {
    "C01": Packing(10, 0.8121064, -25.936647),
    "C02": Packing(12, 0.15859237, -20.289911),
    "C03": Packing(10, 0.37691253, -12.037643),
    "C04": Packing(11, 0.07073108, -4.5223684),
    "C05": Packing(10, 0.09580004, -3.0596137),
    "C06": Packing(10, 0.030088475, -0.9609507),
    "C07": Packing(14, 0.001564351, -0.0376),
    "C08": Packing(12, 0.007104763, -0.5586),
    "C09": Packing(11, 0.022539102, -0.8236),
    "C10": Packing(12, 0.02004128, -0.9561),
    "C11": Packing(12, 0.03335779, -1.3022),
    "C12": Packing(11, 0.05443998, -1.5394),
    "C13": Packing(12, 0.04572892, -1.6443),
    "C14": Packing(12, 0.049492206, -1.7187),
    "C15": Packing(12, 0.05277411, -1.7558),
    "C16": Packing(10, 0.17605852, -5.2392),
}
SOLAR_IRRADIANCE = {  # at the mean distance of the sun, W m-2 um-1
    "C01": 2017.1648,
    "C02": 1631.3351,
    "C03": 957.0699,
    "C04": 360.90176,
    "C05": 242.54037,
    "C06": 76.8999,
}
PLANCK = {  # fk1 (mW m-2 sr-1 cm), fk2 (K), bc1 (K), bc2 (1)
    "C07": (202263.0, 3698.19, 0.43361, 0.99939),
    "C08": (50687.1, 2331.58, 1.55228, 0.99667),
    "C09": (35828.3, 2076.95, 0.34427, 0.99918),
    "C10": (30174.0, 1961.38, 0.05651, 0.99986),
    "C11": (19779.9, 1703.83, 0.18733, 0.99948),
    "C12": (13432.1, 1497.61, 0.09102, 0.99971),
    "C13": (10803.3, 1392.74, 0.0755, 0.99975),
    "C14": (8510.22, 1286.27, 0.22516, 0.9992),
    "C15": (6454.62, 1173.03, 0.21702, 0.99916),
    "C16": (5101.27, 1084.53, 0.06266, 0.99974),
}
FLAG_ATTRIBUTES = {
    "standard_name": "status_flag",
    "valid_range": np.array([0, 3], np.int8),
    "units": "1",
    "flag_values": np.arange(4, dtype=np.int8),
    "flag_meanings": "good_pixel_qf conditionally_usable_pixel_qf out_of_range_pixel_qf "
    "no_value_pixel_qf",
}


def write_abi_l1b(
    folder: Path,
    *,
    latitude: float,
    longitude: float,
    bands: Mapping[str, FloatArray],
    start_time: datetime,
    sector: str = "M1",
    platform: str = "G19",
) -> list[Path]:
    """Write a scan, one file a band, and return the paths in the order of `bands`.

    Args:
        folder: Where to write; the names follow from the other arguments.
        latitude: Of the sector's centre, degrees.
        longitude: Of the sector's centre, degrees.
        bands: C01 to C06 as reflectance factors (reflectance times the cosine of the solar zenith
            angle, 0 to 1), C07 to C16 in K; shape (n, n) on `sector_grid`, NaN is missing. C01,
            C03 and C05 are written at 1 km and C02 at 0.5 km, as they are, by repeating pixels.
        start_time: Of the scan, UTC; to a tenth of a second.
        sector: "M1" or "M2".
        platform: "G16" to "G19".
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for band, values in bands.items():
        grid = sector_grid(latitude=latitude, longitude=longitude, n_pixels=len(values))
        times = [start_time + timedelta(seconds=s) for s in (0, SCAN_SECONDS, SCAN_SECONDS + 5)]
        start, end, created = (f"{time:%Y%j%H%M%S}{time.microsecond // 100_000}" for time in times)
        path = folder / f"OR_ABI-L1b-Rad{sector}-M6{band}_{platform}_s{start}_e{end}_c{created}.nc"
        with Dataset(path, "w", format="NETCDF4") as file:
            file.set_auto_maskandscale(False)
            _write_frame(file, grid, band)
            _write_circumstances(file, band, times)
            _write_radiances(file, grid, band, values, start_time)
            _write_calibration(file, band, start_time)
            file.setncatts(_global_attributes(path.name, band, platform, times))
        paths.append(path)
    return paths


def radiance(band: str, values: FloatArray, start_time: datetime) -> FloatArray:
    """Radiance in the units of the band's `Packing`, of reflectance factors or K."""
    if band in SOLAR_IRRADIANCE:
        return np.asarray(values / _kappa0(band, start_time))
    fk1, fk2, bc1, bc2 = PLANCK[band]
    return np.asarray(fk1 / np.expm1(fk2 / (bc1 + bc2 * values)))


def _kappa0(band: str, time: datetime) -> float:
    return float(np.pi * sun_distance(time) ** 2 / SOLAR_IRRADIANCE[band])


def sun_distance(time: datetime) -> float:
    """Distance in astronomical units, by the orbit's eccentricity and perihelion (4 January)."""
    return float(1 - 0.01671 * np.cos(2 * np.pi * (time.timetuple().tm_yday - 4) / 365.256))


def _global_attributes(
    name: str, band: str, platform: str, times: list[datetime]
) -> dict[str, str]:
    begin, finish, made = (
        f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 100_000}Z" for time in times
    )
    return {
        "Conventions": "CF-1.7",
        "title": TITLE,
        "dataset_name": name,
        "platform_ID": platform,
        "orbital_slot": "GOES-East",
        "instrument_type": "GOES R Series Advanced Baseline Imager",
        "instrument_ID": "FM4",
        "scene_id": "Mesoscale",
        "spatial_resolution": f"{2 / FINER.get(band, 1):g}km at nadir",
        "timeline_id": "ABI Mode 6",
        "production_data_source": "Simulated",
        "production_site": "synthetic",
        "cdm_data_type": "Image",
        "time_coverage_start": begin,
        "time_coverage_end": finish,
        "date_created": made,
    }


def _write_frame(file: Dataset, grid: SectorGrid, band: str) -> None:
    """Dimensions, scan angles and projection."""
    finer = FINER.get(band, 1)
    step = PIXEL_RAD / finer
    for name, angles, sign in (("y", grid.y, -1), ("x", grid.x, 1)):
        file.createDimension(name, len(angles) * finer)
        first = float(angles[0]) - sign * step * (finer - 1) / 2
        variable = file.createVariable(name, "i2", (name,))
        variable.setncatts(
            {
                "scale_factor": np.float32(sign * step),
                "add_offset": np.float32(first),
                "units": "rad",
                "axis": name.upper(),
                "long_name": f"GOES fixed grid projection {name}-coordinate",
                "standard_name": f"projection_{name}_coordinate",
            }
        )
        variable.set_auto_maskandscale(False)
        variable[:] = np.arange(len(angles) * finer)
    file.createVariable("goes_imager_projection", "i4").setncatts(
        {
            "long_name": "GOES-R ABI fixed grid projection",
            "grid_mapping_name": "geostationary",
            "perspective_point_height": SATELLITE_HEIGHT_M,
            "semi_major_axis": SEMI_MAJOR_AXIS_M,
            "semi_minor_axis": SEMI_MINOR_AXIS_M,
            "inverse_flattening": 298.2572221,
            "latitude_of_projection_origin": 0.0,
            "longitude_of_projection_origin": GRID_LONGITUDE,
            "sweep_angle_axis": "x",
        }
    )


def _write_circumstances(file: Dataset, band: str, times: list[datetime]) -> None:
    """Times, the satellite's place and the band."""
    file.createDimension("number_of_time_bounds", 2)
    file.createDimension("band", 1)
    seconds = [(time - J2000).total_seconds() for time in times[:2]]
    epoch = "seconds since 2000-01-01 12:00:00"
    middle = {"standard_name": "time", "units": epoch, "axis": "T", "bounds": "time_bounds"}
    _scalar(file, "t", "f8", sum(seconds) / 2, **middle)
    file.createVariable("time_bounds", "f8", ("number_of_time_bounds",))[:] = seconds
    _scalar(file, "nominal_satellite_subpoint_lat", "f4", 0.0, units="degrees_north")
    _scalar(file, "nominal_satellite_subpoint_lon", "f4", SUBPOINT_LONGITUDE, units="degrees_east")
    _scalar(file, "nominal_satellite_height", "f4", SATELLITE_HEIGHT_M / 1000, units="km")
    _scalar(file, "yaw_flip_flag", "i1", 0, _Unsigned="true", units="1")
    for name, kind, value, unit in (
        ("band_id", "i1", int(band[1:]), "1"),
        ("band_wavelength", "f4", WAVELENGTHS_UM[band], "um"),
    ):
        variable = file.createVariable(name, kind, ("band",))
        variable.units = unit
        variable[:] = value


def _write_radiances(
    file: Dataset, grid: SectorGrid, band: str, values: FloatArray, start_time: datetime
) -> None:
    """Radiances as counts, and their quality flags."""
    packing = PACKING[band]
    last = 2**packing.bits - 2  # the count after it is the fill value
    missing = np.isnan(values) | np.isnan(grid.latitude)
    steps = np.rint((radiance(band, values, start_time) - packing.offset) / packing.scale)
    counts = np.where(missing, last + 1, np.clip(np.nan_to_num(steps), 0, last))
    flags = np.where(missing, 3, np.where((steps < 0) | (steps > last), 2, 0))
    per = "wavelength" if band in SOLAR_IRRADIANCE else "wavenumber"
    attributes = {
        "standard_name": f"toa_outgoing_radiance_per_unit_{per}",
        "sensor_band_bit_depth": np.int8(packing.bits),
        "valid_range": np.array([0, last], np.int16),
        "scale_factor": np.float32(packing.scale),
        "add_offset": np.float32(packing.offset),
        "units": "W m-2 sr-1 um-1" if per == "wavelength" else "mW m-2 sr-1 (cm-1)-1",
        "ancillary_variables": "DQF",
    }
    square = np.ones((FINER.get(band, 1),) * 2, np.int16)
    for name, kind, pixels, fill, own in (
        ("Rad", "i2", counts, last + 1, attributes),
        ("DQF", "i1", flags, -1, FLAG_ATTRIBUTES),
    ):
        image = file.createVariable(name, kind, ("y", "x"), zlib=True, complevel=1, fill_value=fill)
        image.setncatts(
            own
            | {
                "long_name": TITLE + (" data quality flags" if name == "DQF" else ""),
                "coordinates": "band_id band_wavelength t y x",
                "grid_mapping": "goes_imager_projection",
                "_Unsigned": "true",
            }
        )
        image.set_auto_maskandscale(False)
        image[:] = np.kron(pixels.astype(np.int16), square)


def _write_calibration(file: Dataset, band: str, start_time: datetime) -> None:
    """The coefficients from radiance to reflectance factor or brightness temperature."""
    reflective = band in SOLAR_IRRADIANCE
    for name, value, unit in zip(
        ("esun", "kappa0", "planck_fk1", "planck_fk2", "planck_bc1", "planck_bc2"),
        (
            SOLAR_IRRADIANCE.get(band, ABSENT),
            _kappa0(band, start_time) if reflective else ABSENT,
            *PLANCK.get(band, (ABSENT,) * 4),
        ),
        ("W m-2 um-1", "(W m-2 um-1)-1", "W m-1", "K", "K", "1"),
        strict=True,
    ):
        _scalar(file, name, "f4", value, units=unit)
    distance = sun_distance(start_time)
    _scalar(file, "earth_sun_distance_anomaly_in_AU", "f4", distance, units="ua")


def _scalar(file: Dataset, name: str, kind: str, value: float, **attributes: Any) -> None:
    fill = -1 if kind == "i1" else ABSENT
    variable = file.createVariable(name, kind, (), fill_value=fill)
    variable.setncatts(attributes)
    variable.set_auto_maskandscale(False)
    variable[...] = value
