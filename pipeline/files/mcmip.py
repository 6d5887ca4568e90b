"""Granules written in the true format of GOES-R ABI L2 MCMIP, mesoscale sector.

Source: GOES-R Product Definition and Users' Guide, volume 5, section 4.2 (navigation) and
appendix A (Cloud and Moisture Imagery), https://www.goes-r.gov/products/docs/PUG-L2+-vol5.pdf.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from netCDF4 import Dataset
from numpy.typing import NDArray
from pyproj import Proj

FloatArray = NDArray[np.floating]

SATELLITE_HEIGHT_M = 35786023.0
SEMI_MAJOR_AXIS_M = 6378137.0
SEMI_MINOR_AXIS_M = 6356752.31414
PIXEL_RAD = 56e-6  # 2 km below the satellite
SUBPOINT_LONGITUDE = -75.2  # GOES-East as operated; its fixed grid is centred on -75.0
GRID_LONGITUDE = -75.0
J2000 = datetime(2000, 1, 1, 12)
SCAN_SECONDS = 26.0
FILL = -1

BAND_WAVELENGTHS = (
    "0.47 0.64 0.865 1.378 1.61 2.25 3.9 6.185 6.95 7.34 8.5 9.61 10.35 11.2 12.3 13.3"
)
WAVELENGTHS_UM = {
    f"C{number:02d}": float(wavelength)
    for number, wavelength in enumerate(BAND_WAVELENGTHS.split(), start=1)
}


@dataclass(frozen=True)
class SectorGrid:
    """A sector of the fixed grid: scan angles in rad, places in degrees (row, column)."""

    x: FloatArray
    y: FloatArray
    latitude: FloatArray
    longitude: FloatArray


@lru_cache(maxsize=16)  # whose sectors are scanned again and again
def sector_grid(*, latitude: float, longitude: float, n_pixels: int) -> SectorGrid:
    """The square sector of 2 km pixels around a place; NaN where a pixel looks past the Earth.

    Raises:
        ValueError: If the satellite does not see the place.
    """
    projection = _projection()
    easting, northing = projection(longitude, latitude)
    if not np.isfinite(easting):
        raise ValueError(
            f"the place {latitude}, {longitude} is out of sight from {GRID_LONGITUDE} degrees "
            "east; change fetch.synthetic.sectors"
        )
    centre = np.rint(np.array([easting, northing]) / SATELLITE_HEIGHT_M / PIXEL_RAD)
    offsets = np.arange(n_pixels) - (n_pixels - 1) / 2
    x = (np.floor(centre[0] + offsets) + 0.5) * PIXEL_RAD
    y = (np.floor(centre[1] - offsets) + 0.5) * PIXEL_RAD
    eastings, northings = np.meshgrid(x * SATELLITE_HEIGHT_M, y * SATELLITE_HEIGHT_M)
    longitudes, latitudes = projection(eastings, northings, inverse=True)
    on_earth = np.isfinite(longitudes) & np.isfinite(latitudes)
    return SectorGrid(
        x, y, np.where(on_earth, latitudes, np.nan), np.where(on_earth, longitudes, np.nan)
    )


def write_mcmip(
    folder: Path,
    *,
    grid: SectorGrid,
    bands: Mapping[str, FloatArray],
    start_time: datetime,
    sector: str,
    platform: str = "G16",
) -> Path:
    """Write a granule, whole or not at all, and return its path.

    Args:
        folder: Where to write; the name follows from the other arguments.
        grid: Places of the pixels.
        bands: C01 to C06 as reflectance factors, C07 to C16 in K, shape (row, column); NaN is
            missing.
        start_time: Of the scan, UTC.
        sector: "M1" or "M2".
        platform: Identifier of the satellite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    end_time = start_time + timedelta(seconds=SCAN_SECONDS)
    created = end_time + timedelta(seconds=30)
    path = folder / (
        f"OR_ABI-L2-MCMIP{sector}-M6_{platform}_s{_stamp(start_time)}_e{_stamp(end_time)}"
        f"_c{_stamp(created)}.nc"
    )
    partial = path.with_suffix(".partial")
    with Dataset(partial, "w", format="NETCDF4") as file:
        _write_frame(file, grid, start_time, end_time)
        for band, values in bands.items():
            _write_band(file, band, values)
        file.setncatts(
            {
                "Conventions": "CF-1.7",
                "title": "ABI L2 Cloud and Moisture Imagery",
                "summary": "Synthetic cloud fields of known morphology, made by tile2vec-clouds",
                "dataset_name": path.name,
                "platform_ID": platform,
                "orbital_slot": "GOES-East",
                "instrument_type": "GOES R Series Advanced Baseline Imager",
                "instrument_ID": "FM1",
                "scene_id": "Mesoscale",
                "spatial_resolution": "2km at nadir",
                "timeline_id": "ABI Mode 6",
                "production_data_source": "Simulated",
                "production_environment": "synthetic",
                "cdm_data_type": "Image",
                "time_coverage_start": f"{start_time:%Y-%m-%dT%H:%M:%S}.0Z",
                "time_coverage_end": f"{end_time:%Y-%m-%dT%H:%M:%S}.0Z",
                "date_created": f"{created:%Y-%m-%dT%H:%M:%S}.0Z",
            }
        )
    partial.replace(path)
    return path


def _projection() -> Proj:
    return Proj(
        proj="geos",
        h=SATELLITE_HEIGHT_M,
        a=SEMI_MAJOR_AXIS_M,
        b=SEMI_MINOR_AXIS_M,
        lon_0=GRID_LONGITUDE,
        sweep="x",
    )


def _write_frame(file: Dataset, grid: SectorGrid, start: datetime, end: datetime) -> None:
    """Dimensions, scan angles, projection and times."""
    file.createDimension("y", len(grid.y))
    file.createDimension("x", len(grid.x))
    file.createDimension("number_of_time_bounds", 2)
    file.createDimension("band", 1)
    for name, angles in (("y", grid.y), ("x", grid.x)):
        step = float(np.copysign(PIXEL_RAD, angles[-1] - angles[0]))
        variable = _variable(
            file,
            name,
            "i2",
            (name,),
            scale_factor=step,
            add_offset=float(angles[0]),
            units="rad",
            axis=name.upper(),
            long_name=f"GOES fixed grid projection {name}-coordinate",
            standard_name=f"projection_{name}_coordinate",
        )
        variable.set_auto_maskandscale(False)
        variable[:] = np.arange(len(angles), dtype=np.int16)
    _variable(
        file,
        "goes_imager_projection",
        "i4",
        (),
        long_name="GOES-R ABI fixed grid projection",
        grid_mapping_name="geostationary",
        perspective_point_height=SATELLITE_HEIGHT_M,
        semi_major_axis=SEMI_MAJOR_AXIS_M,
        semi_minor_axis=SEMI_MINOR_AXIS_M,
        inverse_flattening=298.2572221,
        latitude_of_projection_origin=0.0,
        longitude_of_projection_origin=GRID_LONGITUDE,
        sweep_angle_axis="x",
    )
    seconds = [(time - J2000).total_seconds() for time in (start, end)]
    epoch = "seconds since 2000-01-01 12:00:00"
    for name, dimensions, value, attributes in (
        ("t", (), np.mean(seconds), {"standard_name": "time", "units": epoch}),
        ("time_bounds", ("number_of_time_bounds",), seconds, {"long_name": "Scan start and end"}),
        ("nominal_satellite_subpoint_lat", (), 0.0, {"units": "degrees_north"}),
        ("nominal_satellite_subpoint_lon", (), SUBPOINT_LONGITUDE, {"units": "degrees_east"}),
        ("nominal_satellite_height", (), SATELLITE_HEIGHT_M / 1000, {"units": "km"}),
    ):
        variable = _variable(file, name, "f8", dimensions)
        variable.setncatts(attributes)
        variable[...] = value
    extent = _variable(
        file,
        "geospatial_lat_lon_extent",
        "f4",
        (),
        long_name="geospatial latitude and longitude references",
        geospatial_westbound_longitude=float(np.nanmin(grid.longitude)),
        geospatial_eastbound_longitude=float(np.nanmax(grid.longitude)),
        geospatial_southbound_latitude=float(np.nanmin(grid.latitude)),
        geospatial_northbound_latitude=float(np.nanmax(grid.latitude)),
        geospatial_lat_units="degrees_north",
        geospatial_lon_units="degrees_east",
    )
    extent[...] = 0


def _write_band(file: Dataset, band: str, values: FloatArray) -> None:
    """A band as unsigned 12-bit counts, and its quality flags."""
    number = int(band[1:])
    reflective = number <= 6
    scale, offset = (0.00024420026, 0.0) if reflective else (0.06145332, 173.15)
    counts = np.clip(np.rint((values - offset) / scale), 0, 4095)
    missing = ~np.isfinite(values)
    standard_name = (
        "toa_lambertian_equivalent_albedo_multiplied_by_cosine_solar_zenith_angle"
        if reflective
        else "toa_brightness_temperature"
    )
    image = _variable(
        file,
        f"CMI_{band}",
        "i2",
        ("y", "x"),
        fill_value=FILL,
        long_name=f"ABI L2+ Cloud and Moisture Imagery band {number}",
        standard_name=standard_name,
        _Unsigned="true",
        sensor_band_bit_depth=np.int8(12),
        valid_range=np.array([0, 4095], np.int16),
        scale_factor=np.float32(scale),
        add_offset=np.float32(offset),
        units="1" if reflective else "K",
        resolution="y: 0.000056 rad x: 0.000056 rad",
        coordinates="band_id_" + band + " band_wavelength_" + band + " t y x",
        grid_mapping="goes_imager_projection",
        cell_methods="t: point area: point",
        ancillary_variables=f"DQF_{band}",
    )
    image.set_auto_maskandscale(False)
    image[:] = np.where(missing, FILL, np.nan_to_num(counts)).astype(np.int16)
    flags = _variable(
        file,
        f"DQF_{band}",
        "i1",
        ("y", "x"),
        fill_value=FILL,
        long_name=f"ABI L2+ Cloud and Moisture Imagery band {number} data quality flags",
        standard_name="status_flag",
        _Unsigned="true",
        valid_range=np.array([0, 3], np.int8),
        units="1",
        grid_mapping="goes_imager_projection",
        flag_values=np.arange(4, dtype=np.int8),
        flag_meanings="good_pixel_qf conditionally_usable_pixel_qf out_of_range_pixel_qf "
        "no_value_pixel_qf",
    )
    flags.set_auto_maskandscale(False)
    flags[:] = np.where(missing, 3, 0).astype(np.int8)
    wavelength = _variable(file, f"band_wavelength_{band}", "f4", ("band",), units="um")
    wavelength[:] = WAVELENGTHS_UM[band]
    _variable(file, f"band_id_{band}", "i1", ("band",), units="1")[:] = number


def _variable(
    file: Dataset,
    name: str,
    kind: str,
    dimensions: tuple[str, ...],
    *,
    fill_value: int | None = None,
    **attributes: Any,
) -> Any:
    image = len(dimensions) == 2
    variable = file.createVariable(
        name, kind, dimensions, zlib=image, complevel=1, shuffle=image, fill_value=fill_value
    )
    variable.setncatts(attributes)
    return variable


def _stamp(time: datetime) -> str:
    """Year, day of year, hour, minute, second and tenth, as in the names of ABI files."""
    return f"{time:%Y%j%H%M%S}{time.microsecond // 100_000}"
