"""Stage composite: embeddings, clusters, scenes → what the tiles of each cluster are made of."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt
from threadpoolctl import threadpool_limits

from pipeline.core import organisation
from pipeline.core.axis import closest_cells, closest_points
from pipeline.core.bootstrap import draw_days, number_days
from pipeline.core.choice import KOrRecommended, choose_k
from pipeline.core.composite import spread_over_days
from pipeline.core.composite_product import EFFECT, compose, tabulate
from pipeline.core.footprint import means_within
from pipeline.core.tile_statistics import CloudRule
from pipeline.files import stage, stores
from pipeline.files.granules import Level2Variable, UnusableGranuleError, list_level2, read_level2
from pipeline.files.gridded import GriddedVariable, open_gridded, read_points
from pipeline.files.progress import progress
from pipeline.files.workers import ordered_map

log = logging.getLogger(__name__)

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

MEASURED = (
    "brightness_temperature",
    "reflectance",
    "cloud_fraction",
    "infrared_cloud_fraction",
)
CONTEXT = ("land_fraction", "solar_zenith_angle", "view_zenith_angle")
CLOUD_FIELDS = ["reflectance", "brightness_temperature"]
BOUNDS = ["latitude_bounds", "longitude_bounds"]
PLACES = ["latitude", "longitude", *BOUNDS, "time"]
GRIDDED_ATTRIBUTES = ("long_name", "standard_name", "units")  # kept


@dataclass(frozen=True)
class CompositeParams:
    """Section `composite` of params.yaml."""

    k: KOrRecommended
    n_draws: PositiveInt
    organisation_per_cluster: NonNegativeInt  # tiles
    smallest_object: PositiveInt  # pixels
    gridded: list[GriddedVariable]
    level2: list[Level2Variable]
    seed: NonNegativeInt


def run(
    params: CompositeParams,
    embeddings: Path,
    clusters: Path,
    scenes: Path,
    composites: Path,
    metrics: Path,
) -> None:
    """Write netCDF and a table of the clusters' composites to `composites`."""
    source = stores.open_product(embeddings).drop_vars("embedding").load().drop_encoding()
    found = stores.open_joined(clusters, source)
    k = choose_k(found.k.values, found.attrs["recommended_k"], params.k, key="composite.k")
    clusters_of_tiles = found.cluster.sel(k=k, drop=True).load()
    sampled = _sample_all(params, source)
    tiles = xr.merge(
        [
            _known(source, MEASURED),
            _measure_organisation(params, source, clusters_of_tiles.values, scenes),
            sampled,
            _known(source, CONTEXT),
        ]
    )
    places = {name: source[name].variable for name in PLACES} | stores.tile_places(source)
    tiles = tiles.assign_coords(places)
    tiles["cluster"] = clusters_of_tiles
    n_days = len(np.unique(tiles.time.values.astype("datetime64[D]")))
    draws = draw_days(n_days, n_draws=params.n_draws, rng=np.random.default_rng(params.seed))
    with threadpool_limits(limits=1):  # whose number would change the rounding of sums
        product, tiles = compose(tiles, n_clusters=k, draws=draws)
    product.attrs |= {
        "title": f"Composites of {k} clusters",
        "k": k,
        "n_days": n_days,
        "comment": _tell_intervals(n_days, params.n_draws),
    }
    tiles.attrs |= {"title": f"Quantities of the tiles of {k} clusters", "k": k}
    stores.write_product(product, composites / "composites.nc", params)
    stores.write_product(tiles, composites / "tiles.nc", params)
    tabulate(product).to_csv(composites / "composites.csv", index=False, lineterminator="\n")
    stores.write_json(metrics, _summarise(product))


def _known(source: xr.Dataset, names: tuple[str, ...]) -> xr.Dataset:
    """Those of the variables that any tile has."""
    known = [name for name in names if name in source and np.isfinite(source[name]).any()]
    return source[known].reset_coords(drop=True)


def _measure_organisation(
    params: CompositeParams, source: xr.Dataset, clusters: IntArray, scenes: Path
) -> xr.Dataset:
    """Metrics of the cloud masks of some tiles of each cluster, missing for the others."""
    opened = stores.open_product(scenes.absolute())  # for workers that start elsewhere
    fields = [name for name in CLOUD_FIELDS if name in opened]
    if not fields or not params.organisation_per_cluster:
        return xr.Dataset()
    thresholds = json.loads(source.attrs["parameters"])
    measure = partial(
        _measure_scene,
        scenes=opened[fields].reset_coords(drop=True),
        rule=CloudRule(thresholds["cloud_reflectance"], thresholds["cloud_brightness_temperature"]),
        tile_size=source.attrs["tile_size"],
        smallest_object=params.smallest_object,
    )
    chosen = spread_over_days(
        clusters,
        number_days(source.time.values),
        most=params.organisation_per_cluster,
        rng=np.random.default_rng(params.seed),
    )
    scene = source.scene.values
    chosen = chosen[np.argsort(scene[chosen], kind="stable")]
    latitude, longitude = (source[name].values for name in BOUNDS)
    edges = organisation.pixel_edges_km(latitude, longitude, source.attrs["tile_size"])
    places = np.column_stack([source.row, source.column])
    parts = [
        (int(scene[part[0]]), places[part], edges[part])
        for part in np.split(chosen, np.flatnonzero(np.diff(scene[chosen])) + 1)
    ]
    found = progress(ordered_map(measure, parts), "organisation", total=len(parts), unit="scenes")
    table = np.full((source.sizes["tile"], len(organisation.ATTRIBUTES)), np.nan, np.float32)
    table[chosen] = np.concatenate(list(found))
    return xr.Dataset(
        {
            name: ("tile", column, attributes)
            for (name, attributes), column in zip(
                organisation.ATTRIBUTES.items(), table.T, strict=True
            )
        }
    )


def _measure_scene(
    part: tuple[int, IntArray, FloatArray],
    *,
    scenes: xr.Dataset,
    rule: CloudRule,
    tile_size: int,
    smallest_object: int,
) -> FloatArray:
    """Metrics (tile, metric) of a scene's tiles, given by their places and edges of pixels."""
    index, places, edges = part
    scene = scenes.isel(scene=index).load()
    pixels = np.indices((tile_size, tile_size)).reshape(2, -1).T  # tiles of one, 0 or 1 cloud
    clouds = [
        rule.fractions(
            {
                str(name): field.values[row : row + tile_size, column : column + tile_size]
                for name, field in scene.items()
            },
            pixels,
            1,
        )
        for row, column in places
    ]
    return organisation.measure_tiles(
        np.reshape(clouds, (-1, tile_size, tile_size)), edges, smallest_object=smallest_object
    )


def _sample_all(params: CompositeParams, source: xr.Dataset) -> xr.Dataset:
    """Gridded and level-2 variables (tile,) by their names, which must be new."""
    taken = {*source.variables, *MEASURED, *CONTEXT, *organisation.ATTRIBUTES, "cluster", EFFECT}
    wanted: list[tuple[str, str, Callable[[xr.Dataset], xr.DataArray]]] = [
        *(("gridded", each.name, partial(sample_gridded, each)) for each in params.gridded),
        *(("level2", each.name, partial(sample_level2, each)) for each in params.level2),
    ]
    sampled = xr.Dataset()
    for key, name, sample in wanted:
        if name in taken | set(sampled.variables):
            raise ValueError(
                f"{name} in composite.{key} is the name of another quantity; change it"
            )
        sampled[name] = sample(source)
    return sampled


def sample_gridded(wanted: GriddedVariable, source: xr.Dataset) -> xr.DataArray:
    """Value (tile,) of the grid point closest to each tile's centre, at the closest time.

    It is missing where the grid ends before the tile, or no time is within `max_hours`.
    """
    field = open_gridded(wanted)
    row, column, inside = closest_cells(
        field.latitude.values,
        field.longitude.values,
        source.latitude.values,
        source.longitude.values,
    )
    timely, step = np.ones_like(inside), None
    if "time" in field.dims:
        step, hours_off = closest_points(_hours(field.time), _hours(source.time))
        timely = hours_off <= wanted.max_hours
    told = inside & timely
    values = np.full(len(told), np.nan)
    at = None if step is None else step[told]
    values[told] = read_points(field, at, row[told], column[told])
    reasons = {
        f"{(~timely).sum()} more than {wanted.max_hours:g} hours from any time": ~timely,
        f"{(timely & ~inside).sum()} outside the grid": timely & ~inside,
        f"{(told & np.isnan(values)).sum()} missing in the files": told & np.isnan(values),
    }
    missing = ", ".join(reason for reason, tiles in reasons.items() if tiles.any())
    if missing:
        log.info("%s of %d tiles: %s", wanted.name, len(values), missing)
    about = {"long_name": wanted.variable, "units": "1"} | field.attrs
    return xr.DataArray(
        values.astype(np.float32),
        dims="tile",
        attrs={
            **{name: about[name] for name in GRIDDED_ATTRIBUTES if name in about},
            "source": f"{wanted.variable} of {wanted.files}, at the closest grid point and time",
            "missing_tiles": missing or "none",
        },
    )


def sample_level2(wanted: Level2Variable, source: xr.Dataset) -> xr.DataArray:
    """Mean (tile,) over the pixels within each tile, of the closest granule in time that has any.

    It is missing where no granule within `max_hours` sees the tile's middle, or none of its pixels
    has the quantity, as the optical thickness of a clear sky.

    Raises:
        ValueError: If no granule can be read, or they are in different units.
    """
    values = np.full(source.sizes["tile"], np.nan)
    hours_off = np.full(len(values), np.inf)
    units: dict[str, str] = {}  # and a granule that is in them
    unusable = []
    for granule in list_level2(wanted):
        off = np.zeros(len(values))
        if granule.start_time is not None:
            off = np.abs(_hours(source.time) - _hours(np.datetime64(granule.start_time, "ns")))
        near = np.flatnonzero((off <= wanted.max_hours) & (off < hours_off))
        if not len(near):
            continue
        try:
            read = read_level2(granule, wanted)
        except UnusableGranuleError as error:
            log.warning("%s is left out of %s: %s", granule.name, wanted.name, error)
            unusable.append(f"{granule.name}: {error}")
            continue
        units.setdefault(read[wanted.name].attrs["units"], granule.name)
        bounds = (source[name].values[near] for name in BOUNDS)
        found = means_within(
            read[wanted.name].values, read.latitude.values, read.longitude.values, *bounds
        )
        known = np.isfinite(found)
        values[near[known]], hours_off[near[known]] = found[known], off[near[known]]
    if len(units) > 1:
        both = " and ".join(f"{name} in {unit}" for unit, name in units.items())
        raise ValueError(f"{wanted.name} in composite.level2 has {both}; give all the same units")
    if unusable and not units:
        raise ValueError(
            f"no granule of {wanted.name} in composite.level2 is usable; {unusable[0]}"
        )
    n_missing = int(np.isnan(values).sum())
    missing = f"{n_missing} without a known pixel within {wanted.max_hours:g} hours"
    return xr.DataArray(
        values.astype(np.float32),
        dims="tile",
        attrs={
            "long_name": wanted.variable,
            "units": next(iter(units), "1"),
            "source": f"{wanted.variable} of {wanted.files}, the mean of the pixels in the tile",
            "missing_tiles": missing if n_missing else "none",
            "unusable_granules": len(unusable),
        },
    )


def _hours(times: xr.DataArray | np.datetime64) -> FloatArray:
    return np.asarray((np.asarray(times) - np.datetime64(0, "s")) / np.timedelta64(1, "h"))


def _tell_intervals(n_days: int, n_draws: int) -> str:
    """What the intervals are, and a warning where days are few."""
    if n_days < 2:
        sentence = "there are no intervals, since all tiles are of one UTC day"
    else:
        sentence = (
            f"intervals of 95 % are from {n_draws} bootstrap samples of {n_days} UTC days, widened "
            "to the effective number of days and by Student's t; each quantity's attribute "
            "intervals says how days are correlated"
        )
    log.info("%s", sentence)
    return sentence


def _summarise(product: xr.Dataset) -> dict[str, object]:
    """Metrics: how much there is, and how many clusters differ from their cloud fraction."""
    summary: dict[str, object] = {
        "k": product.attrs["k"],
        "n_days": product.attrs["n_days"],
        "n_tiles": int(product.n_tiles.sum()),
    }
    if "number_of_objects" in product:
        summary["n_organisation_tiles"] = int(product.number_of_objects_n_tiles.sum())
    if EFFECT in product:
        low, high = product[f"{EFFECT}_low"], product[f"{EFFECT}_high"]
        summary["n_clusters_brighter_than_their_cloud_fraction"] = int((low > 0).sum())
        summary["n_clusters_darker_than_their_cloud_fraction"] = int((high < 0).sum())
    return summary


if __name__ == "__main__":
    stage.start(run, CompositeParams)
