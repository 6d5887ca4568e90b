import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import dense
from pipeline.core.clustering import assign
from pipeline.core.tile import grid_tiles


@settings(max_examples=60)
@given(st.data())
def test_a_pixel_has_the_tile_whose_centre_is_nearest(data: st.DataObject) -> None:
    tile_size = data.draw(st.integers(1, 9), label="tile_size")
    stride = data.draw(st.integers(1, tile_size), label="stride")
    shape = data.draw(st.tuples(st.integers(9, 24), st.integers(9, 24)), label="shape")
    seed = data.draw(st.integers(0, 99))
    valid = np.random.default_rng(seed).random(shape) < 0.98
    places = grid_tiles(valid, tile_size=tile_size, stride=stride)

    tiles = dense.nearest_tiles(places, scene_shape=shape, tile_size=tile_size, stride=stride)

    pixels = np.stack(np.mgrid[: shape[0], : shape[1]], axis=-1)[:, :, None]
    away = np.abs(pixels - places - (tile_size - 1) / 2).max(axis=-1)  # (row, column, tile)
    reach = stride / 2
    for pixel in np.ndindex(shape):
        found = tiles[pixel]
        if found == dense.NO_TILE:
            assert (away[pixel] >= reach).all()
        else:
            assert away[pixel][found] <= reach
            assert away[pixel][found] == away[pixel].min()


def test_pixels_half_a_tile_from_the_edge_have_no_tile() -> None:
    places = grid_tiles(np.ones((40, 56), bool), tile_size=16, stride=4)

    tiles = dense.nearest_tiles(places, scene_shape=(40, 56), tile_size=16, stride=4)

    row, column = np.nonzero(tiles != dense.NO_TILE)
    assert (row.min(), row.max(), column.min(), column.max()) == (6, 33, 6, 49)
    assert len(row) == (33 - 6 + 1) * (49 - 6 + 1)
    np.testing.assert_array_equal(np.bincount(tiles[row, column]), 16)


def test_a_margin_is_of_the_two_nearest_centroids() -> None:
    centroids = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    embeddings = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 3.0]])

    found = dense.margins(embeddings, centroids)

    np.testing.assert_allclose(found, [1, 0, 2 / 3], atol=1e-6)
    assert assign(embeddings, centroids)[0].tolist() == [0, 0, 2]


def test_where_both_centroids_are_met_there_is_no_margin() -> None:
    assert dense.margins(np.zeros((1, 2)), np.zeros((2, 2))).tolist() == [0]


def test_of_scenes_as_varied_the_larger_and_then_the_first_is_taken() -> None:
    scenes = np.array([1, 1, 2, 2, 2, 4, 4, 4, 5, 5, 5, 5])
    clusters = np.array([0, 1, 0, 1, 0, 3, 2, 3, 7, 7, 7, 7])

    assert dense.most_varied(scenes, clusters) == 2
