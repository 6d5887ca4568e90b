import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.cluster import KMeans

from pipeline.core import clustering

BLOBS = np.repeat(np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]), 20, axis=0)
BLOBS = (BLOBS + np.random.default_rng(1).normal(scale=0.2, size=BLOBS.shape)).astype(np.float32)


def test_fit_finds_the_means_of_separate_blobs_and_their_inertia() -> None:
    centroids, inertia = clustering.fit_centroids(BLOBS, n_clusters=3, n_starts=3, seed=0)

    means = BLOBS.reshape(3, 20, 2).mean(axis=1)
    order = np.argsort(centroids @ [1, 2])
    np.testing.assert_allclose(centroids[order], means, atol=1e-4)
    squares = np.square(BLOBS.reshape(3, 20, 2) - means[:, None]).sum()
    assert inertia == pytest.approx(squares, rel=1e-4)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_a_device_comes_to_the_centroids_of_scikit_learn(is_weighted: bool) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2000, 8)).astype(np.float32)
    weights = rng.integers(1, 4, 2000).astype(np.float32) if is_weighted else None
    model = KMeans(7, init=points[:7], n_init=1)

    centroids, inertia = clustering.fit_on(torch.device("cpu"), model, points, weights)

    model.fit(points, sample_weight=weights)
    np.testing.assert_allclose(centroids, model.cluster_centers_, atol=1e-4)
    assert inertia == pytest.approx(model.inertia_, rel=1e-5)


def test_a_device_draws_the_starts_that_scikit_learn_draws() -> None:
    points = np.random.default_rng(0).normal(size=(2000, 8)).astype(np.float32)
    model = KMeans(7, n_init=1, random_state=3)

    centroids, inertia = clustering.fit_on(torch.device("cpu"), model, points, None)

    np.testing.assert_allclose(centroids, model.fit(points).cluster_centers_, atol=1e-4)
    assert inertia == pytest.approx(model.inertia_, rel=1e-5)


def test_on_a_device_a_cluster_without_tiles_keeps_its_centroid() -> None:
    start = np.append(BLOBS[:1], [[90.0, 90.0]], axis=0)

    centroids, _ = clustering.fit_on(
        torch.device("cpu"), KMeans(2, init=start, n_init=1), BLOBS, None
    )

    np.testing.assert_allclose(centroids, [BLOBS.mean(axis=0), [90.0, 90.0]], rtol=1e-5)


def test_fit_is_the_same_for_the_same_seed() -> None:
    noise = np.random.default_rng(2).normal(size=(300, 8)).astype(np.float32)
    first, again = (
        clustering.fit_centroids(noise, n_clusters=9, n_starts=2, seed=4)[0] for _ in range(2)
    )

    np.testing.assert_array_equal(first, again)


def test_fit_refuses_embeddings_of_which_too_few_differ() -> None:
    collapsed = np.repeat(np.eye(3, dtype=np.float32), 30, axis=0)

    with pytest.raises(
        ValueError, match=r"3 of 90 training .* too few for 4 .*lower cluster\.k_max"
    ):
        clustering.fit_centroids(collapsed, n_clusters=4, n_starts=1, seed=0)


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(3)), elements=st.floats(-9, 9)),
    hnp.arrays(np.float64, st.tuples(st.integers(1, 7), st.just(3)), elements=st.floats(-9, 9)),
)
def test_every_tile_belongs_to_its_nearest_centroid(
    embeddings: np.ndarray, centroids: np.ndarray
) -> None:
    clusters, distances = clustering.assign(embeddings, centroids)

    every = np.linalg.norm(embeddings[:, None] - centroids, axis=2)
    np.testing.assert_allclose(distances, every.min(axis=1), atol=1e-5)
    np.testing.assert_allclose(distances, every[np.arange(len(every)), clusters], atol=1e-5)


def test_assignment_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = clustering.assign(BLOBS, BLOBS[::20])
    monkeypatch.setattr(clustering, "TILES_PER_BLOCK", 7)
    blocks = clustering.assign(BLOBS, BLOBS[::20])

    np.testing.assert_array_equal(whole[0], blocks[0])
    np.testing.assert_array_equal(whole[1], blocks[1])


def test_means_leave_out_missing_values() -> None:
    means = clustering.cluster_means(
        np.array([280.0, np.nan, 300.0, np.nan]), np.array([0, 0, 0, 2]), n_clusters=3
    )

    np.testing.assert_array_equal(means, [290.0, np.nan, np.nan])


@given(hnp.arrays(np.float64, st.integers(1, 12), elements=st.floats(200, 310) | st.just(np.nan)))
def test_clusters_are_numbered_from_warm_to_cold_with_the_unknown_last(means: np.ndarray) -> None:
    ordered = means[clustering.order_clusters(means, descending=True)]

    known = np.isfinite(ordered)
    assert sorted(known, reverse=True) == list(known)
    assert (np.diff(ordered[known]) <= 0).all()


def test_clusters_are_numbered_from_dark_to_bright() -> None:
    order = clustering.order_clusters(np.array([0.5, 0.2, 0.9]), descending=False)

    np.testing.assert_array_equal(order, [1, 0, 2])


def test_scores_of_four_points() -> None:
    # Two pairs, 1 apart, at a distance of 10: a = 1, b = (9 or 10 and 10 or 11) on the mean.
    embeddings = np.array([[0.0], [1.0], [10.0], [11.0]])
    clusters = np.array([0, 0, 1, 1])

    outer, inner = (10.5 - 1) / 10.5, (9.5 - 1) / 9.5
    found = clustering.silhouettes(embeddings, clusters)
    np.testing.assert_allclose(found, [outer, inner, inner, outer])
    # Scatter 0.5 each, centroids 10 apart.
    assert clustering.davies_bouldin(embeddings, clusters) == pytest.approx(0.1)
    # Sums of squares: 4 * 25 between with 1 degree of freedom, 4 * 0.25 within with 2.
    assert clustering.calinski_harabasz(embeddings, clusters) == pytest.approx(100 / 0.5)


@pytest.mark.parametrize("clusters", [[1, 1, 1, 1], [0, 1, 2, 3]])
def test_undefined_scores_are_missing(clusters: list[int]) -> None:
    embeddings = np.array([[0.0], [1.0], [10.0], [11.0]])

    assert np.isnan(clustering.silhouettes(embeddings, np.array(clusters))).all()
    assert np.isnan(clustering.davies_bouldin(embeddings, np.array(clusters)))
    assert np.isnan(clustering.calinski_harabasz(embeddings, np.array(clusters)))


def test_weights_count_tiles_as_if_they_were_repeated() -> None:
    weights = np.tile(np.arange(20.0, dtype=np.float32) % 3, 3)
    repeated = np.repeat(BLOBS, weights.astype(int), axis=0)

    fits = [
        clustering.fit_centroids(tiles, n_clusters=3, n_starts=5, seed=0, weights=each)
        for tiles, each in ((BLOBS, weights), (repeated, None))
    ]
    found, expected = (fit[np.argsort(fit @ [1, 2])] for fit, _ in fits)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_clusters_of_one_more_are_those_of_one_less_but_for_one() -> None:
    rng = np.random.default_rng(3)
    tiles = rng.normal(size=(2000, 5)).astype(np.float32)
    fits = [clustering.fit_centroids(tiles, n_clusters=k, n_starts=2, seed=0) for k in range(5, 10)]

    nested = clustering.nest_centroids(tiles, fits, seed=0)

    for k, centroids, (fresh, inertia) in zip(range(5, 10), nested, fits, strict=True):
        assert centroids.shape == fresh.shape == (k, 5)
        distances = clustering.assign(tiles, centroids)[1].astype(np.float64)
        assert np.square(distances).sum() <= clustering.EQUAL_INERTIA * inertia * (1 + 1e-5)
    kept = [
        np.mean(clustering.assign(many, few)[1] < 0.4) for few, many in itertools.pairwise(nested)
    ]
    fresh_kept = [
        np.mean(clustering.assign(many, few)[1] < 0.4)
        for (few, _), (many, _) in itertools.pairwise(fits)
    ]
    assert np.mean(kept) > np.mean(fresh_kept)


def test_examples_come_from_different_granules_and_days_first() -> None:
    clusters = np.array([0, 0, 0, 0, 1, 0])
    distances = np.array([0.1, 0.2, 0.5, 0.3, 0.0, 0.4])
    granules = np.array([7, 7, 9, 8, 9, 8])
    days = np.array([1, 1, 2, 1, 2, 1])  # the nearest of granule 8 is nearer than that of day 2

    def pick(n_examples: int) -> list[int]:
        return clustering.pick_examples(
            clusters, distances, granules=granules, days=days, cluster=0, n_examples=n_examples
        ).tolist()

    assert pick(1) == [0]
    assert pick(2) == [0, 2]
    assert pick(3) == [0, 2, 3]
    assert pick(9) == [0, 2, 3, 1, 5]


@settings(max_examples=50)
@given(st.data())
def test_examples_are_members_of_as_many_granules_and_days_as_possible(data: st.DataObject) -> None:
    n_tiles = data.draw(st.integers(1, 30))
    clusters, granules = (
        data.draw(hnp.arrays(np.int64, n_tiles, elements=st.integers(0, 5))) for _ in range(2)
    )
    days = granules // 2
    distances = data.draw(hnp.arrays(np.float64, n_tiles, elements=st.floats(0, 2)))
    n_examples = data.draw(st.integers(1, 12))

    picked = clustering.pick_examples(
        clusters, distances, granules=granules, days=days, cluster=1, n_examples=n_examples
    )

    members = np.flatnonzero(clusters == 1)
    assert len(set(picked)) == len(picked) == min(n_examples, len(members))
    assert np.isin(picked, members).all()
    for groups in (granules, days):
        n_groups = len(np.unique(groups[members]))
        assert len(np.unique(groups[picked])) == min(n_examples, n_groups)
