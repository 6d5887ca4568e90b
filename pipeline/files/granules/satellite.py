"""Granules of imagers that satpy reads."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from yaml import YAMLError

from pipeline.files.granules.checks import (
    refuse_absurd_scales,
    refuse_stretched_areas,
    refuse_torn_places,
)
from pipeline.files.granules.granule import (
    Bands,
    FloatArray,
    Reading,
    UnusableGranuleError,
    choose_bands,
    refuse_without,
)
from pipeline.files.granules.naming import is_part_of_disk, under_known_names
from pipeline.files.granules.orientation import north_up

logging.getLogger("satpy").setLevel(logging.CRITICAL)  # a fault is told by its exception

CALIBRATIONS = ("reflectance", "brightness_temperature")
RADIANCE = "radiance"
SHORTWAVE_UM = 5.0  # shorter ones have no signal over the coldest clouds
BELOW_NOISE_K = 0.0  # where the radiance is zero or less, so that it has no temperature
ANGLES = {
    body: {f"{body}_zenith_angle", f"{body}_azimuth_angle"} for body in ("solar", "satellite")
}

# In the names of the files that say where the pixels of others lie. Without one satpy has no
# places, or interpolates those of MODIS, which breaks at the date line.
GEOLOCATION = {"modis_l1b": ("D03", ".geo.", ".GEO"), "viirs_l1b": ("03MOD", "GEOM")}


def read_satellite(files: Sequence[Path], reader: str, bands: Bands) -> Reading:
    """Bands on one grid, the coarsest of theirs; reflectances as the reader gives them."""
    import dask.base  # slow to import

    if reader in GEOLOCATION:  # their files hold angles too, and cannot be judged by values alone
        refuse_absurd_scales(files)
    # The work on granules is spread already, and the worker's threads are its own.
    with dask.config.set(scheduler="synchronous"), under_known_names(files, reader) as named:
        scene = _open(named, reader)
        found = scene.available_dataset_ids()
        calibrated = [data for data in found if _calibration(data) in CALIBRATIONS]
        chosen = _choose(bands, {data["name"] for data in calibrated}, reader)
        _refuse_without_places(files, reader)
        angles = _choose_angles({data["name"] for data in found}, reader)
        wanted = [data for data in calibrated if data["name"] in chosen.values()]
        wanted += [data for data in found if _tells_noise(data, wanted)]
        # Satpy fills up disks, whose missing segments would count as missing lines.
        options = {"pad_data": False} if is_part_of_disk(files, reader) else {}
        scene = _load(scene, wanted, angles, options)
        loaded: dict[str, Any] = {}
        measured: dict[str, Any] = {}
        for data in scene.keys():  # noqa: SIM118
            kind = measured if _calibration(data) == RADIANCE else loaded
            kind[data["name"]] = scene[data]
        first = loaded[next(iter(chosen.values()))]
        latitude, longitude = _places(first.attrs["area"])
        arrays, radiances = dask.base.compute(
            {name: loaded[name].data for name in {*chosen.values(), *angles}},
            {name: radiance.data for name, radiance in measured.items()},
        )
    for name, radiance in radiances.items():
        is_noise = np.isfinite(radiance) & ~(arrays[name] > 0)
        arrays[name] = np.where(is_noise, BELOW_NOISE_K, arrays[name])
    turn = north_up(latitude, longitude) if _is_fixed(first) else (slice(None), slice(None))
    return Reading(
        {wanted: arrays[name][turn] for wanted, name in chosen.items()},
        {wanted: _describe(loaded[name]) for wanted, name in chosen.items()},
        latitude[turn],
        longitude[turn],
        scene.start_time,
        str(first.attrs.get("platform_name", "unknown")),
        {name: arrays[name][turn] for name in angles},
        {} if ANGLES["satellite"] <= angles else _satellite(first.attrs),
        None if ANGLES["solar"] <= angles else _row_times(first, scene.end_time)[turn[:1]],
    )


def _open(files: Sequence[Path], reader: str) -> Any:
    from satpy.scene import Scene

    try:
        return Scene(filenames=[str(file) for file in files], reader=reader)
    except ValueError:  # by which satpy says, too, that it cannot import a reader
        _refuse_without_package(reader)
        raise


def _refuse_without_package(reader: str) -> None:
    from satpy.readers.core.config import configs_for_reader
    from satpy.readers.core.loading import load_reader

    try:
        load_reader(next(iter(configs_for_reader(reader))))
    except YAMLError as error:
        cause = error.__context__
        name = cause.name if isinstance(cause, ImportError) else None
        package = name.partition(".")[0] if name else cause
        detail = f"satpy's {reader} cannot be used without the package {package}; install it"
        raise UnusableGranuleError("lacks a package", detail) from error


def _refuse_without_places(files: Sequence[Path], reader: str) -> None:
    marks = GEOLOCATION.get(reader, ("",))
    if not any(mark in file.name for file in files for mark in marks):
        detail = f"no {' or '.join(marks)} file tells where its pixels lie"
        raise UnusableGranuleError("lacks its geolocation", detail)


def _choose(bands: Bands, names: set[str], reader: str) -> dict[str, str]:
    """For each wanted name the first of its bands, which some have by `reader/name`."""
    known = {**{name: name for name in names}, **{f"{reader}/{name}": name for name in names}}
    chosen = choose_bands(bands, known)
    refuse_without(chosen, bands)
    return {wanted: known[name] for wanted, name in chosen.items()}


def _choose_angles(names: set[str], reader: str) -> set[str]:
    """Those of the sun and the satellite that a granule has, each by zenith and azimuth."""
    angles = set[str]().union(*(pair for pair in ANGLES.values() if pair <= names))
    if reader in GEOLOCATION and (absent := set[str]().union(*ANGLES.values()) - angles):
        detail = f"its geolocation has no {', no '.join(sorted(absent))}"
        raise UnusableGranuleError("lacks its geolocation", detail)
    return angles


def _calibration(data: Any) -> str | None:
    return data["calibration"].name if "calibration" in data.to_dict() else None


def _tells_noise(data: Any, wanted: Sequence[Any]) -> bool:
    """Whether it is the radiance of a wanted band that cold cloud leaves without a signal."""
    names = {each["name"] for each in wanted if _calibration(each) == "brightness_temperature"}
    is_short = data["name"] in names and data["wavelength"].central < SHORTWAVE_UM
    return is_short and _calibration(data) == RADIANCE


def _load(scene: Any, wanted: Sequence[Any], angles: set[str], options: Mapping[str, Any]) -> Any:
    """`scene` with the bands and angles, all on one grid."""
    from satpy.dataset import DataQuery

    resolutions = defaultdict(set)
    for data in wanted:
        if _calibration(data) != RADIANCE:
            resolutions[data["name"]].add(data.get("resolution"))
    queries = [
        DataQuery(name=name, calibration=calibration, modifiers=modifiers)
        for name, calibration, modifiers in dict.fromkeys(
            (data["name"], _calibration(data), data.get("modifiers", ())) for data in wanted
        )
    ]
    # A swath has places for each resolution, and only one of them suits all bands.
    coarsest = max(filter(None, set[int]().union(*resolutions.values())), default=None)
    common = coarsest if all(coarsest in each for each in resolutions.values()) else "*"
    scene.load([*queries, *sorted(angles)], resolution=common, **options)
    if missing := scene.missing_datasets:
        raise ValueError(f"satpy could not load {', '.join(data['name'] for data in missing)}")
    loaded = [(scene[data], data.get("resolution")) for data in scene.keys()]  # noqa: SIM118
    if any(band.attrs.get("area") is None for band, _ in loaded):
        detail = "satpy finds no places for its bands; are its files of geolocation there?"
        raise UnusableGranuleError("lacks its geolocation", detail)
    if fixed := [(band.attrs["area"], size) for band, size in loaded if _is_fixed(band)]:
        refuse_stretched_areas(fixed)
    if len({scene[query].shape for query in queries}) > 1:
        scene = scene.resample(scene.coarsest_area(), resampler="native")
    return scene


def _is_fixed(band: Any) -> bool:
    """Whether it lies on a fixed grid, not along a swath."""
    from pyresample.geometry import AreaDefinition

    return isinstance(band.attrs.get("area"), AreaDefinition)


def _describe(band: Any) -> dict[str, Any]:
    listed = band.attrs.get("wavelength")
    is_corrected = any("sunz_corrected" in each for each in band.attrs.get("modifiers", ()))
    return {
        "band": band.attrs["name"],
        "units": band.attrs["units"],
        "sun_corrected": is_corrected,
        **({"wavelength": float(listed.central)} if listed else {}),
    }


def _row_times(band: Any, end: datetime) -> NDArray[np.datetime64]:
    """When each row was scanned: as the file says, else evenly in the order of the file's rows."""
    attributes = band.attrs
    scan = attributes.get("time_parameters", {})
    first = scan.get("observation_start_time", attributes["start_time"])
    seconds = (scan.get("observation_end_time", end) - first).total_seconds()
    n_rows = band.sizes["y"]
    elapsed = 1e9 * seconds * (np.arange(n_rows) + 0.5) / n_rows
    evenly = np.datetime64(first, "ns") + elapsed.astype("m8[ns]")
    told = band.coords["acq_time"].values if "acq_time" in band.coords else evenly
    return np.asarray(np.where(np.isnat(told), evenly, told))


def _places(area: Any) -> tuple[FloatArray, FloatArray]:
    """Latitude and longitude of the pixels, kept for the next granule of a fixed area."""
    from pyresample.geometry import AreaDefinition

    if isinstance(area, AreaDefinition):
        return _fixed_places(area)
    longitude, latitude = map(np.asarray, area.get_lonlats())
    refuse_torn_places(latitude, longitude)
    return latitude, longitude


@lru_cache(maxsize=4)
def _fixed_places(area: Any) -> tuple[FloatArray, FloatArray]:
    longitude, latitude = area.get_lonlats()
    return latitude.astype(np.float32), longitude.astype(np.float32)


def _satellite(attributes: dict[str, Any]) -> dict[str, float]:
    """Where a geostationary satellite stands, as it flew if that is known."""
    orbit = attributes.get("orbital_parameters", {})
    names = {"longitude": "longitude", "latitude": "latitude", "height": "altitude"}
    found = {
        name: next(
            (
                float(orbit[f"satellite_{kind}_{key}"])
                for kind in ("actual", "nominal")
                if f"satellite_{kind}_{key}" in orbit
            ),
            float(orbit.get(f"projection_{key}", np.nan)),
        )
        for name, key in names.items()
    }
    return found if all(np.isfinite(list(found.values()))) else {}
