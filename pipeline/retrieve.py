"""Stage retrieve: embeddings → the nearest tiles of a few queries, or of one's own."""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt

from pipeline.core import embedding
from pipeline.core.search import ApproximateIndex, recall
from pipeline.files import figures as draw
from pipeline.files import stage, stores

log = logging.getLogger(__name__)

Exclude = Literal["tile", "granule", "day"]
EXCLUDE: tuple[Exclude, ...] = ("tile", "granule", "day")
RECALL_QUERIES = 200  # at most, that are searched exactly as well


@dataclass(frozen=True)
class RetrieveParams:
    """Section `retrieve` of params.yaml."""

    queries_per_cluster: PositiveInt
    n_nearest: PositiveInt
    exclude: Exclude
    search: Literal["exact", "approximate"]
    seed: NonNegativeInt


def run(
    params: RetrieveParams, embeddings: Path, clusters: Path, scenes: Path, nearest: Path
) -> None:
    """Read `embeddings`, write a table and sheets of queries of each of `clusters` to `nearest`."""
    source = stores.open_product(embeddings).load()
    found = stores.open_joined(clusters, source)
    cluster = found.cluster.sel(k=found.attrs["recommended_k"]).load()
    queries = draw_queries(cluster.values, params)
    product = find_nearest(params, source, queries)
    of_query, of_nearest = cluster.values[product.query_tile], cluster.values[product.tile]
    product["query_cluster"] = ("query", of_query, _attributes("cluster of the query"))
    product["cluster"] = (("query", "rank"), of_nearest, _attributes("cluster of the tile"))
    stores.write_product(product, nearest / "nearest.nc", params)
    colours = draw.cluster_colours(int(cluster.k))
    for number in np.unique(of_query):
        draw_sheet(
            product.isel(query=of_query == number),
            source,
            scenes,
            nearest / f"cluster_{number:02d}.png",
            colour=colours[number],
            title=f"Queries of cluster {number} and their nearest tiles",
        )


def draw_queries(clusters: NDArray[np.integer], params: RetrieveParams) -> NDArray[np.int64]:
    """Tiles to ask for, drawn from each cluster in turn; all of a cluster that has too few."""
    rng = np.random.default_rng(params.seed)
    members = [np.flatnonzero(clusters == number) for number in np.unique(clusters)]
    drawn = [
        rng.choice(tiles, min(params.queries_per_cluster, len(tiles)), replace=False)
        for tiles in members
    ]
    return np.concatenate(drawn)


def find_nearest(
    params: RetrieveParams, source: xr.Dataset, queries: NDArray[np.int64]
) -> xr.Dataset:
    """The product of `search`, exact or by an index, whose recall is measured on some queries."""
    look_for = partial(search, source, n_nearest=params.n_nearest, exclude=params.exclude)
    if params.search == "exact":
        return look_for(queries)
    found = look_for(queries, index=ApproximateIndex(source.embedding.values))
    step = -(-len(queries) // RECALL_QUERIES)
    exact = look_for(queries[::step])
    found.attrs["recall"] = recall(found.tile.values[::step], exact.tile.values)
    found.attrs["recall_queries"] = exact.sizes["query"]
    log.info(
        "recall@%d of the approximate search: %.4f of %d queries",
        params.n_nearest,
        found.attrs["recall"],
        found.attrs["recall_queries"],
    )
    return found


def search(
    source: xr.Dataset,
    queries: NDArray[np.int64],
    *,
    n_nearest: int,
    exclude: Exclude,
    index: ApproximateIndex | None = None,
) -> xr.Dataset:
    """Places of queries (query) and of their nearest tiles (query, rank), with the distances.

    A day is one of UTC. Without an index every tile is compared.
    """
    groups = {
        "tile": None,
        "granule": source.scene.values,
        "day": source.time.values.astype("datetime64[D]"),
    }[exclude]
    tiles, distances = embedding.nearest(
        source.embedding.values, queries, n_nearest=n_nearest, groups=groups, index=index
    )
    of_nearest = embedding.tile_places(source, xr.DataArray(tiles, dims=("query", "rank")))
    of_query = embedding.tile_places(source, xr.DataArray(queries, dims="query"))
    product = xr.merge(
        [of_nearest, of_query.rename({name: f"query_{name}" for name in of_query.data_vars})]
    )
    product["distance"] = (
        ("query", "rank"),
        distances,
        _attributes("distance from the query in embedding space"),
    )
    product["rank"] = ("rank", np.arange(1, n_nearest + 1), _attributes("1 is the nearest"))
    for name in of_query.data_vars:
        product[f"query_{name}"].attrs = {
            **of_query[name].attrs,
            "long_name": f"{name} of the query",
        }
    product["tile"].attrs = _attributes("index of the tile in the embeddings")
    product["query_tile"].attrs = _attributes("index of the query in the embeddings")
    return product.assign_attrs(
        title="Tiles nearest to queries",
        exclude=exclude,
        search="exact" if index is None else "approximate",
    )


def draw_sheet(
    found: xr.Dataset,
    source: xr.Dataset,
    scenes: Path,
    path: Path,
    *,
    colour: NDArray[np.floating] | None = None,
    title: str,
) -> None:
    """Write a sheet of one row per query: the query itself, then its nearest tiles."""
    shown = np.column_stack([found.query_tile.values, found.tile.values])  # (query, 1 + rank)
    places = source.isel(tile=shown.ravel())
    tiles = stores.cut_embedded_tiles(scenes, places)
    times = places.time.dt.strftime("%Y-%m-%d\n%H:%M").values.reshape(shown.shape)
    distances = np.column_stack([np.zeros(len(shown)), found.distance.values])
    labels = [
        [f"query\n{time[0]}", *(f"{d:.2f}\n{t}" for d, t in zip(away[1:], time[1:], strict=True))]
        for time, away in zip(times, distances, strict=True)
    ]
    draw.tile_sheet(
        tiles.reshape(*shown.shape, *tiles.shape[1:]),
        path,
        row_labels=[f"tile {tile}" for tile in found.query_tile.values],
        tile_labels=labels,
        row_colours=None if colour is None else [colour] * len(shown),
        title=title,
    )


def _attributes(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}


def answer(arguments: Sequence[str]) -> None:
    """Print the tiles nearest to one's own query, and write a sheet of them."""
    with stage.one_sentence_errors("retrieve"):
        params = stage.read_params("retrieve", RetrieveParams)
        paths = stage.paths("retrieve")
        given = _parse(arguments, params)
        source = stores.open_product(paths["embeddings"]).load()
        query = embedding.find_tile(
            source, granule=given.granule, row=given.row, column=given.column
        )
        row, column = int(source.row[query]), int(source.column[query])
        if (row, column) != (given.row, given.column):
            print(
                f"No tile starts at row {given.row}, column {given.column}; "
                f"took the one at row {row}, column {column}."
            )
        found = search(source, np.array([query]), n_nearest=given.n, exclude=given.exclude)
        print(_as_table(found))
        title = f"Tiles nearest to {given.granule}, row {row}, column {column}"
        draw_sheet(found, source, paths["scenes"], given.output, title=title)
        print(f"Wrote {given.output}.")


def _parse(arguments: Sequence[str], params: RetrieveParams) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.retrieve", description="Nearest tiles of one's own query."
    )
    parser.add_argument("--granule", required=True, help="its name, as in embeddings.zarr")
    parser.add_argument("--row", type=int, required=True, help="first row of the tile")
    parser.add_argument("--column", type=int, required=True, help="first column of the tile")
    parser.add_argument("-n", type=int, default=params.n_nearest, help="how many (%(default)s)")
    parser.add_argument(
        "--exclude", choices=EXCLUDE, default=params.exclude, help="the query's own (%(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("nearest.png"), help="sheet to write (%(default)s)"
    )
    return parser.parse_args(arguments)


def _as_table(found: xr.Dataset) -> str:
    columns = ["distance", "granule", "row", "column", "latitude", "longitude", "time"]
    table = found.isel(query=0)[columns].to_dataframe()[columns]
    return table.to_string(
        formatters={
            "distance": "{:.3f}".format,
            "latitude": "{:.2f}".format,
            "longitude": "{:.2f}".format,
            "time": "{:%Y-%m-%d %H:%M}".format,
        }
    )


if __name__ == "__main__":
    if any(word.partition("=")[0] == "--granule" for word in sys.argv[1:]):
        answer(sys.argv[1:])
    else:
        stage.start(run, RetrieveParams)
