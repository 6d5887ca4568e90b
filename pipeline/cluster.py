"""Stage cluster: embeddings → clusters for every k, what they are worth, and a recommended k."""

import logging
import math
from collections.abc import Mapping
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
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]

FEWEST_JUDGED = 2  # times k_max; with fewer tiles of other days training tiles are judged
USE = "what the clusters of the tile were used for"
FEWEST_DAYS = 8  # for a verdict on other days than k was chosen on; else it is on other scenes


@dataclass(frozen=True)
class ClusterParams:
    """Section `cluster` of params.yaml."""

    k_min: Annotated[int, Field(ge=2)]
    k_max: Annotated[int, Field(ge=2)]
    n_starts: PositiveInt
    n_bootstraps: Annotated[int, Field(ge=2)]
    n_surrogates: Annotated[int, Field(ge=2)]
    n_verdict_surrogates: Annotated[int, Field(ge=19)]
    n_sample: Annotated[int, Field(gt=1)]
    silhouette_sample: Annotated[int, Field(gt=1)]
    reference: str
    seed: NonNegativeInt


def run(params: ClusterParams, embeddings: Path, clusters: Path, metrics: Path) -> None:
    """Read `embeddings`, write `clusters` and their `metrics`."""
    source = stores.open_product(embeddings).load()
    is_train = _choose_training_tiles(params, source)
    is_choosing, is_testing, judged_on = _choose_judged_tiles(params, source, is_train)
    product = _find_clusters(params, source, is_train, is_choosing, is_testing)
    product.attrs["recommendation"] += f"; judged on {judged_on}"
    product.attrs["judged_on"] = judged_on
    log.info("%s", product.attrs["recommendation"])
    log.info("%s", product.attrs["verdict"])
    stores.write_product(product, clusters, params)
    best = product.sel(k=product.attrs["recommended_k"])
    counts = {"training": is_train, "choosing": is_choosing, "testing": is_testing}
    stores.write_json(metrics, _summarise(product, best, counts))


def _choose_training_tiles(params: ClusterParams, source: xr.Dataset) -> BoolArray:
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


def _choose_judged_tiles(
    params: ClusterParams, source: xr.Dataset, is_train: BoolArray
) -> tuple[BoolArray, BoolArray, str]:
    """Tiles of whole scenes that k is chosen on, those the verdict is on, and both in words."""
    is_judged, judged_on = ~is_train, "tiles of other days than the training days"
    if is_judged.sum() < FEWEST_JUDGED * params.k_max:
        judged_on = f"training tiles, since there are {is_judged.sum()} others only"
        is_judged = is_train
    rng = np.random.default_rng(params.seed)
    found, n_tiles = np.unique(source.scene.values[is_judged], return_counts=True)
    drawn = rng.permutation(len(found))
    kept = drawn[: max(1, int((n_tiles[drawn].cumsum() <= params.n_sample).sum()))]
    is_judged = is_judged & np.isin(source.scene.values, found[kept])
    if is_judged[is_train].any():
        return is_judged, is_judged, f"{judged_on}, as is the verdict"
    day = source.time.values.astype("datetime64[D]")
    if len(np.unique(day[is_judged])) >= FEWEST_DAYS:
        days = rng.permutation(np.unique(day[is_judged]))
        is_testing, unit = is_judged & np.isin(day, days[: len(days) // 2]), "days"
    else:
        scenes, first = np.unique(source.scene.values[is_judged], return_index=True)
        shuffled = rng.permutation(len(scenes))
        by_day = shuffled[np.argsort(day[is_judged][first[shuffled]], kind="stable")]
        is_testing = is_judged & np.isin(source.scene.values, scenes[by_day[1::2]])
        unit = "scenes of these days"
    return is_judged & ~is_testing, is_testing, f"{judged_on}, and the verdict on yet other {unit}"


def _gather_judged(
    params: ClusterParams, source: xr.Dataset, is_train: BoolArray, is_judged: BoolArray
) -> trial.Judged:
    tiles = source.isel(tile=np.flatnonzero(is_judged))
    size, stride = source.attrs["tile_size"], source.attrs["stride"]
    day = np.zeros(len(is_judged), np.int64)
    day[is_judged] = number_days(tiles.time.values)
    turned, turned_days = None, np.zeros(0, np.int64)
    if "turned_embedding" in source:
        turned_tile = source.turned_tile.values
        is_chosen = is_judged[turned_tile]
        turned = source.turned_embedding.values[is_chosen] if is_chosen.any() else None
        turned_days = day[turned_tile[is_chosen]]
    n_silhouettes = min(params.silhouette_sample, tiles.sizes["tile"])
    rng = np.random.default_rng(params.seed)
    return trial.Judged(
        embeddings=tiles.embedding.values,
        days=day[is_judged],
        calendar=np.unique(tiles.time.values.astype("datetime64[D]").astype(np.int64)),
        scene=tiles.scene.values,
        pairs=validity.touching_pairs(
            tiles.scene.values,
            tiles.row.values,
            tiles.column.values,
            step=-(-size // stride) * stride,
        ),
        sample=np.sort(rng.choice(tiles.sizes["tile"], n_silhouettes, replace=False)),
        turned=turned,
        turned_days=turned_days,
        is_training=bool((is_judged & is_train).any()),
    )


def _find_clusters(
    params: ClusterParams,
    source: xr.Dataset,
    is_train: BoolArray,
    is_choosing: BoolArray,
    is_testing: BoolArray,
) -> xr.Dataset:
    """The product: clusters for every k, with scores, the recommended k and the verdict on it."""
    embeddings = source.embedding.values
    train = embeddings[is_train]
    tried = trial.prepare_trial(
        train,
        source.time.values[is_train],
        _gather_judged(params, source, is_train, is_choosing),
        n_sample=params.n_sample,
        n_bootstraps=params.n_bootstraps,
        n_surrogates=params.n_surrogates,
        n_starts=params.n_starts,
        seed=params.seed,
    )
    k = np.arange(params.k_min, params.k_max + 1)
    # Threads share the embeddings; the limit keeps BLAS from rounding by their number.
    with threadpool_limits(limits=1), ThreadPoolExecutor(max(1, n_workers())) as executor:
        fit = partial(kmeans.fit_centroids, train, n_starts=params.n_starts, seed=params.seed)
        fits = executor.map(lambda n_clusters: fit(n_clusters=n_clusters), k.tolist())
        fresh = list(progress(fits, "k-means", total=len(k), unit="k"))
        centroids = kmeans.nest_centroids(train, fresh, seed=params.seed)
        values, warm_first = _values_to_sort_by(source, is_train)
        numbered = cluster_scores.number_clusters(
            train,
            values,
            centroids,
            descending=warm_first,
            reference=_read_reference(params.reference, source, is_train),
        ).rename(mean="mean_brightness_temperature" if warm_first else "mean_brightness")
        trials = executor.map(partial(trial.try_clusters, tried), centroids)
        found = list(progress(trials, "scores", total=len(k), unit="k"))
        sort = partial(_sort_tiles, embeddings, params.k_max)
        clusters = xr.concat(list(executor.map(sort, numbered.centroid.values)), "k")
        scores = xr.concat([_as_dataset(scores) for scores in found], "k")
        chosen = cluster_scores.choose(xr.merge([clusters, numbered, scores]).assign_coords(k=k))
        structure = trial.try_structure(
            tried,
            _gather_judged(params, source, is_train, is_testing),
            centroids[chosen.attrs["recommended_k"] - params.k_min],
            n_surrogates=params.n_verdict_surrogates,
            over=executor.map,
        )
    use = np.select([is_train, is_testing, is_choosing], ["fit", "verdict", "choice of k"], "none")
    if (is_testing == is_choosing).all():
        use[is_choosing] = "choice of k, verdict"
    product = cluster_scores.conclude(chosen, structure).assign_coords(
        {**stores.tile_places(source), "use": ("tile", use.astype(object), {"long_name": USE})}
    )
    return product.assign_attrs(
        title="Clusters of tiles by k-means",
        order=f"for k = {params.k_min} by mean "
        + ("brightness temperature, warm to cold" if warm_first else "brightness, dark to bright")
        + ", of the training tiles; then by the overlap with the clusters for k - 1"
        + ("" if params.reference == "none" else f", and always with those of {params.reference}"),
    )


def _as_dataset(scores: Mapping[str, float | FloatArray]) -> xr.Dataset:
    return xr.Dataset(
        {name: ("draw" if np.ndim(score) else (), score) for name, score in scores.items()}
    )


def _values_to_sort_by(source: xr.Dataset, is_train: BoolArray) -> tuple[FloatArray, bool]:
    """Temperatures of the training tiles, or their brightness where there are none; and which."""
    temperatures = source.get("brightness_temperature", source.brightness * np.nan)
    is_known = bool(np.isfinite(temperatures.values[is_train]).any())
    return (temperatures if is_known else source.brightness).values[is_train], is_known


def _read_reference(path: str, source: xr.Dataset, is_train: BoolArray) -> dict[int, IntArray]:
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
    product: xr.Dataset, best: xr.Dataset, tiles: Mapping[str, BoolArray]
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
        "k_low": product.attrs["k_low"],
        "k_high": product.attrs["k_high"],
        "distinct": bool(product.attrs["distinct"]),
        **{name: None if math.isnan(score) else score for name, score in scores.items()},
        "judged_on": product.attrs["judged_on"],
        **{f"n_{use}_tiles": int(chosen.sum()) for use, chosen in tiles.items()},
    }


if __name__ == "__main__":
    stage.start(run, ClusterParams)
