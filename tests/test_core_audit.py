import numpy as np
import pytest

from pipeline.core import audit
from pipeline.core.bootstrap import draw_days

N_DAYS, N_TILES = 12, 2400


def _explain(
    factors: list[np.ndarray], target: np.ndarray, days: np.ndarray | None = None
) -> audit.Explained:
    rng = np.random.default_rng(0)
    days = np.arange(N_TILES) % N_DAYS if days is None else days
    draws = draw_days(N_DAYS, n_draws=200, rng=rng)
    found = audit.explain(factors, {"target": target}, days, draws, n_folds=4, seed=0)
    return found["target"]


def _column(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(N_TILES, 1))


def test_correlation_ratio_by_hand() -> None:
    # Between: means 1 and 4 about 2.5, so 4 * 2.25; within: 4 * 1.
    columns = np.array([[0.0], [2.0], [3.0], [5.0]])
    assert audit.correlation_ratio(columns, np.array([0, 0, 3, 3])) == pytest.approx(9 / 13)


def test_one_factor_explains_its_share_whatever_the_shape() -> None:
    rng = np.random.default_rng(1)
    factor = _column(rng)
    bent = np.abs(factor) - np.abs(factor).mean()
    target = np.hstack([bent / bent.std(), np.zeros_like(bent)])
    target[:, 1] = 0.5 * rng.normal(size=N_TILES)
    found = _explain([factor], target)
    assert found.share == pytest.approx(1 / 1.25, abs=0.04)
    assert found.low < found.share < found.high


def test_factors_explain_together_what_none_explains_alone() -> None:
    rng = np.random.default_rng(2)
    first, second = _column(rng), _column(rng)
    target = np.sign(first * second)
    assert abs(_explain([first], target).share) < 0.03
    assert _explain([first, second], target).share > 0.8


def test_many_factors_that_add_up_explain_all() -> None:
    rng = np.random.default_rng(7)
    factors = [_column(rng) for _ in range(12)]
    assert _explain(factors, np.sum(factors, axis=0)).share > 0.95


def test_noise_explains_nothing() -> None:
    rng = np.random.default_rng(3)
    factors = [_column(rng) for _ in range(4)]
    assert _explain(factors, _column(rng)).share < 0.02


def test_what_only_names_the_day_explains_nothing() -> None:
    rng = np.random.default_rng(4)
    days = np.arange(N_TILES) % N_DAYS
    of_day = rng.normal(size=(N_DAYS, 1))[days]
    name_of_day = rng.permutation(N_DAYS).astype(float)[days][:, None]
    assert _explain([name_of_day], of_day, days).share < 0.1


def test_a_target_that_is_the_same_everywhere_has_no_share() -> None:
    rng = np.random.default_rng(5)
    assert np.isnan(_explain([_column(rng)], np.ones((N_TILES, 2))).share)


def test_principal_components_hold_the_variance() -> None:
    rng = np.random.default_rng(6)
    embeddings = rng.normal(size=(500, 4)) * [4, 2, 1, 0.5]
    scores, axes, shares = audit.principal_components(embeddings, 0.9999)
    np.testing.assert_allclose(scores @ axes, embeddings - embeddings.mean(axis=0), atol=1e-8)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] == pytest.approx(16 / 21.25, abs=0.05)
