"""Stage audit: how much of the clusters brightness, place and time explain, and what is left."""

import logging
from collections.abc import Mapping, Sequence
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

from pipeline.core import audit as core
from pipeline.core import audit_product, clustering, kmeans
from pipeline.core.audit_product import BEST
from pipeline.core.bootstrap import draw_days, number_days
from pipeline.core.device import compute_device
from pipeline.core.encoder import embed_tiles
from pipeline.core.factors import LABELS, gather_factors
from pipeline.core.other_days import Explained, Fitted, best_of, share_explained
from pipeline.core.references import reference_features
from pipeline.core.representations import OWN, Representation
from pipeline.files import encoders, stage, stores
from pipeline.files.progress import progress
from pipeline.files.workers import n_workers

log = logging.getLogger(__name__)

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

N_DRAWS = 500


@dataclass(frozen=True)
class AuditParams:
    """Section `audit` of params.yaml."""

    n_sample: Annotated[int, Field(ge=100)]
    n_components: PositiveInt
    n_folds: Annotated[int, Field(ge=2)]
    seed: NonNegativeInt


def run(
    params: AuditParams,
    embeddings: Path,
    clusters: Path,
    scenes: Path,
    encoder: Path,
    audit: Path,
    metrics: Path,
) -> None:
    """Read `embeddings`, `clusters` and tiles of `scenes`, write netCDF and a table to `audit`."""
    source = stores.open_product(embeddings)
    rng = np.random.default_rng(params.seed)
    n_tiles = source.sizes["tile"]
    sample = np.sort(rng.choice(n_tiles, min(params.n_sample, n_tiles), replace=False))
    tiles = source.isel(tile=sample).load()
    days = number_days(tiles.time.values)
    calendar = np.unique(tiles.time.values.astype("datetime64[D]").astype(np.int64))
    n_days = len(calendar)
    if n_days < 2:
        raise ValueError(
            "the tiles are of one day, so that nothing can be tried on another; fetch granules of "
            "more days"
        )
    factors, left_out = gather_factors(tiles)
    for name, reason in left_out.items():
        log.info("%s is left out: %s", LABELS[name], reason)
    found = stores.open_joined(clusters, source)
    with threadpool_limits(limits=1):  # BLAS would round by the number of its threads
        representations = _represent(params, tiles, found, sample, scenes, encoder)
        draws = draw_days(n_days, n_draws=N_DRAWS, rng=rng)
        explained = _explain(params, representations, factors, days, calendar, draws)
        product = audit_product.assemble(explained, representations, factors)
    best = product.sel(k=found.attrs["recommended_k"])
    product.attrs |= {
        "title": "What explains the clusters",
        "finding": audit_product.say(best),
        "left_out": "; ".join(f"{LABELS[name]}: {why}" for name, why in left_out.items()),
        "n_tiles": len(sample),
        "n_days": n_days,
        "comment": "shares are cross-validated over days but for correlation_ratio, and "
        "extrapolated to many days; below 0 the mean would have been the better guess",
    }
    log.info("%s", product.attrs["finding"])
    stores.write_product(product, audit / "audit.nc", params)
    table = audit_product.tabulate(product)
    table.to_csv(audit / "audit.csv", index=False, float_format="%.4f")
    stores.write_json(metrics, audit_product.summarise(best))


def _represent(
    params: AuditParams,
    tiles: xr.Dataset,
    found: xr.Dataset,
    sample: IntArray,
    scenes: Path,
    encoder: Path,
) -> dict[str, Representation]:
    """The own embedding with its clusters, and those that have learnt nothing of clouds."""
    own = found.isel(tile=sample)
    clusters = {
        int(k): (own.cluster.sel(k=k).values, own.centroid.sel(k=k).values[: int(k)])
        for k in found.k
    }
    pictures = stores.cut_embedded_tiles(scenes, tiles)
    _, description = encoders.read_encoder(encoder)
    embed = partial(
        embed_tiles, device=compute_device(), n_orientations=tiles.attrs["n_orientations"]
    )
    others = reference_features(
        pictures, description, encoders.read_initial(encoder), embed=embed, seed=params.seed
    )
    is_train = tiles.split.values == "train"
    if is_train.sum() < max(clusters):
        raise ValueError(
            f"{is_train.sum()} training tiles in the sample are too few for {max(clusters)} "
            "clusters; raise audit.n_sample"
        )
    return {
        OWN: Representation(tiles.embedding.values, clusters),
        **{
            name: Representation(
                features, _cluster(features, is_train, list(clusters), params.seed)
            )
            for name, features in others.items()
        },
    }


def _cluster(
    features: FloatArray, is_train: NDArray[np.bool_], ks: Sequence[int], seed: int
) -> dict[int, tuple[IntArray, FloatArray]]:
    found = {}
    for k in ks:
        centroids, _ = kmeans.fit_centroids(features[is_train], n_clusters=k, n_starts=1, seed=seed)
        found[k] = clustering.assign(features, centroids)[0], centroids
    return found


def _explain(
    params: AuditParams,
    representations: Mapping[str, Representation],
    factors: Mapping[str, FloatArray],
    days: IntArray,
    calendar: IntArray,
    draws: IntArray,
) -> dict[tuple[str, str], dict[audit_product.Target, Explained]]:
    """What each factor, and sets of them, explain of every representation."""
    together = audit_product.gather_sets(factors)
    targets = {
        name: audit_product.list_targets(each, params.n_components)
        for name, each in representations.items()
    }
    jobs = [(representation, name) for representation in representations for name in together]

    def fit(job: tuple[str, str]) -> dict[audit_product.Target, Fitted]:
        return core.explain(
            together[job[1]],
            targets[job[0]],
            days,
            n_folds=min(params.n_folds, draws.shape[1]),
            seed=params.seed,
        )

    with ThreadPoolExecutor(max(1, n_workers())) as executor:
        found = progress(executor.map(fit, jobs), "audit", total=len(jobs), unit="fits")
        fitted = dict(zip(jobs, found, strict=True))
    for representation in representations:
        of_all = [fitted[representation, name] for name in together]
        fitted[representation, BEST] = {
            target: best_of([each[target] for each in of_all]) for target in of_all[0]
        }
    explained = {
        job: {target: share_explained(each, draws, calendar) for target, each in found.items()}
        for job, found in fitted.items()
    }
    for (representation, name), of_job in fitted.items():
        explained[representation, name] |= {
            (audit_product.DIFFERENCE, k): share_explained(
                fitted[OWN, name][what, k], draws, calendar, beyond=each
            )
            for (what, k), each in of_job.items()
            if what == "clusters"
        }
    return explained


if __name__ == "__main__":
    stage.start(run, AuditParams)
