import itertools

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from pipeline.core import clustering, kmeans

BLOBS = np.repeat(np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]), 20, axis=0)
BLOBS = (BLOBS + np.random.default_rng(1).normal(scale=0.2, size=BLOBS.shape)).astype(np.float32)


def test_fit_finds_the_means_of_separate_blobs_and_their_inertia() -> None:
    centroids, inertia = kmeans.fit_centroids(BLOBS, n_clusters=3, n_starts=3, seed=0)

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

    centroids, inertia = kmeans.fit_on(torch.device("cpu"), model, points, weights)

    model.fit(points, sample_weight=weights)
    np.testing.assert_allclose(centroids, model.cluster_centers_, atol=1e-4)
    assert inertia == pytest.approx(model.inertia_, rel=1e-5)


def test_a_device_draws_the_starts_that_scikit_learn_draws() -> None:
    points = np.random.default_rng(0).normal(size=(2000, 8)).astype(np.float32)
    model = KMeans(7, n_init=1, random_state=3)

    centroids, inertia = kmeans.fit_on(torch.device("cpu"), model, points, None)

    np.testing.assert_allclose(centroids, model.fit(points).cluster_centers_, atol=1e-4)
    assert inertia == pytest.approx(model.inertia_, rel=1e-5)


def test_on_a_device_a_cluster_without_tiles_keeps_its_centroid() -> None:
    start = np.append(BLOBS[:1], [[90.0, 90.0]], axis=0)

    centroids, _ = kmeans.fit_on(torch.device("cpu"), KMeans(2, init=start, n_init=1), BLOBS, None)

    np.testing.assert_allclose(centroids, [BLOBS.mean(axis=0), [90.0, 90.0]], rtol=1e-5)


def test_fit_is_the_same_for_the_same_seed() -> None:
    noise = np.random.default_rng(2).normal(size=(300, 8)).astype(np.float32)
    first, again = (
        kmeans.fit_centroids(noise, n_clusters=9, n_starts=2, seed=4)[0] for _ in range(2)
    )

    np.testing.assert_array_equal(first, again)


def test_fit_refuses_embeddings_of_which_too_few_differ() -> None:
    collapsed = np.repeat(np.eye(3, dtype=np.float32), 30, axis=0)

    with pytest.raises(
        ValueError, match=r"3 of 90 training .* too few for 4 .*lower cluster\.k_max"
    ):
        kmeans.fit_centroids(collapsed, n_clusters=4, n_starts=1, seed=0)


def test_weights_count_tiles_as_if_they_were_repeated() -> None:
    weights = np.tile(np.arange(20.0, dtype=np.float32) % 3, 3)
    repeated = np.repeat(BLOBS, weights.astype(int), axis=0)

    fits = [
        kmeans.fit_centroids(tiles, n_clusters=3, n_starts=5, seed=0, weights=each)
        for tiles, each in ((BLOBS, weights), (repeated, None))
    ]
    found, expected = (fit[np.argsort(fit @ [1, 2])] for fit, _ in fits)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_clusters_of_one_more_are_those_of_one_less_but_for_one() -> None:
    rng = np.random.default_rng(3)
    tiles = rng.normal(size=(2000, 5)).astype(np.float32)
    fits = [kmeans.fit_centroids(tiles, n_clusters=k, n_starts=2, seed=0) for k in range(5, 10)]

    nested = kmeans.nest_centroids(tiles, fits, seed=0)

    for k, centroids, (fresh, inertia) in zip(range(5, 10), nested, fits, strict=True):
        assert centroids.shape == fresh.shape == (k, 5)
        distances = clustering.assign(tiles, centroids)[1].astype(np.float64)
        assert np.square(distances).sum() <= kmeans.EQUAL_INERTIA * inertia * (1 + 1e-5)
    kept = [
        np.mean(clustering.assign(many, few)[1] < 0.4) for few, many in itertools.pairwise(nested)
    ]
    fresh_kept = [
        np.mean(clustering.assign(many, few)[1] < 0.4)
        for (few, _), (many, _) in itertools.pairwise(fits)
    ]
    assert np.mean(kept) > np.mean(fresh_kept)
