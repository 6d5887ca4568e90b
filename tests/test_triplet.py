import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline.core.triplet import (
    draw_neighbours,
    draw_tiles,
    gap_km,
    may_be_distant,
    neighbour_counts,
    split_by_day,
)

COMPLETE = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=15))


def _neighbours_by_hand(complete: np.ndarray, tile: np.ndarray, radius: int) -> np.ndarray:
    row, column = np.indices(complete.shape)
    within = (row - tile[0]) ** 2 + (column - tile[1]) ** 2 <= radius**2
    return complete & within & ((row != tile[0]) | (column != tile[1]))


@given(COMPLETE, st.integers(1, 20))
def test_neighbour_counts_against_a_search(complete: np.ndarray, radius: int) -> None:
    counts = neighbour_counts(complete, radius)
    assert (counts[~complete] == 0).all()
    for tile in np.argwhere(complete):
        assert counts[tuple(tile)] == _neighbours_by_hand(complete, tile, radius).sum()


@given(COMPLETE, st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_neighbours_are_complete_near_and_others(
    complete: np.ndarray, radius: int, seed: int
) -> None:
    eligible = neighbour_counts(complete, radius) > 0
    assume(eligible.any())
    rng = np.random.default_rng(seed)
    anchors = draw_tiles(eligible, 50, rng)
    neighbours = draw_neighbours(complete, anchors, radius=radius, rng=rng)
    assert eligible[tuple(anchors.T)].all()
    assert complete[tuple(neighbours.T)].all()
    assert (((anchors - neighbours) ** 2).sum(axis=1) <= radius**2).all()
    assert (anchors != neighbours).any(axis=1).all()


def test_neighbours_are_uniform_over_the_disc() -> None:
    complete = np.random.default_rng(0).random((9, 9)) < 0.6
    anchor = np.argwhere(neighbour_counts(complete, 3) > 8)[0]
    anchors = np.repeat(anchor[None], 40_000, axis=0)
    drawn = draw_neighbours(complete, anchors, radius=3, rng=np.random.default_rng(1))
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    expected = np.argwhere(_neighbours_by_hand(complete, anchor, 3))
    np.testing.assert_array_equal(found, expected)
    # Five standard deviations of a binomial count.
    mean = len(anchors) / len(expected)
    np.testing.assert_allclose(counts, mean, atol=5 * np.sqrt(mean))


def test_a_lonely_anchor_is_refused() -> None:
    complete = np.zeros((5, 5), bool)
    complete[0, 0] = complete[4, 4] = True
    with pytest.raises(ValueError, match=r"1 of 1 anchors have no other .* raise sample\.radius"):
        draw_neighbours(complete, np.array([[0, 0]]), radius=2, rng=np.random.default_rng(0))


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


def test_gap_is_between_the_edges() -> None:
    latitude, longitude = np.array([0.0, 0.0]), np.array([179.0, -179.0])
    radius_km = np.array([100.0, 50.0])
    two_degrees = 222.39
    np.testing.assert_allclose(
        gap_km(latitude, longitude, radius_km, 0), [-200, two_degrees - 150], atol=0.01
    )
