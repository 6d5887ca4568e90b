"""Stage apply: an atlas, new granules → their clusters, t-SNE places and novelty; no training."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from pipeline.core import clustering, novelty
from pipeline.core.device import compute_device
from pipeline.core.encoder import pool_tiles, rebuild_encoder
from pipeline.core.plane import Plane
from pipeline.core.resolution import pixel_sizes_km
from pipeline.files import atlases, encoders, stage, stores
from pipeline.files.base.rejections import Rejection, read_rejections, write_rejections
from pipeline.files.progress import progress
from pipeline.files.workers import n_workers

log = logging.getLogger(__name__)

STAGES = ("fetch", "ingest", "embed")  # started as they are, with the atlas's parameters
TILES_AT_ONCE = 1024


@dataclass(frozen=True)
class ApplyParams:
    """Section `apply` of params.yaml."""

    granules: str
    max_resolution_change: PositiveFloat
    n_novel: PositiveInt


def run(params: ApplyParams, atlas: Path, granules: Path | None, applied: Path) -> None:
    """Look `granules` up in `atlas`, and write what is found to the folder `applied`.

    Granules are searched for in a folder at any depth; scenes that were ingested before do, too.
    By default they are those of the parameters.
    """
    granules = granules or Path(params.granules)
    manifest = atlases.read_manifest(atlas)
    if applied.exists():
        raise ValueError(f"{applied} is there already; remove it or name another folder")
    if not granules.exists():
        raise FileNotFoundError(
            f"{granules} does not exist; name a folder of granules or scenes.zarr in apply.granules"
        )
    applied.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".apply-", dir=applied.parent) as folder:
        work = Path(folder).absolute()  # where the stages are started
        found = work / "applied"
        embeddings, scenes = _embed(atlas, manifest, granules, work)
        source = stores.open_product(embeddings).load()
        tiles, rejections = _refuse_other_resolution(params, atlas, source)
        without = _list_without_tiles(source)
        of_ingest = work / "rejected.csv"
        before = read_rejections(of_ingest) if of_ingest.exists() else []
        rejected = [*before, *rejections, *without]
        if not tiles.sizes["tile"]:
            first = rejections[0]
            raise ValueError(
                f"no granule of {granules} suits the atlas {atlas}: {first.granule} has "
                f"{first.detail}; freeze an atlas of that resolution"
            )
        product = _look_up(atlas, manifest, tiles, scenes)
        product.attrs["n_rejected"] = len(rejected)
        stores.write_product(product, found / "tiles.zarr", params)
        stores.write_product(_pick_novel(params, product, scenes), found / "novel.nc", params)
        write_rejections(found / "rejected.csv", rejected)
        stores.write_json(found / "metrics.json", _summarise(product))
        found.replace(applied)
    log.info(
        "%d tiles, %.1f %% of them novel; %d granules rejected",
        product.sizes["tile"],
        100 * product.is_novel.mean(),
        len(rejected),
    )


def _embed(
    atlas: Path, manifest: Mapping[str, Any], granules: Path, work: Path
) -> tuple[Path, Path]:
    """Embeddings and scenes of `granules`, made in the folder `work` by the stages themselves."""
    sections = yaml.safe_load((atlas / "params.yaml").read_text())
    fetch = yaml.safe_load(stage.PARAMS_FILE.read_text())["fetch"]
    local = {"source": "local", "local": {"granules": [str(granules.absolute())]}}
    sections["fetch"] = {**fetch, **local}
    sections["embed"]["turned_per_scene"] = 0  # turned copies are for judging clusters
    stage.prepare_folder(work, sections)
    scenes, embeddings = work / "scenes.zarr", work / "embeddings.zarr"
    refused = f"{granules} does not suit the atlas {atlas}"
    start = partial(_start, work=work, refused=refused)
    if granules.suffix == ".zarr":
        scenes = granules.absolute()
        _refuse_other_preset(atlas, manifest, scenes)
    else:
        start("fetch", granules="granules", archive="archive", checksums="checksums.json")
        start(
            "ingest",
            granules="granules",
            scenes=scenes,
            rejected="rejected.csv",
            metrics="ingest.json",
        )
    start("embed", scenes=scenes, encoder=(atlas / "encoder").absolute(), embeddings=embeddings)
    return embeddings, scenes


def _start(name: str, work: Path, refused: str, **paths: Path | str) -> None:
    """Start a stage; what it refuses is `refused` as a whole."""
    assert name in STAGES
    try:
        stage.start_within(name, work, **paths)
    except stage.StageRefusedError as error:
        # What the stage advises to change is settled by the atlas.
        sentence = str(error)
        raise ValueError(f"{refused}: {sentence.rpartition('; ')[0] or sentence}") from None


def _refuse_other_preset(atlas: Path, manifest: Mapping[str, Any], scenes: Path) -> None:
    """Scenes that were ingested before must be of the atlas's colours."""
    opened = stores.open_product(scenes)
    own = {"preset": opened.attrs["preset"], "channels": list(map(str, opened.channel.values))}
    for name, value in {**own, **stores.channel_limits(opened)}.items():
        if value != manifest[name]:
            raise ValueError(
                f"{scenes} does not suit the atlas {atlas}: its {name} is {value}, the atlas's "
                f"{manifest[name]}; ingest the granules anew, or apply the atlas to them"
            )


def _refuse_other_resolution(
    params: ApplyParams, atlas: Path, source: xr.Dataset
) -> tuple[xr.Dataset, list[Rejection]]:
    """The tiles of scenes whose pixels are as large as the atlas's, and the other granules."""
    about = stores.open_product(atlas / "reference.nc").attrs
    smallest, largest = about["smallest_pixel_km"], about["largest_pixel_km"]
    sizes = pixel_sizes_km(
        source.latitude_bounds.values,
        source.longitude_bounds.values,
        tile_size=source.attrs["tile_size"],
    )
    medians = pd.Series(sizes).groupby(source.scene.values).median()
    lowest, highest = (
        smallest * (1 - params.max_resolution_change),
        largest * (1 + params.max_resolution_change),
    )
    others = medians[(medians < lowest) | (medians > highest)]
    rejections = [
        Rejection(
            str(source.granule.values[scene]),
            "other resolution",
            f"pixels of {size:.2f} km, the atlas of {smallest:.2f} to {largest:.2f} km",
        )
        for scene, size in others.items()
    ]
    for each in rejections:
        log.info("rejected %s: %s (%s)", each.granule, each.reason, each.detail)
    return source.isel(tile=~np.isin(source.scene.values, others.index)), rejections


def _list_without_tiles(source: xr.Dataset) -> list[Rejection]:
    """Scenes that hold no complete tile."""
    size = source.attrs["tile_size"]
    missing = np.setdiff1d(np.arange(source.sizes["scene"]), source.scene.values)
    return [
        Rejection(str(granule), "no tile", f"no complete tile of {size} pixels")
        for granule in source.granule.values[missing]
    ]


def _look_up(
    atlas: Path, manifest: Mapping[str, Any], tiles: xr.Dataset, scenes: Path
) -> xr.Dataset:
    """The product: what embed says of the tiles, and where the atlas puts them."""
    centroids = stores.open_product(atlas / "clusters.nc").centroid.values
    fitted = stores.open_product(atlas / "tsne.nc").load()
    reference = stores.open_product(atlas / "reference.nc").load()
    embedding = tiles.embedding.values
    cluster, distance = clustering.assign(embedding, centroids)
    log.info("placing %d tiles on the t-SNE", len(embedding))
    plane = Plane(fitted.embedding.values, fitted.position.values, n_threads=max(1, n_workers()))
    position = plane.place(embedding)
    score = _score(atlas, tiles, scenes, reference)
    is_novel = score > reference.attrs["threshold"]
    found = {
        "cluster": ("tile", cluster, _attributes("number of the tile's cluster")),
        "distance": ("tile", distance, _attributes("distance to the cluster's centroid")),
        "position": (("tile", "axis"), position, _attributes("position on the atlas's t-SNE")),
        "novelty": (
            "tile",
            score.astype(np.float32),
            _attributes("distance to the nearest training tiles, of their own spacing"),
        ),
        "is_novel": ("tile", is_novel, _attributes("the atlas has seen nothing like the tile")),
    }
    return tiles.assign(found).assign_attrs(
        title="Tiles looked up in an atlas",
        atlas=manifest["version"],
        k=manifest["k"],
        novelty_threshold=reference.attrs["threshold"],
        expected_novel_share=1 - reference.attrs["quantile"],
        novel_share=float(is_novel.mean()),
    )


def _score(
    atlas: Path, tiles: xr.Dataset, scenes: Path, reference: xr.Dataset
) -> NDArray[np.floating]:
    """Novelty of every tile, shape (tile,)."""
    network = rebuild_encoder(*encoders.read_encoder(atlas / "encoder"))
    seen = novelty.Reference(
        reference.feature.values,
        reference.day.values.astype("datetime64[D]"),
        reference.spacing.values,
        int(reference.attrs["n_nearest"]),
    )
    scores = []
    blocks = range(0, tiles.sizes["tile"], TILES_AT_ONCE)
    for first in progress(blocks, "novelty", unit=f"{TILES_AT_ONCE} tiles"):
        block = tiles.isel(tile=slice(first, first + TILES_AT_ONCE))
        cut = stores.cut_embedded_tiles(scenes, block)
        features = pool_tiles(network, cut, device=compute_device(), layer=reference.attrs["layer"])
        days = block.time.values.astype("datetime64[D]")
        scores.append(novelty.novelty(features, days, seen))
    return np.concatenate(scores)


def _summarise(product: xr.Dataset) -> dict[str, Any]:
    shares = np.bincount(product.cluster.values, minlength=product.attrs["k"])
    return {
        "atlas": product.attrs["atlas"],
        "granules": len(np.unique(product.scene.values)),
        "rejected_granules": product.attrs["n_rejected"],
        "tiles": product.sizes["tile"],
        "novel_share": round(product.attrs["novel_share"], 4),
        "cluster_shares": (shares / shares.sum()).round(4).tolist(),
    }


def _pick_novel(params: ApplyParams, tiles: xr.Dataset, scenes: Path) -> xr.Dataset:
    """Pixels of the most novel tiles, of each granule in turn; of the others where none is."""
    of_kind = tiles.is_novel.values if tiles.is_novel.any() else ~tiles.is_novel.values
    most = clustering.pick_examples(
        of_kind.astype(np.int16),
        -tiles.novelty.values,
        granules=tiles.scene.values,
        days=tiles.time.values.astype("datetime64[D]"),
        cluster=1,
        n_examples=params.n_novel,
    )
    shown = tiles.isel(tile=most)
    return xr.Dataset(
        {
            "colour": (
                ("tile", "channel", "row", "column"),
                stores.cut_embedded_tiles(scenes, shown),
            ),
            **{name: shown[name].variable for name in ("novelty", "is_novel")},
        },
        coords={
            "channel": stores.open_product(scenes).channel.values,
            "time": shown.time.variable,
            "granule": ("tile", tiles.granule.values[shown.scene.values]),
        },
        attrs={
            "title": "Most novel tiles of each granule in turn",
            "novelty_threshold": tiles.attrs["novelty_threshold"],
        },
    )


def _attributes(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}


if __name__ == "__main__":
    stage.start(run, ApplyParams)
