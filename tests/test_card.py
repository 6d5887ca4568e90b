"""Cards of planted clusters: chosen tiles, shares by hand, and classes."""

import numpy as np
import pytest
import xarray as xr

from pipeline.core import card
from pipeline.core.card_product import NO_TILE, choose_tiles, count_shares, match_labels

CENTROIDS = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 30.0]])
LINE = np.array([[0.0, 0.0], [2.0, 0.0], [4.9, 0.0], [5.1, 0.0], [10.0, 0.0], [0.0, 14.9]])
OF_LINE = np.array([0, 0, 0, 1, 1, 0], np.int16)


def lay_tiles(n_tiles: int) -> xr.Dataset:
    """Embeddings in a plane, each tile of a granule and a day of its own."""
    embedding = np.random.default_rng(2).normal(0, 8, (n_tiles, 2))
    days = np.datetime64("2020-01-30T12", "ns") + np.arange(n_tiles) * np.timedelta64(1, "D")
    return xr.Dataset(
        {
            "embedding": (("tile", "dimension"), embedding),
            "local_solar_time": ("tile", np.arange(n_tiles) % 24 + 0.5),
        },
        coords={
            "scene": ("tile", np.arange(n_tiles)),
            "time": ("tile", days),
            "latitude": ("tile", np.linspace(-10, 10, n_tiles)),
            "longitude": ("tile", np.linspace(170, 190, n_tiles)),
            "latitude_bounds": (("tile", "vertex"), np.tile([0.0, 0.9, 0.9, 0.0], (n_tiles, 1))),
        },
    )


def sort_tiles(tiles: xr.Dataset) -> xr.Dataset:
    table = np.linalg.norm(tiles.embedding.values[:, None] - CENTROIDS, axis=2)
    return xr.Dataset(
        {"cluster": ("tile", table.argmin(1)), "distance": ("tile", table.min(1))},
    )


def test_margins_are_shares_of_the_distance_to_the_rival() -> None:
    rivals, margins = card.find_rivals(LINE, CENTROIDS)
    np.testing.assert_array_equal(rivals, [1, 1, 1, 0, 0, 2])
    expected = [1, 6 / 8, 0.2 / 5.1, 0.2 / 5.1, 1, 0.2 / 15.1]
    np.testing.assert_allclose(margins, expected, rtol=1e-5)


def test_equal_centroids_have_no_margin() -> None:
    _, margins = card.find_rivals(np.zeros((1, 2)), np.zeros((2, 2)))
    assert margins.tolist() == [0.0]


def test_edge_tiles_are_those_with_the_least_margin() -> None:
    tiles = lay_tiles(60)
    best = sort_tiles(tiles)
    found = choose_tiles(tiles, best, CENTROIDS, n_examples=4, seed=1)
    rivals, margins = card.find_rivals(tiles.embedding.values, CENTROIDS)
    for number in range(3):
        members = np.flatnonzero(best.cluster == number)
        expected = members[np.argsort(margins[members])][:4]
        edge = found.edge.values[number]
        np.testing.assert_array_equal(edge[edge != NO_TILE], expected)
        np.testing.assert_array_equal(
            found.edge_rival.values[number][: len(expected)], rivals[expected]
        )
        nearest = members[np.argsort(best.distance.values[members])][:4]
        np.testing.assert_array_equal(found.nearest.values[number][: len(nearest)], nearest)


def test_a_small_cluster_leaves_its_row_unfilled() -> None:
    tiles = lay_tiles(6).assign(embedding=(("tile", "dimension"), LINE))
    found = choose_tiles(tiles, sort_tiles(tiles), CENTROIDS, n_examples=3, seed=1)
    assert found.edge.values.tolist() == [[5, 2, 1], [3, 4, NO_TILE], [NO_TILE] * 3]
    assert found.edge_rival.values[1].tolist() == [0, 0, NO_TILE]
    assert np.isnan(found.edge_margin.values[2]).all()
    assert sorted(found.random.values[1].tolist()) == [NO_TILE, 3, 4]


def test_the_draw_is_seeded_within_the_cluster_and_without_repeats() -> None:
    clusters = np.random.default_rng(3).integers(0, 3, 300)
    draws = [
        card.draw_members(clusters, cluster=1, n_examples=20, rng=np.random.default_rng(seed))
        for seed in (4, 4, 5)
    ]
    assert (clusters[draws[0]] == 1).all()
    assert len(np.unique(draws[0])) == 20
    np.testing.assert_array_equal(draws[0], draws[1])
    assert set(draws[0]) != set(draws[2])


def test_shares_by_hand() -> None:
    found = card.share_in_bins(
        np.array([0, 1, 1, 0, 1]),
        np.array([0, 0, 0, 2, 2]),
        np.array([0, 0, 1, 2, 2]),
        n_clusters=2,
        n_bins=3,
    )
    np.testing.assert_allclose(found.share, [[1 / 3, np.nan, 1 / 2], [2 / 3, np.nan, 1 / 2]])
    assert found.n_tiles.tolist() == [3, 0, 2]
    assert found.n_days.tolist() == [2, 0, 1]


def test_shares_of_months_hours_and_places() -> None:
    tiles = lay_tiles(48)
    clusters = (np.arange(48) % 24 >= 12).astype(np.int16)
    found = count_shares(tiles, clusters, 2)
    assert found.month_n_tiles.values.tolist() == [2, 29, 17, *[0] * 9]
    np.testing.assert_array_equal(found.hour_share.values[1], np.arange(24) >= 12)
    np.testing.assert_allclose(found.month_share.values[1, :2], [0, 12 / 29])
    assert found.n_tiles.values.tolist() == [24, 24]
    assert found.n_days.values.tolist() == [24, 24]
    assert int(found.place_n_tiles.sum()) == 48
    assert found.longitude_bounds.values.max() == pytest.approx(190, abs=1)  # past the date line
    assert all("long_name" in found[name].attrs for name in found.data_vars if "bounds" not in name)


@pytest.mark.parametrize(
    ("tile_degrees", "expected"), [(0.1, 0.25), (0.5, 0.5), (2.4, 3), (50, 10)]
)
def test_cells_are_no_smaller_than_tiles(tile_degrees: float, expected: float) -> None:
    places = np.array([10.0, 12.0])
    cells = card.choose_cells(places, places, tile_degrees=tile_degrees)
    np.testing.assert_allclose(np.diff(cells.latitude_edges), expected)


def test_cells_fit_a_small_map() -> None:
    cells = card.choose_cells(np.array([-90.0, 90.0]), np.array([-179.0, 0.0]), tile_degrees=1)
    assert 20 < max(cells.shape) <= card.MOST_CELLS


def test_nearest_class_of_planted_labels() -> None:
    embeddings = np.array([[0.0, 1.0], [1.0, 0.0], [9.0, 0.0], [11.0, 0.0], [1.0, 0.0]])
    labels = np.array(["sugar", "sugar", "fish", "fish", "fish"])
    found = match_labels(embeddings, labels, CENTROIDS)
    assert found["class"].values.tolist() == ["fish", "sugar"]
    assert found.labelled_tiles.values.tolist() == [[1, 2], [2, 0], [0, 0]]
    assert found.nearest_class.values.tolist() == ["sugar", "fish", "sugar"]
    np.testing.assert_allclose(found.class_distance.values[0], [7, 1])
