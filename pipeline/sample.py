"""Stage sample: scenes → triplets of tiles, shuffled and split by day."""

import logging
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from pipeline.core import triplet
from pipeline.core.sphere import centre, great_circle_km, tile_centres
from pipeline.core.tile import FloatArray, IntArray, complete_tiles
from pipeline.files import stage, stores
from pipeline.files.progress import progress
from pipeline.files.workers import ordered_map

log = logging.getLogger(__name__)

CHUNKS_PER_PART = 16
SAME_PLACE = 0.1  # of a tile's diagonal; so far apart two granules may show one place
JUDGED_NEAREST, JUDGED_RADIUS = 1.0, 1.5  # tiles; neighbours that training is judged on are apart

Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class TripletCounts:
    """Triplets to draw from each split."""

    train: PositiveInt
    validation: PositiveInt
    test: PositiveInt


@dataclass(frozen=True)
class OtherGranules:
    """Which granules beside the anchor's a neighbour in training may come from.

    Attributes:
        minutes: From the anchor's, at most; 0 for none.
        platform: `any`, or `other` than the anchor's.
    """

    minutes: NonNegativeFloat
    platform: Literal["any", "other"]


@dataclass(frozen=True)
class SampleParams:
    """Section `sample` of params.yaml; `nearest`, `radius` in tiles, `tile_size` in pixels."""

    tile_size: Annotated[int, Field(gt=1)]
    nearest: NonNegativeFloat
    radius: PositiveFloat
    neighbour_from: OtherGranules
    max_invalid_share: Annotated[float, Field(ge=0, le=1)]
    distant_hours: NonNegativeFloat
    distant_km: NonNegativeFloat
    validation_share: Share
    test_share: Share
    n_triplets: TripletCounts
    holds: Literal["tiles", "places"]
    seed: int


@dataclass(frozen=True)
class _Survey:
    """What the drawing must know of a scene."""

    n_complete: int
    n_anchors: int
    latitude: float
    longitude: float
    radius_km: float


@dataclass(frozen=True)
class _Draw:
    """Tiles to draw from one scene."""

    scene: int
    split: str
    n_anchors: int
    n_distants: int
    seed: tuple[int, ...]
    others: IntArray  # scenes that neighbours may come from, too


@dataclass(frozen=True)
class _Part:
    """Triplets to cut and write at once: the places of their members, shape (triplet, member)."""

    split: str
    first: int
    scene: IntArray
    row: IntArray
    column: IntArray


def run(params: SampleParams, scenes: Path, triplets: Path, metrics: Path) -> None:
    """Draw triplets from `scenes` and write their tiles to `triplets`."""
    with stores.open_product(scenes) as opened:
        table = opened[["granule", "time", "channel", "platform"]].load()
        limits = stores.channel_limits(opened)
        shape = opened.sizes["row"], opened.sizes["column"]
    if params.nearest > params.radius:
        raise ValueError(
            f"sample.nearest {params.nearest} is larger than sample.radius {params.radius}; lower "
            "it or raise sample.radius"
        )
    if params.tile_size > min(shape):
        raise ValueError(
            f"tiles of {params.tile_size} pixels are larger than every scene (at most "
            f"{shape[0]} x {shape[1]}); lower sample.tile_size"
        )
    scenes, triplets = scenes.absolute(), triplets.absolute()  # for workers in other folders
    if params.holds == "tiles":
        _check_disk(params, n_channels=table.sizes["channel"], folder=triplets.parent)
    split = triplet.split_by_day(
        table.time.values,
        validation=params.validation_share,
        test=params.test_share,
        rng=np.random.default_rng(params.seed),
    )
    survey = partial(_survey, scenes=scenes, params=params)
    surveyed = ordered_map(survey, enumerate(split.tolist()))
    surveys = list(progress(surveyed, "survey", total=len(split), unit="scenes"))
    root = xr.Dataset(
        coords={
            "granule": table.granule.variable,
            "time": table.time.variable,
            "split": ("scene", split),
            "channel": table.channel.variable,
            **{name: ("channel", values) for name, values in limits.items()},
        },
        attrs={"title": "Triplets of tiles", "tile_size": params.tile_size},
    )
    stores.write_product(root, triplets, params)
    overlap = {}
    for name in triplet.SPLITS:
        members = _plan(name, params, scenes, table, surveys, split == name)
        overlap[name] = {
            "mean": float(members.overlap.mean()),
            "fraction_of_neighbours": float((members.overlap > 0).mean()),
        }
        stores.create_triplets(
            triplets,
            name,
            members.assign_coords(granule=table.granule.variable),
            params,
            channels=list(table.channel.values),
            tile_size=params.tile_size,
            with_tiles=params.holds == "tiles",
        )
        if params.holds == "tiles":
            _fill(name, members, params, scenes, triplets)
    stores.consolidate(triplets)
    counts = {name: int((split == name).sum()) for name in triplet.SPLITS}
    n_triplets = {name: getattr(params.n_triplets, name) for name in triplet.SPLITS}
    stores.write_json(metrics, {"scenes": counts, "triplets": n_triplets, "overlap": overlap})


def _check_disk(params: SampleParams, *, n_channels: int, folder: Path) -> None:
    """Say how large the product is, and refuse one that the disk cannot hold."""
    n_triplets = sum(getattr(params.n_triplets, name) for name in triplet.SPLITS)
    needed = n_triplets * len(triplet.MEMBERS) * n_channels * params.tile_size**2
    existing = next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())
    free = shutil.disk_usage(existing).free
    log.info(
        "%d triplets take up to %.2f GB, %.1f GB are free", n_triplets, needed / 1e9, free / 1e9
    )
    if needed > free:
        raise ValueError(
            f"{n_triplets} triplets take {needed / 1e9:.1f} GB and {folder} has "
            f"{free / 1e9:.1f} GB free; lower sample.n_triplets or let sample.holds be places"
        )


def _survey(numbered: tuple[int, str], *, scenes: Path, params: SampleParams) -> _Survey:
    index, split = numbered
    scene, complete = _open_scene(index, scenes, params)
    with_neighbour = triplet.have_neighbour(complete, **_reach(params, split))
    valid = scene.valid.values
    latitude, longitude = scene.latitude.values[valid], scene.longitude.values[valid]
    middle = centre(latitude, longitude)
    radius_km = great_circle_km(np.array(middle[0]), np.array(middle[1]), latitude, longitude).max()
    return _Survey(int(complete.sum()), int(with_neighbour.sum()), *middle, float(radius_km))


def _plan(
    name: str,
    params: SampleParams,
    scenes: Path,
    table: xr.Dataset,
    surveys: list[_Survey],
    in_split: NDArray[np.bool_],
) -> xr.Dataset:
    """Places of the members of a split's triplets, (triplet, member)."""
    n_triplets = getattr(params.n_triplets, name)
    code = triplet.SPLITS.index(name)
    rng = np.random.default_rng([params.seed, code])
    n_anchors = np.array([survey.n_anchors for survey in surveys]) * in_split
    if not n_anchors.any():
        nearest, radius = _reach(params, name).values()
        raise ValueError(
            f"no scene of the {name} split holds two complete tiles of {params.tile_size} pixels "
            f"{nearest} to {radius} pixels apart; lower sample.tile_size or raise sample.radius"
        )
    anchor_scene = rng.choice(len(surveys), n_triplets, p=n_anchors / n_anchors.sum())
    circles = np.array([(each.latitude, each.longitude, each.radius_km) for each in surveys]).T
    distant_scene = _draw_distant_scenes(
        name, params, table, surveys, circles, in_split, anchor_scene, rng
    )
    draws = [
        _Draw(
            int(scene),
            name,
            int((anchor_scene == scene).sum()),
            int((distant_scene == scene).sum()),
            (params.seed, code, int(scene)),
            _find_others(name, params, table, circles, in_split, int(scene)),
        )
        for scene in np.union1d(anchor_scene, distant_scene)
    ]
    dimensions = ("triplet", "member")
    members = xr.Dataset(
        {
            "scene": (dimensions, np.stack([anchor_scene, anchor_scene, distant_scene], axis=1)),
            **{
                place: (dimensions, np.zeros((n_triplets, 3), kind))
                for place, kind in (
                    ("first_row", np.int32),
                    ("first_column", np.int32),
                    ("latitude", np.float32),
                    ("longitude", np.float32),
                )
            },
        },
        coords={"member": list(triplet.MEMBERS)},
    )
    drawn = ordered_map(partial(_draw, scenes=scenes, params=params), draws)
    for draw, places in zip(
        draws, progress(drawn, f"draw {name}", total=len(draws), unit="scenes"), strict=True
    ):
        anchors, distants = anchor_scene == draw.scene, distant_scene == draw.scene
        for place, values in places.items():
            members[place].values[anchors, :2] = values[: 2 * draw.n_anchors].reshape(-1, 2)
            members[place].values[distants, 2] = values[2 * draw.n_anchors :]
    members["time"] = (dimensions, table.time.values[members.scene.values])
    corners = np.stack([members.first_row.values, members.first_column.values], axis=-1)
    shared = triplet.overlap(corners[:, 0], corners[:, 1], params.tile_size)
    shared[members.scene.values[:, 0] != members.scene.values[:, 1]] = 0
    _log_others(name, params, members)
    about = {"long_name": "fraction of the anchor's pixels that its neighbour holds", "units": "1"}
    members["overlap"] = ("triplet", shared.astype(np.float32), about)
    return members


def _draw_distant_scenes(
    name: str,
    params: SampleParams,
    table: xr.Dataset,
    surveys: list[_Survey],
    circles: FloatArray,
    in_split: NDArray[np.bool_],
    anchor_scene: IntArray,
    rng: np.random.Generator,
) -> IntArray:
    """For each anchor another scene, far enough in time or space, by its number of tiles."""
    n_complete = np.array([survey.n_complete for survey in surveys]) * in_split
    latitude, longitude, radius_km = circles
    hours = (table.time.values - table.time.values[0]) / np.timedelta64(1, "h")
    distant_scene = np.empty_like(anchor_scene)
    scenes, n_relaxed = np.unique(anchor_scene), 0
    for scene in scenes:
        others = np.where(np.arange(len(n_complete)) == scene, 0, n_complete)
        hours_apart = hours - hours[scene]
        weights = others * triplet.may_be_distant(
            hours_apart=hours_apart,
            km_apart=triplet.gap_km(latitude, longitude, radius_km, int(scene)),
            min_hours=params.distant_hours,
            min_km=params.distant_km,
        )
        if not others.any():
            raise ValueError(
                f"the {name} split has no granule beside {table.granule.values[scene]}; add "
                "granules of other days or change sample.validation_share and sample.test_share"
            )
        if not weights.any():
            n_relaxed += 1
            weights = others * (abs(hours_apart) == abs(hours_apart[others > 0]).max())
        chosen = anchor_scene == scene
        distant_scene[chosen] = rng.choice(len(weights), chosen.sum(), p=weights / weights.sum())
    if n_relaxed:
        log.warning(
            "%d of %d granules of the %s split have no other %g hours or %g km away, so that their "
            "distant tiles come from the farthest in time; more days, or a lower "
            "sample.distant_hours, would help",
            n_relaxed,
            len(scenes),
            name,
            params.distant_hours,
            params.distant_km,
        )
    return distant_scene


def _find_others(
    name: str,
    params: SampleParams,
    table: xr.Dataset,
    circles: FloatArray,
    in_split: NDArray[np.bool_],
    scene: int,
) -> IntArray:
    """Scenes of the training days that show places of `scene` within the minutes asked for."""
    wanted = params.neighbour_from
    if not wanted.minutes or name != triplet.SPLITS[0]:
        return np.empty(0, np.int64)
    minutes = np.abs(table.time.values - table.time.values[scene]) / np.timedelta64(1, "m")
    is_other = in_split & (minutes <= wanted.minutes)
    latitude, longitude, radius_km = circles
    is_other &= triplet.gap_km(latitude, longitude, radius_km, scene) < 0
    is_other[scene] = False
    if wanted.platform == "other":
        is_other &= table.platform.values != table.platform.values[scene]
    return np.flatnonzero(is_other)


def _log_others(name: str, params: SampleParams, members: xr.Dataset) -> None:
    if params.neighbour_from.minutes and name == triplet.SPLITS[0]:
        scene = members.scene.values
        log.info(
            "%.0f %% of the %s neighbours are of another granule",
            100 * (scene[:, 0] != scene[:, 1]).mean(),
            name,
        )


def _draw(draw: _Draw, *, scenes: Path, params: SampleParams) -> dict[str, NDArray[np.number]]:
    """Places of the tiles drawn from one scene: anchor, neighbour, anchor …, then distants."""
    scene, complete = _open_scene(draw.scene, scenes, params)
    rng = np.random.default_rng(draw.seed)
    reach = _reach(params, draw.split)
    with_neighbour = triplet.have_neighbour(complete, **reach)
    anchors = triplet.draw_tiles(with_neighbour, draw.n_anchors, rng)
    neighbours = triplet.draw_neighbours(complete, anchors, **reach, rng=rng)
    distants = triplet.draw_tiles(complete, draw.n_distants, rng)
    pairs = np.stack([anchors, neighbours], axis=1).reshape(-1, 2)
    row, column = np.concatenate([pairs, distants]).T
    latitude, longitude = tile_centres(
        scene.latitude.values,
        scene.longitude.values,
        np.stack([row, column], axis=1),
        params.tile_size,
    )
    found = {
        "scene": np.full(len(row), draw.scene),
        "first_row": row,
        "first_column": column,
        "latitude": latitude,
        "longitude": longitude,
    }
    if len(draw.others):
        _move_neighbours(draw, found, scene, scenes, params, rng)
    return found


def _open_scene(
    index: int, scenes: Path, params: SampleParams
) -> tuple[xr.Dataset, NDArray[np.bool_]]:
    """Where a scene's pixels lie, and which tiles are complete, by their first pixel."""
    with stores.open_product(scenes) as opened:
        scene = opened[["valid", "latitude", "longitude"]].isel(scene=index).load()
    return scene, complete_tiles(
        scene.valid.values, params.tile_size, max_invalid_share=params.max_invalid_share
    )


def _move_neighbours(
    draw: _Draw,
    found: dict[str, NDArray[np.number]],
    scene: xr.Dataset,
    scenes: Path,
    params: SampleParams,
    rng: np.random.Generator,
) -> None:
    """Take each neighbour from another granule, drawn for it, if that has a tile of its place."""
    neighbours = np.arange(1, 2 * draw.n_anchors, 2)
    other_of = rng.choice(draw.others, len(neighbours))
    last = params.tile_size - 1
    field = scene.latitude.values, scene.longitude.values
    corner = found["first_row"][neighbours], found["first_column"][neighbours]
    opposite = corner[0] + last, corner[1] + last
    diagonal = great_circle_km(*(each[at] for at in (corner, opposite) for each in field))
    for other in np.unique(other_of):
        moved = neighbours[other_of == other]
        pictured, complete = _open_scene(int(other), scenes, params)
        seen = pictured.latitude.values, pictured.longitude.values
        corners, exists = triplet.find_tiles(
            seen,
            complete,
            (found["latitude"][moved], found["longitude"][moved]),
            tile_size=params.tile_size,
            max_km=SAME_PLACE * diagonal[other_of == other],
        )
        moved, corners = moved[exists], corners[exists]
        found["scene"][moved] = other
        found["first_row"][moved], found["first_column"][moved] = corners.T
        found["latitude"][moved], found["longitude"][moved] = tile_centres(
            *seen, corners, params.tile_size
        )


def _fill(
    name: str, members: xr.Dataset, params: SampleParams, scenes: Path, triplets: Path
) -> None:
    cut = partial(_cut, scenes=scenes, triplets=triplets, tile_size=params.tile_size)
    parts = list(_parts(name, members))
    done = ordered_map(cut, parts)
    for _ in progress(done, f"cut {name}", total=len(parts), unit="parts"):
        pass


def _parts(name: str, members: xr.Dataset) -> Iterator[_Part]:
    """Whole chunks, many of them, since nearly every scene must be read for each part."""
    length = CHUNKS_PER_PART * stores.TRIPLETS_PER_CHUNK
    for first in range(0, members.sizes["triplet"], length):
        part = members.isel(triplet=slice(first, first + length))
        places = (part[place].values for place in ("scene", "first_row", "first_column"))
        yield _Part(name, first, *places)


def _cut(part: _Part, *, scenes: Path, triplets: Path, tile_size: int) -> None:
    with stores.open_product(scenes) as opened:
        tiles = stores.cut_tiles(
            opened, part.scene.ravel(), part.row.ravel(), part.column.ravel(), tile_size
        )
    tiles = tiles.reshape(*part.scene.shape, *tiles.shape[1:])
    stores.write_tiles(triplets, part.split, part.first, tiles)


def _reach(params: SampleParams, split: str) -> dict[str, int]:
    """How near and how far neighbours lie, in pixels; where training is judged they are apart."""
    nearest, radius = params.nearest, params.radius
    if split != triplet.SPLITS[0]:
        nearest, radius = max(nearest, JUDGED_NEAREST), max(radius, JUDGED_RADIUS)
    least = max(1, math.ceil(nearest * params.tile_size))
    return {"nearest": least, "radius": max(least, round(radius * params.tile_size))}


if __name__ == "__main__":
    stage.start(run, SampleParams)
