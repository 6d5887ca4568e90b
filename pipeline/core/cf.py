"""Coordinates and attributes by which products keep to the CF conventions."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS

from pipeline.core.grid import Cells
from pipeline.core.periods import Periods

ERRORS_FROM_DAYS = (
    "Standard errors take days (UTC) as the sample: with c tiles of a cluster among n tiles on "
    "each of D days, p = sum(c) / sum(n) has the variance D / (D - 1) * sum((c - p * n)^2) / "
    "sum(n)^2 (Cochran 1977, Sampling Techniques). They are missing for fewer than two days, and "
    "0, which tells nothing, where a cluster holds none or all of the tiles."
)
BOUNDS = {
    "time": "time_bounds",
    "local_solar_time": "local_solar_time_bounds",
    "latitude": "latitude_bounds",
    "longitude": "longitude_bounds",
    "lag": "lag_bounds",
}
FLAGS = {
    "long_name": "whether tiles and days suffice",
    "standard_name": "quality_flag",
    "flag_values": np.arange(4, dtype=np.int8),
    "flag_meanings": "enough too_few_days too_few_tiles no_tiles",
}

ATTRIBUTES: dict[str, dict[str, Any]] = {
    "cluster": {"long_name": "number of the cluster", "units": "1"},
    "from_cluster": {"long_name": "number of the earlier cluster", "units": "1"},
    "to_cluster": {"long_name": "number of the later cluster", "units": "1"},
    "time": {
        "long_name": "middle of the period, UTC",
        "standard_name": "time",
        "axis": "T",
        "units_metadata": "leap_seconds: none",
    },
    "local_solar_time": {"long_name": "local solar time, middle of the bin", "units": "hour"},
    "lag": {"long_name": "time between the two tiles, middle of the bin", "units": "hour"},
    "latitude": {
        "long_name": "latitude of the middle of the cell",
        "standard_name": "latitude",
        "units": "degrees_north",
        "axis": "Y",
    },
    "longitude": {
        "long_name": "longitude of the middle of the cell, beyond 180 across the date line",
        "standard_name": "longitude",
        "units": "degrees_east",
        "axis": "X",
    },
    "cell_area": {
        "long_name": "area of the cell on the ellipsoid, the weight of the cell",
        "standard_name": "cell_area",
        "units": "m2",
    },
    "crs": {"long_name": "geographic coordinates on WGS 84"},
    "count": {"long_name": "tiles of the cluster", "units": "1"},
    "frequency": {"long_name": "frequency of occurrence, the share of tiles", "units": "1"},
    "standard_error": {"long_name": "standard error of the frequency, from days", "units": "1"},
    "anomaly": {"long_name": "frequency minus that of the rest of the record", "units": "1"},
    "anomaly_standard_error": {
        "long_name": "standard error of the anomaly, from days",
        "units": "1",
    },
    "record_frequency": {
        "long_name": "frequency in the whole record, of the same cells",
        "units": "1",
    },
    "n_tiles": {
        "long_name": "tiles of any cluster",
        "standard_name": "number_of_observations",
        "units": "1",
    },
    "n_days": {"long_name": "days with tiles", "units": "1"},
    "sampling": FLAGS,
    "zonal_sampling": FLAGS,
    "zonal_frequency": {
        "long_name": "mean frequency along the latitude, by area",
        "units": "1",
        "ancillary_variables": "zonal_standard_error zonal_n_tiles zonal_n_days zonal_sampling",
    },
    "zonal_standard_error": {
        "long_name": "standard error of the zonal mean, from days",
        "units": "1",
    },
    "zonal_n_tiles": {
        "long_name": "tiles of any cluster along the latitude",
        "standard_name": "number_of_observations",
        "units": "1",
    },
    "zonal_n_days": {"long_name": "days with tiles along the latitude", "units": "1"},
    "area": {"long_name": "area of the cells with tiles", "units": "m2"},
    "n_pairs": {"long_name": "pairs of tiles of one place", "units": "1"},
    "mean_lag": {"long_name": "mean time between the tiles of a pair", "units": "hour"},
    "compared_count": {
        "long_name": "count of pairs whose place has tiles at that hour on other days",
        "units": "1",
    },
    "expected_count": {
        "long_name": "compared_count if the later cluster depended on place and hour alone",
        "units": "1",
    },
    "probability": {"long_name": "share of the later cluster after the earlier", "units": "1"},
}


def describe(
    product: xr.Dataset,
    periods: Periods,
    record: Periods,
    *,
    dimension: str,
    cells: Cells | None = None,
) -> xr.Dataset:
    """`product` with its coordinates, their bounds, and attributes.

    Args:
        product: Variables over `dimension`, cluster and, with `cells`, latitude and longitude.
        periods: Along `dimension`.
        record: Its first and last day.
        dimension: `time` or `local_solar_time`.
        cells: Of the grid.
    """
    numbers = np.arange(product.sizes["cluster"], dtype=np.int16)
    described = bounded(product.assign_coords(cluster=numbers), dimension, periods.edges)
    if cells is not None:
        described = bounded(described, "latitude", pair(cells.latitude_edges))
        described = bounded(described, "longitude", pair(cells.longitude_edges))
        described["cell_area"] = (("latitude", "longitude"), cells.area)
        described["crs"] = np.int32(0)
    if dimension == "time":
        described.encoding["unlimited_dims"] = ["time"]  # so that later periods can be appended
    described = attribute(described)
    first, last = record.edges[0].astype("datetime64[s]")
    described.attrs |= {"time_coverage_start": f"{first}Z", "time_coverage_end": f"{last}Z"}
    described.frequency.attrs |= {
        "ancillary_variables": "standard_error n_tiles n_days sampling",
        "cell_methods": f"{dimension}: mean area: mean",
    }
    if "zonal_frequency" in described:
        described.zonal_frequency.attrs["cell_methods"] = f"{dimension}: mean area: mean"
    if cells is not None:
        described.crs.attrs |= CRS("EPSG:4326").to_cf()
        on_grid = {"grid_mapping": "crs", "cell_measures": "area: cell_area"}
        for name in product.data_vars:
            if "longitude" in product[name].dims:
                described[name].attrs |= on_grid
    return described


def bounded(product: xr.Dataset, dimension: str, edges: NDArray[Any]) -> xr.Dataset:
    """`product` with the middles of `edges` (index, 2) as a coordinate, and its bounds."""
    middles = edges[:, 0] + (edges[:, 1] - edges[:, 0]) / 2
    bounds = ((dimension, "bound"), edges)
    return product.assign_coords({dimension: middles, BOUNDS[dimension]: bounds})


def attribute(product: xr.Dataset) -> xr.Dataset:
    """`product` with the attributes of its variables, and what standard errors mean."""
    for name in product.variables:
        product[name].attrs = dict(ATTRIBUTES.get(str(name), {}))
    for name, bounds in BOUNDS.items():
        if name in product:
            product[name].attrs["bounds"] = bounds
            product[bounds].attrs = {}  # they share those of what they bound
    return product.assign_attrs(
        comment=ERRORS_FROM_DAYS, history="written by python -m pipeline.grid_clusters"
    )


def as_climatology(product: xr.Dataset) -> xr.Dataset:
    """`product` whose time axis is one of calendar months, whatever the year."""
    renamed = product.rename(time_bounds="climatology_bounds")
    first_middle = renamed.climatology_bounds.values[:, 0] + np.timedelta64(15, "D")
    attributes = {name: value for name, value in product.time.attrs.items() if name != "bounds"}
    renamed = renamed.assign_coords(time=("time", first_middle, attributes))
    renamed.time.attrs |= {
        "climatology": "climatology_bounds",
        "long_name": "middle of the calendar month in the first of its years",
    }
    renamed.frequency.attrs["cell_methods"] = "time: mean within years time: mean over years"
    return renamed


def pair(edges: NDArray[Any]) -> NDArray[Any]:
    """Edges (index + 1,) as those of each cell, shape (index, 2)."""
    return np.stack([edges[:-1], edges[1:]], axis=1)
