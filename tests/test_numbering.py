import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import numbering


@given(st.permutations(range(5)))
def test_the_same_clusters_keep_their_numbers(permutation: list[int]) -> None:
    clusters = np.repeat(np.arange(5), [3, 4, 5, 6, 7])
    earlier = np.array(permutation)[clusters]

    numbers = numbering.match_numbers(clusters, [earlier], n_clusters=5)

    np.testing.assert_array_equal(numbers[clusters], earlier)


def test_a_new_cluster_gets_the_number_that_is_left() -> None:
    earlier = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    clusters = np.array([2, 2, 2, 2, 0, 0, 0, 1, 1])  # the second one was split

    numbers = numbering.match_numbers(clusters, [earlier], n_clusters=3)

    np.testing.assert_array_equal(numbers[clusters], [0, 0, 0, 0, 1, 1, 1, 2, 2])


def test_unknown_tiles_do_not_count() -> None:
    earlier = np.array([1, -1, -1, -1, 0])
    clusters = np.array([0, 0, 1, 1, 1])

    numbers = numbering.match_numbers(clusters, [earlier], n_clusters=2)

    np.testing.assert_array_equal(numbers, [1, 0])


def test_shares_of_origin_by_hand() -> None:
    shares = numbering.shares_of_origin(
        np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 1]), n_clusters=3, n_previous=2
    )

    np.testing.assert_array_equal(shares, [[0.75, 0.25], [0, 1], [np.nan, np.nan]])


def test_alike_centroids_are_joined_first() -> None:
    joins = numbering.join_centroids(np.array([[0.0, 0], [10, 0], [0, 1], [10, 3]]))

    assert {*joins[0, :2]} == {0, 2}
    assert {*joins[1, :2]} == {1, 3}
    np.testing.assert_allclose(joins[:2, 2], [1, 3])
    np.testing.assert_array_equal(joins[:, 3], [2, 2, 4])
