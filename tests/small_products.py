"""Products of a few small granules, by the stages themselves but for an untrained encoder."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml

from pipeline import embed, fetch, freeze, ingest, tsne
from pipeline.core import clustering, kmeans
from pipeline.core.encoder import create_encoder
from pipeline.files import encoders, stage, stores

TILE_SIZE = 16
K = 4
DAYS = {"train": ["2020-01-10", "2020-01-11", "2020-01-12", "2020-01-13"], "test": ["2020-01-14"]}


def read_section(name: str, params_type: type[Any], **changes: object) -> Any:
    section = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())[name]
    return stage.parse_params(name, {**section, **changes}, params_type)


def write_untrained(
    folder: Path, *, channels: list[str], n_dimensions: int, seed: int, **described: object
) -> None:
    """An encoder that nobody trained, with what else is `described` of it."""
    network = create_encoder(
        backbone="test_resnet", n_channels=len(channels), n_dimensions=n_dimensions, seed=seed
    )
    description = {
        "backbone": "test_resnet",
        "channels": channels,
        "n_dimensions": n_dimensions,
        "standardise": False,
        **described,
    }
    encoders.write_encoder(folder, network.state_dict(), description)


def write_products(folder: Path, granules: Path) -> None:
    """Scenes, encoder, embeddings, clusters and t-SNE of GeoTIFF granules."""
    local = {"source": "local", "local": {"granules": [str(granules)]}}
    fetching = read_section("fetch", fetch.FetchParams, **local)
    fetch.run(fetching, folder / "granules", folder / "archive", folder / "checksums.json")
    ingesting = read_section("ingest", ingest.IngestParams, preset="visible_infrared")
    paths = [folder / name for name in ("scenes.zarr", "rejected.csv", "ingest.json")]
    ingest.run(ingesting, folder / "granules", *paths)
    channels = list(map(str, stores.open_product(paths[0]).channel.values))
    write_untrained(
        folder / "encoder",
        channels=channels,
        n_dimensions=8,
        seed=1,
        tile_size=TILE_SIZE,
        days=DAYS,
    )
    embedding = read_section("embed", embed.EmbedParams, stride=TILE_SIZE)
    embed.run(embedding, paths[0], folder / "encoder", folder / "embeddings.zarr")
    source = stores.open_product(folder / "embeddings.zarr").load()
    stores.write_product(_cluster(source), folder / "clusters.zarr", None)
    laying_out = tsne.TsneParams(n_sample=150, perplexity=10.0, seed=1)
    tsne.run(laying_out, folder / "embeddings.zarr", folder / "tsne.zarr")


def write_atlas(folder: Path, atlas: Path, **changes: object) -> None:
    """Freeze the products in `folder`."""
    params = dataclasses.replace(
        read_section("freeze", freeze.FreezeParams), n_reference=120, **changes
    )
    names = ("scenes.zarr", "encoder", "embeddings.zarr", "clusters.zarr", "tsne.zarr")
    freeze.run(params, *(folder / name for name in names), atlas)


def _cluster(source: xr.Dataset) -> xr.Dataset:
    embeddings = source.embedding.values
    centroids, _ = kmeans.fit_centroids(embeddings, n_clusters=K, n_starts=1, seed=1)
    cluster, distance = clustering.assign(embeddings, centroids)
    return xr.Dataset(
        {
            "cluster": (("k", "tile"), cluster[None]),
            "distance": (("k", "tile"), distance[None]),
            "centroid": (("k", "number", "dimension"), centroids[None].astype(np.float32)),
        },
        coords={"k": [K], "number": np.arange(K), **stores.tile_places(source)},
        attrs={"recommended_k": K, "recommendation": "there are no others"},
    )
