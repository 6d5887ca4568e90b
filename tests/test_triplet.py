import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline.core.triplet import (
    draw_neighbours,
    draw_tiles,
    gap_km,
    have_neighbour,
    may_be_distant,
    may_be_negative,
    overlap,
    split_by_day,
)

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=15)
COMPLETE = arrays(bool, SHAPES)
ISOLATED = arrays(bool, SHAPES, fill=st.just(False))


REACHES = st.tuples(st.integers(1, 20), st.integers(1, 20)).map(sorted)


def _neighbours_by_hand(
    complete: np.ndarray, tile: np.ndarray, nearest: int, radius: int
) -> np.ndarray:
    row, column = np.indices(complete.shape)
    within = (row - tile[0]) ** 2 + (column - tile[1]) ** 2 <= radius**2
    return complete & within & (np.maximum(abs(row - tile[0]), abs(column - tile[1])) >= nearest)


@given(COMPLETE | ISOLATED, REACHES)
def test_tiles_with_a_neighbour_against_a_search(complete: np.ndarray, reach: list[int]) -> None:
    nearest, radius = reach
    found = have_neighbour(complete, nearest=nearest, radius=radius)
    expected = [
        bool(complete[tile]) and _neighbours_by_hand(complete, np.array(tile), *reach).any()
        for tile in np.ndindex(complete.shape)
    ]
    np.testing.assert_array_equal(found.ravel(), expected)


def test_a_tile_without_an_adjacent_one_finds_its_neighbour_in_the_disc() -> None:
    complete = np.zeros((4, 6), bool)
    complete[0, 0] = complete[3, 4] = True  # 5 pixels apart
    assert not have_neighbour(complete, nearest=1, radius=4).any()
    np.testing.assert_array_equal(have_neighbour(complete, nearest=1, radius=5), complete)


@given(COMPLETE, REACHES, st.integers(0, 2**32 - 1))
def test_neighbours_are_complete_and_in_the_ring(
    complete: np.ndarray, reach: list[int], seed: int
) -> None:
    nearest, radius = reach
    eligible = have_neighbour(complete, nearest=nearest, radius=radius)
    assume(eligible.any())
    rng = np.random.default_rng(seed)
    anchors = draw_tiles(eligible, 50, rng)
    neighbours = draw_neighbours(complete, anchors, nearest=nearest, radius=radius, rng=rng)
    assert eligible[tuple(anchors.T)].all()
    assert complete[tuple(neighbours.T)].all()
    assert (((anchors - neighbours) ** 2).sum(axis=1) <= radius**2).all()
    assert (np.abs(anchors - neighbours).max(axis=1) >= nearest).all()
    if nearest >= 4:
        assert not overlap(anchors, neighbours, 4).any()


@pytest.mark.parametrize("nearest", [1, 2])
def test_neighbours_are_uniform_over_the_ring(nearest: int) -> None:
    complete = np.random.default_rng(0).random((9, 9)) < 0.6
    anchor = np.argwhere(complete)[20]
    anchors = np.repeat(anchor[None], 40_000, axis=0)
    drawn = draw_neighbours(
        complete, anchors, nearest=nearest, radius=3, rng=np.random.default_rng(1)
    )
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    expected = np.argwhere(_neighbours_by_hand(complete, anchor, nearest, 3))
    np.testing.assert_array_equal(found, expected)
    # Five standard deviations of a binomial count.
    mean = len(anchors) / len(expected)
    np.testing.assert_allclose(counts, mean, atol=5 * np.sqrt(mean))


def test_a_lonely_anchor_is_refused() -> None:
    complete = np.zeros((5, 5), bool)
    complete[0, 0] = complete[4, 4] = True
    with pytest.raises(ValueError, match=r"1 of 1 anchors have no other .* raise sample\.radius"):
        draw_neighbours(
            complete, np.array([[0, 0]]), nearest=1, radius=2, rng=np.random.default_rng(0)
        )


@given(
    st.lists(st.integers(0, 60 * 24), min_size=3, max_size=80),
    st.floats(0.05, 0.4),
    st.floats(0.05, 0.4),
    st.integers(0, 1000),
)
def test_no_day_is_on_both_sides(
    hours: list[int], validation: float, test: float, seed: int
) -> None:
    times = np.datetime64("2020-01-01T00", "ns") + np.array(hours, "timedelta64[h]")
    days = times.astype("datetime64[D]")
    n_days = len(np.unique(days))
    fewest = 2 if n_days >= 6 else 1
    n_held_out = max(fewest, round(validation * n_days)) + max(fewest, round(test * n_days))
    rng = np.random.default_rng(seed)
    if n_held_out >= n_days:
        with pytest.raises(ValueError, match=f"{n_days} days cannot be split"):
            split_by_day(times, validation=validation, test=test, rng=rng)
        return
    split = split_by_day(times, validation=validation, test=test, rng=rng)
    for day in np.unique(days):
        assert len(set(split[days == day])) == 1
    assert set(split) == {"train", "validation", "test"}


def test_distant_is_far_in_time_or_in_space() -> None:
    far = may_be_distant(
        hours_apart=np.array([-30.0, 2.0, 2.0, 24.0]),
        km_apart=np.array([0.0, 1600.0, 1400.0, -50.0]),
        min_hours=24,
        min_km=1500,
    )
    np.testing.assert_array_equal(far, [True, True, False, True])


def test_negatives_are_far_in_time_or_in_space_or_sampled() -> None:
    # Two triplets: pairs of one hour and place, but for the second pair's anchor, 20° to the east.
    # The first distant tile is a day later, the second a day before.
    hours = np.array([12.0, 12, 36, 12, 12, -12])
    latitude, longitude = np.zeros(6), np.array([0.0, 0, 0, 20, 0, 0])
    found = may_be_negative(hours, latitude, longitude, min_hours=24, min_km=2000)
    expected = [
        # anchor, neighbour, distant, anchor, neighbour, distant
        [False, False, True, True, False, True],
        [False, False, True, True, False, True],
        [True, True, False, True, True, True],
        [True, True, True, False, True, True],
        [False, False, True, True, False, True],
        [True, True, True, True, True, False],
    ]
    np.testing.assert_array_equal(found, expected)


def test_tiles_of_one_hour_and_place_are_negatives_only_where_sampled() -> None:
    found = may_be_negative(np.zeros(6), np.zeros(6), np.zeros(6), min_hours=1, min_km=1)
    distant = [[0, 0, 1], [0, 0, 1], [1, 1, 0]]
    np.testing.assert_array_equal(found, np.kron(np.eye(2), distant))


@given(
    st.lists(
        st.tuples(st.floats(-50, 50), st.floats(-90, 90), st.floats(-180, 180)),
        min_size=3,
        max_size=18,
    ),
    st.floats(0.1, 60),
    st.floats(1, 20000),
)
def test_who_may_be_negative_is_mutual(
    tiles: list[tuple[float, float, float]], min_hours: float, min_km: float
) -> None:
    hours, latitude, longitude = np.array(tiles[: len(tiles) // 3 * 3]).T
    found = may_be_negative(hours, latitude, longitude, min_hours=min_hours, min_km=min_km)
    np.testing.assert_array_equal(found, found.T)
    assert not found.diagonal().any()
    assert found[::3, 2::3].diagonal().all()
    assert found[1::3, 2::3].diagonal().all()
    far_in_time = abs(hours[:, None] - hours) >= min_hours
    assert found[far_in_time].all()


def test_gap_is_between_the_edges() -> None:
    latitude, longitude = np.array([0.0, 0.0]), np.array([179.0, -179.0])
    radius_km = np.array([100.0, 50.0])
    two_degrees = 222.39
    np.testing.assert_allclose(
        gap_km(latitude, longitude, radius_km, 0), [-200, two_degrees - 150], atol=0.01
    )
