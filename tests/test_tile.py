import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline.core.tile import (
    complete_tiles,
    grid_tiles,
    pure_tiles,
    tile_means,
    tile_spreads,
    tile_sums,
    window_sums,
)

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


@given(MASKS, st.integers(1, 6))
def test_complete_tiles_are_those_without_a_gap(valid: np.ndarray, tile_size: int) -> None:
    complete = complete_tiles(valid, tile_size)
    rows, columns = (max(0, length - tile_size + 1) for length in valid.shape)
    expected = [
        [
            valid[row : row + tile_size, column : column + tile_size].all()
            for column in range(columns)
        ]
        for row in range(rows)
    ]
    if rows and columns:
        np.testing.assert_array_equal(complete, expected)
    else:
        assert complete.size == 0


@given(MASKS, st.integers(1, 4), st.integers(1, 5))
def test_grid_tiles_are_complete_and_on_the_grid(
    valid: np.ndarray, tile_size: int, stride: int
) -> None:
    places = grid_tiles(valid, tile_size=tile_size, stride=stride)
    assert (places % stride == 0).all()
    assert len(np.unique(places, axis=0)) == len(places)
    for row, column in places:
        tile = valid[row : row + tile_size, column : column + tile_size]
        assert tile.shape == (tile_size, tile_size)
        assert tile.all()


@given(MASKS, st.integers(1, 6), st.sampled_from([0.0, 0.01, 0.25, 0.5, 1.0]))
def test_a_share_of_the_pixels_may_be_invalid(
    valid: np.ndarray, tile_size: int, share: float
) -> None:
    complete = complete_tiles(valid, tile_size, max_invalid_share=share)
    for row, column in np.ndindex(complete.shape):
        tile = valid[row : row + tile_size, column : column + tile_size]
        assert complete[row, column] == ((~tile).sum() <= share * tile_size**2)
    places = grid_tiles(valid, tile_size=tile_size, stride=2, max_invalid_share=share)
    assert [tuple(place) for place in places] == [
        (row, column)
        for row in range(0, complete.shape[0], 2)
        for column in range(0, complete.shape[1], 2)
        if complete[row, column]
    ]


def test_the_share_itself_is_allowed() -> None:
    valid = np.ones((4, 4), bool)
    valid[0] = False
    assert complete_tiles(valid, 4, max_invalid_share=0.25).all()
    assert not complete_tiles(valid, 4, max_invalid_share=0.24).any()


def test_window_sums_by_hand() -> None:
    np.testing.assert_array_equal(window_sums(np.arange(6).reshape(2, 3), 2), [[8, 12]])


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(0, 9))
def test_tile_sums_are_those_of_numpy(seed: int, tile_size: int, n_tiles: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 100, (12, 9))
    places = rng.integers(0, [13 - tile_size, 10 - tile_size], (n_tiles, 2))
    expected = [values[r : r + tile_size, c : c + tile_size].sum() for r, c in places]
    np.testing.assert_array_equal(tile_sums(values, places, tile_size), expected)


def test_tile_means_pass_over_missing_pixels() -> None:
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    means = tile_means(values, np.array([[0, 0], [0, 1]]), 2)
    np.testing.assert_allclose(means, [3.0, 5.0])
    missing = tile_means(np.full((2, 2), np.nan), np.array([[0, 0]]), 2)
    np.testing.assert_array_equal(missing, [np.nan])


@given(st.integers(0, 1000), st.integers(1, 6), st.sampled_from([0.0, 300.0, 1e7]))
def test_tile_spreads_are_those_of_numpy(seed: int, tile_size: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(offset, 10, (12, 9))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[0, 0], values[5:, 5:] = np.nan, offset  # a tile without spread
    places = grid_tiles(np.ones((12, 9), bool), tile_size=tile_size, stride=1)
    tiles = [values[r : r + tile_size, c : c + tile_size] for r, c in places]
    expected = [np.nanstd(t) if np.isfinite(t).any() else np.nan for t in tiles]
    found = tile_spreads(values, places, tile_size)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-5)


def test_tile_spreads_of_a_large_scene_in_single_precision() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(290, 0.5, (1000, 1000)).astype(np.float32)
    values[:500] -= 80
    places = np.array([[0, 0], [492, 100], [984, 984]])
    expected = [np.std(values[r : r + 16, c : c + 16], dtype=np.float64) for r, c in places]
    np.testing.assert_allclose(tile_spreads(values, places, 16), expected, rtol=1e-6)


def test_tile_spreads_where_all_is_missing() -> None:
    places = np.array([[0, 0], [0, 1]])
    spreads = tile_spreads(np.full((2, 3), np.nan), places, 2)
    np.testing.assert_array_equal(spreads, [np.nan, np.nan])


def test_pure_tiles_have_their_share() -> None:
    codes = np.zeros((4, 8), np.uint8)
    codes[:, 4:] = 2
    codes[0, 0] = 1  # one pixel of sixteen
    places, found = pure_tiles(codes, tile_size=4, stride=4, min_share=0.9)
    np.testing.assert_array_equal(places, [[0, 0], [0, 4]])
    np.testing.assert_array_equal(found, [0, 2])
    places, found = pure_tiles(codes, tile_size=4, stride=4, min_share=0.95)
    np.testing.assert_array_equal(found, [2])


@pytest.mark.parametrize("tile_size", [3, 9])
def test_a_tile_larger_than_the_scene_is_nowhere(tile_size: int) -> None:
    assert complete_tiles(np.ones((2, 8), bool), tile_size).size == 0
