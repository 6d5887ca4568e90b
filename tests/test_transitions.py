"""Pairs of tiles of one place, and transitions between their clusters."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.core import transitions
from pipeline.core.sphere import great_circle_km

START = np.datetime64("2020-03-01", "ns")


def at(hours: list[float] | NDArray[np.float64]) -> NDArray[np.datetime64]:
    return START + (np.asarray(hours) * 3600).astype("m8[s]")


def pair_up(
    view: list[int],
    hours: list[float],
    latitude: list[float] | None = None,
    longitude: list[float] | None = None,
) -> set[tuple[int, int]]:
    found = transitions.find_pairs(
        np.array(view),
        at(hours),
        np.array(latitude or [0.0] * len(view)),
        np.array(longitude or [0.0] * len(view)),
        max_hours=6,
        max_km=np.full(len(view), 30.0),
    )
    assert (found.hours > 0).all()
    return set(zip(found.first.tolist(), found.second.tolist(), strict=True))


def pairs_of(
    place: NDArray[np.int64], hours: NDArray[np.float64], *, max_hours: float
) -> transitions.Pairs:
    """Pairs of tiles whose places are a degree of longitude apart."""
    return transitions.find_pairs(
        place,
        at(hours),
        np.zeros(len(place)),
        place.astype(float),
        max_hours=max_hours,
        max_km=np.full(len(place), 10.0),
    )


def test_pairs_are_of_one_view_in_order_and_within_the_longest_lag() -> None:
    assert pair_up([1, 2, 1, 1, 1], [6.0, 3.0, 0.0, 6.5, 6.0]) == {(2, 0), (2, 4), (0, 3), (4, 3)}


def test_pairs_are_near_each_other_across_the_date_line_too() -> None:
    longitude = [179.9, -179.9, -179.5, 179.9]
    assert pair_up([0] * 4, [0, 1, 2, 3], [0.0] * 4, longitude) == {(0, 1), (0, 3), (1, 3)}


def test_sectors_in_turn_are_kept_apart() -> None:
    assert pair_up([0] * 4, [0, 1, 2, 3], [0.0, 30.0, 0.0, 30.0]) == {(0, 2), (1, 3)}


def test_pairs_agree_with_all_pairs_looked_at() -> None:
    rng = np.random.default_rng(2)
    n = 120
    view, hours = rng.integers(0, 4, n), rng.integers(0, 40, n)
    latitude, longitude = rng.choice([0.0, 0.2, 5.0], n), np.zeros(n)
    expected = {
        (i, j)
        for i in range(n)
        for j in range(n)
        if view[i] == view[j]
        and 0 < hours[j] - hours[i] <= 6
        and great_circle_km(latitude[i], longitude[i], latitude[j], longitude[j]) <= 30
    }
    assert pair_up(view.tolist(), hours.tolist(), latitude.tolist(), longitude.tolist()) == expected


def test_views_tell_platforms_rows_and_columns_apart() -> None:
    platform = np.array(["A", "A", "B", "A", "A"], dtype=object)
    row, column = np.array([0, 32, 0, 0, 0]), np.array([0, 0, 0, 64, 0])
    views = transitions.number_views(platform, row, column)
    assert views[0] == views[4]
    assert len(np.unique(views)) == 4


def test_a_planted_matrix_is_recovered_within_its_errors() -> None:
    rng = np.random.default_rng(3)
    planted = np.array([[0.8, 0.2, 0.0], [0.1, 0.6, 0.3], [0.25, 0.25, 0.5]])
    n_places, n_days, n_hours = 40, 60, 6
    cluster = np.empty((n_places, n_days, n_hours), int)
    cluster[..., 0] = rng.integers(0, 3, (n_places, n_days))
    for hour in range(1, n_hours):
        steps = planted[cluster[..., hour - 1]].cumsum(axis=-1)
        cluster[..., hour] = (rng.random((n_places, n_days, 1)) >= steps).sum(axis=-1)
    place, day, hour = (axis.ravel() for axis in np.indices(cluster.shape))
    pairs = pairs_of(place, 24.0 * day + hour, max_hours=2.0)
    product = transitions.count_transitions(
        pairs,
        cluster.ravel(),
        day,
        place * n_hours + hour,
        n_clusters=3,
        lag_edges=np.array([0.0, 1.0, 2.0]),
    )
    memory = product.compared_count / product.expected_count
    assert (np.diag(memory[0]) > 1.2).all()
    assert product.n_pairs.values.tolist() == [40 * 60 * 5, 40 * 60 * 4]
    assert product.mean_lag.values.tolist() == [1.0, 2.0]
    errors = np.maximum(product.standard_error.values, 1e-9)
    assert (np.abs(product.probability[0] - planted) < 3.5 * errors[0]).all()
    assert (np.abs(product.probability[1] - planted @ planted) < 3.5 * errors[1]).all()
    assert errors.max() < 0.02


def test_counts_and_chance_by_hand() -> None:
    """Three pairs, the last with a lag beyond the edges, and tiles of a second day at one place."""
    pairs = transitions.Pairs(np.array([0, 1, 2]), np.array([3, 4, 5]), np.array([1.0, 1.0, 4.0]))
    cluster = np.array([0, 1, 1, 1, 1, 0, 0, 0, 1])
    day = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    stratum = np.array([0, 0, 0, 1, 2, 2, 1, 1, 1])  # the second pair ends where no other day is
    product = transitions.count_transitions(
        pairs, cluster, day, stratum, n_clusters=2, lag_edges=np.array([0.0, 1.0, 3.0])
    )
    assert product["count"].values.tolist() == [[[0, 1], [0, 1]], [[0, 0], [0, 0]]]
    assert product.compared_count.values.tolist() == [[[0, 1], [0, 0]], [[0, 0], [0, 0]]]
    np.testing.assert_allclose(product.expected_count[0], [[2 / 3, 1 / 3], [0, 0]])
    assert product.expected_count[1].values.tolist() == [[0, 0], [0, 0]]
    assert product.lag.values.tolist() == [0.5, 2.0]
    assert np.isnan(product.mean_lag.values[1])
    assert np.isnan(product.standard_error.values).all()  # a single day


@pytest.mark.parametrize("hourly", [False, True])
def test_places_with_climates_of_their_own_and_no_memory_are_at_chance(hourly: bool) -> None:
    """Margins over all places would have 2.4 times as many clusters follow themselves."""
    rng = np.random.default_rng(5)
    n_places, n_days, n_hours, n_clusters = 60, 30, 4, 8
    climate = rng.dirichlet(np.full(n_clusters, 0.3), (n_places, n_hours if hourly else 1))
    climate = np.broadcast_to(climate[:, None], (n_places, n_days, n_hours, n_clusters))
    drawn = rng.random((n_places, n_days, n_hours, 1))
    cluster = (drawn >= climate.cumsum(axis=-1)).sum(axis=-1).clip(max=n_clusters - 1)
    place, day, hour = (axis.ravel() for axis in np.indices(cluster.shape))
    pairs = pairs_of(place, 24.0 * day + 6 * hour, max_hours=24.0)
    product = transitions.count_transitions(
        pairs,
        cluster.ravel(),
        day,
        place * n_hours + hour,
        n_clusters=n_clusters,
        lag_edges=np.array([0.0, 6.0, 12.0, 18.0, 24.0]),
    )
    observed, expected = (
        np.trace(product[name].values, axis1=1, axis2=2)
        for name in ("compared_count", "expected_count")
    )
    np.testing.assert_allclose(observed / expected, 1, atol=0.02)
    counts = product["count"].values.astype(float)
    margins = counts.sum(axis=1, keepdims=True) * counts.sum(axis=2, keepdims=True)
    of_all_places = margins / counts.sum(axis=(1, 2), keepdims=True)
    naive = np.trace(of_all_places, axis1=1, axis2=2)
    assert (observed / naive)[-1] > 2  # at the same hour of the next day


def test_edges_that_do_not_ascend_are_refused() -> None:
    nothing = np.zeros(0, int)
    with pytest.raises(ValueError, match=r"grid_clusters\.lag_edges are \[0\.0, 2\.0, 2\.0\]"):
        transitions.count_transitions(
            transitions.Pairs(nothing, nothing, np.zeros(0)),
            nothing,
            nothing,
            nothing,
            n_clusters=2,
            lag_edges=np.array([0.0, 2.0, 2.0]),
        )
