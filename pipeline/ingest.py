"""Stage ingest: manifest → false-colour scenes."""

import csv
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field

from pipeline.core.false_colour import Preset, compose, missing_bands, needed_bands
from pipeline.files import granules as granule_files
from pipeline.files import stage, stores
from pipeline.files.granules import UnusableGranuleError
from pipeline.files.progress import progress
from pipeline.files.workers import ordered_map

log = logging.getLogger(__name__)

PHYSICAL = {"reflectance": "visible", "brightness_temperature": "infrared_window"}


@dataclass(frozen=True)
class IngestParams:
    """Section `ingest` of params.yaml; angles in degrees."""

    preset: str
    max_solar_zenith: Annotated[float, Field(gt=0, le=180)]
    bands: dict[str, tuple[str, ...]]
    presets: dict[str, Preset]


@dataclass(frozen=True)
class _Entry:
    """A granule of the manifest."""

    name: str
    files: tuple[Path, ...]
    reader: str
    checksums: tuple[str, ...]


@dataclass(frozen=True)
class _Rejection:
    """A granule left out, and why."""

    granule: str
    reason: str
    detail: str


def run(params: IngestParams, granules: Path, scenes: Path, rejected: Path, metrics: Path) -> None:
    """Write usable granules to `scenes`, the others with their reasons to `rejected`."""
    if params.preset not in params.presets:
        raise ValueError(
            f"ingest.preset {params.preset!r} is unknown; choose from "
            f"{', '.join(params.presets)} or add it to ingest.presets"
        )
    entries, rejections = _without_copies(_read_manifest(granules / "manifest.nc"))
    writer = stores.SceneWriter(scenes)
    ingest = partial(_ingest, params=params)
    results = progress(
        ordered_map(ingest, entries), "granules", total=len(entries), unit="granules"
    )
    for result in _without_repeats(results):
        if isinstance(result, _Rejection):
            log.info("rejected %s: %s (%s)", result.granule, result.reason, result.detail)
            rejections.append(result)
        else:
            writer.append(result)
    counts = Counter(rejection.reason for rejection in rejections)
    if not writer.scenes:
        first = rejections[0]
        raise ValueError(
            f"none of {len(rejections)} granules suits the preset {params.preset} "
            f"({_counted(counts)}; the first, {first.granule}: {first.detail}); change "
            "ingest.preset or fetch.source"
        )
    writer.close(params, {"preset": params.preset, "rejected": _counted(counts)})
    _write_rejections(rejected, rejections)
    n_granules = len(writer.scenes) + len(rejections)
    content = {"granules": n_granules, "scenes": len(writer.scenes), "rejected": counts}
    stores.write_json(metrics, content)


def _read_manifest(path: Path) -> list[_Entry]:
    with stores.open_product(path) as manifest:
        table = manifest.to_dataframe()
    return [
        _Entry(
            name=str(files.granule.iloc[0]),
            files=tuple(path.parent / name for name in files.path),
            reader=str(files.reader.iloc[0]),
            checksums=tuple(files.sha256),
        )
        for _, files in table.groupby("number")
    ]


def _without_copies(entries: list[_Entry]) -> tuple[list[_Entry], list[_Rejection]]:
    """Entries whose files differ from those of all before, and the copies."""
    first_with: dict[tuple[str, ...], str] = {}
    different, copies = [], []
    for entry in entries:
        if entry.checksums in first_with:
            detail = f"its files are those of {first_with[entry.checksums]}"
            copies.append(_Rejection(entry.name, "repeats another", detail))
        else:
            first_with[entry.checksums] = entry.name
            different.append(entry)
    return different, copies


def _ingest(entry: _Entry, *, params: IngestParams) -> xr.Dataset | _Rejection:
    """The false-colour scene of a granule, or why there is none."""
    preset = params.presets[params.preset]
    wanted = needed_bands(preset) | set(PHYSICAL.values())
    names = {name: params.bands.get(name, (name,)) for name in wanted}
    try:
        granule = granule_files.read_granule(entry.files, entry.reader, names)
        scene = _compose_scene(granule, preset, params.max_solar_zenith, names)
    except UnusableGranuleError as error:
        return _Rejection(entry.name, error.reason, str(error))
    return scene.assign_attrs(granule=entry.name)


def _compose_scene(
    granule: xr.Dataset, preset: Preset, max_solar_zenith: float, names: dict[str, tuple[str, ...]]
) -> xr.Dataset:
    if missing := missing_bands(preset, set(map(str, granule.data_vars))):
        wishes = "; ".join(f"{band} ({' or '.join(names[band])})" for band in missing)
        raise UnusableGranuleError("lacks a band", f"it has no {wishes}")
    arrays = {str(name): variable.values for name, variable in granule.data_vars.items()}
    sun = arrays["solar_zenith_angle"]
    sunlit_only = any(
        channel not in granule or granule[channel].attrs["units"] != "K"
        for channel in preset.channels
    )
    if sunlit_only and not (sun <= max_solar_zenith).any():
        raise UnusableGranuleError(
            "night", f"the sun is at least {np.nanmin(sun):.1f} degrees from the zenith"
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        colour, valid = compose(arrays, preset)
    if sunlit_only:
        valid &= sun <= max_solar_zenith
    valid &= np.isfinite(arrays["latitude"])
    if not valid.any():
        raise UnusableGranuleError("empty", "no pixel has every channel")
    kept = ("latitude", "longitude", "solar_zenith_angle")
    plane = ("row", "column")
    return xr.Dataset(
        {
            "colour": (("channel", *plane), np.where(valid, colour, 0).astype(np.uint8)),
            "valid": (plane, valid),
            **{name: (plane, arrays[name]) for name in kept},
            **{name: (plane, arrays[band]) for name, band in PHYSICAL.items() if band in arrays},
        },
        coords={"channel": list(preset.channels)},
        attrs=granule.attrs,
    )


def _without_repeats(
    results: Iterator[xr.Dataset | _Rejection],
) -> Iterator[xr.Dataset | _Rejection]:
    """`results` in which a second view of one platform, time and place is a rejection."""
    first_of: dict[tuple[object, ...], str] = {}
    for result in results:
        if isinstance(result, _Rejection):
            yield result
            continue
        centre = [np.nanmean(result[name].values) for name in ("latitude", "longitude")]
        key = (result.attrs["platform"], result.attrs["time"], *np.round(centre, 2))
        name = result.attrs["granule"]
        if key in first_of:
            detail = f"{first_of[key]} is of the same platform, time and place"
            yield _Rejection(name, "repeats another", detail)
        else:
            first_of[key] = name
            yield result


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none"


def _write_rejections(path: Path, rejections: list[_Rejection]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["granule", "reason", "detail"])
        writer.writerows((entry.granule, entry.reason, entry.detail) for entry in rejections)


if __name__ == "__main__":
    stage.start(run, IngestParams)
