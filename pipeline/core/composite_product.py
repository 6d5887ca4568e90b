"""Composites as a labelled product, and as a table."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.bootstrap import calendar_days, number_days
from pipeline.core.composite import Composite, Days, composite
from pipeline.core.dependence import say as say_errors
from pipeline.core.reflectance_effect import beyond_cloud_fraction

IntArray = NDArray[np.integer]

EFFECT = "reflectance_beyond_cloud_fraction"
INFRARED = "infrared_cloud_fraction"
MOST_LAND = 0.01  # of a tile over sea
KEPT = ("standard_name", "comment", "references", "source", "missing_tiles")  # attributes
EFFECT_ATTRIBUTES = {
    "long_name": "reflectance beyond that of tiles of the same cloud fraction and sun",
    "units": "percent",
    "comment": "what remains of a tile's reflectance R after least squares over tiles, R = "
    "f(c) + b m + d m^2 + e m c: c is the cloud fraction, m the cosine of the solar zenith angle, "
    "f piecewise linear",
}
ANCILLARY = {
    "low": "lower end of the 95 % interval of the mean {}",
    "high": "upper end of the 95 % interval of the mean {}",
    "spread": "standard deviation among tiles of the {}",
    "n_tiles": "tiles that have the {}",
    "n_days": "UTC days with tiles that have the {}",
}


def compose(
    tiles: xr.Dataset, *, n_clusters: int, draws: IntArray
) -> tuple[xr.Dataset, xr.Dataset]:
    """Composites (cluster,) of the quantities of tiles, and the tiles with what was derived.

    For each of the quantities, listed in attribute `quantities`, there are its mean, under its
    name, and what `ANCILLARY` names. The reflectance beyond cloud fraction is added, over sea,
    where a cloud mask tells it that is not made of the reflectance itself.

    Args:
        tiles: `cluster`, quantities, and the coordinate time, all (tile,).
        n_clusters: Clusters there are.
        draws: Bootstrap samples of days, as of `draw_days`, shape (draw, day).
    """
    clusters, times = tiles.cluster.values, tiles.time.values
    days = Days(number_days(times), np.unique(calendar_days(times)), draws)
    found = {
        str(name): composite(field.values, clusters, days, n_clusters=n_clusters)
        for name, field in tiles.data_vars.items()
        if name != "cluster"
    }
    quantities = list(found)
    mask = _independent_mask(tiles)
    if "reflectance" in quantities and mask:
        sun = tiles.get("solar_zenith_angle", tiles.reflectance * np.nan)
        is_sea = tiles.get("land_fraction", 0 * tiles.reflectance).values <= MOST_LAND
        whole = 100 if tiles[mask].attrs.get("units") in ("percent", "%") else 1
        found[EFFECT], remainder = beyond_cloud_fraction(
            np.where(is_sea, tiles.reflectance.values, np.nan),
            tiles[mask].values / whole,
            sun.values,
            clusters,
            days,
            n_clusters=n_clusters,
        )
        about = EFFECT_ATTRIBUTES | {"source": f"c is {mask}; tiles over sea alone"}
        tiles = tiles.assign({EFFECT: ("tile", remainder.astype(np.float32), about)})
        quantities.insert(quantities.index("reflectance") + 1, EFFECT)
    product = xr.merge([_label(name, found[name], tiles[name].attrs) for name in quantities])
    counts = np.bincount(clusters, minlength=n_clusters)
    product["n_tiles"] = "cluster", counts, {"long_name": "tiles of the cluster", "units": "1"}
    product["cluster"] = np.arange(n_clusters, dtype=np.int16)
    product["cluster"].attrs = {"long_name": "number of the cluster", "units": "1"}
    return product.assign_attrs(quantities=",".join(quantities)), tiles


def _independent_mask(tiles: xr.Dataset) -> str | None:
    """Cloud fraction that is no threshold of the reflectance: of a cloud product, or infrared."""
    products = [
        str(name)
        for name, field in tiles.data_vars.items()
        if field.attrs.get("standard_name") == "cloud_area_fraction"
    ]
    return next((name for name in [*products, INFRARED] if name in tiles), None)


def _label(name: str, found: Composite, attributes: dict[str, Any]) -> xr.Dataset:
    """Variables (cluster,) of one quantity."""
    about = {
        "long_name": attributes.get("long_name", name.replace("_", " ")),
        "units": attributes["units"],
    }
    extra = {key: attributes[key] for key in KEPT if key in attributes}
    parts = dataclasses.asdict(found)
    mean, extra["intervals"] = parts.pop("mean"), say_errors(parts.pop("correlation"))
    beside = " ".join(f"{name}_{part}" for part in parts)
    variables = {name: ("cluster", mean, {**about, **extra, "ancillary_variables": beside})}
    for part, values in parts.items():
        units = "1" if part.startswith("n_") else about["units"]
        sentence = ANCILLARY[part].format(about["long_name"])
        variables[f"{name}_{part}"] = "cluster", values, {"long_name": sentence, "units": units}
    return xr.Dataset(variables)


def tabulate(product: xr.Dataset) -> pd.DataFrame:
    """A line for each quantity and cluster."""
    tables = []
    for name in product.attrs["quantities"].split(","):
        columns = {"mean": name} | {part: f"{name}_{part}" for part in ANCILLARY}
        table = pd.DataFrame({column: product[each].values for column, each in columns.items()})
        about = product[name].attrs
        table.insert(0, "quantity", name)
        table.insert(1, "cluster", product.cluster.values)
        tables.append(table.assign(units=about["units"], long_name=about["long_name"]))
    return pd.concat(tables)
