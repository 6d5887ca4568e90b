"""Where anchor, neighbour and distant lie, and which days they may come from.

A tile is named by the (row, column) of its first pixel; lengths are in pixels.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.core.sphere import great_circle_km
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


def have_neighbour(complete: BoolArray, radius: int) -> BoolArray:
    """Whether each tile is complete and another complete one lies within `radius`."""
    found = np.zeros_like(complete)
    found[1:] |= complete[:-1]
    found[:-1] |= complete[1:]
    found[:, 1:] |= complete[:, :-1]
    found[:, :-1] |= complete[:, 1:]
    # Nearly all tiles have an adjacent one; only for the others is the whole disc looked through.
    if len(alone := np.argwhere(complete & ~found)):
        found[tuple(alone.T)] = _counts_by_row(complete, alone, radius).sum(axis=1) > 1
    return np.asarray(complete & found)


def draw_tiles(eligible: BoolArray, n_tiles: int, rng: np.random.Generator) -> IntArray:
    """Tiles drawn uniformly, with repetition, among the eligible ones; shape (tile, 2)."""
    candidates = np.flatnonzero(eligible)
    chosen = candidates[rng.integers(len(candidates), size=n_tiles)] if n_tiles else candidates[:0]
    return np.stack(np.unravel_index(chosen, eligible.shape), axis=1)


def draw_neighbours(
    complete: BoolArray, anchors: IntArray, *, radius: int, rng: np.random.Generator
) -> IntArray:
    """Draw one neighbour an anchor, uniformly among the other complete tiles within `radius`.

    Nothing is drawn twice: the candidates are counted, one is chosen by its number.

    Args:
        complete: Whether the tile that starts at a pixel is complete, shape (row, column).
        anchors: (row, column) of complete tiles, shape (triplet, 2).
        radius: Largest Euclidean distance from the anchor.
        rng: Source of randomness.

    Returns:
        Shape (triplet, 2).

    Raises:
        ValueError: If an anchor has no other complete tile within the radius.

    Source: Jean et al. (2019), doi:10.1609/aaai.v33i01.33013967.
    """
    if not len(anchors):
        return anchors
    by_row = _counts_by_row(complete, anchors, radius)  # (triplet, offset)
    n_candidates = by_row.sum(axis=1) - 1
    if (lonely := n_candidates < 1).any():
        raise ValueError(
            f"{lonely.sum()} of {len(anchors)} anchors have no other complete tile within "
            f"{radius} pixels; raise sample.radius"
        )
    until_row = by_row.cumsum(axis=1)
    triplet = np.arange(len(anchors))
    row, column = anchors.T
    before = _complete_before(complete)
    first, _ = _row_ends(complete, anchors, radius)
    own = (
        until_row[:, radius]
        - by_row[:, radius]
        + before[row, column]
        - before[row, first[:, radius]]
    )
    number = rng.integers(n_candidates)
    number += number >= own  # the anchor's own number is passed over
    offset = (until_row <= number[:, None]).sum(axis=1)
    in_row = number - until_row[triplet, offset] + by_row[triplet, offset]
    chosen_row = row + offset - radius
    wanted = before[chosen_row, first[triplet, offset]] + in_row + 1
    chosen_column = (before[chosen_row, 1:] < wanted[:, None]).sum(axis=1)
    return np.stack([chosen_row, chosen_column], axis=1)


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


def _disc(radius: int) -> tuple[IntArray, IntArray]:
    """Row offsets of a disc, and its half width in each of these rows."""
    offsets = np.arange(-radius, radius + 1)
    return offsets, np.floor(np.sqrt(radius**2 - offsets**2)).astype(np.int64)


def _complete_before(complete: BoolArray) -> IntArray:
    """Complete tiles of each row before each column, shape (row, column + 1)."""
    return np.hstack([np.zeros((len(complete), 1), np.int64), complete.cumsum(axis=1)])


def _row_ends(complete: BoolArray, tiles: IntArray, radius: int) -> tuple[IntArray, IntArray]:
    """First and behind-the-last column of the disc around each tile, in each of its rows."""
    _, half_widths = _disc(radius)
    column = tiles[:, 1, None]
    first = np.clip(column - half_widths, 0, None)
    behind = np.clip(column + half_widths + 1, None, complete.shape[1])
    return first, behind


def _counts_by_row(complete: BoolArray, tiles: IntArray, radius: int) -> IntArray:
    """Complete tiles in each row of the disc around each tile, shape (tile, 2 radius + 1)."""
    before = _complete_before(complete)
    rows = tiles[:, 0, None] + np.arange(-radius, radius + 1)
    inside = (rows >= 0) & (rows < len(complete))
    rows = rows.clip(0, len(complete) - 1)
    first, behind = _row_ends(complete, tiles, radius)
    return np.where(inside, before[rows, behind] - before[rows, first], 0)
