import numpy as np
import pytest
from scipy.spatial.distance import pdist

from pipeline.core import audit, audit_product, other_days
from pipeline.core.bootstrap import draw_days
from pipeline.core.representations import Representation

N_DAYS, N_TILES = 12, 2400


def _explain(
    factors: list[np.ndarray], target: np.ndarray, days: np.ndarray | None = None
) -> other_days.Explained:
    rng = np.random.default_rng(0)
    days = np.arange(N_TILES) % N_DAYS if days is None else days
    draws = draw_days(N_DAYS, n_draws=200, rng=rng)
    found = audit.explain(factors, {"target": target}, days, n_folds=4, seed=0)
    return other_days.share_explained(found["target"], draws, 30 * np.arange(N_DAYS))


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


def test_shares_of_two_targets_differ_by_what_is_more_in_one() -> None:
    rng = np.random.default_rng(9)
    factor, days = _column(rng), np.arange(N_TILES) % N_DAYS
    targets = {"half": factor + _column(rng), "fifth": factor + 2 * _column(rng)}
    fitted = audit.explain([factor], targets, days, n_folds=4, seed=0)
    draws = draw_days(N_DAYS, n_draws=200, rng=rng)
    found = other_days.share_explained(
        fitted["half"], draws, 30 * np.arange(N_DAYS), beyond=fitted["fifth"]
    )
    assert found.share == pytest.approx(0.5 - 0.2, abs=0.05)
    assert 0.2 < found.low < found.share < found.high < 0.4


def test_principal_components_hold_the_variance() -> None:
    rng = np.random.default_rng(6)
    embeddings = rng.normal(size=(500, 4)) * [4, 2, 1, 0.5]
    scores, axes, shares = audit.principal_components(embeddings, 0.9999)
    np.testing.assert_allclose(scores @ axes, embeddings - embeddings.mean(axis=0), atol=1e-8)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] == pytest.approx(16 / 21.25, abs=0.05)


@pytest.mark.slow("many")
@pytest.mark.parametrize(("of_factor", "of_noise"), [(0.3, 0.3), (0.0, 0.5), (0.5, 0.1)])
@pytest.mark.parametrize("n_days", [4, 10])
def test_few_days_do_not_pull_the_share_down(
    n_days: int, of_factor: float, of_noise: float
) -> None:
    """Half is explained; parts of the factor and of the noise are common to a day.

    Against the mean of all days, the tested one too, 0.34 to 0.37 would be found of four days.
    """
    days = np.repeat(np.arange(n_days), 400 // n_days)

    def draw(rng: np.random.Generator, of_day: float) -> np.ndarray:
        common = rng.normal(size=(n_days, 1))[days]
        return np.sqrt(of_day) * common + np.sqrt(1 - of_day) * rng.normal(size=(len(days), 1))

    shares = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        factor = draw(rng, of_factor)
        target = {"target": factor + draw(rng, of_noise)}
        fitted = audit.explain([factor], target, days, n_folds=n_days, seed=0)["target"]
        shares.append(1 - fitted.left.sum() / fitted.whole.sum())
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)


def test_the_best_is_chosen_without_the_days_it_is_tried_on() -> None:
    fold = np.array([0, 0, 1])
    whole = np.array([2.0, 2.0, 2.0])
    first = other_days.Fitted(np.array([1.0, 1.0, 2.0]), whole, fold, np.array([0.2, 0.9]))
    second = other_days.Fitted(np.array([0.5, 1.5, 0.1]), whole, fold, np.array([0.3, 0.1]))
    best = other_days.best_of([first, second])
    np.testing.assert_array_equal(best.left, [0.5, 1.5, 2.0])
    draws = draw_days(3, n_draws=50, rng=np.random.default_rng(0))
    assert other_days.share_explained(best, draws, 30 * np.arange(3)).share == pytest.approx(
        1 - 4 / 6
    )


def test_choosing_among_many_factors_of_noise_explains_nothing() -> None:
    """The one that explains most of the tested days would seem to explain something."""
    rng = np.random.default_rng(8)
    days = np.repeat(np.arange(6), 20)
    target = {"target": rng.normal(size=(120, 1))}
    found = [
        audit.explain([rng.normal(size=(120, 1))], target, days, n_folds=3, seed=0)["target"]
        for _ in range(12)
    ]
    draws = draw_days(6, n_draws=50, rng=rng)
    calendar = 30 * np.arange(6)
    told = max(other_days.share_explained(each, draws, calendar).share for each in found)
    assert other_days.share_explained(other_days.best_of(found), draws, calendar).share < min(
        told, 0.05
    )


@pytest.mark.parametrize("n_dimensions", [40, 3])
def test_clusters_are_explained_alike_within_the_span_of_their_centroids(n_dimensions: int) -> None:
    """Twelve centroids of 40 dimensions span eleven; fits to these give the same shares."""
    rng = np.random.default_rng(8)
    factor = _column(rng)
    clusters = np.digitize(factor[:, 0], np.linspace(-2, 2, 11))
    features = rng.normal(size=(N_TILES, n_dimensions))
    centroids = rng.normal(size=(12, n_dimensions))
    seen = Representation(features, {12: (clusters, centroids)})
    target = audit_product.list_targets(seen, n_components=1)["clusters", 12]
    assert target.shape[1] == min(n_dimensions, 12)
    _, axes, _ = audit.principal_components(features, audit_product.VARIANCE_KEPT)
    whole = centroids @ axes.T
    np.testing.assert_allclose(pdist(target[:50]), pdist(whole[clusters[:50]]), atol=1e-10)
    found, expected = _explain([factor], target), _explain([factor], whole[clusters])
    assert found.share == pytest.approx(expected.share, abs=1e-6)
    assert 0.5 < found.share < 1
