"""Stage freeze: encoder, clusters, t-SNE and their settings → an atlas, sealed for years."""

import json
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
import yaml
from matplotlib.colors import to_hex
from pydantic import Field, NonNegativeInt, PositiveInt

from pipeline.core import novelty
from pipeline.core.choice import KOrRecommended, choose_k
from pipeline.core.device import compute_device
from pipeline.core.encoder import pool_tiles, rebuild_encoder
from pipeline.core.resolution import pixel_sizes_km
from pipeline.files import atlases, encoders, stage, stores
from pipeline.files.base.palette import cluster_colours

SOFTWARE = ("numpy", "openTSNE", "satpy", "scikit-learn", "tile2vec-clouds", "torch", "xarray")


@dataclass(frozen=True)
class FreezeParams:
    """Section `freeze` of params.yaml."""

    version: Annotated[str, Field(min_length=1)]
    k: KOrRecommended
    novelty_layer: Annotated[str, Field(min_length=1)]
    novelty_quantile: Annotated[float, Field(gt=0, lt=1)]
    n_reference: Annotated[int, Field(gt=1)]
    n_nearest: PositiveInt
    seed: NonNegativeInt


def run(
    params: FreezeParams,
    scenes: Path,
    encoder: Path,
    embeddings: Path,
    clusters: Path,
    tsne: Path,
    atlas: Path,
) -> None:
    """Gather all that new granules need into the folder `atlas`, which needs none of the others."""
    source = stores.open_product(embeddings).load()
    grouped = stores.open_joined(clusters, source)
    placed = stores.open_joined(tsne, source).load()
    scene = stores.open_product(scenes)
    centroids = _freeze_centroids(params, grouped)
    reference = _freeze_reference(params, source, scenes, encoder)
    for product, name in (
        (centroids, "clusters"),
        (_freeze_layout(source, placed), "tsne"),
        (reference, "reference"),
    ):
        stores.write_product(product, atlas / f"{name}.nc", params)
    shutil.copytree(encoder, atlas / "encoder")
    settings = {
        "ingest": json.loads(scene.attrs["parameters"]),
        "embed": json.loads(source.attrs["parameters"]),
    }
    (atlas / "params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    smallest, largest = _pixel_range(source)
    atlases.seal(
        atlas,
        {
            "version": params.version,
            "k": centroids.sizes["number"],
            "preset": scene.attrs["preset"],
            "channels": list(map(str, scene.channel.values)),
            **stores.channel_limits(scene),
            "tile_size": source.attrs["tile_size"],
            "stride": source.attrs["stride"],
            "pixel_km": [round(smallest, 3), round(largest, 3)],
            "novelty_threshold": reference.attrs["threshold"],
            "days": sorted(set(reference.day.dt.strftime("%Y-%m-%d").values.tolist())),
            "software": {name: version(name) for name in SOFTWARE},
        },
    )


def _freeze_centroids(params: FreezeParams, clusters: xr.Dataset) -> xr.Dataset:
    """Centroids of the chosen clusters under their numbers, with their colours."""
    k = choose_k(clusters.k.values, clusters.attrs["recommended_k"], params.k, key="freeze.k")
    colours = [to_hex(colour) for colour in cluster_colours(k)]
    return xr.Dataset(
        {
            "centroid": (
                ("number", "dimension"),
                clusters.centroid.sel(k=k).values[:k],
                _attributes("centroid of the cluster"),
            ),
            "colour": ("number", colours, {"long_name": "colour of the cluster in figures"}),
        },
        coords={"number": ("number", np.arange(k), _attributes("number of the cluster"))},
        attrs={"title": f"{k} clusters"},
    )


def _freeze_layout(source: xr.Dataset, tsne: xr.Dataset) -> xr.Dataset:
    """Tiles that t-SNE was fitted on, among which others are placed."""
    fitted = tsne.in_sample.values
    return xr.Dataset(
        {
            "embedding": source.embedding[fitted].reset_coords(drop=True),
            "position": tsne.position[fitted],
        },
        attrs={"title": "t-SNE of the tiles it was fitted on"},
    )


def _freeze_reference(
    params: FreezeParams, source: xr.Dataset, scenes: Path, encoder: Path
) -> xr.Dataset:
    """Features of training tiles, how far apart they lie, and from where on a tile is novel."""
    rng = np.random.default_rng(params.seed)
    train = np.flatnonzero(source.split.values == "train")
    drawn = rng.choice(train, min(params.n_reference, len(train)), replace=False)
    tiles = source.isel(tile=np.sort(drawn))
    network = rebuild_encoder(*encoders.read_encoder(encoder))
    if params.novelty_layer not in network.layers:
        raise ValueError(
            f"freeze.novelty_layer {params.novelty_layer!r} is none of the encoder's layers "
            f"{', '.join(network.layers)}; name one of them"
        )
    cut = stores.cut_embedded_tiles(scenes, tiles)
    features = pool_tiles(network, cut, device=compute_device(), layer=params.novelty_layer)
    days = tiles.time.values.astype("datetime64[D]")
    seen = novelty.measure_spacing(features, days, n_nearest=params.n_nearest)
    own = novelty.novelty(features, days, seen)
    smallest, largest = _pixel_range(source)
    return xr.Dataset(
        {
            "feature": (("tile", "dimension"), features, _attributes("feature of the tile")),
            "spacing": (
                "tile",
                seen.spacing,
                _attributes("mean distance to the nearest tiles of other days"),
            ),
            "day": ("tile", days.astype("datetime64[ns]"), {"long_name": "day of the tile, UTC"}),
        },
        attrs={
            "title": "Training tiles, by which novelty is judged",
            "layer": params.novelty_layer,
            "n_nearest": params.n_nearest,
            "quantile": params.novelty_quantile,
            "threshold": float(np.quantile(own, params.novelty_quantile)),
            "smallest_pixel_km": smallest,
            "largest_pixel_km": largest,
        },
    )


def _pixel_range(source: xr.Dataset) -> tuple[float, float]:
    """Smallest and largest pixel size of the scenes, each at the median of its tiles, in km."""
    sizes = pixel_sizes_km(
        source.latitude_bounds.values,
        source.longitude_bounds.values,
        tile_size=source.attrs["tile_size"],
    )
    medians = xr.DataArray(sizes, dims="tile").groupby(source.scene.drop_vars("scene")).median()
    return float(medians.min()), float(medians.max())


def _attributes(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}


if __name__ == "__main__":
    stage.start(run, FreezeParams)
