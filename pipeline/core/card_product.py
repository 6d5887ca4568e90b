"""What cluster cards show, as a labelled product."""

from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core import card
from pipeline.core.bootstrap import number_days
from pipeline.core.clustering import pick_examples

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

KINDS = ("nearest", "edge", "random")  # of tiles that show a cluster
NO_TILE = -1
LONG_NAMES = {
    "cluster": "number of the cluster",
    "nearest": "tiles of the embeddings nearest the centroid, -1 where there are no more",
    "edge": "likewise those at the edge of the cluster",
    "random": "likewise some drawn at random",
    "edge_rival": "cluster of the second-nearest centroid of the tiles at the edge",
    "edge_margin": "how much farther it is than the nearest, as a share of its distance",
    "n_tiles": "tiles of the cluster",
    "n_days": "UTC days with tiles of the cluster",
    "share": "share of the cluster among all tiles",
    "place_share": "share of the cluster among the tiles of the cell",
    "place_n_tiles": "tiles of the cell",
    "month": "calendar month (UTC)",
    "month_share": "share of the cluster among the tiles of the month",
    "month_n_tiles": "tiles of the month",
    "month_n_days": "UTC days with tiles of the month",
    "hour": "hour of local solar time",
    "hour_share": "share of the cluster among the tiles of the hour",
    "hour_n_tiles": "tiles of the hour",
    "labelled_tiles": "labelled tiles in the cluster",
    "class_distance": "mean distance of the labelled tiles of a class to the centroid",
    "hour_n_days": "UTC days with tiles of the hour",
}


def choose_tiles(
    source: xr.Dataset,
    best: xr.Dataset,
    centroids: FloatArray,
    *,
    n_examples: int,
    seed: int,
) -> xr.Dataset:
    """Tiles (cluster, example) nearest each centroid, at the edge of its cluster and at random.

    The first two are of different granules and days where possible.

    Args:
        source: Embeddings with their scenes and times.
        best: `cluster` and `distance` (tile,).
        centroids: Shape (cluster, dimension).
        n_examples: Tiles of each kind; where a cluster is smaller, -1 fills the row.
        seed: Of the draw.
    """
    clusters = best.cluster.values
    rivals, margins = card.find_rivals(source.embedding.values, centroids)
    pick = partial(
        pick_examples,
        clusters,
        granules=source.scene.values,
        days=number_days(source.time.values),
        n_examples=n_examples,
    )
    chosen = {kind: np.full((len(centroids), n_examples), NO_TILE, np.int32) for kind in KINDS}
    for number in range(len(centroids)):
        rng = np.random.default_rng([seed, number])
        found = (
            pick(best.distance.values, cluster=number),
            pick(margins, cluster=number),
            card.draw_members(clusters, cluster=number, n_examples=n_examples, rng=rng),
        )
        for kind, members in zip(KINDS, found, strict=True):
            chosen[kind][number, : len(members)] = members
    edge = chosen["edge"]
    variables = chosen | {
        "edge_rival": np.where(edge != NO_TILE, rivals[edge], NO_TILE).astype(np.int16),
        "edge_margin": np.where(edge != NO_TILE, margins[edge], np.nan),
    }
    product = xr.Dataset(
        {name: (("cluster", "example"), values) for name, values in variables.items()},
        coords={"cluster": np.arange(len(centroids), dtype=np.int16)},
    )
    return _name(product)


def count_shares(source: xr.Dataset, clusters: IntArray, n_clusters: int) -> xr.Dataset:
    """Share of each cluster among the tiles of each month, hour of local solar time and place."""
    days = number_days(source.time.values)
    cells = card.choose_cells(
        source.latitude.values,
        source.longitude.values,
        tile_degrees=float(np.median(np.ptp(source.latitude_bounds.values, axis=1))),
    )
    months = source.time.values.astype("datetime64[M]").astype(np.int64) % 12
    hours = np.floor(source.local_solar_time.values).astype(np.int64) % 24
    n_cells = cells.shape[0] * cells.shape[1]
    bins = {
        "all": (np.zeros_like(months), 1),
        "month": (months, 12),
        "hour": (hours, 24),
        "place": (cells.cell, n_cells),
    }
    share = partial(card.share_in_bins, clusters, days=days, n_clusters=n_clusters)
    shares = {name: share(bins=each, n_bins=n) for name, (each, n) in bins.items()}
    counts = [len(np.unique(days[clusters == number])) for number in range(n_clusters)]
    product = xr.Dataset(
        {
            "n_tiles": ("cluster", np.bincount(clusters, minlength=n_clusters)),
            "n_days": ("cluster", counts),
            "share": ("cluster", shares["all"].share[:, 0]),
            "place_share": (
                ("cluster", "latitude", "longitude"),
                shares["place"].share.reshape(n_clusters, *cells.shape),
            ),
            "place_n_tiles": (
                ("latitude", "longitude"),
                shares["place"].n_tiles.reshape(cells.shape),
            ),
            "latitude_bounds": (("latitude", "bound"), _pair(cells.latitude_edges)),
            "longitude_bounds": (("longitude", "bound"), _pair(cells.longitude_edges)),
        },
        coords={
            "latitude": cells.latitude_edges[:-1] + np.diff(cells.latitude_edges) / 2,
            "longitude": cells.longitude_edges[:-1] + np.diff(cells.longitude_edges) / 2,
            "month": np.arange(1, 13),
            "hour": np.arange(24),
        },
    )
    for name in ("month", "hour"):
        product[f"{name}_share"] = ("cluster", name), shares[name].share
        product[f"{name}_n_tiles"] = name, shares[name].n_tiles
        product[f"{name}_n_days"] = name, shares[name].n_days
    for name in ("latitude", "longitude"):
        product[name].attrs["bounds"] = f"{name}_bounds"
    return _name(product)


def match_labels(
    embeddings: FloatArray, labels: NDArray[np.str_], centroids: FloatArray
) -> xr.Dataset:
    """Labelled tiles (cluster, class) among the clusters, and the class nearest each.

    Args:
        embeddings: Of the labelled tiles, shape (tile, dimension).
        labels: Of these, shape (tile,).
        centroids: Shape (cluster, dimension).
    """
    names, numbers = np.unique(labels, return_inverse=True)
    found = card.match_classes(embeddings, numbers, centroids, n_classes=len(names))
    product = xr.Dataset(
        {
            "labelled_tiles": (("cluster", "class"), found.n_tiles),
            "class_distance": (("cluster", "class"), found.distance),
            "nearest_class": ("cluster", names[found.nearest].astype(object)),
        },
        coords={"class": names.astype(object)},
    )
    product["nearest_class"].attrs = {"long_name": "class with the least mean distance"}
    return _name(product)


def _name(product: xr.Dataset) -> xr.Dataset:
    for name in set(LONG_NAMES) & set(product.variables):
        product[name].attrs = {"long_name": LONG_NAMES[name], "units": "1"}
    return product


def _pair(edges: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.stack([edges[:-1], edges[1:]], axis=1)
