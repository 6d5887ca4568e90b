"""Stage ingest: manifest → false-colour scenes."""

import csv
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import numpy as np
import xarray as xr
from pydantic import Field

from pipeline.core import quality
from pipeline.core.false_colour import Preset, compose, missing_bands, needed_bands
from pipeline.core.scene import (
    ANGLES,
    at_pixels,
    corrected_for_sun,
    hidden_pixels,
    on_equal_area_grid,
    scene_angles,
)
from pipeline.core.sphere import lattice, overlap
from pipeline.files import stage, stores
from pipeline.files.granules import NetcdfConventions, UnusableGranuleError, read_granule
from pipeline.files.progress import progress
from pipeline.files.workers import ordered_map

log = logging.getLogger(__name__)

Share = Annotated[float, Field(ge=0, le=1)]

PLANE = ("row", "column")
PHYSICAL = {"reflectance": "visible", "brightness_temperature": "infrared_window"}
DEFAULT_SHORTWAVE_UM = 3.9
SAME_VIEW = 0.95  # of a scene in view of another at the same time
LATTICE_POINTS = 24  # along the edge of a scene, to see which others it overlaps
LONGEST_SCAN = np.timedelta64(1, "h")  # names tell the start, the end or a nominal time
COLUMNS_JUDGED = 64  # of a line, enough for the median that tells a stripe


@dataclass(frozen=True)
class GridParams:
    """Pixels of the scenes: the instrument's own, or square ones of equal area."""

    kind: Literal["native", "equal_area"]
    resolution_km: Annotated[float, Field(gt=0)]
    radius_km: Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class QualityParams:
    """What makes pixels invalid and granules unusable; angles in degrees, shares of 1."""

    max_view_zenith: Annotated[float, Field(gt=0, le=180)]
    min_glint_angle: Annotated[float, Field(ge=0, lt=180)]
    max_invalid_share: Share
    max_missing_lines: Share
    stripe_threshold: Annotated[float, Field(gt=0)]
    max_striped_lines: Share
    plateau_pixels: Annotated[int, Field(gt=1)]
    max_saturated_share: Share
    max_implausible_share: Share
    repeat_seconds: Annotated[float, Field(ge=0)]
    max_overlap: Share
    max_seconds: Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class IngestParams:
    """Section `ingest` of params.yaml."""

    preset: str
    bands: dict[str, tuple[str, ...]]
    presets: dict[str, Preset]
    netcdf: NetcdfConventions
    grid: GridParams
    quality: QualityParams


@dataclass(frozen=True)
class _Entry:
    """A granule of the manifest, and its number there."""

    number: int
    name: str
    files: tuple[Path, ...]
    reader: str
    step: int
    start_time: np.datetime64
    checksums: tuple[str, ...]


@dataclass(frozen=True)
class _Found:
    """A scene that was made: where it is, the pixels it lost by reason, and its extent."""

    part: stores.ScenePart
    lost: dict[str, int]
    places: np.ndarray[tuple[int, int], np.dtype[np.floating]]


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
    store = stores.SceneStore(scenes)
    parts = scenes.absolute().with_name("parts")
    results = ordered_map(
        partial(_ingest, params=params, parts=parts),
        entries,
        max_seconds=params.quality.max_seconds,
        after_death=_rejected_by_death,
    )
    lost: Counter[str] = Counter()
    shown = progress(results, "granules", total=len(entries), unit="granules")
    for result in _without_repeats(shown, params.quality):
        if isinstance(result, _Rejection):
            log.info("rejected %s: %s (%s)", result.granule, result.reason, result.detail)
            rejections.append(result)
        else:
            store.take_up(result.part)
            lost.update(result.lost)
    counts = Counter(rejection.reason for rejection in rejections)
    if not store.parts:
        first = rejections[0]
        raise ValueError(
            f"none of {len(rejections)} granules suits the preset {params.preset} "
            f"({_counted(counts)}; the first, {first.granule}: {first.detail}); change "
            "ingest.preset or fetch.source"
        )
    preset = params.presets[params.preset]
    about = {"preset": params.preset, "physics": preset.physics, "rejected": _counted(counts)}
    store.close(params, about)
    _write_rejections(rejected, rejections)
    content = {
        "granules": len(store.parts) + len(rejections),
        "scenes": len(store.parts),
        "rejected": counts,
        "invalid_pixels": lost,
    }
    stores.write_json(metrics, content)


def _read_manifest(path: Path) -> list[_Entry]:
    with stores.open_product(path) as manifest:
        table = manifest.to_dataframe()
    return [
        _Entry(
            number=int(files.number.iloc[0]),
            name=str(files.granule.iloc[0]),
            files=tuple(path.absolute().parent / name for name in files.path),
            reader=str(files.reader.iloc[0]),
            step=int(files.step.iloc[0]),
            start_time=files.start_time.to_numpy()[0],
            checksums=tuple(files.sha256),
        )
        for _, files in table.groupby("number")
    ]


def _without_copies(entries: list[_Entry]) -> tuple[list[_Entry], list[_Rejection]]:
    """Entries whose files differ from those of all before, and the copies."""
    first_with: dict[tuple[object, ...], str] = {}
    different, copies = [], []
    for entry in entries:
        content = (entry.checksums, entry.step)
        if content in first_with and all(entry.checksums):
            detail = f"its files are those of {first_with[content]}"
            copies.append(_Rejection(entry.name, "repeats another", detail))
        else:
            first_with[content] = entry.name
            different.append(entry)
    return different, copies


def _rejected_by_death(entry: _Entry) -> _Rejection:
    detail = "the process that read it came to an end, or took longer than quality.max_seconds"
    return _Rejection(entry.name, "crashes its reader", detail)


def _ingest(entry: _Entry, *, params: IngestParams, parts: Path) -> _Found | _Rejection:
    """Make the false-colour scene of a granule, or say why there is none."""
    preset = params.presets[params.preset]
    wanted = needed_bands(preset) | set(PHYSICAL.values())
    bands = {name: params.bands.get(name, (name,)) for name in sorted(wanted)}
    try:
        granule = read_granule(
            entry.files, entry.reader, bands, netcdf=params.netcdf, step=entry.step
        )
        _refuse_other_time(granule.attrs["time"], entry.start_time)
        _refuse_missing_bands(granule, preset, bands)
        granule = _without_faults(granule, sorted(wanted), params.quality)
        if params.grid.kind == "equal_area":
            granule = _gridded(granule, params.grid)
        scene, lost = _compose_scene(granule, preset, params.quality)
    except UnusableGranuleError as error:
        return _Rejection(entry.name, error.reason, str(error))
    scene.attrs["granule"] = entry.name
    # A folder of its own for each attempt, since what a dying worker writes must not mix with it.
    part = stores.write_part(parts / f"{entry.number}-{uuid4().hex}", scene)
    places = lattice(scene.latitude.values, scene.longitude.values, LATTICE_POINTS)
    return _Found(part, lost, places.astype(np.float32))


def _refuse_other_time(found: np.datetime64, expected: np.datetime64) -> None:
    if abs(found - expected) > LONGEST_SCAN:
        detail = f"it is of {str(found)[:16]}, by its name of {str(expected)[:16]}"
        raise UnusableGranuleError("other time", detail)


def _refuse_missing_bands(
    granule: xr.Dataset, preset: Preset, bands: dict[str, tuple[str, ...]]
) -> None:
    if missing := missing_bands(preset, set(map(str, granule.data_vars))):
        wishes = "; ".join(f"{band} ({' or '.join(bands[band])})" for band in missing)
        raise UnusableGranuleError("lacks a band", f"it has no {wishes}")


def _gridded(granule: xr.Dataset, grid: GridParams) -> xr.Dataset:
    try:
        return on_equal_area_grid(
            granule, resolution_km=grid.resolution_km, radius_km=grid.radius_km
        )
    except ValueError as error:
        raise UnusableGranuleError("too wide", str(error)) from error


def _without_faults(granule: xr.Dataset, bands: list[str], limits: QualityParams) -> xr.Dataset:
    """`granule` without striped lines, if its bands have few faults."""
    on_earth = np.isfinite(granule.latitude.values)
    step = max(1, granule.sizes["column"] // COLUMNS_JUDGED)
    for name in [band for band in bands if band in granule]:
        band = granule[name]
        values = band.values
        striped = quality.striped_lines(values[:, ::step], threshold=limits.stripe_threshold)
        units = band.attrs["units"]
        bright = values if units == "percent" else np.full_like(values, np.nan)
        saturated = quality.saturated_pixels(bright, fewest=limits.plateau_pixels)
        shares = [
            ("missing lines", quality.missing_lines(values, on_earth), limits.max_missing_lines),
            ("stripes", striped, limits.max_striped_lines),
            ("saturated", saturated[on_earth], limits.max_saturated_share),
            (
                "implausible values",
                quality.implausible_share(values, units=units),
                limits.max_implausible_share,
            ),
            ("static", quality.static_share(values, units=units), limits.max_implausible_share),
        ]
        for reason, faulty, limit in shares:
            if (share := float(np.mean(faulty))) > limit:
                raise UnusableGranuleError(reason, f"{share:.3f} of its {name} have {reason}")
        if striped.any():
            granule[name] = band.where(~xr.DataArray(striped, dims="row"))
    return granule


def _compose_scene(
    granule: xr.Dataset, preset: Preset, limits: QualityParams
) -> tuple[xr.Dataset, dict[str, int]]:
    """The false-colour scene, and how many pixels it lost for each reason."""
    shape = granule.sizes["row"], granule.sizes["column"]
    angles = scene_angles(granule)
    at = {
        name: granule[name].values if name in granule else at_pixels(getattr(angles, name), shape)
        for name in ("solar_zenith_angle", "view_zenith_angle", "glint_angle")
    }
    granule = corrected_for_sun(granule, at["solar_zenith_angle"])
    arrays = {str(name): variable.values for name, variable in granule.data_vars.items()}
    wavelength = DEFAULT_SHORTWAVE_UM
    if "shortwave_infrared" in granule:
        wavelength = granule.shortwave_infrared.attrs.get("wavelength", wavelength)
    with np.errstate(invalid="ignore", divide="ignore"):
        colour, measured = compose(
            {**arrays, **at, "shortwave_infrared_wavelength": wavelength}, preset
        )
    hidden = hidden_pixels(
        measured,
        np.isfinite(arrays["latitude"]),
        at,
        max_solar_zenith=preset.max_solar_zenith,
        max_view_zenith=limits.max_view_zenith,
        min_glint_angle=limits.min_glint_angle,
    )
    valid = ~np.any(list(hidden.values()), axis=0)
    lost = {reason: int(pixels.sum()) for reason, pixels in hidden.items()}
    n_on_earth = valid.size - lost["off the Earth"]
    if (share := 1 - valid.sum() / n_on_earth) > limits.max_invalid_share or not valid.any():
        reason = max(("night", "view zenith", "glint", "missing"), key=lost.__getitem__)
        raise UnusableGranuleError(
            reason, f"{share:.3f} of its pixels are invalid, most of them by {reason}"
        )
    return xr.Dataset(
        {
            "colour": (("channel", *PLANE), np.where(valid, colour, 0).astype(np.uint8)),
            "valid": (PLANE, valid),
            "latitude": (PLANE, arrays["latitude"]),
            "longitude": (PLANE, arrays["longitude"]),
            "angles": (("angle", "lattice_row", "lattice_column"), angles.stacked()),
            **{name: (PLANE, arrays[band]) for name, band in PHYSICAL.items() if band in arrays},
        },
        coords={"channel": list(preset.channels), "angle": list(ANGLES)},
        attrs=granule.attrs,
    ), lost


def _without_repeats(
    results: Iterator[_Found | _Rejection], limits: QualityParams
) -> Iterator[_Found | _Rejection]:
    """`results` in which a scene that another of its minute covers is a rejection.

    The granules come by time, so that only those of the same minute are kept in mind.
    """
    minute = np.datetime64("NaT")
    earlier: list[_Found] = []
    for result in results:
        if isinstance(result, _Rejection):
            yield result
            continue
        if result.part.time.astype("datetime64[m]") != minute:
            minute, earlier = result.part.time.astype("datetime64[m]"), []
        rejection = next(filter(None, map(_repeats(result, limits), earlier)), None)
        if rejection is None:
            earlier.append(result)
        yield rejection or result


def _repeats(found: _Found, limits: QualityParams) -> Callable[[_Found], _Rejection | None]:
    """Compares `found` with another scene of its minute."""

    def compare(other: _Found) -> _Rejection | None:
        if other.part.platform != found.part.platform:
            return None
        share = overlap(found.places, other.places)
        seconds = abs(found.part.time - other.part.time) / np.timedelta64(1, "s")
        if share > SAME_VIEW and seconds <= limits.repeat_seconds:
            detail = f"{other.part.granule} is of the same platform, time and place"
            return _Rejection(found.part.granule, "repeats another", detail)
        if share > limits.max_overlap:
            detail = f"{other.part.granule} covers {share:.2f} of it in the same minute"
            return _Rejection(found.part.granule, "overlaps another", detail)
        return None

    return compare


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
