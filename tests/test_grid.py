"""Clusters on a latitude-longitude grid."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import grid

Tile = tuple[int, float, float]  # cluster, latitude, longitude

LATITUDES = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 0.0, 89.999]))
LONGITUDES = st.one_of(st.floats(-540, 540), st.sampled_from([-180.0, 180.0, 360.0, -1e-20]))
TILES = st.lists(st.tuples(st.integers(0, 4), LATITUDES, LONGITUDES), min_size=1, max_size=40)


def count(tiles: list[Tile], *, n_clusters: int = 5, cell_degrees: float = 10.0) -> xr.Dataset:
    cluster, latitude, longitude = (np.array(column) for column in zip(*tiles, strict=True))
    return grid.frequency_of_occurrence(
        cluster, latitude, longitude, n_clusters=n_clusters, cell_degrees=cell_degrees
    )


def test_counts_by_hand() -> None:
    occurrence = count([(0, 1, 1), (0, 2, 2), (1, 3, 3), (1, 1, 21)], n_clusters=3)
    assert occurrence.latitude.values.tolist() == [5.0]
    assert occurrence.longitude.values.tolist() == [5.0, 15.0, 25.0]
    assert occurrence["count"].values[:, 0].tolist() == [[2, 0, 0], [1, 0, 1], [0, 0, 0]]
    assert occurrence.n_tiles.values.tolist() == [[3, 0, 1]]
    np.testing.assert_allclose(
        occurrence.frequency.values[:, 0],
        [[2 / 3, np.nan, 0], [1 / 3, np.nan, 1], [0, np.nan, 0]],
        rtol=1e-12,
    )


def test_contiguous_across_the_date_line() -> None:
    occurrence = count([(0, -17, 175), (0, -17, -175), (1, -17, 180), (1, -17, -180)])
    assert occurrence.longitude.values.tolist() == [175.0, 185.0]
    assert occurrence.longitude_bounds.values.tolist() == [[170, 180], [180, 190]]
    assert occurrence.n_tiles.values.tolist() == [[1, 3]]


def test_poles_lie_in_the_first_and_last_row() -> None:
    occurrence = count([(0, -90, 0), (0, 90, 0)], cell_degrees=30)
    assert occurrence.sizes["latitude"] == 6
    assert occurrence.n_tiles.values[[0, -1], 0].tolist() == [1, 1]


def test_areas_of_the_whole_globe_add_up() -> None:
    tiles = [
        (0, latitude, longitude) for latitude in (-89, 89) for longitude in range(-175, 180, 10)
    ]
    area = float(count(tiles).cell_area.sum())
    assert area == pytest.approx(4 * np.pi * grid.EARTH_RADIUS_M**2, rel=1e-12)


@given(TILES, st.sampled_from([1.0, 2.5, 10.0, 45.0, 180.0]))
def test_no_tile_is_lost(tiles: list[Tile], cell_degrees: float) -> None:
    occurrence = count(tiles, cell_degrees=cell_degrees)
    per_cluster = occurrence["count"].sum(("latitude", "longitude")).values
    numbers = [cluster for cluster, _, _ in tiles]
    assert per_cluster.tolist() == np.bincount(numbers, minlength=5).tolist()
    assert int(occurrence.n_tiles.sum()) == len(tiles)
    filled = occurrence.n_tiles.values > 0
    sums = occurrence.frequency.sum("cluster").values
    np.testing.assert_allclose(sums[filled], 1, rtol=1e-12)
    assert np.isnan(occurrence.frequency.values[:, ~filled]).all()


@given(TILES, st.sampled_from([1.0, 2.5, 10.0, 45.0, 180.0]))
def test_every_tile_lies_in_its_cell(tiles: list[Tile], cell_degrees: float) -> None:
    for cluster, latitude, longitude in tiles:
        cell = count([(cluster, latitude, longitude)], cell_degrees=cell_degrees)
        south, north = cell.latitude_bounds.values[0]
        west, east = cell.longitude_bounds.values[0]
        assert cell.n_tiles.shape == (1, 1)
        assert south <= latitude <= north
        offset = (longitude - west) % 360
        assert min(offset, 360 - offset) <= 1e-9 or offset < east - west + 1e-9


@given(TILES)
def test_grid_is_regular_and_within_one_turn(tiles: list[Tile]) -> None:
    occurrence = count(tiles)
    edges = occurrence.longitude_bounds.values
    np.testing.assert_allclose(np.diff(edges, axis=1), 10, rtol=1e-12)
    np.testing.assert_allclose(edges[1:, 0], edges[:-1, 1], rtol=1e-12)
    assert edges[-1, 1] - edges[0, 0] <= 360
    assert -180 <= edges[0, 0] < 180
    assert occurrence.n_tiles.values.any(axis=0)[[0, -1]].all() or len(edges) == 36


def test_attributes_name_units_and_bounds() -> None:
    occurrence = count([(0, 1, 1)])
    assert all("units" in occurrence[name].attrs for name in occurrence.variables)
    assert all("long_name" in occurrence[name].attrs for name in occurrence.variables)
    for axis in ("latitude", "longitude"):
        assert occurrence[axis].attrs["standard_name"] == axis
        assert occurrence[axis].attrs["bounds"] in occurrence.variables


@pytest.mark.parametrize("cell_degrees", [7.0, 0.0, -1.0, 200.0, np.nan])
def test_refuses_cells_that_do_not_tile_the_globe(cell_degrees: float) -> None:
    with pytest.raises(ValueError, match=r"map_clusters\.cell_degrees is"):
        count([(0, 1, 1)], cell_degrees=cell_degrees)


@pytest.mark.parametrize(
    ("tile", "message"),
    [
        ((5, 0.0, 0.0), r"numbered 0 to 4, but tiles have 5 to 5"),
        ((-1, 0.0, 0.0), r"numbered 0 to 4, but tiles have -1 to -1"),
        ((0, 91.0, 0.0), r"1 of 1 tiles have no position on the globe.*latitude 91"),
        ((0, np.nan, 0.0), r"latitude nan"),
        ((0, 0.0, np.inf), r"longitude inf"),
    ],
)
def test_refuses_impossible_tiles(tile: Tile, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        count([tile])


def test_refuses_no_tiles_and_unequal_lengths() -> None:
    nothing = np.zeros(0)
    with pytest.raises(ValueError, match="no tiles to map"):
        grid.frequency_of_occurrence(
            nothing.astype(int), nothing, nothing, n_clusters=2, cell_degrees=10
        )
    with pytest.raises(ValueError, match=r"shapes \(0,\), \(1,\) and \(1,\)"):
        grid.frequency_of_occurrence(
            nothing.astype(int), np.zeros(1), np.zeros(1), n_clusters=2, cell_degrees=10
        )
