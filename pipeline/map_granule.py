"""Stage map_granule: one scene, encoder, clusters → the cluster around every pixel, as a map."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field
from threadpoolctl import threadpool_limits

from pipeline.core.choice import KOrRecommended, choose_k
from pipeline.core.clustering import assign
from pipeline.core.dense import NO_TILE, margins, most_varied, nearest_tiles
from pipeline.core.device import compute_device
from pipeline.core.encoder import Encoder, embed_tiles, fused, rebuild_encoder
from pipeline.core.raster import RasterGrid, raster_grid
from pipeline.core.tile import IntArray, grid_tiles
from pipeline.files import encoders, stage, stores
from pipeline.files import figures as draw
from pipeline.files.geotiffs import write_geotiff
from pipeline.files.progress import progress
from pipeline.files.workers import ordered_map

log = logging.getLogger(__name__)

FloatArray = NDArray[np.floating]

TILES_AT_ONCE = 256  # sent to a worker; whole batches of `embed_tiles`
NO_CLUSTER = 255  # in GeoTIFF
PLANE = ("row", "column")
WANTED = ["colour", "valid", "latitude", "longitude"]


@dataclass(frozen=True)
class MapGranuleParams:
    """Section `map_granule` of params.yaml; `stride` in pixels."""

    granule: str
    stride: Annotated[int, Field(gt=0)]
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
    found = stores.open_product(clusters)
    k = choose_k(found.k.values, found.attrs["recommended_k"], params.k, key="map_granule.k")
    if k > NO_CLUSTER:
        raise ValueError(f"a map has at most {NO_CLUSTER} clusters; lower map_granule.k {k}")
    index = _choose_scene(params, opened, stores.open_product(embeddings), found.cluster.sel(k=k))
    scene = _without_padding(opened.isel(scene=index))
    _, description = encoders.read_encoder(encoder)
    places = _lay_tiles(params, scene, description)
    vectors = embed_densely(
        opened.colour.isel(scene=index), places, description["tile_size"], encoder
    )
    centroids = found.centroid.sel(k=k).values[:k]
    product = paint(params, scene, places, vectors, centroids, description["tile_size"])
    log.info("%s", product.attrs["comment"])
    stores.write_product(product, dense / "dense.nc", params)
    grid = raster_grid(scene.latitude.values, scene.longitude.values)
    colour = draw.as_rgb(scene.colour.values)  # (row, column, 3)
    _write_geotiffs(params, product, colour, grid, dense)
    _draw(product, colour, grid, dense)


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


def _without_padding(scene: xr.Dataset) -> xr.Dataset:
    """The scene in memory, without the empty rows and columns that make all scenes one size."""
    on_earth = np.isfinite(scene.latitude.values)
    row, column = (np.flatnonzero(on_earth.any(axis=axis))[-1] + 1 for axis in (1, 0))
    return scene[WANTED].isel(row=slice(row), column=slice(column)).load()


def _lay_tiles(
    params: MapGranuleParams, scene: xr.Dataset, description: Mapping[str, Any]
) -> IntArray:
    """First (row, column) of the scene's tiles, shape (tile, 2).

    Raises:
        ValueError: If the scene has other channels than the encoder, or no complete tile.
    """
    size, name = description["tile_size"], str(scene.granule.values)
    if (channels := list(scene.channel.values)) != description["channels"]:
        raise ValueError(
            f"{name} has the channels {', '.join(channels)}, the encoder was trained on "
            f"{', '.join(description['channels'])}; change ingest.preset or train anew"
        )
    if params.stride > size:
        raise ValueError(
            f"map_granule.stride {params.stride} is larger than the encoder's tiles of {size} "
            "pixels, which would leave gaps between them; lower it"
        )
    places = grid_tiles(
        scene.valid.values,
        tile_size=size,
        stride=params.stride,
        max_invalid_share=params.max_invalid_share,
    )
    if not len(places):
        raise ValueError(
            f"{name} holds no tile of {size} pixels; name another map_granule.granule or raise "
            "map_granule.max_invalid_share"
        )
    return places


def embed_densely(
    colour: xr.DataArray, places: IntArray, tile_size: int, encoder: Path
) -> FloatArray:
    """Embeddings (tile, dimension) of the tiles of a scene, block by block."""
    embed = partial(
        _embed_block,
        colour=colour.reset_coords(drop=True),
        tile_size=tile_size,
        encoder=encoder.absolute(),
        digest=encoders.digest(encoder),
    )
    blocks = np.split(places, range(TILES_AT_ONCE, len(places), TILES_AT_ONCE))
    at_most = 1 if compute_device().type == "cuda" else None  # process for each device
    found: Iterator[FloatArray] = ordered_map(embed, blocks, at_most=at_most)
    return np.concatenate(list(progress(found, "map_granule", total=len(blocks), unit="blocks")))


def _embed_block(
    places: IntArray, *, colour: xr.DataArray, tile_size: int, encoder: Path, digest: str
) -> FloatArray:
    """Embeddings (tile, dimension) of tiles, cut from the lines of the scene that hold them."""
    row, column = places.T
    lines = colour.isel(row=slice(row.min(), row.max() + tile_size)).values
    windows = sliding_window_view(lines, (tile_size, tile_size), axis=(1, 2))
    tiles = windows[:, row - row.min(), column].swapaxes(0, 1)  # (tile, channel, row, column)
    with threadpool_limits(limits=1):  # so that the number of threads cannot change the rounding
        return embed_tiles(_read_network(encoder, digest), tiles, device=compute_device())


@lru_cache(maxsize=1)
def _read_network(folder: Path, digest: str) -> Encoder:
    """The encoder, kept for the next block; workers of a cluster outlive what is in `folder`."""
    if encoders.digest(folder) != digest:
        raise ValueError(f"the weights in {folder} are not those of the start; run it again")
    return fused(rebuild_encoder(*encoders.read_encoder(folder)))


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
    params: MapGranuleParams,
    product: xr.Dataset,
    colour: NDArray[np.uint8],
    grid: RasterGrid,
    folder: Path,
) -> None:
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
        colours=draw.cluster_colours(product.attrs["k"]),
    )
    margin = grid.lay(product.margin.values, np.nan)
    write(folder / "margin.tif", margin[None], ["margin"], missing=np.nan)
    bands = np.stack([grid.lay(band, 0) for band in np.moveaxis(colour, -1, 0)])
    write(folder / "scene.tif", bands, ["red", "green", "blue"], seen=grid.pixels >= 0)


def _draw(product: xr.Dataset, colour: NDArray[np.uint8], grid: RasterGrid, folder: Path) -> None:
    picture = np.stack([grid.lay(band, 255) for band in np.moveaxis(colour, -1, 0)], axis=-1)
    time = np.datetime_as_string(product.time.values, unit="m").replace("T", " ")
    draw.dense_map(
        picture,
        grid.lay(product.cluster.values, -1),
        grid.latitude_edges,
        grid.longitude_edges,
        folder / "dense",
        n_clusters=product.attrs["k"],
        title=f"{product.attrs['platform']}, {time} UTC",
    )


if __name__ == "__main__":
    stage.start(run, MapGranuleParams)
