"""Where anchor, neighbour and distant lie, and which days they may come from.

A tile is named by the (row, column) of its first pixel; lengths are in pixels.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pipeline.core.sphere import EARTH_RADIUS_KM, great_circle_km, unit_vectors
from pipeline.core.tile import BoolArray, IntArray

FloatArray = NDArray[np.floating]

SPLITS = ("train", "validation", "test")
MEMBERS = ("anchor", "neighbour", "distant")


def split_by_day(
    times: NDArray[np.datetime64], *, validation: float, test: float, rng: np.random.Generator
) -> NDArray[np.str_]:
    """The split of each time, one of `SPLITS`; a UTC day is never on both sides.

    Args:
        times: Start of each granule.
        validation: Share of the days, of which at least one is taken, of six or more at least two:
            a tile of the same place on another day is needed.
        test: Share of the days, likewise.
        rng: Chooses the days.

    Raises:
        ValueError: If there are too few days for three splits.
    """
    days, day_of_time = np.unique(times.astype("datetime64[D]"), return_inverse=True)
    fewest = 2 if len(days) >= 6 else 1
    n_validation = max(fewest, round(validation * len(days)))
    n_test = max(fewest, round(test * len(days)))
    if n_validation + n_test >= len(days):
        raise ValueError(
            f"{len(days)} days cannot be split into training, {n_validation} validation and "
            f"{n_test} test days; add granules of other days or lower sample.validation_share "
            "and sample.test_share"
        )
    split_of_day = np.full(len(days), "train", dtype="<U10")
    shuffled = rng.permutation(len(days))
    split_of_day[shuffled[:n_validation]] = "validation"
    split_of_day[shuffled[n_validation : n_validation + n_test]] = "test"
    return split_of_day[day_of_time]


def have_neighbour(complete: BoolArray, *, nearest: int, radius: int) -> BoolArray:
    """Whether each tile is complete and has a neighbour, as `draw_neighbours` draws them."""
    found = np.zeros_like(complete)
    found[nearest:] |= complete[:-nearest]
    found[:-nearest] |= complete[nearest:]
    found[:, nearest:] |= complete[:, :-nearest]
    found[:, :-nearest] |= complete[:, nearest:]
    # Nearly all tiles have one straight ahead; only for the others is the ring looked through.
    if len(alone := np.argwhere(complete & ~found)):
        n_candidates = _count(complete, *_ring(complete.shape, alone, nearest, radius)).sum(axis=1)
        found[tuple(alone.T)] = n_candidates > 0
    return np.asarray(complete & found)


def draw_tiles(eligible: BoolArray, n_tiles: int, rng: np.random.Generator) -> IntArray:
    """Tiles drawn uniformly, with repetition, among the eligible ones; shape (tile, 2)."""
    candidates = np.flatnonzero(eligible)
    chosen = candidates[rng.integers(len(candidates), size=n_tiles)] if n_tiles else candidates[:0]
    return np.stack(np.unravel_index(chosen, eligible.shape), axis=1)


def draw_neighbours(
    complete: BoolArray, anchors: IntArray, *, nearest: int, radius: int, rng: np.random.Generator
) -> IntArray:
    """Draw one neighbour an anchor, uniformly among the complete tiles of a ring around it.

    Nothing is drawn twice: the candidates are counted, one is chosen by its number.

    Args:
        complete: Whether the tile that starts at a pixel is complete, shape (row, column).
        anchors: (row, column) of complete tiles, shape (triplet, 2).
        nearest: Least row or column offset from the anchor, whichever is larger, at least 1; from
            the edge of a tile on, the two share no pixel.
        radius: Largest Euclidean distance from the anchor.
        rng: Source of randomness.

    Returns:
        Shape (triplet, 2).

    Raises:
        ValueError: If an anchor has no complete tile in its ring.

    Source: Jean et al. (2019), doi:10.1609/aaai.v33i01.33013967; the gap of Doersch et al. (2015),
    doi:10.1109/ICCV.2015.167.
    """
    if not len(anchors):
        return anchors
    rows, first, behind = _ring(complete.shape, anchors, nearest, radius)
    counts = _count(complete, rows, first, behind)  # (triplet, span)
    n_candidates = counts.sum(axis=1)
    if (lonely := n_candidates < 1).any():
        raise ValueError(
            f"{lonely.sum()} of {len(anchors)} anchors have no other complete tile from {nearest} "
            f"to {radius} pixels away; raise sample.radius or lower sample.nearest"
        )
    until_span = counts.cumsum(axis=1)
    triplet = np.arange(len(anchors))
    before = _complete_before(complete)
    number = rng.integers(n_candidates)
    span = (until_span <= number[:, None]).sum(axis=1)
    in_span = number - until_span[triplet, span] + counts[triplet, span]
    row = rows[triplet, span]
    wanted = before[row, first[triplet, span]] + in_span + 1
    column = (before[row, 1:] < wanted[:, None]).sum(axis=1)
    return np.stack([row, column], axis=1)


def find_tiles(
    scene: tuple[FloatArray, FloatArray],
    complete: BoolArray,
    places: tuple[FloatArray, FloatArray],
    *,
    tile_size: int,
    max_km: FloatArray,
) -> tuple[IntArray, BoolArray]:
    """Tiles of a scene that lie where others did, and which of them there are.

    Args:
        scene: Latitude and longitude of its pixels in degrees, shape (row, column); NaN off it.
        complete: Whether the tile that starts at a pixel is complete, shape (row, column).
        places: Latitude and longitude of the centres that are wanted, shape (tile,).
        tile_size: Edge of a tile.
        max_km: How far from there the middle of a tile may be, shape (tile,).

    Returns:
        (row, column) of each tile, shape (tile, 2), and whether it is complete and so near.
    """
    seen = np.isfinite(scene[0]) & np.isfinite(scene[1])
    if not seen.any():
        return np.zeros((len(places[0]), 2), np.int64), np.zeros(len(places[0]), bool)
    pixels = np.argwhere(seen)
    chord, nearest = cKDTree(unit_vectors(scene[0][seen], scene[1][seen])).query(
        unit_vectors(*places)
    )
    corners = pixels[nearest] - tile_size // 2
    inside = ((corners >= 0) & (corners < complete.shape)).all(axis=1)
    corners = np.where(inside[:, None], corners, 0)
    near = 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2, 1)) <= max_km
    return corners, inside & near & complete[tuple(corners.T)]


def overlap(anchors: IntArray, neighbours: IntArray, tile_size: int) -> FloatArray:
    """Fraction of an anchor's pixels that its neighbour holds, too, shape (triplet,).

    >>> overlap(np.array([[0, 0], [0, 0]]), np.array([[16, 48], [0, 64]]), 64).tolist()
    [0.1875, 0.0]
    """
    shared = np.maximum(tile_size - np.abs(anchors - neighbours), 0)
    return np.asarray(shared.prod(axis=1) / tile_size**2)


def may_be_distant(
    *,
    hours_apart: FloatArray,
    km_apart: FloatArray,
    min_hours: float,
    min_km: float,
) -> BoolArray:
    """Whether granules are far enough apart, in time or in space, to show other clouds."""
    return np.asarray((np.abs(hours_apart) >= min_hours) | (km_apart >= min_km))


def gap_km(
    latitude: FloatArray, longitude: FloatArray, radius_km: FloatArray, scene: int
) -> FloatArray:
    """Distance in km from `scene` to every scene, between the circles that enclose them.

    No two of their tiles are nearer than this.

    Args:
        latitude: Of each scene's centre in degrees.
        longitude: Of each scene's centre in degrees.
        radius_km: Of the circle around the centre that holds every pixel.
        scene: Index of the scene from which to measure.
    """
    centres = great_circle_km(latitude[scene], longitude[scene], latitude, longitude)
    return np.asarray(centres - radius_km - radius_km[scene])


def may_be_negative(
    hours: FloatArray,
    latitude: FloatArray,
    longitude: FloatArray,
    *,
    min_hours: float,
    min_km: float,
) -> BoolArray:
    """Whether tiles may be pushed apart in training, shape (tile, tile).

    Tiles of one time and place may show one cloud system. Those that were sampled as distant from
    a pair always may.

    Args:
        hours: Time of each tile; tiles are the members of one triplet after the other, (tile,).
        latitude: Of each tile in degrees.
        longitude: Of each tile in degrees.
        min_hours: So many hours apart …
        min_km: … or so many km two tiles must be.
    """
    apart = may_be_distant(
        hours_apart=hours[:, None] - hours,
        km_apart=great_circle_km(latitude[:, None], longitude[:, None], latitude, longitude),
        min_hours=min_hours,
        min_km=min_km,
    )
    anchor = np.arange(0, len(hours), len(MEMBERS))
    for member in (0, 1):
        apart[anchor + member, anchor + 2] = True
        apart[anchor + 2, anchor + member] = True
    return apart


def _complete_before(complete: BoolArray) -> IntArray:
    """Complete tiles of each row before each column, shape (row, column + 1)."""
    return np.hstack([np.zeros((len(complete), 1), np.int64), complete.cumsum(axis=1)])


def _ring(
    shape: tuple[int, ...], tiles: IntArray, nearest: int, radius: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Rows and half-open spans of columns around tiles, shape (tile, span), from top left on.

    Two spans a row, left and right of the tile; rows outside of the scene are -1, with empty spans.
    """
    offsets = np.arange(-radius, radius + 1)
    half_widths = np.floor(np.sqrt(radius**2 - offsets**2)).astype(np.int64)
    is_beside = np.abs(offsets) < nearest
    left_end = np.where(is_beside, 1 - nearest, 0)
    right_start = np.where(is_beside, nearest, 0)
    rows = tiles[:, 0, None] + np.repeat(offsets, 2)
    is_inside = (rows >= 0) & (rows < shape[0])
    column = tiles[:, 1, None]
    first = column + np.stack([-half_widths, right_start], axis=1).ravel()
    behind = column + np.stack([left_end, half_widths + 1], axis=1).ravel()
    first, behind = (each.clip(0, shape[1]) for each in (first, behind))
    return (
        np.where(is_inside, rows, -1),
        first,
        np.where(is_inside, np.maximum(behind, first), first),
    )


def _count(complete: BoolArray, rows: IntArray, first: IntArray, behind: IntArray) -> IntArray:
    """Complete tiles in each span of `_ring`, shape (tile, span)."""
    before = _complete_before(complete)
    return before[rows, behind] - before[rows, first]
