"""Stage cluster: embeddings → clusters for every k, what they are worth, and a recommended k."""

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
from pydantic import Field, NonNegativeInt, PositiveInt
from threadpoolctl import threadpool_limits

from pipeline.core import cluster_scores, clustering, kmeans, numbering, trial, validity
from pipeline.core.bootstrap import number_days
from pipeline.files import stage, stores
from pipeline.files.progress import progress
from pipeline.files.workers import n_workers

log = logging.getLogger(__name__)

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

FEWEST_JUDGED = 2  # times k_max; with fewer tiles of other days training tiles are judged


@dataclass(frozen=True)
class ClusterParams:
    """Section `cluster` of params.yaml."""

    k_min: Annotated[int, Field(ge=2)]
    k_max: Annotated[int, Field(ge=2)]
    n_starts: PositiveInt
    n_bootstraps: Annotated[int, Field(ge=2)]
    n_surrogates: Annotated[int, Field(ge=2)]
    n_sample: Annotated[int, Field(gt=1)]
    silhouette_sample: Annotated[int, Field(gt=1)]
    reference: str
    seed: NonNegativeInt


def run(params: ClusterParams, embeddings: Path, clusters: Path, metrics: Path) -> None:
    """Read `embeddings`, write `clusters` and their `metrics`."""
    source = stores.open_product(embeddings).load()
    is_train = _choose_training_tiles(params, source)
    judged, judged_on = _gather_judged(params, source, is_train)
    product = _find_clusters(params, source, is_train, judged)
    product.attrs["recommendation"] += f"; judged on {judged_on}"
    product.attrs["judged_on"] = judged_on
    log.info("%s", product.attrs["recommendation"])
    log.info("%s", product.attrs["verdict"])
    stores.write_product(product, clusters, params)
    best = product.sel(k=product.attrs["recommended_k"])
    stores.write_json(metrics, _summarise(product, best, int(is_train.sum()), judged))


def _choose_training_tiles(params: ClusterParams, source: xr.Dataset) -> NDArray[np.bool_]:
    """Whether clusters are fitted to a tile, shape (tile,).

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
    if params.n_sample < params.k_max:
        raise ValueError(
            f"cluster.n_sample {params.n_sample} is smaller than cluster.k_max {params.k_max}; "
            "raise it"
        )
    return np.asarray(is_train)


def _gather_judged(
    params: ClusterParams, source: xr.Dataset, is_train: NDArray[np.bool_]
) -> tuple[trial.Judged, str]:
    """Tiles of whole scenes to judge clusters on, and what they are in words."""
    is_judged, judged_on = ~is_train, "tiles of other days than the training days"
    is_other_days = bool(is_judged.sum() >= FEWEST_JUDGED * params.k_max)
    if not is_other_days:
        judged_on = f"training tiles, since there are {is_judged.sum()} others only"
        is_judged = is_train
    rng = np.random.default_rng(params.seed)
    found, n_tiles = np.unique(source.scene.values[is_judged], return_counts=True)
    drawn = rng.permutation(len(found))
    kept = drawn[: max(1, int((n_tiles[drawn].cumsum() <= params.n_sample).sum()))]
    is_judged = is_judged & np.isin(source.scene.values, found[kept])
    tiles = source.isel(tile=np.flatnonzero(is_judged))
    size, stride = source.attrs["tile_size"], source.attrs["stride"]
    turned = None
    if "turned_embedding" in source:
        is_other = is_judged[source.turned_tile.values]
        turned = source.turned_embedding.values[is_other] if is_other.any() else None
    n_silhouettes = min(params.silhouette_sample, tiles.sizes["tile"])
    return trial.Judged(
        embeddings=tiles.embedding.values,
        days=number_days(tiles.time.values),
        scene=tiles.scene.values,
        pairs=validity.touching_pairs(
            tiles.scene.values,
            tiles.row.values,
            tiles.column.values,
            step=-(-size // stride) * stride,
        ),
        sample=np.sort(rng.choice(tiles.sizes["tile"], n_silhouettes, replace=False)),
        turned=turned,
        is_training=not is_other_days,
    ), judged_on


def _find_clusters(
    params: ClusterParams, source: xr.Dataset, is_train: NDArray[np.bool_], judged: trial.Judged
) -> xr.Dataset:
    """The product: clusters for every k, with scores, the verdict and the recommended k."""
    embeddings = source.embedding.values
    tried = trial.prepare_trial(
        embeddings[is_train],
        source.time.values[is_train],
        judged,
        n_sample=params.n_sample,
        n_bootstraps=params.n_bootstraps,
        n_surrogates=params.n_surrogates,
        n_starts=params.n_starts,
        seed=params.seed,
    )
    k = np.arange(params.k_min, params.k_max + 1)
    # Threads share the embeddings; the limit keeps BLAS from rounding by their number.
    with threadpool_limits(limits=1), ThreadPoolExecutor(max(1, n_workers())) as executor:
        fit = partial(kmeans.fit_centroids, tried.train, n_starts=params.n_starts, seed=params.seed)
        fits = executor.map(lambda n_clusters: fit(n_clusters=n_clusters), k.tolist())
        fresh = list(progress(fits, "k-means", total=len(k), unit="k"))
        centroids = kmeans.nest_centroids(tried.train, fresh, seed=params.seed)
        values, warm_first = _values_to_sort_by(source, is_train)
        numbered = cluster_scores.number_clusters(
            tried.train,
            values,
            centroids,
            descending=warm_first,
            reference=_read_reference(params.reference, source, is_train),
        ).rename(mean="mean_brightness_temperature" if warm_first else "mean_brightness")
        trials = executor.map(partial(trial.try_clusters, tried), centroids)
        found = list(progress(trials, "scores", total=len(k), unit="k"))
        sort = partial(_sort_tiles, embeddings, params.k_max)
        clusters = xr.concat(list(executor.map(sort, numbered.centroid.values)), "k")
    scores = xr.concat([xr.Dataset(scores) for scores in found], "k")
    product = cluster_scores.conclude(
        xr.merge([clusters, numbered, scores]).assign_coords(k=k),
        n_days=int(judged.days.max()) + 1,
        n_surrogates=params.n_surrogates,
    ).assign_coords(stores.tile_places(source))
    return product.assign_attrs(
        title="Clusters of tiles by k-means",
        order=f"for k = {params.k_min} by mean "
        + ("brightness temperature, warm to cold" if warm_first else "brightness, dark to bright")
        + ", of the training tiles; then by the overlap with the clusters for k - 1"
        + ("" if params.reference == "none" else f", and always with those of {params.reference}"),
    )


def _values_to_sort_by(source: xr.Dataset, is_train: NDArray[np.bool_]) -> tuple[FloatArray, bool]:
    """Temperatures of the training tiles, or their brightness where there are none; and which."""
    temperatures = source.get("brightness_temperature", source.brightness * np.nan)
    is_known = bool(np.isfinite(temperatures.values[is_train]).any())
    return (temperatures if is_known else source.brightness).values[is_train], is_known


def _read_reference(
    path: str, source: xr.Dataset, is_train: NDArray[np.bool_]
) -> dict[int, IntArray]:
    """Numbers of training tiles in earlier clusters, by k; -1 of tiles which these do not hold.

    Raises:
        ValueError: If they hold none of the tiles, or are of those of another size.
    """
    if path == "none":
        return {}
    earlier, index = stores.find_tiles(Path(path), source)
    if (index < 0).all():
        raise ValueError(
            f"cluster.reference {path} holds none of the {len(index)} tiles; name clusters of the "
            "same granules, or none"
        )
    log.info("numbers are kept for %d of %d tiles of %s", (index >= 0).sum(), len(index), path)
    return {
        int(each.k): np.where(index >= 0, each.values[index], numbering.UNKNOWN)[is_train]
        for each in earlier.cluster
    }


def _sort_tiles(embeddings: FloatArray, k_max: int, centroids: FloatArray) -> xr.Dataset:
    """Cluster and distance of every tile for the centroids (number, dimension) of one k."""
    clusters, distances = clustering.assign(embeddings, centroids[np.isfinite(centroids[:, 0])])
    return xr.Dataset(
        {
            "cluster": ("tile", clusters),
            "distance": ("tile", distances),
            "n_tiles": ("number", np.bincount(clusters, minlength=k_max)),
        }
    )


def _summarise(
    product: xr.Dataset, best: xr.Dataset, n_train: int, judged: trial.Judged
) -> dict[str, object]:
    """Metrics of the recommended k; a score that cannot be computed is null."""
    scores = {
        name: float(best[name])
        for score in validity.SCORES
        for name in (score, f"{score}_gap")
        if name in best
    }
    return {
        "recommended_k": int(best.k),
        "distinct": bool(product.attrs["distinct"]),
        **{name: None if math.isnan(score) else score for name, score in scores.items()},
        "n_training_tiles": n_train,
        "judged_on": product.attrs["judged_on"],
        "n_judged_tiles": len(judged.embeddings),
    }


if __name__ == "__main__":
    stage.start(run, ClusterParams)
