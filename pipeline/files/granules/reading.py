"""Any granule's bands, places and angles, in one form."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from pipeline.files.granules.damage import refuse_what_is_no_data, unusable
from pipeline.files.granules.geotiff import GeotiffConventions, read_geotiff
from pipeline.files.granules.granule import UNFINISHED, Bands, Reading, UnusableGranuleError
from pipeline.files.granules.netcdf import NetcdfConventions, read_netcdf
from pipeline.files.granules.satellite import read_satellite
from pipeline.files.granules.times import LONGEST_SCAN


def read_granule(
    files: Sequence[Path],
    reader: str,
    bands: Bands,
    *,
    netcdf: NetcdfConventions,
    geotiff: GeotiffConventions | None = None,
    step: int = 0,
    key: str = "ingest.netcdf",
) -> xr.Dataset:
    """Bands, places and angles of a granule, float32 (row, column).

    Args:
        files: All files of the granule.
        reader: "geotiff", "netcdf", "unfinished" or the name of a satpy reader.
        bands: For each wanted name the bands that can stand for it; the first one there is taken,
            and the name is left out where the granule has none of them.
        netcdf: What variables of plain netCDF files mean.
        geotiff: What bands of GeoTIFFs mean, where these do not say it.
        step: Place of the granule on the time axis of such a file.
        key: Where params.yaml holds what they mean, for the sentences of errors.

    Returns:
        The wanted bands with `units`, where known `band` (the instrument's name) and `wavelength`
        (µm), and `sun_corrected` (whether a reflectance was divided by the cosine of the solar
        zenith angle), NaN where missing;
        `latitude`, `longitude` and, where the files have them, `solar_zenith_angle`,
        `solar_azimuth_angle`, `satellite_zenith_angle` and `satellite_azimuth_angle`, in degrees,
        else perhaps `scan_seconds` since `time`; attributes `time`, `platform`, and of a satellite
        that stands still its `satellite_longitude`, `satellite_latitude` (degrees) and
        `satellite_height` (m).

    Raises:
        UnusableGranuleError: If a file cannot be opened or read.
    """
    if reader == UNFINISHED:
        detail = f"the download of {files[0].name} did not end; fetch it again"
        raise UnusableGranuleError("unfinished download", detail)
    for file in files:
        refuse_what_is_no_data(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # readers warn of what real files are like
            match reader:
                case "geotiff":
                    reading = read_geotiff(files, bands, geotiff or GeotiffConventions({}))
                case "netcdf":
                    reading = read_netcdf(files[0], bands, netcdf, step, key=key)
                case _:
                    reading = read_satellite(files, reader, bands)
            return _as_dataset(reading)
    except UnusableGranuleError:
        raise
    except Exception as error:  # a damaged file can fail anywhere inside a reader
        raise unusable(files, error) from error


def _as_dataset(reading: Reading) -> xr.Dataset:
    on_earth = np.isfinite(reading.latitude) & np.isfinite(reading.longitude)
    if not on_earth.any():
        raise UnusableGranuleError("unreadable", "none of its pixels has a place on the Earth")
    latitude = np.where(on_earth, reading.latitude, np.nan)
    longitude = np.where(on_earth, reading.longitude, np.nan)
    start = np.datetime64(reading.time.replace(tzinfo=None), "ns")
    arrays = {**reading.values, "latitude": latitude, "longitude": longitude, **reading.angles}
    if reading.row_times is not None:
        seconds = (reading.row_times - start) / np.timedelta64(1, "s")
        if (np.abs(seconds) <= LONGEST_SCAN.total_seconds()).all():  # damaged files tell others
            arrays["scan_seconds"] = np.broadcast_to(seconds[:, None], latitude.shape)
    if len({array.shape for array in arrays.values()}) > 1:
        shapes = ", ".join(sorted({" x ".join(map(str, a.shape)) for a in arrays.values()}))
        raise UnusableGranuleError("unreadable", f"its bands and places have the shapes {shapes}")
    dataset = xr.Dataset(
        {
            name: (("row", "column"), np.asarray(array, np.float32))
            for name, array in arrays.items()
        },
        attrs={
            "time": start,
            "platform": reading.platform,
            **{f"satellite_{name}": value for name, value in reading.satellite.items()},
        },
    )
    for name, attributes in reading.attributes.items():
        units = attributes["units"].replace("%", "percent")
        dataset[name].attrs.update({**attributes, "units": units})
    return dataset
