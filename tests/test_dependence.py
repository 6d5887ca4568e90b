"""Standard errors where one day is like the day before."""

import numpy as np
import pytest
from scipy.special import ndtr

from pipeline.core import dependence, occurrence
from pipeline.core.bootstrap import draw_days


def _weather(correlation: float, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Standard normal series (place, day) with a correlation from day to day."""
    found = rng.normal(size=shape)
    for day in range(1, shape[1]):
        found[:, day] *= np.sqrt(1 - correlation**2)
        found[:, day] += correlation * found[:, day - 1]
    return found


@pytest.mark.parametrize("n_days", [12, 60])
@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_reported_errors_are_the_true_ones(correlation: float, n_days: int) -> None:
    """Days taken for independent give 0.65 of the true error where they are correlated by 0.5."""
    rng = np.random.default_rng(0)
    frequencies, errors, independent = [], [], []
    for _ in range(60):
        chance = ndtr(_weather(correlation, (40, n_days), rng) - 0.5)
        cluster = (rng.random((40, n_days, 20)) < chance[..., None]).astype(int)
        place, day, _ = (axis.ravel() for axis in np.indices(cluster.shape))
        for each, apart in ((errors, 1), (independent, 30)):
            found = occurrence.count_occurrence(place, cluster.ravel(), apart * day, n_clusters=2)
            each.append(found.standard_error[:, 1])
        frequencies.append(found.frequency[:, 1])
    true = np.std(frequencies)
    assert np.sqrt(np.nanmean(np.square(errors))) / true == pytest.approx(1, abs=0.1)
    naive = np.sqrt(np.mean(np.square(independent))) / true
    assert (naive < 0.72) == (correlation == 0.5)


@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("is_even", [True, False])
def test_intervals_over_days_hold_the_truth(correlation: float, is_even: bool) -> None:
    """Of 40 days in a row, all of one weight or some of a tenth; today's correlation counts."""
    covered, naive = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        values = _weather(correlation, (1, 40), rng)[0]
        weight = np.ones(40) if is_even else np.where(rng.random(40) < 0.7, 0.1, 1.0)
        mean = float((weight * values).sum() / weight.sum())
        drawn = draw_days(40, n_draws=200, rng=rng) * weight
        draws = drawn @ values / drawn.sum(axis=1)
        for found, apart in ((covered, 1), (naive, 30)):
            low, high = dependence.interval_over_days(
                mean,
                draws,
                weight=weight,
                calendar=apart * np.arange(40),
                residuals=weight * (values - mean),
            )
            found.append(low <= 0 <= high)
    assert np.mean(covered) > 0.86
    assert (np.mean(naive) < 0.86) == (correlation == 0.5)


def test_a_few_near_days_widen_the_interval() -> None:
    """Six pairs of days do not show their correlation of 0.8; taken for independent, they err."""
    calendar = np.array([[100 * pair, 100 * pair + 1] for pair in range(6)]).ravel()
    covered, naive = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        values = _weather(0.8, (6, 2), rng).ravel()
        draws = draw_days(12, n_draws=200, rng=rng) @ values / 12
        for found, days in ((covered, calendar), (naive, 30 * np.arange(12))):
            low, high = dependence.interval_over_days(
                values.mean(),
                draws,
                weight=np.ones(12),
                calendar=days,
                residuals=values - values.mean(),
            )
            found.append(low <= 0 <= high)
    assert 0.93 < np.mean(covered) < 0.99
    assert np.mean(naive) < 0.88


def test_four_days_in_a_row_have_no_interval() -> None:
    draws, weight = np.linspace(-1, 1, 100), np.ones(4)
    found = dependence.interval_over_days(
        0.0, draws, weight=weight, calendar=np.arange(4), residuals=np.array([1.0, -1, 1, -1])
    )
    assert np.isnan(found).all()
    apart = dependence.interval_over_days(
        0.0, draws, weight=weight, calendar=9 * np.arange(4), residuals=np.array([1.0, -1, 1, -1])
    )
    assert apart[0] < -1.5
    assert apart[1] > 1.5


def test_correlation_is_found() -> None:
    rng = np.random.default_rng(1)
    series = _weather(0.6, (30, 50), rng)
    series -= series.mean(axis=1, keepdims=True)
    place, day = (axis.ravel() for axis in np.indices(series.shape))
    found = dependence.correlate_days(place, day, lambda chosen: series.ravel()[chosen, None])
    assert found == pytest.approx(0.6, abs=0.05)
    assert dependence.correlate_days(place, 2 * day, lambda _: series) is np.nan


def test_a_mean_over_correlated_days_by_hand() -> None:
    # Two days in a row, of weights 1 and 3, and one far away at another place.
    weight, place, day = np.array([1.0, 3, 2]), np.array([0, 0, 1]), np.array([4, 5, 90])
    found = dependence.inflation(weight, place, day, n_places=3, correlation=0.5)
    np.testing.assert_allclose(found, [1 + 2 * 0.5 * 3 / 10, 1, 1])
    unknown = dependence.inflation(weight, place, day, n_places=3, correlation=np.nan)
    np.testing.assert_allclose(unknown, [1 + 2 * 0.95 * 3 / 10, 1, 1])


def test_few_effective_days_have_no_error() -> None:
    found = dependence.correct_error(np.array([2, 4, 10]), np.array([1.0, 2.5, 9.0]))
    assert found[0] == 1
    assert np.isnan(found[1:]).all()
    long = dependence.correct_error(np.array([1000]), np.array([3.0]))
    np.testing.assert_allclose(long, np.sqrt(3), rtol=2e-3)


def test_four_days_in_a_row_tell_nothing_of_their_correlation() -> None:
    place, day = np.zeros(80, int), np.repeat(np.arange(4), 20)
    cluster = np.random.default_rng(2).integers(0, 2, 80)
    found = occurrence.count_occurrence(place, cluster, day, n_clusters=2)
    assert np.isnan(found.correlation)
    assert np.isnan(found.standard_error).all()
    assert "fewer than 7 pairs of consecutive days" in dependence.say(found.correlation)
    for correlation in (0.4, np.nan):
        assert "worth fewer than 2 there are none" in dependence.say(correlation)
    assert "correlated by 0.40" in dependence.say(0.4)
