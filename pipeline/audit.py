"""Stage audit: how much of the clusters brightness, place and time explain, and what is left."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from pipeline.core import audit as core
from pipeline.core import clustering
from pipeline.core.bootstrap import draw_days, number_days
from pipeline.core.classification.probe import pixel_statistics
from pipeline.core.device import compute_device
from pipeline.core.encoder import create_encoder, embed_tiles
from pipeline.core.factors import COLOUR, LABELS, PLACE_AND_TIME, gather_factors
from pipeline.files import encoders, stage, stores
from pipeline.files import figures as draw
from pipeline.files.progress import progress
from pipeline.files.workers import n_workers

log = logging.getLogger(__name__)

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

OWN, STATISTICS, UNTRAINED = "own encoder", "pixel statistics", "untrained encoder"
ALL = "all factors"
SETS = {"colour": COLOUR, "place and time": PLACE_AND_TIME, ALL: LABELS}
N_DRAWS = 500
VARIANCE_KEPT = 0.99  # of an embedding, by the principal components that stand for it
DIMENSIONS = {
    "representation": "what tiles are clustered by",
    "explained_by": "a factor alone, or factors together",
    "k": "number of clusters",
    "component": "principal component, from 1",
}
WHAT = {
    "clusters": "variance of the clusters' centroids over tiles",
    "components": "variance of the principal component",
    "embedding": "variance of the embedding",
}
ENDINGS = {"": "explained", "_low": "low end of the 95 % interval", "_high": "high end"}


@dataclass(frozen=True)
class AuditParams:
    """Section `audit` of params.yaml."""

    n_sample: Annotated[int, Field(ge=100)]
    n_components: Annotated[int, Field(gt=0)]
    n_folds: Annotated[int, Field(ge=2)]
    seed: Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class _Representation:
    """Tiles as a clustering sees them, and its clusters (tile,) and centroids for each k."""

    features: FloatArray
    clusters: Mapping[int, tuple[IntArray, FloatArray]]


def run(
    params: AuditParams,
    embeddings: Path,
    clusters: Path,
    scenes: Path,
    encoder: Path,
    audit: Path,
    metrics: Path,
) -> None:
    """Read `embeddings`, `clusters` and tiles of `scenes`, write tables and figures to `audit`."""
    source = stores.open_product(embeddings)
    rng = np.random.default_rng(params.seed)
    n_tiles = source.sizes["tile"]
    sample = np.sort(rng.choice(n_tiles, min(params.n_sample, n_tiles), replace=False))
    tiles = source.isel(tile=sample).load()
    days = number_days(tiles.time.values)
    n_days = int(days.max()) + 1
    if n_days < 2:
        raise ValueError(
            "the tiles are of one day, so that nothing can be tried on another; fetch granules of "
            "more days"
        )
    factors, left_out = gather_factors(tiles)
    for name, reason in left_out.items():
        log.info("%s is left out: %s", LABELS[name], reason)
    found = stores.open_product(clusters)
    with threadpool_limits(limits=1):  # BLAS would round by the number of its threads
        representations = _represent(params, tiles, found, sample, scenes, encoder)
        draws = draw_days(n_days, n_draws=N_DRAWS, rng=rng)
        product = _audit(params, representations, factors, days, draws)
    best = product.sel(k=found.attrs["recommended_k"])
    product.attrs |= {
        "title": "What explains the clusters",
        "finding": _say(best),
        "left_out": "; ".join(f"{LABELS[name]}: {why}" for name, why in left_out.items()),
        "n_tiles": len(sample),
        "n_days": n_days,
        "comment": "shares are cross-validated over days but for correlation_ratio; below 0 the "
        "mean would have been the better guess",
    }
    log.info("%s", product.attrs["finding"])
    stores.write_product(product, audit / "audit.nc", params)
    _write_table(product, audit / "audit.csv")
    stores.write_json(metrics, _summarise(best))
    _draw(product, best, audit)


def _represent(
    params: AuditParams,
    tiles: xr.Dataset,
    found: xr.Dataset,
    sample: IntArray,
    scenes: Path,
    encoder: Path,
) -> dict[str, _Representation]:
    """The own embedding with its clusters, and two that have learnt nothing."""
    own = found.isel(tile=sample)
    clusters = {
        int(k): (own.cluster.sel(k=k).values, own.centroid.sel(k=k).values[: int(k)])
        for k in found.k
    }
    pictures = stores.cut_embedded_tiles(scenes, tiles)
    _, description = encoders.read_encoder(encoder)
    network = create_encoder(
        backbone=description["backbone"],
        n_channels=len(description["channels"]),
        n_dimensions=description["n_dimensions"],
        seed=params.seed,
        standardise=description["standardise"],
    )
    others = {
        STATISTICS: StandardScaler().fit_transform(pixel_statistics(pictures)),
        UNTRAINED: embed_tiles(network, pictures, device=compute_device()),
    }
    is_train = tiles.split.values == "train"
    if is_train.sum() < max(clusters):
        raise ValueError(
            f"{is_train.sum()} training tiles in the sample are too few for {max(clusters)} "
            "clusters; raise audit.n_sample"
        )
    return {
        OWN: _Representation(tiles.embedding.values, clusters),
        **{
            name: _Representation(
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
        centroids, _ = clustering.fit_centroids(
            features[is_train], n_clusters=k, n_starts=1, seed=seed
        )
        found[k] = clustering.assign(features, centroids)[0], centroids
    return found


def _audit(
    params: AuditParams,
    representations: Mapping[str, _Representation],
    factors: Mapping[str, FloatArray],
    days: IntArray,
    draws: IntArray,
) -> xr.Dataset:
    """Shares that each factor, and sets of them, explain of every representation."""
    together = {LABELS[name]: [columns] for name, columns in factors.items()}
    for name, members in SETS.items():
        together[name] = [factors[each] for each in members if each in factors]
    jobs = [
        (representation, name)
        for representation in representations
        for name, given in together.items()
        if given
    ]
    targets = {
        name: _list_targets(each, params.n_components) for name, each in representations.items()
    }

    def explain(job: tuple[str, str]) -> dict[tuple[str, int], core.Explained]:
        return core.explain(
            together[job[1]],
            targets[job[0]],
            days,
            draws,
            n_folds=min(params.n_folds, draws.shape[1]),
            seed=params.seed,
        )

    with ThreadPoolExecutor(max(1, n_workers())) as executor:
        found = list(progress(executor.map(explain, jobs), "audit", total=len(jobs), unit="fits"))
    table = pd.DataFrame(
        {
            "representation": representation,
            "explained_by": name,
            "what": what,
            "number": number,
            "": explained.share,
            "_low": explained.low,
            "_high": explained.high,
        }
        for (representation, name), shares in zip(jobs, found, strict=True)
        for (what, number), explained in shares.items()
    )
    product = xr.merge([_spread(table, what) for what in WHAT])
    product["correlation_ratio"] = _correlation_ratios(representations, factors)
    product = product.reindex(representation=list(representations), explained_by=list(together))
    for name, long_name in DIMENSIONS.items():
        product[name].attrs = {"long_name": long_name, "units": "1"}
    return product


def _list_targets(each: _Representation, n_components: int) -> dict[tuple[str, int], FloatArray]:
    """What is to be explained: centroids of the tiles' clusters, components one by one, and all."""
    scores, axes, _ = core.principal_components(each.features, VARIANCE_KEPT)
    targets: dict[tuple[str, int], FloatArray] = {
        ("clusters", k): centroids[clusters] @ axes.T
        for k, (clusters, centroids) in each.clusters.items()
    }
    for number, component in enumerate(scores.T[:n_components], start=1):
        targets["components", number] = component[:, None]
    targets["embedding", 0] = scores
    return targets


def _spread(table: pd.DataFrame, what: str) -> xr.Dataset:
    """The rows of the table on `what`, as variables with its dimensions."""
    dimensions = {"clusters": ["k"], "components": ["component"], "embedding": []}[what]
    rows = table[table.what == what].rename(columns={"number": "".join(dimensions) or "number"})
    index = ["representation", "explained_by", *dimensions]
    spread = rows.set_index(index)[list(ENDINGS)].to_xarray()
    for ending, long_name in ENDINGS.items():
        spread[ending].attrs = {
            "long_name": f"share of the {WHAT[what]}: {long_name}",
            "units": "1",
        }
    return spread.rename({ending: f"{what}_explained{ending}" for ending in ENDINGS})


def _correlation_ratios(
    representations: Mapping[str, _Representation], factors: Mapping[str, FloatArray]
) -> xr.DataArray:
    ks = list(representations[OWN].clusters)
    values = [
        [
            [core.correlation_ratio(columns, each.clusters[k][0]) for k in ks]
            for columns in factors.values()
        ]
        for each in representations.values()
    ]
    return xr.DataArray(
        values,
        {
            "representation": list(representations),
            "explained_by": [LABELS[name] for name in factors],
            "k": ks,
        },
        attrs={
            "long_name": "share of the factor's variance between clusters, eta squared",
            "units": "1",
        },
    )


def _write_table(product: xr.Dataset, path: Path) -> None:
    """A line for each share."""
    tables = [
        product[[name for name in product if str(name).startswith(f"{what}_explained")]]
        .rename({f"{what}_explained{ending}": f"explained{ending}" for ending in ENDINGS})
        .to_dataframe()
        .reset_index()
        .assign(what=what)
        for what in WHAT
    ]
    columns = ["representation", "explained_by", "what", "k", "component"]
    shares = [f"explained{ending}" for ending in ENDINGS]
    rows = pd.concat(tables)[[*columns, *shares]].dropna(subset="explained")
    rows.astype({"k": "Int64", "component": "Int64"}).to_csv(path, index=False, float_format="%.4f")


def _say(best: xr.Dataset) -> str:
    """The finding in a sentence, at the recommended k."""
    own = best.sel(representation=OWN)
    most = own.sel(explained_by=_most(own.clusters_explained))
    left = {
        name: 1 - _most_share(best.clusters_explained.sel(representation=name))
        for name in best.representation.values.tolist()
    }
    low, high = (max(0.0, float(most[f"clusters_explained_{end}"])) for end in ("low", "high"))
    return (
        f"of what {int(best.k)} clusters of the own encoder tell, {most.explained_by.item()} "
        f"explains most, {1 - left[OWN]:.0%} ({low:.0%} to {high:.0%} over days), and "
        f"{left[OWN]:.0%} is left; {left[STATISTICS]:.0%} of clusters of pixel statistics and "
        f"{left[UNTRAINED]:.0%} of an untrained encoder's"
    )


def _most(share: xr.DataArray) -> str:
    return str(share.explained_by.values[np.nanargmax(share.values)])


def _most_share(share: xr.DataArray) -> float:
    """What factors explain at most; more factors may explain less of days not fitted to."""
    return max(0.0, float(share.max()))


def _summarise(best: xr.Dataset) -> dict[str, Any]:
    share = best.clusters_explained
    return {
        representation: {
            "explained": {
                name: round(float(share.sel(representation=representation, explained_by=name)), 4)
                for name in share.explained_by.values.tolist()
            },
            "left": round(1 - _most_share(share.sel(representation=representation)), 4),
        }
        for representation in share.representation.values.tolist()
    }


def _draw(product: xr.Dataset, best: xr.Dataset, folder: Path) -> None:
    k = int(best.k)
    names = product.explained_by.values.tolist()
    own = product.sel(representation=OWN)
    factors = [name for name in names if name not in SETS]
    draw.heat_map(
        own.correlation_ratio.sel(explained_by=factors).values,
        folder / "correlation_ratio.png",
        rows=factors,
        columns=product.k.values.tolist(),
        x_label="number of clusters k",
        label="share of the factor's variance between clusters (η²)",
        title="What clusters tell of each factor (days they were fitted to included)",
    )
    draw.heat_map(
        own.components_explained.values,
        folder / "components.png",
        rows=names,
        columns=product.component.values.tolist(),
        x_label="principal component of the embedding",
        label="share explained on days not fitted to (R²)",
        title="What factors tell of each dimension of the embedding",
    )
    panels: dict[str, dict[str, tuple[float, float, float]]] = {}
    for representation in product.representation.values.tolist():
        shares = best.sel(representation=representation).clip(min=0.0)
        panels[representation] = {
            name: (
                float(shares.clusters_explained.sel(explained_by=name)),
                float(shares.clusters_explained_low.sel(explained_by=name)),
                float(shares.clusters_explained_high.sel(explained_by=name)),
            )
            for name in names
        }
        value, low, high = panels[representation][_most(shares.clusters_explained)]
        panels[representation]["what is left"] = 1 - value, 1 - high, 1 - low
    draw.intervals(
        panels,
        folder / "explained.png",
        limits=(-0.05, 1.05),
        title=f"Share of {k} clusters that factors explain on other days (R², at least 0)",
    )


if __name__ == "__main__":
    stage.start(run, AuditParams)
