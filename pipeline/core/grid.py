"""Clusters on a latitude-longitude grid: how often each occurs in each cell."""

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

EARTH_RADIUS_M = 6_371_000.0  # mean radius, IUGG (Moritz 2000, doi:10.1007/s001900050278)


def frequency_of_occurrence(
    cluster: IntArray,
    latitude: FloatArray,
    longitude: FloatArray,
    *,
    n_clusters: int,
    cell_degrees: float,
) -> xr.Dataset:
    """Return counts and frequencies of clusters in the cells of a latitude-longitude grid.

    Cells are counted from -90 and -180 degrees, so that grids of one `cell_degrees` match. Only
    the window of the globe that holds tiles is returned; across the date line its longitudes
    grow beyond 180. A tile belongs to the cell of its centre; a tile on an edge to the cell
    north or east of it, one on the North Pole to the last row.

    Args:
        cluster: Number of each tile's cluster, 0 to `n_clusters` - 1, shape (tile,).
        latitude: Centre of each tile, degrees north, shape (tile,).
        longitude: Likewise, degrees east, in any turn of the circle.
        n_clusters: Clusters there are, also those without a tile.
        cell_degrees: Edge of a cell; must divide 180.

    Returns:
        `count` (cluster, latitude, longitude), `n_tiles` and `cell_area` (latitude, longitude),
        `frequency` = count / n_tiles, NaN in cells without tiles, and the bounds of the cells.

    Raises:
        ValueError: If cells do not tile the globe, there is no tile, or one has an impossible
            cluster or position.
    """
    n_rows = _count_rows(cell_degrees)
    _check_tiles(cluster, latitude, longitude, n_clusters)
    latitude_edges = np.linspace(-90.0, 90.0, n_rows + 1)
    row = np.searchsorted(latitude_edges, latitude.astype(np.float64), side="right") - 1
    row = np.clip(row, 0, n_rows - 1)
    turned = (longitude.astype(np.float64) + 180) % 360 - 180
    longitude_edges = np.linspace(-180.0, 180.0, 2 * n_rows + 1)
    column = np.searchsorted(longitude_edges, turned, side="right") - 1
    column = np.clip(column, 0, 2 * n_rows - 1)

    first_row, last_row = int(row.min()), int(row.max())
    first_column, n_columns = _find_columns(column, 2 * n_rows)
    shape = (n_clusters, last_row - first_row + 1, n_columns)
    cell = (cluster.astype(np.int64), row - first_row, (column - first_column) % (2 * n_rows))
    flat = np.ravel_multi_index(cell, shape)
    count = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)
    degrees = 180.0 / n_rows
    return _label(
        count,
        latitude_edges[first_row : last_row + 2],
        -180.0 + degrees * (first_column + np.arange(n_columns + 1)),
    )


def _count_rows(cell_degrees: float) -> int:
    if not 0 < cell_degrees <= 180:
        raise ValueError(
            f"map_clusters.cell_degrees is {cell_degrees:g}, but must lie above 0 and up to 180"
        )
    n_rows = round(180 / cell_degrees)
    if not np.isclose(n_rows * cell_degrees, 180, rtol=1e-9):
        raise ValueError(
            f"map_clusters.cell_degrees is {cell_degrees:g}, which does not divide 180; "
            f"set it to {180 / n_rows:g}"
        )
    return n_rows


def _check_tiles(
    cluster: IntArray, latitude: FloatArray, longitude: FloatArray, n_clusters: int
) -> None:
    if not cluster.shape == latitude.shape == longitude.shape or cluster.ndim != 1:
        raise ValueError(
            f"cluster, latitude and longitude need one value per tile, but have shapes "
            f"{cluster.shape}, {latitude.shape} and {longitude.shape}"
        )
    if len(cluster) == 0:
        raise ValueError("there are no tiles to map; lower embed.stride or add granules")
    if cluster.min() < 0 or cluster.max() >= n_clusters:
        raise ValueError(
            f"clusters are numbered 0 to {n_clusters - 1}, but tiles have "
            f"{cluster.min()} to {cluster.max()}"
        )
    lost = ~(np.abs(latitude) <= 90) | ~np.isfinite(longitude)
    if lost.any():
        raise ValueError(
            f"{lost.sum()} of {len(lost)} tiles have no position on the globe, the first with "
            f"latitude {latitude[lost][0]:g} and longitude {longitude[lost][0]:g}"
        )


def _find_columns(column: npt.NDArray[np.intp], n_globe: int) -> tuple[int, int]:
    used = np.unique(column)
    gaps = np.diff(used, append=used[0] + n_globe)  # 1 between adjoining columns
    widest = int(np.argmax(gaps))
    if gaps[widest] == 1:
        return 0, n_globe
    return int(used[(widest + 1) % len(used)]), n_globe + 1 - int(gaps[widest])


def _label(
    count: npt.NDArray[np.int64], latitude_edges: FloatArray, longitude_edges: FloatArray
) -> xr.Dataset:
    n_tiles = count.sum(axis=0)
    frequency = np.full(count.shape, np.nan)
    np.divide(count, n_tiles, out=frequency, where=n_tiles > 0)
    bands = np.diff(np.sin(np.deg2rad(latitude_edges)))
    slices = np.deg2rad(np.diff(longitude_edges))
    area = EARTH_RADIUS_M**2 * bands[:, None] * slices
    plane = ("latitude", "longitude")
    grid = xr.Dataset(
        {
            "count": (("cluster", *plane), count.astype(np.int32)),
            "n_tiles": (plane, n_tiles.astype(np.int32)),
            "frequency": (("cluster", *plane), frequency),
            "cell_area": (plane, area),
            "latitude_bounds": (("latitude", "bound"), _pair(latitude_edges)),
            "longitude_bounds": (("longitude", "bound"), _pair(longitude_edges)),
        },
        coords={
            "cluster": np.arange(len(count), dtype=np.int16),
            "latitude": (latitude_edges[:-1] + latitude_edges[1:]) / 2,
            "longitude": (longitude_edges[:-1] + longitude_edges[1:]) / 2,
        },
    )
    for name, attributes in ATTRIBUTES.items():
        grid[name].attrs = dict(attributes)
    return grid


def _pair(edges: FloatArray) -> FloatArray:
    return np.stack([edges[:-1], edges[1:]], axis=-1)


ATTRIBUTES: dict[str, dict[str, str]] = {
    "cluster": {"long_name": "number of the cluster", "units": "1"},
    "latitude": {
        "long_name": "latitude of the middle of the cell",
        "standard_name": "latitude",
        "units": "degrees_north",
        "axis": "Y",
        "bounds": "latitude_bounds",
    },
    "longitude": {
        "long_name": "longitude of the middle of the cell, beyond 180 across the date line",
        "standard_name": "longitude",
        "units": "degrees_east",
        "axis": "X",
        "bounds": "longitude_bounds",
    },
    "latitude_bounds": {"long_name": "edges of the cell", "units": "degrees_north"},
    "longitude_bounds": {"long_name": "edges of the cell", "units": "degrees_east"},
    "count": {
        "long_name": "tiles of the cluster with their centre in the cell",
        "units": "1",
        "cell_measures": "area: cell_area",
    },
    "n_tiles": {
        "long_name": "tiles of any cluster with their centre in the cell",
        "standard_name": "number_of_observations",
        "units": "1",
        "cell_measures": "area: cell_area",
    },
    "frequency": {
        "long_name": "share of the cluster among the tiles of the cell",
        "units": "1",
        "ancillary_variables": "n_tiles",
        "cell_measures": "area: cell_area",
    },
    "cell_area": {
        "long_name": "area of the cell on a sphere",
        "standard_name": "cell_area",
        "units": "m2",
    },
}
