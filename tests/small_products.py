"""Products of a few small granules, by the stages themselves but for an untrained encoder."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import yaml

from pipeline import embed, fetch, freeze, ingest, tsne
from pipeline.core import clustering, kmeans
from pipeline.core.encoder import Encoder, create_encoder, describe_encoder, pool_tiles
from pipeline.files import encoders, stage, stores

LAYERS = ("layer1", "layer2", "layer3")
TILE_SIZE = 16
K = 4
DAYS = {"train": ["2020-01-10", "2020-01-11", "2020-01-12", "2020-01-13"], "test": ["2020-01-14"]}


def read_section(name: str, params_type: type[Any], **changes: object) -> Any:
    section = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())[name]
    return stage.parse_params(name, {**section, **changes}, params_type)


def small_encoder(
    n_channels: int, *, seed: int, n_dimensions: int = 0, layers: Sequence[str] = LAYERS
) -> Encoder:
    """An encoder that nobody trained, fitted to noise of many colours and grains."""
    encoder = create_encoder(
        backbone="test_resnet",
        layers=layers,
        pooling="mean_deviation",
        n_channels=n_channels,
        seed=seed,
    )
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (200, n_channels, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)
    tiles = (coarse * rng.uniform(0, 1, (200, 1, 1, 1)) + rng.integers(0, 60, coarse.shape)) % 256
    fitted = tiles.astype(np.uint8)
    encoder.fit_colours(fitted)
    features = pool_tiles(encoder, fitted, device=torch.device("cpu"))
    encoder.fit(torch.from_numpy(features), n_dimensions=n_dimensions)
    return encoder


def describe(encoder: Encoder, *, channels: list[str], **described: object) -> dict[str, Any]:
    """What is written of an encoder by `small_encoder`, with what else is `described` of it."""
    return {
        **describe_encoder(encoder, backbone="test_resnet"),
        "channels": channels,
        "n_dimensions": encoder.n_dimensions,
        **described,
    }


def write_untrained(
    folder: Path, *, channels: list[str], n_dimensions: int, seed: int, **described: object
) -> Encoder:
    """Write the `small_encoder` that is returned, with what else is `described` of it."""
    encoder = small_encoder(len(channels), n_dimensions=n_dimensions, seed=seed)
    description = describe(encoder, channels=channels, **described)
    encoders.write_encoder(folder, encoder.state_dict(), description)
    return encoder


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
