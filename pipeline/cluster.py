"""Stage cluster: embeddings → clusters for every k, their scores, and a recommended k."""

import logging
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field
from threadpoolctl import threadpool_limits

from pipeline.core import clustering
from pipeline.files import figures as draw
from pipeline.files import stage, stores
from pipeline.files.progress import progress
from pipeline.files.workers import n_workers

log = logging.getLogger(__name__)

ATTRIBUTES = {
    "number": {"long_name": "number of the cluster", "units": "1"},
    "k": {"long_name": "number of clusters", "units": "1"},
    "cluster": {"long_name": "number of the tile's cluster, from 0", "units": "1"},
    "distance": {
        "long_name": "distance to the cluster's centroid",
        "units": "1",
    },
    "centroid": {"long_name": "centroid, missing where the number is k or more", "units": "1"},
    "n_tiles": {"long_name": "tiles in the cluster, of all splits", "units": "1"},
    "mean_brightness_temperature": {
        "long_name": "mean brightness temperature of the cluster's training tiles",
        "units": "K",
    },
    "mean_brightness": {
        "long_name": "mean brightness of the cluster's training tiles",
        "units": "1",
    },
    "inertia": {"long_name": "sum of squared distances of training tiles", "units": "1"},
    "silhouette": {"long_name": "mean silhouette", "units": "1"},
    "davies_bouldin": {"long_name": "Davies-Bouldin index", "units": "1"},
    "seed_agreement": {"long_name": "mean adjusted Rand index between seeds", "units": "1"},
}


@dataclass(frozen=True)
class ClusterParams:
    """Section `cluster` of params.yaml."""

    k_min: Annotated[int, Field(ge=2)]
    k_max: Annotated[int, Field(ge=2)]
    n_starts: Annotated[int, Field(gt=0)]
    n_seeds: Annotated[int, Field(ge=2)]
    silhouette_sample: Annotated[int, Field(gt=1)]
    n_examples: Annotated[int, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class _Tiles:
    """What clusters are made from and judged on; arrays of shape (tile,) but for embeddings."""

    embeddings: NDArray[np.float32]
    is_train: NDArray[np.bool_]
    values: NDArray[np.floating]
    values_name: str
    judged: NDArray[np.integer]
    judged_on: str
    sample: NDArray[np.integer]


def run(
    params: ClusterParams,
    embeddings: Path,
    scenes: Path,
    clusters: Path,
    figures: Path,
    metrics: Path,
) -> None:
    """Read `embeddings`, write `clusters` and their `metrics`; `figures` show tiles of `scenes`."""
    source = stores.open_product(embeddings).load()
    tiles = _gather_tiles(params, source)
    product = _find_clusters(params, tiles)
    log.info("%s", product.attrs["recommendation"])
    stores.write_product(product, clusters, params)
    best = product.sel(k=product.attrs["recommended_k"])
    stores.write_json(metrics, _summarise(best, tiles))
    _draw_scores(product, figures / "scores.png")
    _draw_examples(params, source, best, scenes, figures / "examples.png")


def _gather_tiles(params: ClusterParams, source: xr.Dataset) -> _Tiles:
    """The tiles to fit and to judge, refused where there are too few.

    Raises:
        ValueError: If the range of k is empty, or larger than the tiles allow.
    """
    if params.k_min > params.k_max:
        raise ValueError(
            f"cluster.k_min {params.k_min} is larger than cluster.k_max {params.k_max}; "
            "lower k_min or raise k_max"
        )
    is_train = source.split.values == "train"
    n_train = int(is_train.sum())
    if n_train < params.k_max:
        raise ValueError(
            f"{n_train} training tiles are too few for cluster.k_max {params.k_max}; lower k_max, "
            "lower embed.stride or fetch more granules"
        )
    judged, judged_on = np.flatnonzero(source.split.values == "validation"), "validation tiles"
    if len(judged) <= params.k_max:
        judged_on = f"training tiles, since there are {len(judged)} validation tiles only"
        judged = np.flatnonzero(is_train)
        log.info("scores are judged on %s", judged_on)
    rng = np.random.default_rng(params.seed)
    n_sample = min(params.silhouette_sample, len(judged))
    temperatures = source.get("brightness_temperature", source.brightness * np.nan)
    has_temperature = np.isfinite(temperatures.values[is_train]).any()
    values_name = "brightness_temperature" if has_temperature else "brightness"
    return _Tiles(
        embeddings=source.embedding.values,
        is_train=is_train,
        values=source[values_name].values,
        values_name=values_name,
        judged=judged,
        judged_on=judged_on,
        sample=np.sort(rng.choice(judged, n_sample, replace=False)),
    )


def _find_clusters(params: ClusterParams, tiles: _Tiles) -> xr.Dataset:
    """The product: clusters for every k, with scores and the recommended k."""
    k = np.arange(params.k_min, params.k_max + 1)
    # Threads share the embeddings; the limit keeps BLAS from rounding by their number.
    with threadpool_limits(limits=1), ThreadPoolExecutor(max(1, n_workers())) as executor:
        find = partial(_find_k_clusters, params, tiles)
        found = list(progress(executor.map(find, k.tolist()), "k-means", total=len(k), unit="k"))
    product = xr.concat(found, "k").assign_coords(k=k)
    scores = {name: product[name].values for name in clustering.SCORES}
    recommended_k, reason = clustering.recommend(k, scores)
    for name in product.variables:
        product[name].attrs = ATTRIBUTES[str(name)]
    return product.assign_attrs(
        title="Clusters of tiles by k-means",
        recommended_k=recommended_k,
        recommendation=f"{reason}; judged on {tiles.judged_on}",
        judged_on=tiles.judged_on,
        order=f"by mean {tiles.values_name} of the training tiles, "
        + ("warm to cold" if tiles.values_name == "brightness_temperature" else "dark to bright"),
    )


def _find_k_clusters(params: ClusterParams, tiles: _Tiles, k: int) -> xr.Dataset:
    """The best of `n_seeds` fits, its clusters in order, and its scores."""
    train = tiles.embeddings[tiles.is_train]
    fits = [
        clustering.fit_centroids(train, n_clusters=k, n_starts=params.n_starts, seed=seed)
        for seed in range(params.seed, params.seed + params.n_seeds)
    ]
    centroids, inertia = min(fits, key=lambda fit: fit[1])
    values = tiles.values[tiles.is_train]
    means = clustering.cluster_means(values, clustering.assign(train, centroids)[0], n_clusters=k)
    warm_first = tiles.values_name == "brightness_temperature"
    order = clustering.order_clusters(means, descending=warm_first)
    clusters, distances = clustering.assign(tiles.embeddings, centroids[order])
    judged = tiles.embeddings[tiles.judged]
    sample = tiles.embeddings[tiles.sample]
    agreement = clustering.seed_agreement([clustering.assign(judged, fit)[0] for fit, _ in fits])
    return xr.Dataset(
        {
            "cluster": ("tile", clusters),
            "distance": ("tile", distances),
            "centroid": (("number", "dimension"), _pad(centroids[order], params.k_max, np.nan)),
            "n_tiles": ("number", np.bincount(clusters, minlength=params.k_max)),
            f"mean_{tiles.values_name}": ("number", _pad(means[order], params.k_max, np.nan)),
            "inertia": inertia,
            "silhouette": clustering.silhouette(sample, clusters[tiles.sample]),
            "davies_bouldin": clustering.davies_bouldin(judged, clusters[tiles.judged]),
            "seed_agreement": agreement,
        },
        coords={"number": np.arange(params.k_max)},
    )


def _pad(values: NDArray[np.floating], length: int, fill: float) -> NDArray[np.floating]:
    missing = [(0, length - len(values)), *[(0, 0)] * (values.ndim - 1)]
    return np.pad(values, missing, constant_values=fill)


def _summarise(best: xr.Dataset, tiles: _Tiles) -> dict[str, object]:
    """Metrics of the recommended k; a score that cannot be computed is null."""
    scores = {name: float(best[name]) for name in [*clustering.SCORES, "inertia"]}
    return {
        "recommended_k": int(best.k),
        **{name: None if math.isnan(score) else score for name, score in scores.items()},
        "n_training_tiles": int(tiles.is_train.sum()),
        "judged_on": tiles.judged_on,
        "n_judged_tiles": len(tiles.judged),
    }


def _draw_scores(product: xr.Dataset, path: Path) -> None:
    draw.curves(
        product.k.values,
        {
            "inertia of training tiles": product.inertia.values,
            "silhouette (high is good)": product.silhouette.values,
            "Davies–Bouldin index (low is good)": product.davies_bouldin.values,
            "agreement between seeds (adjusted Rand index)": product.seed_agreement.values,
        },
        path,
        x_label="number of clusters k",
        mark=product.attrs["recommended_k"],
        title=f"Scores of k-means on {product.attrs['judged_on']}",
    )


def _draw_examples(
    params: ClusterParams, source: xr.Dataset, best: xr.Dataset, scenes: Path, path: Path
) -> None:
    """Sheet of the recommended k: the tiles nearest each centroid, of different days."""
    examples = [
        clustering.pick_examples(
            best.cluster.values,
            best.distance.values,
            granules=source.scene.values,
            days=source.time.values.astype("datetime64[D]"),
            cluster=number,
            n_examples=params.n_examples,
        )
        for number in range(int(best.k))
    ]
    shown = source.isel(tile=np.concatenate(examples))
    tiles = stores.cut_embedded_tiles(scenes, shown)
    ends = np.cumsum([len(example) for example in examples])[:-1]
    draw.tile_sheet(
        [list(row) for row in np.split(tiles, ends)],
        path,
        row_labels=[_describe_cluster(best, number) for number in range(len(examples))],
        row_colours=draw.cluster_colours(len(examples)),
        title=f"Tiles nearest the centroid of each of {len(examples)} clusters",
    )


def _describe_cluster(best: xr.Dataset, number: int) -> str:
    cluster = best.isel(number=number)
    lines = [str(number), f"n = {int(cluster.n_tiles)}"]
    if "mean_brightness_temperature" in cluster:
        return "\n".join([*lines, f"{float(cluster.mean_brightness_temperature):.0f} K"])
    return "\n".join([*lines, f"brightness {float(cluster.mean_brightness):.2f}"])


if __name__ == "__main__":
    stage.start(run, ClusterParams)
