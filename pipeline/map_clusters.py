"""Map the clusters: the tiles themselves, in the colours of their clusters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pipeline.core.choice import KOrRecommended, choose_k
from pipeline.core.footprint import own_cells
from pipeline.files import figures, stage, stores

IntArray = npt.NDArray[np.integer[Any]]

MOST_PANELS = 12
MOST_OVERLAP = 1.5  # scenes per occupied cell; beyond it one map would hide most tiles
LEGEND_COLUMNS = 15


@dataclass(frozen=True)
class MapClustersParams:
    """Section `map_clusters` of params.yaml."""

    k: KOrRecommended


def run(params: MapClustersParams, embeddings: Path, clusters: Path, maps: Path) -> None:
    """Read the places of `embeddings` and the numbers in `clusters`, write `maps`."""
    places = stores.open_product(embeddings)
    found = stores.open_joined(clusters, places)
    k = choose_k(found.k.values, found.attrs["recommended_k"], params.k, key="map_clusters.k")
    draw_tiles(places, found.cluster.sel(k=k).values, n_clusters=k, path=maps / "tiles.png")


def draw_tiles(places: xr.Dataset, numbers: IntArray, *, n_clusters: int, path: Path) -> None:
    """Write a map of the tiles in cluster colours, or one per day where scenes overlap much."""
    groups = group_tiles(places)
    latitude_bounds, longitude_bounds = own_cells(places)
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


def count_overlap(places: xr.Dataset) -> float:
    """Return how many scenes share a place, on average over the places that any scene covers."""
    middle = np.deg2rad(places.latitude.values.astype(np.float64))
    row = np.floor(places.latitude.values).astype(int)
    column = np.floor(places.longitude.values % 360 * np.cos(middle)).astype(int)
    pairs = np.unique(np.column_stack([row, column, places.scene.values]), axis=0)
    return len(pairs) / len(np.unique(pairs[:, :2], axis=0))


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
