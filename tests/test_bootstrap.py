import numpy as np

from pipeline.core import bootstrap


def test_each_draw_holds_as_many_days_as_there_are() -> None:
    draws = bootstrap.draw_days(7, n_draws=50, rng=np.random.default_rng(1))
    assert draws.shape == (50, 7)
    np.testing.assert_array_equal(draws.sum(axis=1), 7)


def test_means_are_those_of_the_repeated_days() -> None:
    values = np.array([1.0, 2.0, 4.0, np.nan])
    groups, days = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    draws = np.array([[2, 0], [0, 2], [1, 1]])
    means = bootstrap.bootstrap_means(values, groups, days, n_groups=2, draws=draws)
    np.testing.assert_array_equal(means, [[1.0, 4.0], [2.0, np.nan], [1.5, 4.0]])


def test_an_interval_of_days_is_wider_than_one_of_tiles() -> None:
    rng = np.random.default_rng(2)
    n_days, per_day = 20, 100
    days = np.repeat(np.arange(n_days), per_day)
    values = rng.normal(size=n_days)[days] + 0.1 * rng.normal(size=len(days))
    draws = bootstrap.draw_days(n_days, n_draws=500, rng=rng)
    means = bootstrap.bootstrap_means(values, 0 * days, days, n_groups=1, draws=draws)
    low, high = bootstrap.interval(means)
    standard_error = np.std([values[days == day].mean() for day in range(n_days)]) / n_days**0.5
    np.testing.assert_allclose(high - low, 2 * 1.96 * standard_error, rtol=0.15)


def test_an_interval_leaves_missing_draws_out() -> None:
    low, high = bootstrap.interval(np.array([[np.nan, np.nan], [1.0, np.nan], [1.0, np.nan]]))
    np.testing.assert_array_equal(low, [1.0, np.nan])
    np.testing.assert_array_equal(high, [1.0, np.nan])
