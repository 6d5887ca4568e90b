"""Stage grid_clusters: clusters → climatologies on grids, cycles and transitions, as netCDF."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import xarray as xr
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from pipeline.core import bootstrap, cf, grid, periods, sphere, transitions
from pipeline.core.choice import KOrRecommended, choose_k
from pipeline.core.climatology import ENOUGH, Tiles, average_cycle, grid_frequencies
from pipeline.files import figures as draw
from pipeline.files import stage, stores

GridName = Literal["latitude_longitude", "equal_area"]

GRIDDED = ("record", "month", "season", "local_solar_time")
ANOMALIES = ("season", "local_solar_time")
MOST_ANOMALIES = 4  # maps along an axis

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GridClustersParams:
    """Section `grid_clusters` of params.yaml."""

    k: KOrRecommended
    grids: Annotated[tuple[GridName, ...], Field(min_length=1)]
    cell_degrees: Annotated[float, Field(gt=0, le=180)]
    cell_km: PositiveFloat
    local_time_hours: Annotated[float, Field(gt=0, le=24)]
    fewest_tiles: PositiveInt
    fewest_days: Annotated[int, Field(ge=2)]  # one day tells nothing of the spread between days
    lag_edges: Annotated[tuple[NonNegativeFloat, ...], Field(min_length=2)]
    max_shift: PositiveFloat


def run(params: GridClustersParams, embeddings: Path, clusters: Path, climatology: Path) -> None:
    """Read the places of `embeddings` and the numbers in `clusters`, write `climatology`."""
    places = stores.open_product(embeddings)
    tiles = gather_tiles(params, places, stores.open_joined(clusters, places))
    axes = find_periods(params, places)
    for name in params.grids:
        cells = grid.find_cells(
            make_grid(params, name), places.latitude.values, places.longitude.values
        )
        write_grid(params, tiles, cells, axes, name=name, folder=climatology)
        if name == params.grids[0]:
            write_cycles(params, tiles, cells, axes, folder=climatology)
    write_transitions(params, tiles, places, axes["local_solar_time"], folder=climatology)


def gather_tiles(params: GridClustersParams, places: xr.Dataset, clusters: xr.Dataset) -> Tiles:
    """Cluster and day of every tile."""
    k = choose_k(
        clusters.k.values, clusters.attrs["recommended_k"], params.k, key="grid_clusters.k"
    )
    return Tiles(
        cluster=clusters.cluster.sel(k=k).values,
        day=bootstrap.calendar_days(places.time.values),
        n_clusters=k,
        fewest_tiles=params.fewest_tiles,
        fewest_days=params.fewest_days,
    )


def make_grid(params: GridClustersParams, name: GridName) -> grid.Grid:
    """The grid called `name`, of the whole globe."""
    if name == "equal_area":
        return grid.equal_area_grid(params.cell_km)
    return grid.latitude_longitude_grid(params.cell_degrees, key="grid_clusters.cell_degrees")


def find_periods(params: GridClustersParams, places: xr.Dataset) -> dict[str, periods.Periods]:
    """The axes that clusters are counted along."""
    times = places.time.values
    return {
        "record": periods.whole_record(times),
        "month": periods.months(times),
        "season": periods.seasons(times),
        "local_solar_time": periods.hours_of_day(
            places.local_solar_time.values,
            bin_hours=params.local_time_hours,
            key="grid_clusters.local_time_hours",
        ),
        "month_of_year": periods.months_of_year(times),
    }


def write_grid(
    params: GridClustersParams,
    tiles: Tiles,
    cells: grid.Cells,
    axes: dict[str, periods.Periods],
    *,
    name: GridName,
    folder: Path,
) -> None:
    """Write frequencies on one grid along each axis, with their maps and zonal means."""
    shown = name.replace("_", "-")
    for axis in GRIDDED:
        dimension = "local_solar_time" if axis == "local_solar_time" else "time"
        product = grid_frequencies(tiles, cells, axes[axis], axes["record"], dimension=dimension)
        title = f"Frequency of occurrence of {tiles.n_clusters} clusters, {shown} grid"
        product.attrs |= {"title": title, "k": tiles.n_clusters, "periods": axis}
        stores.write_product(product, folder / f"{axis}_{name}.nc", params)
        if axis == "record":
            draw.frequency_maps(product.isel(time=0), folder / f"frequency_{name}")
            draw.zonal_means(product.isel(time=0), folder / f"zonal_{name}")
        elif axis in ANOMALIES and name == params.grids[0]:
            draw_anomalies(product, dimension, folder)


def draw_anomalies(product: xr.Dataset, dimension: str, folder: Path) -> None:
    """Write maps of the anomalies of the periods with most tiles, if there are two or more."""
    is_compared = (product.sampling == ENOUGH) & product.anomaly.notnull().any("cluster")
    n_tiles = product.n_tiles.where(is_compared, 0).sum(("latitude", "longitude"))
    if (n_tiles.values > 0).sum() < 2:
        log.info(
            "no maps of anomalies along %s: fewer than two periods have cells with enough "
            "tiles and days that were seen in other periods, too",
            dimension,
        )
        return
    for index in np.sort(np.argsort(-n_tiles.values, kind="stable")[:MOST_ANOMALIES]):
        period = product.isel({dimension: index})
        if n_tiles[index] == 0:
            continue
        if dimension == "time":
            name = periods.season_name(period.time_bounds.values[0])
        else:
            first, last = period.local_solar_time_bounds.values
            name = f"{first:g} to {last:g} h local solar time"
        stem = name.lower().replace("/", "_").replace(" ", "_")
        draw.anomaly_maps(
            period, folder / f"anomaly_{stem}", title=f"{name} minus the rest of the record"
        )


def write_cycles(
    params: GridClustersParams,
    tiles: Tiles,
    cells: grid.Cells,
    axes: dict[str, periods.Periods],
    *,
    folder: Path,
) -> None:
    """Write the diurnal and the seasonal cycle over the whole domain."""
    record = axes["record"]
    diurnal = average_cycle(
        tiles, cells, axes["local_solar_time"], record, dimension="local_solar_time"
    )
    seasonal = average_cycle(tiles, cells, axes["month_of_year"], record, dimension="time")
    seasonal = cf.as_climatology(seasonal)
    for name, product in {"diurnal": diurnal, "seasonal": seasonal}.items():
        product.attrs |= {
            "title": f"{name.capitalize()} cycle of {tiles.n_clusters} clusters",
            "grid": params.grids[0],
            "k": tiles.n_clusters,
        }
        stores.write_product(product, folder / f"{name}_cycle.nc", params)
    draw.diurnal_cycle(diurnal, folder / "diurnal_cycle")
    draw.seasonal_cycle(seasonal, folder / "seasonal_cycle")


def write_transitions(
    params: GridClustersParams,
    tiles: Tiles,
    places: xr.Dataset,
    hours: periods.Periods,
    *,
    folder: Path,
) -> None:
    """Write how often each cluster follows each at the same place."""
    corners = places.latitude_bounds.values, places.longitude_bounds.values
    edge = sphere.great_circle_km(*(c[:, 0] for c in corners), *(c[:, 1] for c in corners))
    view = transitions.number_views(
        places.platform.values[places.scene.values], places.row.values, places.column.values
    )
    pairs = transitions.find_pairs(
        view,
        places.time.values,
        places.latitude.values,
        places.longitude.values,
        max_hours=params.lag_edges[-1],
        max_km=params.max_shift * edge,
    )
    product = transitions.count_transitions(
        pairs,
        tiles.cluster,
        tiles.day,
        view * len(hours.edges) + hours.number,
        n_clusters=tiles.n_clusters,
        lag_edges=np.array(params.lag_edges),
    )
    product.attrs |= {
        "title": f"Transitions between {tiles.n_clusters} clusters",
        "k": tiles.n_clusters,
    }
    n_pairs = int(product.n_pairs.sum())
    if n_pairs < tiles.n_clusters**2:
        product.attrs["note"] = (
            f"{n_pairs} pairs of tiles are of one place, satellite and up to "
            f"{params.lag_edges[-1]:g} hours apart, as is usual of polar orbits: too few for "
            f"transitions between {tiles.n_clusters} clusters."
        )
        log.info("%s", product.attrs["note"])
    else:
        draw.transition_matrix(product, folder / "transitions")
    stores.write_product(product, folder / "transitions.nc", params)


if __name__ == "__main__":
    stage.start(run, GridClustersParams)
