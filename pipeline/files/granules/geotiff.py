"""GeoTIFF granules: bands by description, tags for time and platform."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer

from pipeline.files.granules.checks import refuse_absurd_scale, refuse_torn_places
from pipeline.files.granules.granule import (
    Bands,
    Granule,
    Reading,
    UnusableGranuleError,
    choose_bands,
    refuse_without,
)
from pipeline.files.granules.units import PERCENT, in_known_units


@dataclass(frozen=True)
class GeotiffConventions:
    """What GeoTIFFs do not say themselves.

    Attributes:
        units: Of bands that state none, or are meant to be of another quantity than reflectance or
            brightness temperature, by their names in the file.
    """

    units: Mapping[str, str]


def describe_geotiff(path: Path) -> Granule:
    """The granule in `path`, without a time where the file does not tell it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of missing places
            with rasterio.open(path) as file:
                platform, time = file.tags().get("platform", "unknown"), _start_time(file)
    except Exception:  # a damaged file can fail anywhere; ingest says what is wrong with it
        platform, time = "unknown", None
    return Granule(path.name, (path,), "geotiff", platform, time)


def read_geotiff(path: Path, bands: Bands, conventions: GeotiffConventions) -> Reading:
    """Bands by their scale, offset and nodata or mask; plain bytes are display brightness."""
    with rasterio.open(path) as file:
        chosen = choose_bands(bands, [name for name in file.descriptions if name])
        refuse_without(chosen, bands)
        values, attributes = {}, {}
        for wanted, name in chosen.items():
            index = file.descriptions.index(name)
            if (kind := np.dtype(file.dtypes[index])).kind in "iu":
                refuse_absurd_scale(name, file.scales[index], np.iinfo(kind).max)
            counts = file.read(index + 1, masked=True).astype(np.float32).filled(np.nan)
            stated, declared = file.units[index], conventions.units.get(name)
            if _is_display(file, index) and not declared:
                counts, stated = counts * np.float32(100 / 255), PERCENT
            values[wanted], known = in_known_units(
                counts * file.scales[index] + file.offsets[index],
                wanted=wanted,
                name=name,
                stated=stated,
                declared=declared,
                key="ingest.geotiff.units",
            )
            attributes[wanted] = {"units": known, "sun_corrected": True}
        latitude, longitude = _places(file)
        refuse_torn_places(latitude, longitude)
        time = _start_time(file)
        if time is None:
            raise UnusableGranuleError("unreadable", "it has no tag start_time")
        platform = file.tags().get("platform", "unknown")
    return Reading(values, attributes, latitude, longitude, time, platform)


def _is_display(file: rasterio.DatasetReader, index: int) -> bool:
    """Whether the band is of bytes that nothing gives a meaning."""
    plain = file.scales[index] == 1 and file.offsets[index] == 0
    return plain and not file.units[index] and file.dtypes[index] == "uint8"


def _places(file: rasterio.DatasetReader) -> tuple[NDArray[Any], NDArray[Any]]:
    """Latitude and longitude of the pixels' centres, longitudes from -180 to 180."""
    rows, columns = np.mgrid[: file.height, : file.width]
    rows, columns, affine = rows + 0.5, columns + 0.5, file.transform
    eastings = affine.a * columns + affine.b * rows + affine.c
    northings = affine.d * columns + affine.e * rows + affine.f
    to_degrees = Transformer.from_crs(file.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(eastings, northings)
    return latitude, (longitude + 180) % 360 - 180


def _start_time(file: rasterio.DatasetReader) -> datetime | None:
    """Start in UTC; a date alone is completed by the local time of the overpass."""
    tags = file.tags()
    if "start_time" not in tags:
        return None
    time = datetime.fromisoformat(tags["start_time"])
    if time.tzinfo is not None:
        return time.astimezone(UTC).replace(tzinfo=None)
    if len(tags["start_time"]) == len("2020-01-01") and "local_overpass_time" in tags:
        clock = datetime.strptime(tags["local_overpass_time"], "%H:%M")
        longitude = file.lnglat()[0]
        return time + timedelta(hours=clock.hour - longitude / 15, minutes=clock.minute)
    return time
