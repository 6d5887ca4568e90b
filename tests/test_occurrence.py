"""Frequencies and their standard errors from days."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.core import occurrence

Tiles = list[tuple[int, int, int]]  # place, cluster, day
TILES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=60
)


def count(tiles: Tiles) -> occurrence.Occurrence:
    """Of days so far from each other that they are independent."""
    place, cluster, day = np.array(tiles).T
    return occurrence.count_occurrence(place, cluster, 30 * day, n_clusters=3)


def ratio_error(counts: NDArray[np.float64], totals: NDArray[np.float64]) -> float:
    """Over days that have tiles, as the formula is written."""
    counts, totals = counts[totals > 0], totals[totals > 0]
    if len(totals) < 2:
        return np.nan
    spread = np.sum((counts - counts.sum() / totals.sum() * totals) ** 2)
    return float(np.sqrt(len(totals) / (len(totals) - 1) * spread) / totals.sum())


def test_two_days_by_hand() -> None:
    found = count([(7, 0, 0), (7, 0, 0), (7, 1, 0), (7, 1, 3)])
    assert found.place.tolist() == [7]
    assert found.count.tolist() == [[2, 2, 0]]
    assert found.frequency.tolist() == [[0.5, 0.5, 0]]
    # Residuals of cluster 0 are 2 - 1.5 and 0 - 0.5, so √(2 / 1 · 0.5) / 4.
    np.testing.assert_allclose(found.standard_error, [[0.25, 0.25, 0]], rtol=1e-12)
    assert (found.n_tiles.tolist(), found.n_days.tolist()) == ([4], [2])


@given(TILES)
def test_errors_agree_with_the_formula(tiles: Tiles) -> None:
    found = count(tiles)
    place, cluster, day = np.array(tiles).T
    for index, where in enumerate(found.place):
        totals = np.bincount(day[place == where], minlength=5)
        for number in range(3):
            counts = np.bincount(day[(place == where) & (cluster == number)], minlength=5)
            assert found.count[index, number] == counts.sum()
            expected = ratio_error(counts.astype(float), totals.astype(float))
            error = found.standard_error[index, number]
            np.testing.assert_allclose(error, expected, rtol=1e-9, atol=1e-7)


@given(TILES)
def test_means_agree_with_the_formula(tiles: Tiles) -> None:
    found = count(tiles)
    domain, weight = found.place % 2, 1.0 + found.place
    means = occurrence.average(found, domain, weight, n_domains=3)
    place, cluster, day = np.array(tiles).T
    assert np.isnan(means.frequency[2]).all()
    assert means.n_tiles.sum() == len(tiles)
    for index in np.unique(domain):
        inside = place % 2 == index
        for number in range(3):
            by_place = np.average(
                found.frequency[domain == index, number], weights=weight[domain == index]
            )
            np.testing.assert_allclose(means.frequency[index, number], by_place, atol=1e-12)
            residuals = np.zeros(5)
            for at in np.flatnonzero(domain == index):
                here = place == found.place[at]
                days_here = len(np.unique(day[here]))
                share = found.frequency[at, number] if days_here > 1 else by_place
                few = np.sqrt(days_here / (days_here - 1)) if days_here > 1 else 1.0
                for each in range(5):
                    today = here & (day == each)
                    off = (today & (cluster == number)).sum() - share * today.sum()
                    residuals[each] += few * weight[at] * off / here.sum()
            expected = np.sqrt((residuals**2).sum()) / weight[domain == index].sum()
            if len(np.unique(day[inside])) < 2:
                expected = np.nan
            error = means.standard_error[index, number]
            np.testing.assert_allclose(error, expected, atol=1e-7)


def test_errors_are_true_where_days_see_different_cells() -> None:
    """Residuals from the share of the domain, not of the cell, are 2.2 times too large here."""
    rng = np.random.default_rng(4)
    n_cells, n_days, n_worlds = 24, 60, 500
    climate = rng.beta(0.4, 0.4, n_cells)  # from nearly never to nearly always
    seen_by = np.arange(n_days) % 4  # each day sees a quarter of the cells
    day, cell, _ = (part.ravel() for part in np.indices((n_days, n_cells, 12)))
    kept = cell % 4 == seen_by[day]
    day, cell = day[kept], cell[kept]
    means, errors = [], []
    for _ in range(n_worlds):
        weather = rng.normal(scale=0.05, size=(n_days, n_cells))
        chance = np.clip(climate + weather, 0, 1)[day, cell]
        cluster = (rng.random(len(day)) < chance).astype(int)
        found = occurrence.count_occurrence(cell, cluster, 30 * day, n_clusters=2)
        mean = occurrence.average(found, np.zeros(n_cells, int), np.ones(n_cells), n_domains=1)
        means.append(mean.frequency[0, 1])
        errors.append(mean.standard_error[0, 1])
    assert np.sqrt(np.mean(np.square(errors))) / np.std(means) == pytest.approx(1.0, abs=0.08)


def test_places_of_few_tiles_are_left_out_of_means() -> None:
    found = count([(0, 0, 0), (0, 0, 1), (0, 1, 2), (1, 2, 0)])
    domain, weight = np.zeros(2, int), np.ones(2)
    every = occurrence.average(found, domain, weight, n_domains=1)
    np.testing.assert_allclose(every.frequency, [[1 / 3, 1 / 6, 1 / 2]])
    enough = occurrence.average(found, domain, weight, n_domains=1, fewest_tiles=2)
    np.testing.assert_allclose(enough.frequency, [[2 / 3, 1 / 3, 0]])
    none = occurrence.average(found, domain, weight, n_domains=1, fewest_tiles=9)
    assert np.isnan(none.frequency).all()
    assert np.isnan(none.standard_error).all()
    assert (enough.n_tiles.tolist(), enough.weight.tolist(), enough.n_days.tolist()) == (
        [3],
        [1.0],
        [3],
    )


def test_intervals_cover_the_truth_where_days_have_their_own_weather() -> None:
    rng = np.random.default_rng(0)
    n_places, n_days, per_day = 600, 40, 12
    chance = rng.beta(2, 4, (n_places, n_days))  # of the day, one third in the long run
    cluster = (rng.random((n_places, n_days, per_day)) < chance[..., None]).astype(int)
    cluster[:, ::2, 6:] = 2  # every other day half of the tiles are of a third cluster
    place, day, _ = np.indices(cluster.shape)
    kept = rng.random(cluster.shape) < 0.8
    found = occurrence.count_occurrence(place[kept], cluster[kept], 30 * day[kept], n_clusters=3)
    truth = 0.75 / 3
    covered = np.abs(found.frequency[:, 1] - truth) < 1.96 * found.standard_error[:, 1]
    assert 0.9 < covered.mean() < 0.97
    # Had tiles been the sample, the intervals would be too short by far.
    naive = np.sqrt(found.frequency[:, 1] * (1 - found.frequency[:, 1]) / found.n_tiles)
    assert (np.abs(found.frequency[:, 1] - truth) < 1.96 * naive).mean() < 0.85


def test_a_mean_over_places_with_the_same_weather_is_no_surer_than_one_place() -> None:
    day, place = np.divmod(np.arange(200), 10)  # all places have the cluster of the day
    cluster = np.random.default_rng(1).integers(0, 2, 20)[day]
    found = occurrence.count_occurrence(place, cluster, 30 * day, n_clusters=2)
    means = occurrence.average(found, np.zeros(10, int), np.ones(10), n_domains=1)
    np.testing.assert_allclose(means.standard_error[0], found.standard_error[0], rtol=1e-9)


def test_impossible_clusters_are_refused() -> None:
    with pytest.raises(ValueError, match="numbered 0 to 2, but tiles have 0 to 3"):
        count([(0, 0, 0), (0, 3, 0)])
