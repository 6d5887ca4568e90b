"""Map the clusters: the tiles themselves, and how often each cluster occurs where."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from pydantic import BeforeValidator, Field

from pipeline.core import grid
from pipeline.files import figures, stage, stores
from pipeline.files.progress import progress

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

MOST_PANELS = 12
MOST_OVERLAP = 1.5  # scenes per occupied cell; beyond it one map would hide most tiles
NO_TILES = "#ededed"
LEGEND_COLUMNS = 15


def _check_k(value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if value != "recommended" and not whole:
        raise ValueError(f"{value!r} is neither 'recommended' nor a number of clusters")
    return value


@dataclass(frozen=True)
class MapClustersParams:
    """Section `map_clusters` of params.yaml."""

    k: Annotated[Literal["recommended"] | int, BeforeValidator(_check_k)]
    cell_degrees: Annotated[float, Field(gt=0, le=180)]
    fewest_tiles: Annotated[int, Field(gt=0)]  # a cell needs to be shown in a figure


def run(params: MapClustersParams, embeddings: Path, clusters: Path, maps: Path) -> None:
    """Read the places of `embeddings` and the numbers in `clusters`, write `maps`."""
    places = stores.open_product(embeddings)
    k, numbers = choose_clusters(stores.open_product(clusters), params.k)
    occurrence = grid.frequency_of_occurrence(
        numbers,
        places.latitude.values,
        places.longitude.values,
        n_clusters=k,
        cell_degrees=params.cell_degrees,
    )
    occurrence.attrs = {"title": f"Frequency of occurrence of {k} clusters", "k": k}
    maps.mkdir(parents=True)
    stores.write_product(occurrence, maps / "frequency.nc", params)
    draw_tiles(places, numbers, n_clusters=k, path=maps / "tiles.png")
    draw_frequency(occurrence, maps / "frequency.png", fewest_tiles=params.fewest_tiles)
    for number in progress(range(k), "maps of single clusters", unit="map"):
        draw_cluster(
            occurrence,
            number,
            maps / f"frequency_cluster_{number:02d}.png",
            fewest_tiles=params.fewest_tiles,
        )


def choose_clusters(
    clusters: xr.Dataset, wanted: Literal["recommended"] | int
) -> tuple[int, IntArray]:
    """Return k and the cluster of every tile, shape (tile,).

    Raises:
        ValueError: If `wanted` is not among the values of k that were computed.
    """
    computed = clusters.k.values
    k = int(clusters.attrs["recommended_k"]) if wanted == "recommended" else wanted
    if k not in computed:
        raise ValueError(
            f"map_clusters.k is {k}, but the clusters were computed for k = {computed.min()} to "
            f"{computed.max()}; choose one of these or change cluster.k_min and cluster.k_max"
        )
    numbers: IntArray = clusters.cluster.sel(k=k).values
    return k, numbers


def draw_tiles(places: xr.Dataset, numbers: IntArray, *, n_clusters: int, path: Path) -> None:
    """Write a map of the tiles in cluster colours, or one per day where scenes overlap much."""
    groups = group_tiles(places)
    latitude_bounds, longitude_bounds = _cells_of_tiles(places)
    figure, panels = figures.map_panels(
        places.latitude_bounds.values, places.longitude_bounds.values, n_panels=len(groups)
    )
    colours = figures.cluster_colours(n_clusters)
    with figures.style():
        for panel, (title, tiles) in zip(panels, groups.items(), strict=True):
            figures.map_tiles(
                panel,
                latitude_bounds[tiles],
                longitude_bounds[tiles],
                colours[numbers[tiles]],
            )
            panel.set_title(f"{title}\n{len(tiles)} tiles", fontsize=8, fontweight="normal")
        _add_legend(figure, colours)
    figures.save(figure, path)


def group_tiles(places: xr.Dataset) -> dict[str, IntArray]:
    """Return the title and the tiles of each map, in the order of time.

    One map holds all tiles unless scenes lie on top of each other; then every day, or with a
    single day every time, has its own, or of more than a dozen an evenly spaced dozen. Where
    scenes of one day still lie on top of each other, the day is shown at its middle time.
    """
    times = places.time.values.astype("datetime64[s]")
    order = np.argsort(times, kind="stable")
    days = times.astype("datetime64[D]")
    if count_overlap(places) <= MOST_OVERLAP:
        first, last = str(days.min()), str(days.max())
        return {first if first == last else f"{first} to {last}": order}
    keys = days if len(np.unique(days)) > 1 else times.astype("datetime64[m]")
    moments = np.unique(keys)
    spaced = np.linspace(0, len(moments) - 1, min(len(moments), MOST_PANELS)).round().astype(int)
    groups = {}
    for moment in moments[spaced]:
        tiles = order[keys[order] == moment]
        if count_overlap(places.isel(tile=tiles)) > MOST_OVERLAP:
            hours = np.unique(times[tiles])
            moment = hours[len(hours) // 2].astype("datetime64[m]")
            tiles = tiles[times[tiles] == hours[len(hours) // 2]]
        groups[str(moment).replace("T", " ")] = tiles
    return groups


def _cells_of_tiles(places: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Corners (tile, vertex) of the middle of each tile which no other tile of its grid shares."""
    share = min(1.0, places.attrs["stride"] / places.attrs["tile_size"])
    middles = places.latitude.values[:, None], places.longitude.values[:, None]
    corners = places.latitude_bounds.values, places.longitude_bounds.values
    latitude, longitude = (
        middle + share * ((corner - middle + 180) % 360 - 180)
        for middle, corner in zip(middles, corners, strict=True)
    )
    return latitude, longitude


def count_overlap(places: xr.Dataset) -> float:
    """Return how many scenes share a place, on average over the places that any scene covers."""
    middle = np.deg2rad(places.latitude.values.astype(np.float64))
    row = np.floor(places.latitude.values).astype(int)
    column = np.floor(places.longitude.values % 360 * np.cos(middle)).astype(int)
    pairs = np.unique(np.column_stack([row, column, places.scene.values]), axis=0)
    return len(pairs) / len(np.unique(pairs[:, :2], axis=0))


def draw_frequency(occurrence: xr.Dataset, path: Path, *, fewest_tiles: int) -> None:
    """Write one small map per cluster, all with the same colours."""
    shown = mask_frequency(occurrence, fewest_tiles)
    limits = shared_limits(shown)
    n_clusters = occurrence.sizes["cluster"]
    figure, panels = _frequency_panels(occurrence, n_panels=n_clusters)
    with figures.style():
        for number, panel in enumerate(panels):
            mesh = _draw_cells(panel, occurrence, shown[number].values, limits)
            n_tiles = int(occurrence["count"][number].sum())
            panel.set_title(f"{number}", loc="left")
            panel.set_title(f"{n_tiles} tiles", loc="right", fontsize=7, fontweight="normal")
        _add_colour_bar(figure, mesh, panels, fewest_tiles)
    figures.save(figure, path)


def draw_cluster(occurrence: xr.Dataset, number: int, path: Path, *, fewest_tiles: int) -> None:
    """Write the map of one cluster, in the colours all clusters share."""
    shown = mask_frequency(occurrence, fewest_tiles)
    figure, panels = _frequency_panels(occurrence, n_panels=1)
    n_tiles = int(occurrence["count"][number].sum())
    share = n_tiles / int(occurrence.n_tiles.sum())
    with figures.style():
        mesh = _draw_cells(panels[0], occurrence, shown[number].values, shared_limits(shown))
        panels[0].set_title(f"Cluster {number}: {n_tiles} tiles, {share:.1%} of all")
        _add_colour_bar(figure, mesh, panels, fewest_tiles)
    figures.save(figure, path)


def mask_frequency(occurrence: xr.Dataset, fewest_tiles: int) -> xr.DataArray:
    """Return the frequency, NaN in cells with fewer tiles; everywhere else if none has so many."""
    enough = occurrence.n_tiles >= min(fewest_tiles, int(occurrence.n_tiles.max()))
    shown: xr.DataArray = occurrence.frequency.where(enough)
    return shown


def shared_limits(shown: xr.DataArray) -> Normalize:
    """Return colour limits from 0 to a round number that one value in fifty exceeds."""
    positive = shown.values[shown.values > 0]
    highest = float(np.percentile(positive, 98)) if positive.size else 1.0
    return Normalize(0, min(np.ceil(highest * 20) / 20, 1.0))


def _frequency_panels(occurrence: xr.Dataset, *, n_panels: int) -> tuple[Figure, list[Any]]:
    latitude, longitude = np.meshgrid(
        occurrence.latitude_bounds.values.ravel(), occurrence.longitude_bounds.values.ravel()
    )
    return figures.map_panels(latitude, longitude, n_panels=n_panels)


def _draw_cells(
    panel: Any, occurrence: xr.Dataset, values: npt.NDArray[np.float64], limits: Normalize
) -> Any:
    panel.set_facecolor(NO_TILES)
    south_north, west_east = occurrence.latitude_bounds.values, occurrence.longitude_bounds.values
    return figures.map_grid(
        panel,
        np.append(south_north[:, 0], south_north[-1, 1]),
        np.append(west_east[:, 0], west_east[-1, 1]),
        values,
        colour_map="YlGnBu",
        norm=limits,
    )


def _add_colour_bar(figure: Figure, mesh: Any, panels: list[Any], fewest_tiles: int) -> None:
    few = f"fewer than {fewest_tiles} tiles" if fewest_tiles > 1 else "no tiles"
    figure.colorbar(
        mesh,
        ax=panels,
        orientation="horizontal",
        shrink=0.5,
        aspect=40,
        extend="max" if mesh.norm.vmax < 1 else "neither",
        label=f"frequency of occurrence (share of the tiles of the cell; grey: {few})",
    )


def _add_legend(figure: Figure, colours: npt.NDArray[np.float64]) -> None:
    n_columns = min(len(colours), LEGEND_COLUMNS)
    # matplotlib fills column by column, but numbers are read row by row.
    order = [
        number for column in range(n_columns) for number in range(column, len(colours), n_columns)
    ]
    figure.legend(
        handles=[Patch(color=colours[number], label=str(number)) for number in order],
        title="cluster",
        loc="outside lower center",
        ncols=n_columns,
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.0,
        handletextpad=0.4,
    )


if __name__ == "__main__":
    stage.start(run, MapClustersParams)
