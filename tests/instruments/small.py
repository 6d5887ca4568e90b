"""Small granules in many formats, each of a minute of its own; all show the same waves."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

import numpy as np
import rasterio
from instruments.abi_l1b import write_abi_l1b
from instruments.damage import copy_hdf4
from instruments.modis import write_modis
from instruments.swath import swath_places
from instruments.viirs import write_viirs
from netCDF4 import Dataset

from pipeline.core.viewing import solar_angles
from pipeline.files.mcmip import sector_grid, write_mcmip

LATITUDE, LONGITUDE = 10.0, -60.0
UNITS = {"visible": "percent", "infrared_10_7um": "K"}  # of the bands that instruments do not name


def _field(shape: tuple[int, int], low: float, high: float) -> np.ndarray:
    row, column = np.mgrid[: shape[0], : shape[1]]
    waves = 0.5 + 0.25 * np.sin(row / 7) + 0.25 * np.cos(column / 5)
    noise = np.random.default_rng(3).normal(0, 0.02, shape)
    return low + (high - low) * np.clip(waves + noise, 0, 1)


@cache
def _fields(names: tuple[str, ...], shape: tuple[int, int], white: float) -> dict[str, np.ndarray]:
    """All bands but the last are reflectances; it is a temperature, cold where they are bright."""
    bright = {name: _field(shape, 0.05 * white, 0.8 * white) for name in names[:-1]}
    return {**bright, names[-1]: _field(shape, 300, 210)}


def write_small_mcmip(folder: Path, start: datetime, n_pixels: int = 48) -> list[Path]:
    """A mesoscale sector in one file."""
    grid = sector_grid(latitude=LATITUDE, longitude=LONGITUDE, n_pixels=n_pixels)
    bands = _fields(("C02", "C03", "C14"), (n_pixels, n_pixels), 1.0)
    return [write_mcmip(folder, grid=grid, bands=bands, start_time=start, sector="M1")]


def write_small_abi_l1b(folder: Path, start: datetime) -> list[Path]:
    """A mesoscale sector, a file a band."""
    bands = _fields(("C02", "C03", "C14"), (24, 24), 1.0)
    place = {"latitude": LATITUDE, "longitude": LONGITUDE}
    return write_abi_l1b(folder, **place, bands=bands, start_time=start)


def _write_swath(
    folder: Path,
    start: datetime,
    *,
    write: Callable[..., list[Path]],
    names: tuple[str, ...],
    shape: tuple[int, int],
) -> list[Path]:
    n_rows, n_columns = shape
    latitude, longitude = swath_places(
        latitude=LATITUDE, longitude=LONGITUDE, n_rows=n_rows, n_columns=n_columns, resolution_km=1
    )
    zenith, azimuth = solar_angles(np.datetime64(start), latitude, longitude)
    return write(
        folder,
        bands=_fields(names, shape, 1.0),
        latitude=latitude,
        longitude=longitude,
        solar_zenith=zenith,
        solar_azimuth=azimuth,
        view_zenith=np.full(shape, 20.0),
        view_azimuth=np.full(shape, 100.0),
        start_time=start,
    )


def write_small_modis(folder: Path, start: datetime) -> list[Path]:
    """A swath in HDF4, its arrays compressed as the archive has them."""
    raw = _write_swath(
        folder / "raw", start, write=write_modis, names=("1", "2", "31"), shape=(40, 40)
    )
    files = [folder / file.name for file in raw]
    for uncompressed, file in zip(raw, files, strict=True):
        copy_hdf4(uncompressed, file)
    shutil.rmtree(folder / "raw")
    return files


def write_small_geotiff(folder: Path, start: datetime) -> list[Path]:
    """A compressed image in degrees."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"scan_{start:%Y%m%dT%H%M}.tif"
    profile = {"driver": "GTiff", "dtype": "uint16", "nodata": 65535, "compress": "deflate"}
    transform = rasterio.transform.from_origin(LONGITUDE, LATITUDE, 0.02, 0.02)
    size = {"height": 48, "width": 60, "count": 2, "crs": "EPSG:4326", "transform": transform}
    with rasterio.open(path, "w", **profile, **size) as file:
        fields = _fields(tuple(UNITS), (48, 60), 100.0)
        for index, (name, values) in enumerate(fields.items(), start=1):
            file.write(np.rint(values * 100).astype(np.uint16), index)
            file.set_band_description(index, name)
        file.scales, file.units = (0.01, 0.01), tuple(UNITS.values())
        file.update_tags(start_time=f"{start:%Y-%m-%dT%H:%M}:00Z", platform="GOES-13")
    return [path]


def write_small_netcdf(folder: Path, start: datetime) -> list[Path]:
    """A plain file of the level-2 kind."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"level2_{start:%Y%m%dT%H%M}.nc"
    axes = {
        "latitude": LATITUDE - 0.02 * np.arange(48),
        "longitude": LONGITUDE + 0.02 * np.arange(60),
    }
    with Dataset(path, "w") as file:
        for name, degrees in axes.items():
            file.createDimension(name, len(degrees))
            file.createVariable(name, "f4", (name,))[:] = degrees
        file.createDimension("time", 1)
        moment = file.createVariable("time", "f8", ("time",))
        moment.units = "seconds since 1970-01-01"
        moment[:] = start.replace(tzinfo=UTC).timestamp()
        for name, values in _fields(tuple(UNITS), (48, 60), 100.0).items():
            band = file.createVariable(name, "i2", ("time", *axes), zlib=True, fill_value=-1)
            band.setncatts({"scale_factor": np.float32(0.01), "units": UNITS[name]})
            band[:] = values[None]
        file.platform = "GOES-13"
    return [path]


WRITERS: dict[str, Callable[[Path, datetime], list[Path]]] = {
    "mcmip": write_small_mcmip,
    "abi_l1b": write_small_abi_l1b,
    "viirs": partial(_write_swath, write=write_viirs, names=("M05", "M07", "M15"), shape=(48, 40)),
    "modis": write_small_modis,
    "geotiff": write_small_geotiff,
    "netcdf": write_small_netcdf,
}
