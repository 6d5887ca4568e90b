"""Stage map_granule: one scene, encoder, clusters → the cluster around every pixel, as a map."""

import json
import logging
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from pipeline.core.choice import KOrRecommended, choose_k
from pipeline.core.clustering import assign
from pipeline.core.dense import (
    NO_TILE,
    describe_block,
    lay_tiles,
    margins,
    most_varied,
    nearest_tiles,
    split_places,
    without_padding,
)
from pipeline.core.device import compute_device
from pipeline.core.encoder import embed_tiles
from pipeline.core.raster import raster_grid
from pipeline.core.tile import IntArray
from pipeline.files import encoders, stage, stores
from pipeline.files.base.palette import cluster_colours
from pipeline.files.base.pictures import as_rgb
from pipeline.files.geotiffs import write_geotiff
from pipeline.files.progress import progress
from pipeline.files.workers import ordered_map

log = logging.getLogger(__name__)

FloatArray = NDArray[np.floating]

NO_CLUSTER = 255  # in GeoTIFF
PLANE = ("row", "column")


@dataclass(frozen=True)
class MapGranuleParams:
    """Section `map_granule` of params.yaml; `stride` in pixels."""

    granule: str
    stride: PositiveInt
    max_invalid_share: Annotated[float, Field(ge=0, le=1)]
    k: KOrRecommended


def run(
    params: MapGranuleParams,
    scenes: Path,
    encoder: Path,
    embeddings: Path,
    clusters: Path,
    dense: Path,
) -> None:
    """Write a scene's clusters to `dense`; `embeddings` tell which scene where none is named."""
    opened = stores.open_product(scenes.absolute())  # for workers that start elsewhere
    tiles = stores.open_product(embeddings)
    found = stores.open_joined(clusters, tiles)
    k = choose_k(found.k.values, found.attrs["recommended_k"], params.k, key="map_granule.k")
    if k > NO_CLUSTER:
        raise ValueError(f"a map has at most {NO_CLUSTER} clusters; lower map_granule.k {k}")
    index = _choose_scene(params, opened, tiles, found.cluster.sel(k=k))
    scene = without_padding(opened.isel(scene=index))
    _, description = encoders.read_encoder(encoder)
    places = lay_tiles(
        scene,
        description,
        stride=params.stride,
        max_invalid_share=params.max_invalid_share,
        section="map_granule",
    )
    embed = partial(
        describe_block,
        colour=opened.colour.isel(scene=index).reset_coords(drop=True),
        tile_size=description["tile_size"],
        encoder=encoders.store(encoder),
        describe=partial(
            embed_tiles, device=compute_device(), n_orientations=tiles.attrs["n_orientations"]
        ),
    )
    blocks = split_places(places)
    done = ordered_map(embed, blocks, at_most=0)  # which takes all cores of this machine by itself
    vectors = np.concatenate(list(progress(done, "map_granule", total=len(blocks), unit="blocks")))
    centroids = found.centroid.sel(k=k).values[:k]
    product = paint(params, scene, places, vectors, centroids, description["tile_size"])
    log.info("%s", product.attrs["comment"])
    stores.write_product(product, dense / "dense.nc", params)
    _write_geotiffs(params, product, as_rgb(scene.colour.values), dense)


def _choose_scene(
    params: MapGranuleParams, scenes: xr.Dataset, embedded: xr.Dataset, clusters: xr.DataArray
) -> int:
    """Index of the scene named, or of that of the test days whose tiles are in the most clusters.

    Raises:
        ValueError: If there is no such granule.
    """
    names = scenes.granule.values.astype(object)
    if not params.granule:
        is_test = embedded.split.values == "test"
        of_days = is_test if is_test.any() else np.ones_like(is_test)
        index = most_varied(embedded.scene.values[of_days], clusters.values[of_days])
        log.info("map_granule.granule is empty; took %s", names[index])
        return index
    if params.granule not in names:
        raise ValueError(
            f"map_granule.granule {params.granule!r} is none of the {len(names)} scenes; name one "
            f"of them, such as {str(names[0])!r}, or none"
        )
    return int(np.argmax(names == params.granule))


def paint(
    params: MapGranuleParams,
    scene: xr.Dataset,
    places: IntArray,
    vectors: FloatArray,
    centroids: FloatArray,
    tile_size: int,
) -> xr.Dataset:
    """The product: cluster and margin of every pixel (row, column) that a tile speaks for."""
    shape = scene.valid.shape
    tiles = nearest_tiles(places, scene_shape=shape, tile_size=tile_size, stride=params.stride)
    seen = (tiles != NO_TILE) & scene.valid.values
    numbers, _ = assign(vectors, centroids)
    cluster = np.where(seen, numbers[tiles], np.int16(-1))
    margin = np.where(seen, margins(vectors, centroids)[tiles], np.float32(np.nan))
    product = xr.Dataset(
        {
            "cluster": (PLANE, cluster, _describe_clusters(len(centroids))),
            "margin": (
                PLANE,
                margin,
                {
                    "long_name": "how much nearer its centroid is than the next, of the next's "
                    "distance; near 0 the cluster is a toss-up",
                    "units": "1",
                },
            ),
        },
        coords={
            **{name: scene[name].variable for name in ("latitude", "longitude", "time", "granule")},
            **{
                name: (name, np.arange(length), {"long_name": f"{name} of the scene", "units": "1"})
                for name, length in zip(PLANE, shape, strict=True)
            },
        },
        attrs={
            "title": f"Clusters around the pixels of {scene.granule.values}",
            "k": len(centroids),
            "tile_size": tile_size,
            "stride": params.stride,
            "platform": str(scene.platform.values),
        },
    )
    present = len(np.unique(cluster[seen]))
    product.attrs["comment"] = (
        f"{present} of {len(centroids)} clusters on {seen.mean():.0%} of the pixels; each has the "
        "cluster of the tile whose centre is nearest, and none within half a tile of the edge"
    )
    return product


def _describe_clusters(k: int) -> dict[str, object]:
    return {
        "long_name": "number of the cluster of the tile around the pixel",
        "units": "1",
        "_FillValue": np.int16(-1),
        "flag_values": np.arange(k, dtype=np.int16),
        "flag_meanings": " ".join(f"cluster_{number}" for number in range(k)),
    }


def _write_geotiffs(
    params: MapGranuleParams, product: xr.Dataset, picture: NDArray[np.uint8], folder: Path
) -> None:
    grid = raster_grid(product.latitude.values, product.longitude.values)
    tags = {
        "granule": str(product.granule.values),
        "platform": product.attrs["platform"],
        "start_time": f"{product.time.values.astype('datetime64[s]')}Z",
        "k": str(product.attrs["k"]),
        "tile_size": str(product.attrs["tile_size"]),
        "pixels": "the scene's own" if grid.is_own else "the nearest of the scene, resampled",
        "parameters": json.dumps(asdict(params)),
    }
    write = partial(write_geotiff, crs=grid.crs, transform=grid.transform, tags=tags)
    numbers = np.where(product.cluster.values < 0, NO_CLUSTER, product.cluster.values)
    write(
        folder / "clusters.tif",
        grid.lay(numbers.astype(np.uint8), NO_CLUSTER)[None],
        ["cluster"],
        missing=NO_CLUSTER,
        colours=cluster_colours(product.attrs["k"]),
    )
    margin = grid.lay(product.margin.values, np.nan)
    write(folder / "margin.tif", margin[None], ["margin"], missing=np.nan)
    bands = np.moveaxis(grid.lay(picture, 0), -1, 0)
    names = [f"false-colour {colour}" for colour in ("red", "green", "blue")]  # no reflectances
    write(folder / "scene.tif", bands, names, seen=grid.pixels >= 0)


if __name__ == "__main__":
    stage.start(run, MapGranuleParams)
