"""Grids of equal angles and equal areas, and the cells tiles lie in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod

from pipeline.core import grid

LATITUDES = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 0.0, 89.999]))
LONGITUDES = st.one_of(
    st.floats(-540, 540), st.sampled_from([-540.0, -180.0, 180.0, 360.0, 540.0, -1e-20])
)
PLACES = st.lists(st.tuples(LATITUDES, LONGITUDES), min_size=1, max_size=40)
GRIDS = st.one_of(
    st.sampled_from([1.0, 2.5, 10.0, 45.0, 180.0]).map(
        lambda degrees: grid.latitude_longitude_grid(degrees, key="cell_degrees")
    ),
    st.floats(90, 50_000).map(grid.equal_area_grid),
)
TEN_DEGREES = grid.latitude_longitude_grid(10.0, key="cell_degrees")


def find(places: list[tuple[float, float]], on: grid.Grid = TEN_DEGREES) -> grid.Cells:
    latitude, longitude = np.array(places, float).T
    return grid.find_cells(on, latitude, longitude)


def test_cells_by_hand() -> None:
    cells = find([(1, 1), (2, 2), (1, 21), (11, 1)])
    assert cells.latitude_edges.tolist() == [0, 10, 20]
    assert cells.longitude_edges.tolist() == [0, 10, 20, 30]
    assert cells.cell.tolist() == [0, 0, 2, 3]
    assert cells.shape == (2, 3)


def test_windows_are_contiguous_across_the_date_line() -> None:
    cells = find([(-17, 175), (-17, -175), (-17, 180), (-17, -180), (-17, 540)])
    assert cells.longitude_edges.tolist() == [170, 180, 190]
    assert cells.cell.tolist() == [0, 1, 1, 1, 1]


@pytest.mark.parametrize("on", [TEN_DEGREES, grid.equal_area_grid(500)])
def test_poles_lie_in_the_first_and_last_row(on: grid.Grid) -> None:
    cells = find([(-90, 0), (90, 0)], on)
    assert cells.latitude_edges[[0, -1]].tolist() == [-90, 90]
    assert cells.cell.tolist() == [0, cells.shape[0] - 1]


@pytest.mark.parametrize("on", [TEN_DEGREES, grid.equal_area_grid(500)])
def test_areas_of_the_whole_globe_are_those_of_the_ellipsoid(on: grid.Grid) -> None:
    cells = find([(lat, lon) for lat in (-90, 90) for lon in range(-180, 180, 2)], on)
    a, b = 6_378_137.0, 6_356_752.314245
    e = np.sqrt(1 - (b / a) ** 2)
    surface = 2 * np.pi * a**2 * (1 + (1 - e**2) / e * np.arctanh(e))
    assert cells.area.sum() == pytest.approx(surface, rel=1e-9)


def test_cells_of_equal_area_are_equal_and_of_the_size_asked_for() -> None:
    cells = find([(-90, -180), (90, 179)], grid.equal_area_grid(200))
    np.testing.assert_allclose(cells.area, cells.area[0, 0], rtol=1e-7)
    assert cells.area[0, 0] == pytest.approx(200e3**2, rel=0.01)


def test_an_area_agrees_with_a_geodesic_polygon() -> None:
    cells = find([(45, 5)], grid.latitude_longitude_grid(1.0, key=""))
    along = np.linspace(5, 6, 101)
    outline = np.r_[along, along[::-1]], np.repeat([45.0, 46.0], 101)
    area = abs(Geod(ellps="WGS84").polygon_area_perimeter(*outline)[0])
    assert cells.area[0, 0] == pytest.approx(area, rel=1e-5)


@given(PLACES, GRIDS)
def test_every_tile_lies_in_its_cell(places: list[tuple[float, float]], on: grid.Grid) -> None:
    cells = find(places, on)
    n_rows, n_columns = cells.shape
    assert cells.cell.min() >= 0
    assert cells.cell.max() < n_rows * n_columns
    for (latitude, longitude), cell in zip(places, cells.cell, strict=True):
        row, column = divmod(int(cell), n_columns)
        assert cells.latitude_edges[row] <= latitude <= cells.latitude_edges[row + 1]
        west, east = cells.longitude_edges[column : column + 2]
        offset = (longitude - west) % 360
        assert min(offset, 360 - offset) <= 1e-9 or offset < east - west + 1e-9


@given(PLACES, GRIDS)
def test_a_window_is_within_one_turn_and_holds_no_empty_rim(
    places: list[tuple[float, float]], on: grid.Grid
) -> None:
    cells = find(places, on)
    edges = cells.longitude_edges
    assert edges[-1] - edges[0] <= 360 + 1e-9
    assert -180 <= edges[0] < 180
    filled = np.bincount(cells.cell, minlength=int(np.prod(cells.shape))).reshape(cells.shape) > 0
    assert filled.any(axis=1)[[0, -1]].all()
    assert filled.any(axis=0)[[0, -1]].all() or cells.shape[1] == on.n_columns


@pytest.mark.parametrize("cell_degrees", [7.0, 100.0])
def test_refuses_cells_that_do_not_tile_the_globe(cell_degrees: float) -> None:
    with pytest.raises(ValueError, match=r"grid_clusters\.cell_degrees is .* set it to"):
        grid.latitude_longitude_grid(cell_degrees, key="grid_clusters.cell_degrees")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((91.0, 0.0), r"1 of 1 tiles have no position on the globe.*latitude 91"),
        ((np.nan, 0.0), r"latitude nan"),
        ((0.0, np.inf), r"longitude inf"),
    ],
)
def test_refuses_impossible_places(place: tuple[float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find([place])


def test_refuses_no_tiles() -> None:
    with pytest.raises(ValueError, match="no tiles to map"):
        grid.find_cells(TEN_DEGREES, np.zeros(0), np.zeros(0))
