"""GeoTIFF granules: bands by description, tags for time and platform."""

import re
import warnings
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
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
from pipeline.files.granules.projection import in_degrees
from pipeline.files.granules.times import is_date, parse_time
from pipeline.files.granules.units import PERCENT, in_known_units

COLOURS = ("red", "green", "blue")
SATPY_NAME = re.compile(r"(?P<band>\w+)_(?P<time>\d{8}_\d{6})\.tiff?")
# Of satpy's composites, but for those that mix it with infrared or an index of snow.
TRUE_COLOUR = re.compile(r"(?!.*(night|ndsi))(.*_)?true_colou?r(_.*)?")


@dataclass(frozen=True)
class GeotiffConventions:
    """What GeoTIFFs do not say themselves.

    Attributes:
        units: Of bands that state none, or are meant to be of another quantity than reflectance or
            brightness temperature, by their names in the file.
    """

    units: Mapping[str, str]


def describe_geotiff(path: Path) -> Granule:
    """The granule in `path`, without a time where the file does not tell it.

    Its `scan` is what the single bands have in common that satpy writes of one scene.
    """
    scan: tuple[Any, ...] | None = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of missing places
            with rasterio.open(path) as file:
                platform, time = file.tags().get("platform", "unknown"), _start_time(file)
                name = SATPY_NAME.fullmatch(path.name)
                if name and _band_names(file)[:1] == [name["band"]]:
                    scan = ("geotiff", path.parent, name["time"], *_georeference(file))
    except Exception:  # a damaged file can fail anywhere; ingest says what is wrong with it
        platform, time = "unknown", None
    return Granule(path.name, (path,), "geotiff", platform, time, scan=scan)


def read_geotiff(files: Sequence[Path], bands: Bands, conventions: GeotiffConventions) -> Reading:
    """Bands by their scale, offset and nodata or mask; plain bytes are display brightness.

    Args:
        files: One, or those of the single bands of a scene.
        bands: For each wanted name the bands that can stand for it.
        conventions: What the files do not say.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(rasterio.open(path)) for path in files]
        named = [
            (name, (file, index))
            for file in opened
            for index, name in enumerate(_band_names(file, conventions.units))
            if name
        ]
        holders = dict(named)
        chosen = choose_bands(bands, holders)
        if not chosen and any(map(_is_nameless_picture, opened)):
            detail = (
                "its red, green and blue are reflectances in true colour alone; describe its bands "
                "so, or declare them as {red: 255^-1} of bytes in ingest.geotiff.units"
            )
            raise UnusableGranuleError("lacks a band", detail)
        refuse_without(chosen, bands)
        counts = Counter(name for name, _ in named)
        if alike := [name for name in chosen.values() if counts[name] > 1]:
            detail = (
                f"{counts[alike[0]]} of its bands are called {alike[0]}; describe them otherwise"
            )
            raise UnusableGranuleError("unreadable", detail)
        values, attributes = {}, {}
        for wanted, name in chosen.items():
            values[wanted], units = _read_band(*holders[name], wanted, name, conventions)
            attributes[wanted] = {"units": units, "sun_corrected": True}
        file, _ = holders[next(iter(chosen.values()))]
        latitude, longitude = _places(file)
        refuse_torn_places(latitude, longitude)
        turn = north_up(latitude, longitude)
        time = _start_time(file)
        if time is None:
            detail = "it has no tag start_time; add it, such as 2020-06-01T12:00:00Z"
            if "TIFFTAG_DATETIME" in file.tags():
                detail += ", for its TIFFTAG_DATETIME may be when it was edited"
            raise UnusableGranuleError("unreadable", detail)
        platform = file.tags().get("platform", "unknown")
    turned = {wanted: plane[turn] for wanted, plane in values.items()}
    return Reading(turned, attributes, latitude[turn], longitude[turn], time, platform)


def _band_names(file: rasterio.DatasetReader, declared: Container[str] = ()) -> list[str]:
    """Descriptions of the bands, empty without.

    Where none has any, satpy's name of the file is that of its one band, or says that the colours
    of its bands are true; so are colours whose units are in the file or declared.
    """
    if any(file.descriptions):
        return [description or "" for description in file.descriptions]
    colours = [each.name for each in file.colorinterp]
    name = SATPY_NAME.fullmatch(Path(file.name).name)
    if name and _is_single(file):
        return [name["band"], *[""] * (file.count - 1)]
    is_true = name and TRUE_COLOUR.fullmatch(name["band"])
    return [
        colour if colour in COLOURS and (is_true or units or colour in declared) else ""
        for colour, units in zip(colours, file.units, strict=True)
    ]


def _is_single(file: rasterio.DatasetReader) -> bool:
    """Whether there is one band, but for transparency."""
    return [each.name for each in file.colorinterp[1:]] in ([], ["alpha"])


def _is_nameless_picture(file: rasterio.DatasetReader) -> bool:
    colours = {each.name for each in file.colorinterp}
    return not any(file.descriptions) and colours >= set(COLOURS)


def _georeference(file: rasterio.DatasetReader) -> tuple[Any, ...]:
    """What files of one scene have in common."""
    points, crs = file.gcps
    return (
        *(file.shape, str(file.crs or crs), tuple(file.transform)),
        *(tuple((p.row, p.col, p.x, p.y) for p in points), str(file.rpcs)),
        *(file.tags().get("platform"), _start_time(file)),
    )


def _read_band(
    file: rasterio.DatasetReader,
    index: int,
    wanted: str,
    name: str,
    conventions: GeotiffConventions,
) -> tuple[NDArray[Any], str]:
    """Values of a band, NaN where missing, and their units."""
    scale, offset = _scaling(file, index)
    if (kind := np.dtype(file.dtypes[index])).kind == "c":
        raise UnusableGranuleError(
            "unreadable", f"its {name} is of complex numbers; take real ones"
        )
    if not np.isfinite([scale, offset]).all():
        detail = f"{name} is scaled by {scale:g} with the offset {offset:g}"
        raise UnusableGranuleError("absurd scale", detail)
    if kind.kind in "iu":
        refuse_absurd_scale(name, scale, np.iinfo(kind).max)
    counts = file.read(index + 1, masked=True).astype(np.float32).filled(np.nan)
    stated, declared = file.units[index], conventions.units.get(name)
    if _is_display(file, index) and not declared:
        counts, stated = counts * np.float32(100 / 255), PERCENT
    return in_known_units(
        counts * scale + offset,
        wanted=wanted,
        name=name,
        stated=stated,
        declared=declared,
        key="ingest.geotiff.units",
    )


def _is_display(file: rasterio.DatasetReader, index: int) -> bool:
    """Whether the band is of bytes that nothing gives a meaning, not even a palette."""
    plain = _scaling(file, index) == (1, 0) and file.colorinterp[index].name != "palette"
    return plain and not file.units[index] and file.dtypes[index] == "uint8"


def _scaling(file: rasterio.DatasetReader, index: int) -> tuple[float, float]:
    """Scale and offset of a band, or by satpy's tags those of the counts of a file's one band."""
    own, tags = (file.scales[index], file.offsets[index]), file.tags()
    are_counts = np.dtype(file.dtypes[index]).kind in "iu" and not file.units[index]
    if own != (1, 0) or not are_counts or not _is_single(file):
        return own
    try:
        scale, offset = float(tags["scale"]), float(tags["offset"])
    except (KeyError, ValueError):  # other tags of these names, as the scale of a map
        return own
    return (scale, offset) if np.isfinite([scale, offset]).all() else own


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
    longitude, latitude = in_degrees(crs, eastings, northings)
    return latitude, (longitude + 180) % 360 - 180


def _start_time(file: rasterio.DatasetReader) -> datetime | None:
    """Start in UTC; a date alone is completed by the local time of the overpass.

    The time of TIFF itself is when a file was written or changed, but where satpy's name of the
    file has it, too.

    Raises:
        UnusableGranuleError: If there is a date alone, or a tag that tells no time.
    """
    tags = file.tags()
    if "start_time" not in tags:
        name = SATPY_NAME.fullmatch(Path(file.name).name)
        stamp = tags.get("TIFFTAG_DATETIME", "")
        if name is None or re.sub(r"\D", "", stamp) != name["time"].replace("_", ""):
            return None
        return parse_time("tag TIFFTAG_DATETIME", stamp, "%Y:%m:%d %H:%M:%S")
    time = parse_time("tag start_time", tags["start_time"])
    if time.tzinfo is not None:
        return time.astimezone(UTC).replace(tzinfo=None)
    if not is_date(tags["start_time"]):
        return time
    if "local_overpass_time" not in tags:
        detail = (
            f"its tag start_time {tags['start_time']} has no time of day; add it, or the tag "
            "local_overpass_time"
        )
        raise UnusableGranuleError("unreadable", detail)
    clock = parse_time("tag local_overpass_time", tags["local_overpass_time"], "%H:%M")
    middle = np.array([(file.height - 1) / 2]), np.array([(file.width - 1) / 2])
    _, [longitude] = _locate(file, *middle)
    return time + timedelta(hours=clock.hour - float(longitude) / 15, minutes=clock.minute)
