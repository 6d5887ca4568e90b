import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.core import embedding, search

# Few values, so that equal distances are common.
GRID_VALUES = st.integers(-3, 3).map(float)


def _slow_nearest(
    embeddings: np.ndarray, query: int, groups: np.ndarray
) -> list[tuple[float, int]]:
    return sorted(
        (float(np.sqrt(((embeddings[tile] - embeddings[query]) ** 2).sum())), tile)
        for tile in range(len(embeddings))
        if groups[tile] != groups[query]
    )


@settings(max_examples=60)
@given(st.data())
def test_nearest_is_what_comparing_every_pair_gives(data: st.DataObject) -> None:
    n_tiles = data.draw(st.integers(2, 30))
    embeddings = data.draw(hnp.arrays(np.float64, (n_tiles, 2), elements=GRID_VALUES))
    groups = data.draw(
        st.none() | hnp.arrays(np.int64, n_tiles, elements=st.integers(0, 4)), label="groups"
    )
    queries = data.draw(
        hnp.arrays(np.int64, st.integers(1, 5), elements=st.integers(0, n_tiles - 1))
    )
    own = np.arange(n_tiles) if groups is None else groups
    slow = [_slow_nearest(embeddings, query, own) for query in queries]
    n_nearest = min(map(len, slow))
    assume(n_nearest > 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "TILES_PER_BLOCK", data.draw(st.integers(1, 40)))
        patch.setattr(search, "POINTS_PER_BLOCK", data.draw(st.integers(1, 3)))
        tiles, distances = embedding.nearest(
            embeddings, queries, n_nearest=n_nearest, groups=groups
        )

    assert tiles.tolist() == [[tile for _, tile in found[:n_nearest]] for found in slow]
    expected = [[distance for distance, _ in found[:n_nearest]] for found in slow]
    np.testing.assert_allclose(distances, expected, atol=1e-12)


def test_nearest_never_returns_the_query_even_where_tiles_are_the_same() -> None:
    tiles, distances = embedding.nearest(np.zeros((4, 3)), np.array([1, 3]), n_nearest=3)

    assert tiles.tolist() == [[0, 2, 3], [0, 1, 2]]
    assert (distances == 0).all()


def test_nearest_refuses_more_tiles_than_can_be_compared() -> None:
    groups = np.array(["a", "a", "a", "b"])

    with pytest.raises(ValueError, match=r"tile 2 .* 1 tiles only, fewer than the 2 wanted; lower"):
        embedding.nearest(np.eye(4), np.array([3, 2]), n_nearest=2, groups=groups)


def test_nearest_refuses_to_look_for_no_tile() -> None:
    with pytest.raises(ValueError, match="n_nearest is 0; ask for 1 tile or more"):
        embedding.nearest(np.eye(4), np.array([0]), n_nearest=0)


def test_path_shows_the_nearest_tile_at_each_step() -> None:
    # A quarter of the equator in four steps; the third tile lies 10° north of 30°.
    embeddings = _on_sphere([0, 90, 30, 45, 70, 0], [0, 0, 10, 0, -20, 90])

    path = embedding.path_between(embeddings, 0, 1, n_steps=5)

    assert path.tile.tolist() == [0, 2, 3, 4, 1]
    np.testing.assert_allclose(path.fraction, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(path.position, [0, 1 / 3, 0.5, 7 / 9, 1], atol=1e-12)
    off = 2 * np.sin(np.radians([0, 10, 0, 20, 0]) / 2)
    np.testing.assert_allclose(path.distance_from_circle, off, atol=1e-12)
    apart = np.arccos(np.cos(np.radians(10)) * np.cos(np.radians(7.5)))
    assert path.distance[1] == pytest.approx(2 * np.sin(apart / 2))


def _on_sphere(longitude: list[float], latitude: list[float]) -> np.ndarray:
    λ, φ = np.radians(longitude), np.radians(latitude)
    return np.stack([np.cos(φ) * np.cos(λ), np.cos(φ) * np.sin(λ), np.sin(φ)], axis=1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_tile_wanted_twice_goes_where_the_sum_of_distances_is_least() -> None:
    # Tile 2 is nearest to both inner points; only the first has another tile near.
    embeddings = _on_sphere([0, 90, 45, 25, 60], [0, 0, 0, 15, 80])

    path = embedding.path_between(embeddings, 0, 1, n_steps=4)

    assert path.tile.tolist() == [0, 3, 2, 1]


@settings(max_examples=60)
@given(st.integers(4, 8), st.integers(2, 6), st.integers(0, 10_000))
def test_paths_repeat_no_tile_and_have_the_least_sum_of_distances(
    n_tiles: int, n_steps: int, seed: int
) -> None:
    embeddings = _unit(np.random.default_rng(seed).normal(size=(n_tiles, 3)))
    n_steps = min(n_steps, n_tiles)

    path = embedding.path_between(embeddings, 0, 1, n_steps=n_steps)

    assert path.tile[0] == 0
    assert path.tile[-1] == 1
    assert len(set(path.tile)) == n_steps
    assert (path.distance_from_circle <= path.distance + 1e-9).all()
    angle = np.arccos(embeddings[0] @ embeddings[1])
    fraction = np.linspace(0, 1, n_steps)[:, None]
    points = (
        np.sin((1 - fraction) * angle) * embeddings[0] + np.sin(fraction * angle) * embeddings[1]
    )
    points /= np.sin(angle)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)  # never off the sphere
    every = np.linalg.norm(points[:, None] - embeddings, axis=2)
    sums = [
        sum(every[step + 1, tile] for step, tile in enumerate(tiles))
        for tiles in itertools.permutations(range(2, n_tiles), n_steps - 2)
    ]
    assert path.distance.sum() == pytest.approx(min(sums), abs=1e-9)


def test_the_way_back_passes_the_same_tiles() -> None:
    embeddings = _unit(np.random.default_rng(3).normal(size=(200, 5)))

    there = embedding.path_between(embeddings, 4, 9, n_steps=8)
    back = embedding.path_between(embeddings, 9, 4, n_steps=8)

    np.testing.assert_array_equal(there.tile, back.tile[::-1])


def _horseshoe() -> np.ndarray:
    """Tiles from 0° to 300° of longitude round the equator, the first and the last the ends."""
    longitude = np.concatenate([[0, 300], np.linspace(3, 297, 99)])
    return _on_sphere(longitude.tolist(), [0.0] * len(longitude))


def test_the_way_through_near_tiles_never_leaves_them() -> None:
    embeddings = _horseshoe()
    through = embedding.path_through(embeddings, 0, 1, n_steps=9, seed=0)
    assert through[[0, -1]].tolist() == [0, 1]
    longitude = np.degrees(np.arctan2(embeddings[through, 1], embeddings[through, 0])) % 360
    np.testing.assert_allclose(longitude, np.linspace(0, 300, 9), atol=16)
    across = embedding.path_between(embeddings, 0, 1, n_steps=9)  # the gap of 60°
    assert across.distance.max() > 0.3


def test_a_short_way_is_shown_whole_and_a_gap_is_bridged(monkeypatch: pytest.MonkeyPatch) -> None:
    islands = _on_sphere([0, 90, *[0.1] * 15, *[90.1] * 15], [0, 0, *[1] * 30])
    through = embedding.path_through(islands, 0, 1, n_steps=5, seed=0)
    assert through[0] == 0
    assert 1 in through
    assert (through[through.tolist().index(1) + 1 :] == -1).all()
    monkeypatch.setattr(embedding, "MOST_IN_GRAPH", 20)
    few = embedding.path_through(_horseshoe(), 0, 1, n_steps=30, seed=0)
    assert 1 in few


def test_path_refuses_ends_of_the_same_embedding() -> None:
    with pytest.raises(ValueError, match=r"tiles 0 and 1 .* same embedding.*interpolate\.pairs"):
        embedding.path_between(np.eye(9)[[0, 0, 2]], 0, 1, n_steps=3)
    with pytest.raises(ValueError, match=r"have opposite embeddings, so no great circle"):
        embedding.path_between(np.array([[1.0, 0], [-1, 0], [0, 1]]), 0, 1, n_steps=3)


@pytest.mark.parametrize("n_steps", [1, 10])
def test_path_refuses_more_steps_than_tiles_or_fewer_than_two(n_steps: int) -> None:
    with pytest.raises(
        ValueError, match=rf"{n_steps} steps .* 9 tiles; change interpolate\.n_steps"
    ):
        embedding.path_between(np.eye(9), 0, 1, n_steps=n_steps)


def test_far_apart_takes_the_most_distant_pairs_and_none_twice() -> None:
    centroids = np.array([[0.0], [1.0], [10.0], [5.0], [7.0]])

    assert embedding.far_apart(centroids, n_pairs=2).tolist() == [[0, 2], [1, 4]]
    assert embedding.far_apart(centroids, n_pairs=0).shape == (0, 2)
    with pytest.raises(
        ValueError, match=r"3 pairs need 6 clusters, .* 5; lower interpolate\.n_far"
    ):
        embedding.far_apart(centroids, n_pairs=3)


@pytest.fixture
def places() -> xr.Dataset:
    return xr.Dataset(
        coords={
            "granule": ("scene", ["a.nc", "b.nc", "empty.nc"]),
            "scene": ("tile", [0, 0, 1, 1]),
            "row": ("tile", [0, 8, 0, 8]),
            "column": ("tile", [0, 8, 0, 8]),
            "latitude": ("tile", [1.0, 2.0, 3.0, 4.0], {"bounds": "latitude_bounds"}),
            "longitude": ("tile", [5.0, 6.0, 7.0, 8.0]),
            "time": ("tile", np.arange(4).astype("datetime64[ns]")),
        }
    )


def test_a_tile_is_found_by_its_first_pixel_or_the_one_nearest_to_it(places: xr.Dataset) -> None:
    assert embedding.find_tile(places, granule="b.nc", row=8, column=8) == 3
    assert embedding.find_tile(places, granule="b.nc", row=1, column=3) == 2
    assert embedding.find_tile(places, granule="a.nc", row=900, column=3) == 1


@pytest.mark.parametrize("granule", ["c.nc", "empty.nc"])
def test_a_granule_without_tiles_is_refused(places: xr.Dataset, granule: str) -> None:
    with pytest.raises(ValueError, match=rf"'{granule}' has no .* one of the 2 .* such as 'a.nc'"):
        embedding.find_tile(places, granule=granule, row=0, column=0)


def test_places_keep_the_dimensions_of_the_tiles(places: xr.Dataset) -> None:
    tiles = xr.DataArray([[3, 0], [1, 2]], dims=("path", "step"))

    found = embedding.tile_places(places, tiles)

    assert found.granule.values.tolist() == [["b.nc", "a.nc"], ["a.nc", "b.nc"]]
    assert "bounds" not in found.latitude.attrs
    assert "bounds" in places.latitude.attrs
    assert found.latitude.values.tolist() == [[4.0, 1.0], [2.0, 3.0]]
    assert set(found.variables) == {
        "tile", "granule", "row", "column", "latitude", "longitude", "time",
    }  # fmt: skip
