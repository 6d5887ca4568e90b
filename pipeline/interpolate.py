"""Stage interpolate: embeddings → real tiles on the ways between two tiles."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from pydantic import Field, NonNegativeInt

from pipeline.core import embedding
from pipeline.files import figures as draw
from pipeline.files import stage, stores

log = logging.getLogger(__name__)

ATTRIBUTES = {
    "tile": {"long_name": "index of the tile in the embeddings", "units": "1"},
    "path": {"long_name": "number of the path", "units": "1"},
    "step": {"long_name": "step along the path", "units": "1"},
    "fraction": {"long_name": "where on the great circle the step's point lies", "units": "1"},
    "position": {
        "long_name": "where on the great circle the point nearest to the tile lies",
        "units": "1",
    },
    "distance": {"long_name": "distance of the tile from the step's point", "units": "1"},
    "distance_from_circle": {
        "long_name": "distance of the tile from the great circle",
        "units": "1",
    },
    "tile_through": {
        "long_name": "index of the tile on the shortest way from tile to near tile, -1 for none",
        "units": "1",
    },
}


@dataclass(frozen=True)
class Place:
    """A tile by its granule and first pixel."""

    granule: str
    row: NonNegativeInt
    column: NonNegativeInt


@dataclass(frozen=True)
class Pair:
    """Two tiles to go between."""

    start: Place
    end: Place


@dataclass(frozen=True)
class InterpolateParams:
    """Section `interpolate` of params.yaml; to given `pairs` come `n_far_apart` chosen ones."""

    n_steps: Annotated[int, Field(ge=3)]
    n_far_apart: NonNegativeInt
    pairs: tuple[Pair, ...]
    seed: NonNegativeInt


def run(
    params: InterpolateParams, embeddings: Path, clusters: Path, scenes: Path, interpolated: Path
) -> None:
    """Read `embeddings`, write tables and a sheet to `interpolated`; `clusters` give ends."""
    if not params.pairs and not params.n_far_apart:
        raise ValueError(
            "interpolate.pairs is empty and interpolate.n_far_apart 0, so there is nothing to go "
            "between; name pairs or raise n_far_apart"
        )
    source = stores.open_product(embeddings).load()
    found = stores.open_joined(clusters, source)
    best = found.sel(k=found.attrs["recommended_k"])
    ends = [_find_pair(source, pair) for pair in params.pairs]
    ends += choose_far_apart(best, params.n_far_apart)
    product = find_paths(source, ends, n_steps=params.n_steps, seed=params.seed)
    stores.write_product(product, interpolated / "paths.nc", params)
    product.to_dataframe().to_csv(interpolated / "paths.csv")
    _draw_sheet(product, source, scenes, interpolated / "paths.png")


def choose_far_apart(clusters: xr.Dataset, n_pairs: int) -> list[tuple[int, int]]:
    """Ends of paths: the tiles nearest to centroids which lie far apart, no cluster twice.

    Centroids, since the tiles farthest from each other are oddities.
    """
    k = int(clusters.k)
    pairs = embedding.far_apart(clusters.centroid.values[:k], n_pairs=n_pairs)
    number, distance = clusters.cluster.values, clusters.distance.values
    typical = [np.where(number == cluster, distance, np.inf).argmin() for cluster in range(k)]
    return [(int(typical[start]), int(typical[end])) for start, end in pairs]


def find_paths(
    source: xr.Dataset, ends: list[tuple[int, int]], *, n_steps: int, seed: int
) -> xr.Dataset:
    """The product (path, step): tiles along great circles and through near tiles, their places."""
    embeddings = source.embedding.values
    found = [
        {
            **asdict(embedding.path_between(embeddings, start, end, n_steps=n_steps)),
            "tile_through": embedding.path_through(
                embeddings, start, end, n_steps=n_steps, seed=seed
            ),
        }
        for start, end in ends
    ]
    steps = {
        name: xr.DataArray(np.stack([path[name] for path in found]), dims=("path", "step"))
        for name in found[0]
    }
    product = embedding.tile_places(source, steps["tile"]).assign(steps)
    product = product.assign_coords(path=np.arange(len(ends)), step=np.arange(n_steps))
    for name in ATTRIBUTES:
        product[name].attrs = ATTRIBUTES[name]
    return product.assign_attrs(
        title="Tiles along great circles in embedding space, and through near tiles",
        references="Denby (2020), doi:10.1029/2019GL085190",
    )


def _find_pair(source: xr.Dataset, pair: Pair) -> tuple[int, int]:
    start, end = (_find_tile(source, place) for place in (pair.start, pair.end))
    return start, end


def _find_tile(source: xr.Dataset, place: Place) -> int:
    tile = embedding.find_tile(source, granule=place.granule, row=place.row, column=place.column)
    row, column = int(source.row[tile]), int(source.column[tile])
    if (row, column) != (place.row, place.column):
        log.info(
            "no tile of %s starts at row %d, column %d; took the one at row %d, column %d",
            place.granule,
            place.row,
            place.column,
            row,
            column,
        )
    return tile


def _draw_sheet(product: xr.Dataset, source: xr.Dataset, scenes: Path, path: Path) -> None:
    """Two rows a path: along the great circle, with distances, and through near tiles."""
    n_steps = product.sizes["step"]
    ways = np.stack([product.tile.values, product.tile_through.values], axis=1)
    ways = ways.reshape(-1, n_steps)  # (row of the sheet, step)
    shown = source.isel(tile=np.maximum(ways, 0).ravel())
    tiles = stores.cut_embedded_tiles(scenes, shown)
    tiles = tiles.reshape(*ways.shape, *tiles.shape[1:])
    labels = []
    for way in product.path.values:
        along = product.sel(path=way)
        pairs = zip(along.distance.values, along.distance_from_circle.values, strict=True)
        labels += [[f"{point:.2f} | {circle:.2f}" for point, circle in pairs], [""] * n_steps]
    draw.tile_sheet(
        [
            [tile if index >= 0 else None for index, tile in zip(way, row, strict=True)]
            for way, row in zip(ways, tiles, strict=True)
        ],
        path,
        row_labels=[
            f"path {number}, {way}"
            for number in product.path.values
            for way in ("great circle", "near tiles")
        ],
        tile_labels=labels,
        title="Real tiles between two: distance from the point | from the great circle",
    )


if __name__ == "__main__":
    stage.start(run, InterpolateParams)
