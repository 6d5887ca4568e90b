"""Stage plot_clusters: clusters, tiles → figures of their scores, examples and trees."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import PositiveInt

from pipeline.core import clustering, numbering
from pipeline.files import figures as draw
from pipeline.files import stage, stores

Tiles = list[list[NDArray[np.uint8]]]  # of each cluster

TILES_AT_LEAF = 5
TILES_AT_SPLIT = 3

AXES = {
    "inertia": "inertia, mean squared distance (low is good)",
    "silhouette": "silhouette (high is good)",
    "davies_bouldin": "Davies–Bouldin index (low is good)",
    "calinski_harabasz": "Calinski–Harabasz index (high is good)",
    "stability": "stability: adjusted Rand index over days",
    "inertia_gap": "gap: ln of the null's inertia over the tiles'",
    "turned_agreement": "turned and mirrored copies in one cluster",
    "coherence": "touching tiles in one cluster",
}


@dataclass(frozen=True)
class PlotClustersParams:
    """Section `plot_clusters` of params.yaml."""

    n_examples: PositiveInt


def run(
    params: PlotClustersParams, embeddings: Path, clusters: Path, scenes: Path, figures: Path
) -> None:
    """Write `figures` of `clusters` and of the tiles of `scenes` that are nearest the centroids."""
    places = stores.open_product(embeddings)[[*stores.PLACES, "time"]].load()
    product = stores.open_joined(clusters, places).load()
    best = product.sel(k=product.attrs["recommended_k"])
    cut = partial(_cut_examples, places, scenes)
    k = int(best.k)
    _plot_scores(product, figures / "scores.png")
    draw.tile_sheet(
        cut(best, params.n_examples),
        figures / "examples.png",
        row_labels=[_describe_cluster(best, number) for number in range(k)],
        row_colours=draw.cluster_colours(k),
        title=f"Tiles nearest the centroid of each of {k} clusters",
    )
    draw.dendrogram(
        product.joins.values,
        cut(best, TILES_AT_LEAF),
        figures / "dendrogram.png",
        x_label="mean distance of centroids when joined",
        title=f"Which of {k} clusters are alike",
    )
    _plot_splits(product, cut, figures / "splits.png")


def _plot_scores(product: xr.Dataset, path: Path) -> None:
    """Every score over k, beside that of the null or of chance."""
    panels, against = {}, {}
    for name, label in AXES.items():
        if name not in product:
            continue
        panels[label] = _with_ends(product, name, f"{name}_low", f"{name}_high")
        if f"{name}_null" in product:
            ends = f"{name}_null_low", f"{name}_null_high"
            against[label] = _with_ends(product, f"{name}_null", *ends)
        elif f"{name}_chance" in product:
            against[label] = product[f"{name}_chance"].values
    draw.curves(
        product.k.values,
        panels,
        path,
        x_label="number of clusters k",
        against=against,
        against_label="structureless points on the sphere; labels by chance",
        mark=product.attrs["recommended_k"],
        title=f"How many clusters? {product.attrs['verdict'].partition(':')[0].capitalize()}",
    )


def _with_ends(product: xr.Dataset, *names: str) -> NDArray[np.floating[Any]]:
    """A score with the bounds of its interval, shape (3, k), or alone without an interval."""
    return np.stack([product[name].values for name in names if name in product])


def _plot_splits(product: xr.Dataset, cut: Callable[[xr.Dataset, int], Tiles], path: Path) -> None:
    """How clusters split from the least to the most k."""
    k, last = product.k.values, product.isel(k=-1)
    first_seen = np.searchsorted(k, last.number.values + 1)
    parents = product.parent.values[first_seen, last.number.values]
    draw.splits(
        product.origin.values,
        product.n_tiles.values / product.sizes["tile"],
        numbering.order_of_leaves(parents),
        cut(last, TILES_AT_SPLIT),
        path,
        first_k=int(k[0]),
        title=f"Which clusters split as k grows from {k[0]} to {k[-1]}",
    )


def _cut_examples(places: xr.Dataset, scenes: Path, found: xr.Dataset, n_examples: int) -> Tiles:
    """Tiles nearest the centroid of each cluster of one k, of different days."""
    pick = partial(
        clustering.pick_examples,
        found.cluster.values,
        found.distance.values,
        granules=places.scene.values,
        days=places.time.values.astype("datetime64[D]"),
        n_examples=n_examples,
    )
    examples = [pick(cluster=number) for number in range(int(found.k))]
    tiles = stores.cut_embedded_tiles(scenes, places.isel(tile=np.concatenate(examples)))
    ends = np.cumsum([len(example) for example in examples])[:-1]
    return [list(row) for row in np.split(tiles, ends)]


def _describe_cluster(best: xr.Dataset, number: int) -> str:
    cluster = best.isel(number=number)
    lines = [str(number), f"n = {int(cluster.n_tiles)}"]
    if "mean_brightness_temperature" in cluster:
        return "\n".join([*lines, f"{float(cluster.mean_brightness_temperature):.0f} K"])
    return "\n".join([*lines, f"brightness {float(cluster.mean_brightness):.2f}"])


if __name__ == "__main__":
    stage.start(run, PlotClustersParams)
