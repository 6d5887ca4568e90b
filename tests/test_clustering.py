import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.core import clustering

BLOBS = np.repeat(np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]), 20, axis=0)
BLOBS = (BLOBS + np.random.default_rng(1).normal(scale=0.2, size=BLOBS.shape)).astype(np.float32)


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
