"""Climatologies of clusters: frequencies on a grid, zonal means, cycles."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core import cf, dependence
from pipeline.core.grid import Cells
from pipeline.core.occurrence import Means, Occurrence, average, count_occurrence
from pipeline.core.periods import Periods

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

MOST_VALUES = 150_000_000  # of a variable; the five of this size then take 3 GB
ENOUGH, TOO_FEW_DAYS, TOO_FEW_TILES, NO_TILES = range(4)


@dataclass(frozen=True)
class Tiles:
    """What is counted: cluster and day of each tile, and what a place needs to be trusted."""

    cluster: IntArray  # (tile,)
    day: IntArray  # (tile,), of the calendar, from 0
    n_clusters: int
    fewest_tiles: int
    fewest_days: int

    def count(self, place: IntArray) -> Occurrence:
        """Clusters at each place, such as the cell of a tile, shape (tile,)."""
        return count_occurrence(place, self.cluster, self.day, n_clusters=self.n_clusters)

    def flag(self, found: Occurrence | Means) -> IntArray:
        """Whether tiles and days suffice at each place, or in each domain."""
        flag = np.where(found.n_days < self.fewest_days, TOO_FEW_DAYS, ENOUGH)
        flag = np.where(found.n_tiles < self.fewest_tiles, TOO_FEW_TILES, flag)
        return np.where(found.n_tiles == 0, NO_TILES, flag).astype(np.int8)


def grid_frequencies(
    tiles: Tiles, cells: Cells, periods: Periods, record: Periods, *, dimension: str
) -> xr.Dataset:
    """Frequency of occurrence (period, cluster, latitude, longitude) and all that judges it.

    Args:
        tiles: What is counted.
        cells: Of a grid.
        periods: Months, seasons, hours or the whole record.
        record: The whole record; anomalies are taken from what the period leaves of it.
        dimension: Name of the first dimension, `time` or `local_solar_time`.

    Returns:
        Counts, frequencies and anomalies from the rest of the record, both with standard errors,
        tiles and days of each cell with a flag where they are few, and zonal means with standard
        errors.

    Raises:
        ValueError: If the product would not fit in memory.
    """
    n_periods, n_cells = len(periods.edges), int(np.prod(cells.shape))
    n_values = n_periods * n_cells * tiles.n_clusters
    if n_values > MOST_VALUES:
        raise ValueError(
            f"{n_periods} periods of {n_cells} cells and {tiles.n_clusters} clusters are "
            f"{n_values:,} values, more than {MOST_VALUES:,}; raise grid_clusters.cell_degrees "
            "and grid_clusters.cell_km"
        )
    found = tiles.count(periods.number * n_cells + cells.cell)
    period, cell = np.divmod(found.place, n_cells)
    anomaly, anomaly_error = _compare_with_rest(found, tiles.count(cells.cell), cell)
    n_rows, n_columns = cells.shape
    zonal = average(
        found,
        period * n_rows + cell // n_columns,
        cells.area.ravel()[cell],
        n_domains=n_periods * n_rows,
        fewest_tiles=tiles.fewest_tiles,
    )
    plane = (dimension, "latitude", "longitude")
    table = (dimension, "cluster", "latitude", "longitude")

    def spread(values: NDArray[Any], fill: float, dtype: type) -> NDArray[Any]:
        """`values` (place,) or (place, cluster) in the whole window."""
        whole = np.full((n_periods, *values.shape[1:], n_cells), fill, dtype)
        whole[period, ..., cell] = values
        return whole.reshape(*whole.shape[:-1], *cells.shape)

    variables = {
        "count": (table, spread(found.count, 0, np.int32)),
        "frequency": (table, spread(found.frequency, np.nan, np.float32)),
        "standard_error": (table, spread(found.standard_error, np.nan, np.float32)),
        "anomaly": (table, spread(anomaly, np.nan, np.float32)),
        "anomaly_standard_error": (table, spread(anomaly_error, np.nan, np.float32)),
        "n_tiles": (plane, spread(found.n_tiles, 0, np.int32)),
        "n_days": (plane, spread(found.n_days, 0, np.int32)),
        "sampling": (plane, spread(tiles.flag(found), NO_TILES, np.int8)),
        **_zonal_variables(zonal, tiles.flag(zonal), (n_periods, n_rows), dimension),
    }
    product = cf.describe(xr.Dataset(variables), periods, record, dimension=dimension, cells=cells)
    return product.assign_attrs(
        standard_errors=dependence.say(found.correlation),
        zonal_standard_errors=dependence.say(zonal.correlation),
    )


def _compare_with_rest(
    found: Occurrence, overall: Occurrence, cell: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Frequencies of places less those of the rest of the record there, and standard errors.

    The error of the rest is that of the record, for as many tiles less. Days of the period and of
    the rest are taken for independent, which makes errors of hours of the day, whose days are the
    same, too large rather than too small.

    Args:
        found: Of periods in cells.
        overall: Of the record in cells.
        cell: Of each place of `found`.
    """
    at = np.searchsorted(overall.place, cell)
    n_rest = (overall.n_tiles[at] - found.n_tiles)[:, None].astype(float)
    n_rest[n_rest == 0] = np.nan  # no tile but in this period
    rest = (overall.count[at] - found.count) / n_rest
    error = overall.standard_error[at] * np.sqrt(overall.n_tiles[at][:, None] / n_rest)
    return found.frequency - rest, np.hypot(found.standard_error, error)


def average_cycle(
    tiles: Tiles, cells: Cells, periods: Periods, record: Periods, *, dimension: str
) -> xr.Dataset:
    """Area-weighted mean frequency (period, cluster) over cells with enough tiles in the period.

    Different periods may see different cells, so the mean over the same cells of their
    frequency in the whole record stands beside it: the difference is due to the period.
    """
    n_periods, n_cells = len(periods.edges), int(np.prod(cells.shape))
    found = tiles.count(periods.number * n_cells + cells.cell)
    period, cell = np.divmod(found.place, n_cells)
    area = cells.area.ravel()[cell]
    means = average(found, period, area, n_domains=n_periods, fewest_tiles=tiles.fewest_tiles)
    at_cells = _at_cells(tiles, cells)
    of_record = np.full((n_periods, tiles.n_clusters), np.nan)
    enough = found.n_tiles >= tiles.fewest_tiles
    for seen in np.unique(period[enough]):
        there = enough & (period == seen)
        of_record[seen] = np.average(at_cells[cell[there]], axis=0, weights=area[there])
    table = (dimension, "cluster")
    product = xr.Dataset(
        {
            "frequency": (table, means.frequency),
            "standard_error": (table, means.standard_error),
            "record_frequency": (table, of_record),
            "area": (dimension, means.weight),
            "n_tiles": (dimension, means.n_tiles.astype(np.int32)),
            "n_days": (dimension, means.n_days.astype(np.int32)),
            "sampling": (dimension, tiles.flag(means)),
        }
    )
    product = cf.describe(product, periods, record, dimension=dimension)
    return product.assign_attrs(standard_errors=dependence.say(means.correlation))


def _at_cells(tiles: Tiles, cells: Cells) -> FloatArray:
    """Frequency in the whole record, shape (cell, cluster), NaN without tiles."""
    overall = tiles.count(cells.cell)
    frequency = np.full((int(np.prod(cells.shape)), tiles.n_clusters), np.nan)
    frequency[overall.place] = overall.frequency
    return frequency


def _zonal_variables(
    zonal: Means, flag: IntArray, shape: tuple[int, int], dimension: str
) -> dict[str, tuple[tuple[str, ...], NDArray[Any]]]:
    """Variables of the means over each latitude, of `shape` (period, latitude)."""
    row = (dimension, "latitude")
    table = (dimension, "cluster", "latitude")
    return {
        "zonal_frequency": (table, _by_cluster(zonal.frequency, shape)),
        "zonal_standard_error": (table, _by_cluster(zonal.standard_error, shape)),
        "zonal_n_tiles": (row, zonal.n_tiles.reshape(shape).astype(np.int32)),
        "zonal_n_days": (row, zonal.n_days.reshape(shape).astype(np.int32)),
        "zonal_sampling": (row, flag.reshape(shape)),
    }


def _by_cluster(values: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """(period and latitude, cluster) as (period, cluster, latitude)."""
    return values.reshape(*shape, -1).transpose(0, 2, 1).astype(np.float32)
