"""Granules of imagers that satpy reads."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

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

logging.getLogger("satpy").setLevel(logging.CRITICAL)  # a fault is told by its exception

CALIBRATIONS = ("reflectance", "brightness_temperature")
RADIANCE = "radiance"
SHORTWAVE_UM = 5.0  # shorter ones have no signal over the coldest clouds
BELOW_NOISE_K = 0.0  # where the radiance is zero or less, so that it has no temperature
ANGLES = {
    body: {f"{body}_zenith_angle", f"{body}_azimuth_angle"} for body in ("solar", "satellite")
}

# Wavelengths in µm by which files and satpy's readers turn radiances near 3.9 µm into
# temperatures: h c / (k planck_fk2) in files of GOES-16, 1 / 2641.775 cm for MODIS. Those that
# satpy lists are nominal, and 0.01 µm are 3 % of a reflectance of the sun.
EFFECTIVE_UM = {"C07": 3.8905, "20": 3.7853}

# In the names of the files that say where the pixels of others lie. Without one satpy has no
# places, or interpolates those of MODIS, which breaks at the date line.
GEOLOCATION = {"modis_l1b": ("D03", ".geo.", ".GEO"), "viirs_l1b": ("03MOD", "GEOM")}


def read_satellite(files: Sequence[Path], reader: str, bands: Bands) -> Reading:
    """Bands on one grid, the coarsest of theirs; reflectances are not corrected for the sun."""
    import dask.base  # slow to import
    from satpy.scene import Scene

    if reader in GEOLOCATION:  # their files hold angles too, and cannot be judged by values alone
        refuse_absurd_scales(files)
    # The work on granules is spread already, and the worker's threads are its own.
    with dask.config.set(scheduler="synchronous"):
        scene = Scene(filenames=[str(file) for file in files], reader=reader)
        found = scene.available_dataset_ids()
        calibrated = [data for data in found if _calibration(data) in CALIBRATIONS]
        chosen = choose_bands(bands, {data["name"] for data in calibrated})
        refuse_without(chosen, bands)
        _refuse_without_places(files, reader)
        names = {data["name"] for data in found}
        angles = set[str]().union(*(pair for pair in ANGLES.values() if pair <= names))
        if reader in GEOLOCATION and (absent := set[str]().union(*ANGLES.values()) - angles):
            detail = f"its geolocation has no {', no '.join(sorted(absent))}"
            raise UnusableGranuleError("lacks its geolocation", detail)
        wanted = [data for data in calibrated if data["name"] in chosen.values()]
        scene = _load(scene, wanted, [data for data in found if _tells_noise(data, wanted)], angles)
        loaded: dict[str, Any] = {}
        radiances: dict[str, Any] = {}
        for data in scene.keys():  # noqa: SIM118
            kind = radiances if _calibration(data) == RADIANCE else loaded
            kind[data["name"]] = scene[data]
        first = loaded[next(iter(chosen.values()))]
        latitude, longitude = _places(first.attrs["area"])
        names = {*chosen.values(), *angles}
        arrays, measured = dask.base.compute(
            {name: loaded[name].data for name in names},
            {name: radiance.data for name, radiance in radiances.items()},
        )
    for name, radiance in measured.items():
        is_noise = np.isfinite(radiance) & ~(arrays[name] > 0)
        arrays[name] = np.where(is_noise, BELOW_NOISE_K, arrays[name])
    return Reading(
        {wanted: arrays[name] for wanted, name in chosen.items()},
        {wanted: _describe(loaded[name]) for wanted, name in chosen.items()},
        latitude,
        longitude,
        scene.start_time,
        str(first.attrs["platform_name"]),
        {name: arrays[name] for name in angles},
        {} if ANGLES["satellite"] <= angles else _satellite(first.attrs),
        scene.end_time,
    )


def _refuse_without_places(files: Sequence[Path], reader: str) -> None:
    marks = GEOLOCATION.get(reader, ("",))
    if not any(mark in file.name for file in files for mark in marks):
        detail = f"no {' or '.join(marks)} file tells where its pixels lie"
        raise UnusableGranuleError("lacks its geolocation", detail)


def _calibration(data: Any) -> str | None:
    return data["calibration"].name if "calibration" in data.to_dict() else None


def _tells_noise(data: Any, wanted: Sequence[Any]) -> bool:
    """Whether it is the radiance of a wanted band that cold cloud leaves without a signal."""
    names = {each["name"] for each in wanted if _calibration(each) == "brightness_temperature"}
    is_short = data["name"] in names and data["wavelength"].central < SHORTWAVE_UM
    return is_short and _calibration(data) == RADIANCE


def _load(scene: Any, calibrated: Sequence[Any], radiances: Sequence[Any], angles: set[str]) -> Any:
    """`scene` with the bands, radiances and angles, all on one grid."""
    from pyresample.geometry import AreaDefinition
    from satpy.dataset import DataQuery

    resolutions = defaultdict(set)
    for data in calibrated:
        resolutions[data["name"]].add(data.get("resolution"))
    queries = [
        DataQuery(name=name, calibration=calibration, modifiers=())
        for name, calibration in dict.fromkeys(
            (data["name"], _calibration(data)) for data in (*calibrated, *radiances)
        )
    ]
    # A swath has places for each resolution, and only one of them suits all bands.
    coarsest = max(filter(None, set[int]().union(*resolutions.values())), default=None)
    common = coarsest if all(coarsest in each for each in resolutions.values()) else "*"
    scene.load([*queries, *sorted(angles)], resolution=common)
    if missing := scene.missing_datasets:
        raise ValueError(f"satpy could not load {', '.join(data['name'] for data in missing)}")
    areas = [(scene[data].attrs.get("area"), data.get("resolution")) for data in scene.keys()]  # noqa: SIM118
    if fixed := [(area, size) for area, size in areas if isinstance(area, AreaDefinition)]:
        refuse_stretched_areas(fixed)
    if len({scene[query].shape for query in queries}) > 1:
        scene = scene.resample(scene.coarsest_area(), resampler="native")
    return scene


def _describe(band: Any) -> dict[str, Any]:
    name, listed = band.attrs["name"], band.attrs.get("wavelength")
    return {
        "units": band.attrs["units"],
        "sun_corrected": False,
        **({"wavelength": EFFECTIVE_UM.get(name, float(listed.central))} if listed else {}),
    }


def _places(area: Any) -> tuple[FloatArray, FloatArray]:
    """Latitude and longitude of the pixels, kept for the next granule of a fixed area."""
    from pyresample.geometry import AreaDefinition

    if isinstance(area, AreaDefinition):
        return _fixed_places(area)
    longitude, latitude = map(np.asarray, area.get_lonlats())
    refuse_torn_places(latitude, longitude)
    return latitude, longitude


@lru_cache(maxsize=2)
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
