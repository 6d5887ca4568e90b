"""Stage describe_clusters: embeddings, clusters, labels → what the cards of clusters show."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt

from pipeline.core.card_product import choose_tiles, count_shares, match_labels
from pipeline.core.choice import KOrRecommended, choose_k
from pipeline.core.device import compute_device
from pipeline.core.encoder import embed_tiles, fused, rebuild_encoder
from pipeline.files import encoders, stage, stores
from pipeline.files.labels import read_labels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DescribeClustersParams:
    """Section `describe_clusters` of params.yaml."""

    k: KOrRecommended
    n_examples: PositiveInt
    labels: str
    seed: NonNegativeInt


def run(
    params: DescribeClustersParams,
    scenes: Path,
    embeddings: Path,
    clusters: Path,
    encoder: Path,
    rejected: Path,
    cards: Path,
) -> None:
    """Write examples, shares and labelled tiles of each cluster to `cards`."""
    source = stores.open_product(embeddings).drop_vars("turned_embedding", errors="ignore").load()
    found = stores.open_joined(clusters, source)
    k = choose_k(found.k.values, found.attrs["recommended_k"], params.k, key="describe_clusters.k")
    best = found.sel(k=k)[["cluster", "distance", "centroid"]].load()
    centroids = best.centroid.values[:k]
    product = xr.merge(
        [
            choose_tiles(source, best, centroids, n_examples=params.n_examples, seed=params.seed),
            count_shares(source, best.cluster.values, k),
            _match_labels(
                params, scenes, rejected, encoder, centroids, source.attrs["n_orientations"]
            ),
        ],
        combine_attrs="drop_conflicts",
    )
    product.attrs |= {"title": f"Cards of {k} clusters", "k": k}
    stores.write_product(product, cards / "cards.nc", params)


def _match_labels(
    params: DescribeClustersParams,
    scenes: Path,
    rejected: Path,
    encoder: Path,
    centroids: NDArray[np.floating],
    n_orientations: int,
) -> xr.Dataset:
    """Labelled tiles (cluster, class), and what they are; without labels only a sentence."""
    path = Path(params.labels)
    if params.labels == "none" or not path.is_file():
        why = "No labels are given" if params.labels == "none" else f"There are no labels at {path}"
        log.info("%s: cards name no classes", why)
        return xr.Dataset(attrs={"labels": f"{why}."})
    source = stores.open_product(scenes)
    given = read_labels(
        path,
        rejected,
        granules=source.granule.values.tolist(),
        scene_shape=(source.sizes["row"], source.sizes["column"]),
    )
    weights, description = encoders.read_encoder(encoder)
    if description["tile_size"] != given.tile_size:
        log.warning(
            "the encoder was trained on tiles of %d pixels, labelled ones have %d",
            description["tile_size"],
            given.tile_size,
        )
    network = fused(rebuild_encoder(weights, description))
    tiles = stores.cut_tiles(source, given.scene, given.row, given.column, given.tile_size)
    embeddings = embed_tiles(network, tiles, device=compute_device(), n_orientations=n_orientations)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return match_labels(embeddings, given.label.astype(str), centroids).assign_attrs(
        labels=f"{len(embeddings)} labelled tiles of {path}, SHA-256 {digest}.",
        labels_sha256=digest,
    )


if __name__ == "__main__":
    stage.start(run, DescribeClustersParams)
