import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import validity


def test_gaps_are_above_0_where_a_score_is_better() -> None:
    better = {"inertia": (1.0, 2.0), "silhouette": (0.5, 0.2), "davies_bouldin": (0.5, 1.0)}
    for name, (observed, expected) in better.items():
        assert validity.gap(name, np.array(observed), np.array(expected)) > 0
        assert validity.gap(name, np.array(expected), np.array(observed)) < 0
    assert validity.gap("inertia", np.array(1.0), np.array(np.e)) == pytest.approx(1)
    assert validity.gap("coherence", np.array(0.8), np.array(0.6)) == pytest.approx(0.5)


def test_turned_agreement_by_hand() -> None:
    clusters = np.array([[0, 0, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]])
    observed, by_chance = validity.turned_agreement(clusters)
    assert observed == pytest.approx(7 / 12)
    assert by_chance == pytest.approx(0.75**2 + 0.25**2)


def test_touching_pairs_share_a_scene_and_an_edge() -> None:
    scene = np.repeat([0, 1], 4)
    row, column = np.tile([0, 0, 8, 16], 2), np.tile([0, 8, 0, 16], 2)
    pairs = validity.touching_pairs(scene, row, column, step=8)
    assert sorted(map(tuple, pairs.tolist())) == [(0, 1), (0, 2), (4, 5), (4, 6)]


def test_coherence_of_shuffled_labels_is_the_mean_over_all_shuffles() -> None:
    labels = np.array([0, 0, 1, 2, 2, 2])
    scene = np.array([0, 0, 0, 0, 1, 1])
    pairs = np.array([[0, 1], [1, 2], [4, 5]])
    observed, by_chance = validity.coherence(labels, scene, pairs)
    assert observed == pytest.approx(2 / 3)
    shuffles = [
        np.mean([each[a] == each[b] for a, b in pairs])
        for first in itertools.permutations(labels[:4])
        for each in [np.array([*first, 2, 2])]
    ]
    assert by_chance == pytest.approx(np.mean(shuffles))


@given(st.integers(0, 2**32 - 1))
def test_coherence_of_random_labels_is_that_by_chance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    row, column = np.divmod(np.arange(900), 30)
    scene = np.zeros(900, np.int64)
    pairs = validity.touching_pairs(scene, row, column, step=1)
    assert len(pairs) == 2 * 30 * 29
    observed, by_chance = validity.coherence(rng.integers(0, 4, 900), scene, pairs)
    assert abs(observed - by_chance) < 0.09


def test_no_pairs_no_coherence() -> None:
    pairs = np.empty((0, 2), np.int64)
    assert np.isnan(validity.coherence(np.array([0, 1]), np.array([0, 1]), pairs)).all()


def test_recommended_k_has_the_best_mean_rank() -> None:
    drawn = np.array([[0.3, 0.1, 0.3], [0.2, 0.0, 0.2], [0.1, 0.3, 0.1], [0.0, 0.2, 0.0]])
    k, interval, reason = validity.recommend(
        np.array([9, 10, 11, 12]),
        {
            "silhouette": np.array([0.3, 0.2, 0.1, 0.25]),  # ranks 1 3 4 2
            "davies_bouldin": np.array([0.5, 1.0, 0.7, 0.9]),  # ranks 4 1 3 2
            "stability": np.array([0.7, 0.6, 0.8, 0.9]),  # ranks 3 4 2 1
            "turned_agreement": np.full(4, np.nan),
        },
        {"silhouette": drawn, "coherence": np.full((4, 3), np.nan)},
    )

    assert k == 12
    assert interval == (9, 11)
    assert reason == (
        "k = 12 (9 to 11 over samples of days) has the best mean rank, 1.67 of 4, from k = 9 to "
        "12, when scores are compared with those of structureless points on the sphere or with "
        "chance (ranks: silhouette 2, Davies–Bouldin index 2, stability over days 1); no larger k "
        "was tried"
    )


def test_of_equal_ranks_the_smaller_k_is_recommended_and_the_tie_is_told() -> None:
    k, _, reason = validity.recommend(
        np.array([9, 10, 11]),
        {
            "silhouette": np.array([0.2, 0.3, np.nan]),
            "davies_bouldin": np.array([1.5, 1.0, np.nan]),
            "stability": np.array([0.5, 0.5, 0.5]),
        },
        {},
    )

    assert k == 9
    assert "; k = 10 is of equal rank, and the smaller is taken;" in reason


def test_the_edge_of_the_range_is_told() -> None:
    worse = {name: -np.arange(3.0) for name in validity.RANKED}
    assert validity.recommend(np.array([9, 10, 11]), worse, {})[2].endswith(
        "no smaller k was tried"
    )
    only = {name: gaps[:1] for name, gaps in worse.items()}
    assert validity.recommend(np.array([9]), only, {})[2].endswith("; no other k was tried")
    better = {name: -gaps for name, gaps in worse.items()}
    assert validity.recommend(np.array([9, 10, 11]), better, {})[2].endswith(
        "no larger k was tried"
    )


@pytest.mark.parametrize(
    ("silhouette", "inertia", "distinct"),
    [
        ([0.4, 0.35, 0.45], 1.0, True),
        ([0.4, 0.15, 0.65], 1.0, False),  # the interval over days reaches the null
        ([0.4, 0.35, 0.45], 2.5, False),  # the null is as compact
        ([0.1, 0.05, 0.15], 1.0, False),
        ([0.24, 0.22, 0.25], 1.0, False),  # no substantial structure
    ],
)
def test_there_is_more_than_a_continuum_only_beyond_every_surrogate(
    silhouette: list[float], inertia: float, distinct: bool
) -> None:
    found, verdict = validity.judge(9, silhouette, inertia, [0.2, 0.1], [2.0, 3.0], n_days=4)
    assert found is distinct
    assert verdict.startswith(validity.DISTINCT if distinct else validity.CONTINUUM)
    assert "over 4 days) where 2 sets of structureless points on the sphere, of the same" in verdict
    assert "covariance, have 0.100 to 0.200, and " in verdict


def test_scores_of_four_points() -> None:
    # Two pairs, 1 apart, at a distance of 10: a = 1, b = (9 or 10 and 10 or 11) on the mean.
    embeddings = np.array([[0.0], [1.0], [10.0], [11.0]])
    clusters = np.array([0, 0, 1, 1])

    outer, inner = (10.5 - 1) / 10.5, (9.5 - 1) / 9.5
    found = validity.silhouettes(np.abs(embeddings - embeddings.T), clusters)
    np.testing.assert_allclose(found, [outer, inner, inner, outer])
    # Scatter 0.5 each, centroids 10 apart.
    assert validity.davies_bouldin(embeddings, clusters) == pytest.approx(0.1)
    # Sums of squares: 4 * 25 between with 1 degree of freedom, 4 * 0.25 within with 2.
    assert validity.calinski_harabasz(embeddings, clusters) == pytest.approx(100 / 0.5)


@pytest.mark.parametrize("clusters", [[1, 1, 1, 1], [0, 1, 2, 3]])
def test_undefined_scores_are_missing(clusters: list[int]) -> None:
    embeddings = np.array([[0.0], [1.0], [10.0], [11.0]])

    distances = np.abs(embeddings - embeddings.T)
    assert np.isnan(validity.silhouettes(distances, np.array(clusters))).all()
    assert np.isnan(validity.davies_bouldin(embeddings, np.array(clusters)))
    assert np.isnan(validity.calinski_harabasz(embeddings, np.array(clusters)))
