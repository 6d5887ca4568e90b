"""Cells of the globe: grids of equal angles or equal areas, and the cells tiles lie in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import Proj

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

# EASE-Grid 2.0, a cylindrical equal-area projection of WGS 84: areas on its plane are those on
# the ellipsoid. Brodzik et al. (2012), doi:10.3390/ijgi1010032.
EASE = Proj("EPSG:6933")
HALF_WIDTH_M, HALF_HEIGHT_M = (float(value) for value in EASE(180.0, 90.0))


@dataclass(frozen=True)
class Grid:
    """Cells in rows between `latitude_edges` (row + 1,) and equal columns from -180 degrees."""

    latitude_edges: FloatArray
    n_columns: int


@dataclass(frozen=True)
class Cells:
    """The window of a grid that holds tiles, and the cell of each tile."""

    latitude_edges: FloatArray  # (row + 1,), degrees north
    longitude_edges: FloatArray  # (column + 1,), degrees east; beyond 180 across the date line
    cell: IntArray  # (tile,), counted along the rows of the window

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.latitude_edges) - 1, len(self.longitude_edges) - 1

    @property
    def area(self) -> FloatArray:
        """Area of the cells on the ellipsoid, shape (row, column), m²."""
        height = np.diff(EASE(np.zeros(len(self.latitude_edges)), self.latitude_edges)[1])
        width = np.diff(self.longitude_edges) * HALF_WIDTH_M / 180
        return np.asarray(height[:, None] * width)


def latitude_longitude_grid(cell_degrees: float, *, key: str) -> Grid:
    """Cells of `cell_degrees` by `cell_degrees`.

    Raises:
        ValueError: If they do not tile the globe; names `key` of params.yaml.
    """
    n_rows = round(180 / cell_degrees)
    if n_rows < 1 or not np.isclose(n_rows * cell_degrees, 180, rtol=1e-9):
        raise ValueError(
            f"{key} is {cell_degrees:g}, which does not divide 180; "
            f"set it to {180 / max(n_rows, 1):g}"
        )
    return Grid(np.linspace(-90.0, 90.0, n_rows + 1), 2 * n_rows)


def equal_area_grid(cell_km: float) -> Grid:
    """Cells of one area, squares of about `cell_km` on EASE-Grid 2.0 from pole to pole.

    Rows are of equal height on the projection, so they grow in latitude towards the poles.

    >>> equal_area_grid(200.0).latitude_edges.size, equal_area_grid(200.0).n_columns
    (74, 174)
    """
    n_rows = max(round(2 * HALF_HEIGHT_M / (1000 * cell_km)), 1)
    heights = np.linspace(-HALF_HEIGHT_M, HALF_HEIGHT_M, n_rows + 1)
    edges = np.asarray(EASE(np.zeros(n_rows + 1), heights, inverse=True)[1])
    edges[[0, -1]] = -90.0, 90.0  # which the series of the inverse misses by a millionth
    return Grid(edges, max(round(2 * HALF_WIDTH_M / (1000 * cell_km)), 1))


def find_cells(grid: Grid, latitude: FloatArray, longitude: FloatArray) -> Cells:
    """The cell of each tile, in the smallest window of `grid` that holds all tiles.

    A tile belongs to the cell of its centre; one on an edge to the cell north or east of it, one
    on the North Pole to the last row. Across the date line longitudes grow beyond 180.

    Args:
        grid: Of the globe.
        latitude: Centre of each tile, degrees north, shape (tile,).
        longitude: Likewise, degrees east, in any turn of the circle.

    Raises:
        ValueError: If there is no tile, or one has an impossible position.
    """
    _check_places(latitude, longitude)
    edges = grid.latitude_edges
    row = np.searchsorted(edges, latitude.astype(np.float64), side="right") - 1
    row = np.minimum(row, len(edges) - 2)
    turned = (longitude.astype(np.float64) + 180) % 360 - 180
    longitude_edges = np.linspace(-180.0, 180.0, grid.n_columns + 1)
    column = np.searchsorted(longitude_edges, turned, side="right") - 1
    column = np.minimum(column, grid.n_columns - 1)
    first_row, last_row = int(row.min()), int(row.max())
    first_column, n_columns = _find_columns(column, grid.n_columns)
    return Cells(
        latitude_edges=edges[first_row : last_row + 2],
        longitude_edges=-180.0 + 360.0 * (first_column + np.arange(n_columns + 1)) / grid.n_columns,
        cell=(row - first_row) * n_columns + (column - first_column) % grid.n_columns,
    )


def _check_places(latitude: FloatArray, longitude: FloatArray) -> None:
    if len(latitude) == 0:
        raise ValueError("there are no tiles to map; lower embed.stride or add granules")
    lost = ~(np.abs(latitude) <= 90) | ~np.isfinite(longitude)
    if lost.any():
        raise ValueError(
            f"{lost.sum()} of {len(lost)} tiles have no position on the globe, the first with "
            f"latitude {latitude[lost][0]:g} and longitude {longitude[lost][0]:g}"
        )


def _find_columns(column: NDArray[np.intp], n_globe: int) -> tuple[int, int]:
    """First column and number of columns of the shortest arc that holds all."""
    used = np.unique(column)
    gaps = np.diff(used, append=used[0] + n_globe)  # 1 between adjoining columns
    widest = int(np.argmax(gaps))
    if gaps[widest] == 1:
        return 0, n_globe
    return int(used[(widest + 1) % len(used)]), n_globe + 1 - int(gaps[widest])
