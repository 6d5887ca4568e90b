"""GeoTIFF granules: bands by description, tags for time and platform."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import GCPTransformer, RPCTransformer

from pipeline.files.granules.checks import refuse_absurd_scale, refuse_torn_places
from pipeline.files.granules.granule import (
    Bands,
    Granule,
    Reading,
    UnusableGranuleError,
    choose_bands,
    refuse_without,
)
from pipeline.files.granules.orientation import north_up
from pipeline.files.granules.units import PERCENT, in_known_units

DATE = re.compile(r"\d{4}-?\d\d-?\d\d")


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
        turn = north_up(latitude, longitude)
        time = _start_time(file)
        if time is None:
            raise UnusableGranuleError("unreadable", "it has no tag start_time")
        platform = file.tags().get("platform", "unknown")
    turned = {wanted: plane[turn] for wanted, plane in values.items()}
    return Reading(turned, attributes, latitude[turn], longitude[turn], time, platform)


def _is_display(file: rasterio.DatasetReader, index: int) -> bool:
    """Whether the band is of bytes that nothing gives a meaning."""
    plain = file.scales[index] == 1 and file.offsets[index] == 0
    return plain and not file.units[index] and file.dtypes[index] == "uint8"


def _places(file: rasterio.DatasetReader) -> tuple[NDArray[Any], NDArray[Any]]:
    """Latitude and longitude of the pixels' centres, longitudes from -180 to 180."""
    rows, columns = np.mgrid[: file.height, : file.width]
    latitude, longitude = _locate(file, rows.ravel(), columns.ravel())
    return latitude.reshape(rows.shape), longitude.reshape(rows.shape)


def _locate(
    file: rasterio.DatasetReader, rows: NDArray[Any], columns: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Latitude and longitude of the centres of some pixels, by whatever the file says of places."""
    points, crs = file.gcps
    if file.transform != Affine.identity():
        crs, affine = file.crs, file.transform
        eastings = affine.a * (columns + 0.5) + affine.b * (rows + 0.5) + affine.c
        northings = affine.d * (columns + 0.5) + affine.e * (rows + 0.5) + affine.f
    elif points:  # ground control points
        with GCPTransformer(points, tps=True) as transformer:
            eastings, northings = map(np.asarray, transformer.xy(rows, columns))
    elif file.rpcs:  # rational polynomial coefficients, at sea level
        crs = "EPSG:4326"
        with RPCTransformer(file.rpcs, rpc_height=0) as transformer:
            eastings, northings = map(np.asarray, transformer.xy(rows, columns))
    else:
        detail = "it has no geotransform, ground control points or RPCs that tell its places"
        raise UnusableGranuleError("lacks its geolocation", detail)
    if crs is None:
        detail = "it has no coordinate reference system, such as EPSG:4326"
        raise UnusableGranuleError("lacks its geolocation", detail)
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(eastings, northings)
    return latitude, (longitude + 180) % 360 - 180


def _start_time(file: rasterio.DatasetReader) -> datetime | None:
    """Start in UTC; a date alone is completed by the local time of the overpass.

    Raises:
        UnusableGranuleError: If there is a date alone.
    """
    tags = file.tags()
    if "start_time" not in tags:
        return None
    time = datetime.fromisoformat(tags["start_time"])
    if time.tzinfo is not None:
        return time.astimezone(UTC).replace(tzinfo=None)
    if not DATE.fullmatch(tags["start_time"].strip()):
        return time
    if "local_overpass_time" not in tags:
        detail = (
            f"its tag start_time {tags['start_time']} has no time of day; add it, or the tag "
            "local_overpass_time"
        )
        raise UnusableGranuleError("unreadable", detail)
    clock = datetime.strptime(tags["local_overpass_time"], "%H:%M")
    middle = np.array([(file.height - 1) / 2]), np.array([(file.width - 1) / 2])
    _, [longitude] = _locate(file, *middle)
    return time + timedelta(hours=clock.hour - float(longitude) / 15, minutes=clock.minute)
