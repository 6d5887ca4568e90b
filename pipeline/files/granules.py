"""Granules: an instrument's files become named bands with units, places and a time."""

import itertools
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from pyorbital.astronomy import sun_zenith_angle
from pyproj import Transformer

ABI_NAME = re.compile(
    r"OR_ABI-(?P<level>L1b|L2)-(?P<product>Rad|CMIP|MCMIP)(?P<sector>[A-Z]\d?)-M\d(?P<band>C\d\d)?"
    r"_(?P<platform>G\d\d)_s(?P<start>\d{14})"
)
GEOTIFF_SUFFIXES = {".tif", ".tiff"}
SIGNATURES = (b"\x89HDF\r\n\x1a\n", b"CDF", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


@dataclass(frozen=True)
class Granule:
    """One observation of one area: the files that hold it, and what their names or tags say."""

    name: str
    files: tuple[Path, ...]
    reader: str
    platform: str
    start_time: datetime | None


class UnusableGranuleError(Exception):
    """A granule that cannot be read: `reason` is a kind of fault, the message its detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def find_granules(paths: Iterable[Path]) -> tuple[list[Granule], list[Path]]:
    """Granules among `paths` by time and name, and the files of no known format."""
    scans: dict[tuple[str | int, ...], dict[str, Path]] = defaultdict(dict)
    granules, others = [], []
    for path in sorted(paths):
        if match := ABI_NAME.match(path.name):
            # Bands of one scan belong together; the same band again is a granule of its own.
            scan = match.group("level", "product", "sector", "platform", "start")
            copy = next(n for n in itertools.count() if match["band"] not in scans[*scan, n])
            scans[*scan, copy][match["band"]] = path
        elif path.suffix.lower() in GEOTIFF_SUFFIXES:
            granules.append(_describe_geotiff(path))
        else:
            others.append(path)
    granules += [_describe_abi(list(files.values())) for files in scans.values() if files]
    return sorted(granules, key=lambda granule: (str(granule.start_time), granule.name)), others


def read_granule(
    files: Sequence[Path], reader: str, bands: Mapping[str, Sequence[str]]
) -> xr.Dataset:
    """Bands, places and sun of a granule, float32 (row, column).

    Args:
        files: All files of the granule.
        reader: "geotiff" or the name of a satpy reader.
        bands: For each wanted name the bands that can stand for it; the first one there is taken,
            and the name is left out where the granule has none of them.

    Returns:
        The wanted bands in percent or K, NaN where missing; `latitude`, `longitude` and
        `solar_zenith_angle` in degrees; attributes `time` and `platform`.

    Raises:
        UnusableGranuleError: If a file cannot be opened or read.
    """
    read = _read_geotiff if reader == "geotiff" else _read_satpy
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # readers warn of what real files are like
            return read(files, reader, bands)
    except UnusableGranuleError:
        raise
    except Exception as error:  # a damaged file can fail anywhere inside a reader
        raise UnusableGranuleError(_fault(files), _first_line(error)) from error


def _read_satpy(
    files: Sequence[Path], reader: str, bands: Mapping[str, Sequence[str]]
) -> xr.Dataset:
    from satpy.dataset import DataQuery  # slow to import
    from satpy.scene import Scene

    scene = Scene(filenames=[str(file) for file in files], reader=reader)
    available = {
        data_id["name"]: data_id["calibration"].name
        for data_id in scene.available_dataset_ids()
        if "calibration" in data_id.to_dict()
        and data_id["calibration"].name in ("reflectance", "brightness_temperature")
    }
    chosen = choose_bands(bands, available)
    queries = {
        name: DataQuery(
            name=name,
            calibration=calibration,
            modifiers=("sunz_corrected",) if calibration == "reflectance" else (),
        )
        for name, calibration in available.items()
        if name in chosen.values()
    }
    scene.load(queries.values())
    if not queries:
        raise UnusableGranuleError("lacks a band", f"it has none of {_names(bands)}")
    if len({scene[query].shape for query in queries.values()}) > 1:
        scene = scene.resample(scene.coarsest_area(), resampler="native")
    first = scene[next(iter(queries.values()))]
    longitude, latitude = first.attrs["area"].get_lonlats()
    values = {wanted: scene[queries[name]].values for wanted, name in chosen.items()}
    units = {wanted: scene[queries[name]].attrs["units"] for wanted, name in chosen.items()}
    return _as_dataset(
        values,
        {name: unit.replace("%", "percent") for name, unit in units.items()},
        latitude,
        longitude,
        time=scene.start_time,
        platform=first.attrs["platform_name"],
    )


def _read_geotiff(
    files: Sequence[Path],
    reader: str,  # noqa: ARG001
    bands: Mapping[str, Sequence[str]],
) -> xr.Dataset:
    with rasterio.open(files[0]) as file:
        available = [name for name in file.descriptions if name]
        chosen = choose_bands(bands, available)
        values, units = {}, {}
        for wanted, name in chosen.items():
            index = file.descriptions.index(name)
            counts = file.read(index + 1, masked=True).astype(np.float32).filled(np.nan)
            values[wanted] = counts * file.scales[index] + file.offsets[index]
            units[wanted] = file.units[index]
            if units[wanted] is None and file.dtypes[index] == "uint8":
                values[wanted] = counts * np.float32(100 / 255)  # display brightness
                units[wanted] = "percent"
        latitude, longitude = _geotiff_places(file)
        time = _geotiff_time(file)
        if time is None:
            raise UnusableGranuleError("unreadable", "it has no tag start_time")
        platform = file.tags().get("platform", "unknown")
    return _as_dataset(values, units, latitude, longitude, time=time, platform=platform)


def solar_zenith_angle(
    time: datetime, latitude: NDArray[Any], longitude: NDArray[Any]
) -> NDArray[Any]:
    """Angle between the sun and the zenith in degrees, at `time` in UTC."""
    angle: NDArray[Any] = sun_zenith_angle(time, longitude, latitude)
    return angle


def choose_bands(bands: Mapping[str, Sequence[str]], available: Iterable[str]) -> dict[str, str]:
    """For each wanted name the first of its bands that is available.

    >>> choose_bands({"window": ["C14", "C13"], "blue": ["C01"]}, ["C02", "C13"])
    {'window': 'C13'}
    """
    present = set(available)
    found = {wanted: [name for name in names if name in present] for wanted, names in bands.items()}
    return {wanted: names[0] for wanted, names in found.items() if names}


def _as_dataset(
    values: Mapping[str, NDArray[Any]],
    units: Mapping[str, str | None],
    latitude: NDArray[Any],
    longitude: NDArray[Any],
    *,
    time: datetime,
    platform: str,
) -> xr.Dataset:
    on_earth = np.isfinite(latitude) & np.isfinite(longitude)
    latitude = np.where(on_earth, latitude, np.nan)
    longitude = np.where(on_earth, longitude, np.nan)
    time = time.replace(tzinfo=None)
    places = {
        "latitude": latitude,
        "longitude": longitude,
        "solar_zenith_angle": solar_zenith_angle(time, latitude, longitude),
    }
    dataset = xr.Dataset(
        {
            name: (("row", "column"), np.asarray(array, np.float32))
            for name, array in {**values, **places}.items()
        },
        attrs={"time": np.datetime64(time, "ns"), "platform": platform},
    )
    for name, unit in units.items():
        dataset[name].attrs["units"] = unit or "1"
    return dataset


def _geotiff_places(file: rasterio.DatasetReader) -> tuple[NDArray[Any], NDArray[Any]]:
    """Latitude and longitude of the pixels' centres, longitudes from -180 to 180."""
    rows, columns = np.mgrid[: file.height, : file.width]
    rows, columns, affine = rows + 0.5, columns + 0.5, file.transform
    eastings = affine.a * columns + affine.b * rows + affine.c
    northings = affine.d * columns + affine.e * rows + affine.f
    to_degrees = Transformer.from_crs(file.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(eastings, northings)
    return latitude, (longitude + 180) % 360 - 180


def _geotiff_time(file: rasterio.DatasetReader) -> datetime | None:
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


def _describe_geotiff(path: Path) -> Granule:
    try:
        with rasterio.open(path) as file:
            platform, time = file.tags().get("platform", "unknown"), _geotiff_time(file)
    except (rasterio.errors.RasterioError, ValueError):
        platform, time = "unknown", None  # ingest says what is wrong with it
    return Granule(path.name, (path,), "geotiff", platform, time)


def _describe_abi(files: list[Path]) -> Granule:
    match = ABI_NAME.match(files[0].name)
    assert match is not None
    start = match["start"]  # year, day of year, hour, minute, second, tenth
    return Granule(
        files[0].name,
        tuple(files),
        "abi_l1b" if match["level"] == "L1b" else "abi_l2_nc",
        match["platform"].replace("G", "GOES-"),
        datetime.strptime(start[:13], "%Y%j%H%M%S") + timedelta(seconds=int(start[13]) / 10),
    )


def _fault(files: Sequence[Path]) -> str:
    """Whether the files begin as their format does, so that only their end can be missing."""
    for file in files:
        if not file.exists():
            return "unreadable"
        with file.open("rb") as stream:
            if not stream.read(8).startswith(SIGNATURES):
                return "unreadable"
    return "truncated"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _names(bands: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(sorted({name for names in bands.values() for name in names}))
