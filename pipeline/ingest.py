"""Stage ingest: manifest → false-colour scenes."""

import logging
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import numpy as np
import xarray as xr
from pydantic import Field, NonNegativeFloat, PositiveFloat

from pipeline.core.false_colour import Preset, missing_bands, needed_bands
from pipeline.core.quality import PLAUSIBLE, band_faults, is_flat, without_noise_floor
from pipeline.core.repeats import Repeats, View
from pipeline.core.scene import PHYSICAL, compose_scene, scene_angles
from pipeline.core.sphere import lattice
from pipeline.core.swath import on_equal_area_grid
from pipeline.files import stage, stores
from pipeline.files.base.rejections import Rejection, count_reasons, write_rejections
from pipeline.files.granules import (
    PLAIN_READERS,
    GeotiffConventions,
    NetcdfConventions,
    UnusableGranuleError,
    read_granule,
)
from pipeline.files.land import land_mask
from pipeline.files.manifests import Entry, read_entries
from pipeline.files.progress import progress
from pipeline.files.workers import ordered_map

log = logging.getLogger(__name__)

Share = Annotated[float, Field(ge=0, le=1)]

SHORTWAVE, WINDOW = "shortwave_infrared", "infrared_window"
LATTICE_POINTS = 24  # along the edge of a scene, to see which others it overlaps
DAYLIGHT_ZENITH = 85.0  # degrees; nearer to the horizon reflectances fade into noise
LONGEST_SCAN = np.timedelta64(1, "h")  # names tell the start, the end or a nominal time


@dataclass(frozen=True)
class GridParams:
    """Pixels of the scenes: the instrument's own, or square ones of equal area."""

    kind: Literal["native", "equal_area"]
    resolution_km: PositiveFloat
    radius_km: PositiveFloat


@dataclass(frozen=True)
class QualityParams:
    """What makes pixels invalid and granules unusable; angles in degrees, shares of 1."""

    max_view_zenith: Annotated[float, Field(gt=0, le=180)]
    min_glint_angle: Annotated[float, Field(ge=0, lt=180)]
    max_invalid_share: Share
    max_missing_lines: Share
    stripe_threshold: PositiveFloat
    max_striped_lines: Share
    plateau_pixels: Annotated[int, Field(gt=1)]
    max_saturated_share: Share
    max_implausible_share: Share
    repeat_seconds: NonNegativeFloat
    max_overlap: Share
    max_seconds: PositiveFloat


@dataclass(frozen=True)
class IngestParams:
    """Section `ingest` of params.yaml."""

    preset: str
    bands: dict[str, tuple[str, ...]]
    presets: dict[str, Preset]
    geotiff: GeotiffConventions
    netcdf: NetcdfConventions
    grid: GridParams
    quality: QualityParams


@dataclass(frozen=True)
class _Found:
    """A scene that was made: where it is, what it shows, and its pixels that are not as measured.

    Attributes:
        lost: Pixels that are invalid, by reason.
        n_below_noise: Pixels whose 3.9 µm band had no signal.
    """

    part: stores.ScenePart
    view: View
    lost: dict[str, int]
    n_below_noise: int


def run(params: IngestParams, granules: Path, scenes: Path, rejected: Path, metrics: Path) -> None:
    """Write usable granules to `scenes`, the others with their reasons to `rejected`."""
    if params.preset not in params.presets:
        raise ValueError(
            f"ingest.preset {params.preset!r} is unknown; choose from "
            f"{', '.join(params.presets)} or add it to ingest.presets"
        )
    preset = params.presets[params.preset]
    params = replace(params, presets={params.preset: preset})  # no other changes anything
    entries = read_entries(granules / "manifest.nc")
    rejections: list[Rejection] = []
    store = stores.SceneStore(scenes)
    parts = scenes.absolute().with_name("parts")
    limits = params.quality
    results = ordered_map(
        partial(_ingest, params=params, parts=parts),
        entries,
        max_seconds=limits.max_seconds,
        after_death=_rejected_by_death,
    )
    repeats = Repeats(repeat_seconds=limits.repeat_seconds, max_overlap=limits.max_overlap)
    first_with: dict[tuple[object, ...], str] = {}
    lost: Counter[str] = Counter()
    n_below_noise = 0
    shown = progress(results, "granules", total=len(entries), unit="granules")
    for entry, result in zip(entries, shown, strict=True):
        if isinstance(result, _Found):
            # Of usable granules alone, since the name of a copy may tell what its files do not.
            same = first_with.setdefault((entry.checksums, entry.step), entry.name)
            copied = ("repeats another", f"its files are those of {same}")
            if why := copied if same != entry.name else repeats.find(result.view):
                shutil.rmtree(result.part.path)
                result = Rejection(entry.name, *why)
        if isinstance(result, Rejection):
            log.info("rejected %s: %s (%s)", result.granule, result.reason, result.detail)
            rejections.append(result)
        else:
            store.take_up(result.part)
            lost.update(result.lost)
            n_below_noise += result.n_below_noise
    shutil.rmtree(parts, ignore_errors=True)
    counts = count_reasons(rejections)
    counted = ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none"
    if not store.parts:
        first = rejections[0]
        raise ValueError(
            f"none of {len(rejections)} granules suits the preset {params.preset} ({counted}; the "
            f"first, {first.granule}: {first.detail}); change ingest.preset or fetch.source"
        )
    store.close(params, {"preset": params.preset, "physics": preset.physics, "rejected": counted})
    write_rejections(rejected, rejections)
    content = {
        "granules": len(store.parts) + len(rejections),
        "scenes": len(store.parts),
        "rejected": counts,
        "invalid_pixels": lost,
        "pixels_below_noise": n_below_noise,
    }
    stores.write_json(metrics, content)


def _rejected_by_death(entry: Entry) -> Rejection:
    detail = "the process that read it came to an end, or took longer than quality.max_seconds"
    return Rejection(entry.name, "crashes its reader", detail)


def _ingest(entry: Entry, *, params: IngestParams, parts: Path) -> _Found | Rejection:
    """Make the false-colour scene of a granule, or say why there is none."""
    preset, limits = params.presets[params.preset], params.quality
    needed = needed_bands(preset)
    wanted = sorted(needed | set(PHYSICAL.values()))
    bands = {name: params.bands.get(name, (name,)) for name in wanted}
    try:
        granule = read_granule(
            entry.files,
            entry.reader,
            bands,
            geotiff=params.geotiff,
            netcdf=params.netcdf,
            step=entry.step,
        )
        _refuse_other_time(granule.attrs["time"], entry.start_time)
        _refuse_missing_bands(granule, preset, bands)
        _refuse_night(granule, preset)
        granule, n_below_noise = _without_noise(granule)
        granule = _without_faults(granule, wanted, needed, limits)
        if params.grid.kind == "equal_area":
            granule = _gridded(granule, params.grid)
        if preset.shows_glint and limits.min_glint_angle > 0:
            on_land = land_mask(granule.latitude.values, granule.longitude.values)
            granule = granule.assign(land=(("row", "column"), on_land))
        scene, lost = compose_scene(
            granule,
            preset,
            max_view_zenith=limits.max_view_zenith,
            min_glint_angle=limits.min_glint_angle,
        )
        if entry.reader not in PLAIN_READERS:  # whose scales were looked at
            _refuse_flat_bands(granule, needed, scene)
        _refuse_invalid(scene, lost, limits.max_invalid_share)
    except UnusableGranuleError as error:
        return Rejection(entry.name, error.reason, str(error))
    scene.attrs["granule"] = entry.name
    # A folder of its own for each attempt, since what a dying worker writes must not mix with it.
    part = stores.write_part(parts / f"{entry.number}-{uuid4().hex}", scene)
    places = lattice(scene.latitude.values, scene.longitude.values, LATTICE_POINTS)
    view = View(entry.name, part.platform, part.time, places.astype(np.float32))
    return _Found(part, view, lost, n_below_noise)


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


def _refuse_night(granule: xr.Dataset, preset: Preset) -> None:
    """Noise in the dark would count as a fault otherwise."""
    highest = np.nanmin(scene_angles(granule).solar_zenith_angle)
    if highest > preset.max_solar_zenith:
        detail = f"the sun stays {highest:.0f}° and more from the zenith"
        raise UnusableGranuleError("night", detail)


def _gridded(granule: xr.Dataset, grid: GridParams) -> xr.Dataset:
    try:
        return on_equal_area_grid(
            granule, resolution_km=grid.resolution_km, radius_km=grid.radius_km
        )
    except ValueError as error:
        raise UnusableGranuleError("too wide", str(error)) from error


def _without_noise(granule: xr.Dataset) -> tuple[xr.Dataset, int]:
    """`granule` with what 3.9 µm can tell of the coldest tops, and how many pixels these are."""
    if SHORTWAVE not in granule:
        return granule, 0
    band = granule[SHORTWAVE]
    window = granule[WINDOW].values if WINDOW in granule else None
    filled = band.copy(data=without_noise_floor(band.values, window))
    n_filled = int(((filled != band) & band.notnull()).sum())
    return granule.assign({SHORTWAVE: filled}), n_filled


def _without_faults(
    granule: xr.Dataset, bands: list[str], needed: set[str], limits: QualityParams
) -> xr.Dataset:
    """`granule` without striped lines, marked as `striped`, if the needed bands have few faults.

    The others, which only describe tiles, are left out where they have many.
    """
    on_earth = np.isfinite(granule.latitude.values)
    allowed = {
        "missing lines": limits.max_missing_lines,
        "stripes": limits.max_striped_lines,
        "saturated": limits.max_saturated_share,
        "implausible values": limits.max_implausible_share,
        "static": limits.max_implausible_share,
    }
    marked = np.zeros(on_earth.shape, np.float32)
    for name in [band for band in bands if band in granule]:
        band = granule[name]
        shares, striped = band_faults(
            band.values,
            on_earth,
            units=band.attrs["units"],
            stripe_threshold=limits.stripe_threshold,
            plateau_pixels=limits.plateau_pixels,
        )
        faults = [reason for reason, share in shares.items() if share > allowed[reason]]
        if faults and name in needed:
            detail = f"{shares[faults[0]]:.3f} of its {name} have {faults[0]}"
            raise UnusableGranuleError(faults[0], detail)
        if faults:
            granule = granule.drop_vars(name)
        elif striped.any():
            granule[name] = band.where(~xr.DataArray(striped, dims="row"))
            if name in needed:
                marked[striped] = 1
    return granule.assign(striped=(("row", "column"), marked))


def _refuse_flat_bands(granule: xr.Dataset, needed: set[str], scene: xr.Dataset) -> None:
    """A reflectance may be the same everywhere, but not while the sun is up."""
    is_day = scene.angles.sel(angle="solar_zenith_angle").min() < DAYLIGHT_ZENITH
    for name in sorted(needed & set(granule.data_vars)):
        band = granule[name]
        units = band.attrs["units"]
        if units in PLAUSIBLE and (units != "percent" or is_day) and is_flat(band.values):
            detail = f"all pixels of its {name} are {float(band.max()):g} {units}"
            raise UnusableGranuleError("absurd scale", detail)


def _refuse_invalid(scene: xr.Dataset, lost: dict[str, int], max_share: float) -> None:
    n_on_earth = scene.valid.size - lost["off the Earth"]
    n_valid = int(scene.valid.sum())
    share = 1 - n_valid / n_on_earth
    if share > max_share or not n_valid:
        reason = max(lost.keys() - {"off the Earth"}, key=lambda name: (lost[name], name))
        detail = f"{share:.3f} of its pixels are invalid, most of them by {reason}"
        raise UnusableGranuleError(reason, detail)


if __name__ == "__main__":
    stage.start(run, IngestParams)
