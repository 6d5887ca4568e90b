"""Stage embed: scenes, encoder → an embedding of every complete tile on a regular grid."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from pipeline.core.device import compute_device
from pipeline.core.encoder import Encoder, embed_orientations, embed_tiles, fused, rebuild_encoder
from pipeline.core.sphere import tile_centres
from pipeline.core.threads import keep_latest, side_by_side
from pipeline.core.tile import IntArray, grid_tiles
from pipeline.core.tile_statistics import CloudRule, describe_tiles
from pipeline.files import encoders, stage, stores
from pipeline.files.land import land_mask
from pipeline.files.progress import progress
from pipeline.files.workers import has_cluster, ordered_map

# A scene's tiles, and turned copies of some of them.
_Embedded = tuple[xr.Dataset, xr.Dataset | None]

FEWEST_FOR_PROCESSES = 100  # scenes; threads have embedded fewer before processes have started
TILES_AT_ONCE = 1024  # cut from a scene; whole batches of `embed_tiles`


@dataclass(frozen=True)
class EmbedParams:
    """Section `embed` of params.yaml; `stride` in pixels, thresholds in percent and K."""

    stride: PositiveInt
    orientations: Literal[1, 4, 8]
    turned_per_scene: NonNegativeInt
    max_invalid_share: Annotated[float, Field(ge=0, le=1)]
    cloud_reflectance: PositiveFloat
    cloud_brightness_temperature: PositiveFloat


def run(params: EmbedParams, scenes: Path, encoder: Path, embeddings: Path) -> None:
    """Write the embeddings of the tiles of every scene to `embeddings`."""
    _, description = encoders.read_encoder(encoder)
    opened = stores.open_product(scenes.absolute())  # for workers that start elsewhere
    if (channels := list(opened.channel.values)) != description["channels"]:
        raise ValueError(
            f"{scenes} has the channels {', '.join(channels)}, the encoder was trained on "
            f"{', '.join(description['channels'])}; change ingest.preset or train anew"
        )
    of_scene = {name: opened[name].variable for name in ("granule", "platform")}
    embed = partial(
        _embed_scene,
        params=params,
        scenes=opened.drop_vars(of_scene),
        encoder=encoder.absolute(),
        digest=encoders.digest(encoder),
    )
    n_scenes = opened.sizes["scene"]
    if n_scenes < FEWEST_FOR_PROCESSES and not has_cluster():
        done = side_by_side(embed, range(n_scenes), compute_device())
    else:
        at_most = 1 if compute_device().type == "cuda" else None  # process for each device
        done = ordered_map(embed, range(n_scenes), at_most=at_most)
    parts = progress(done, "embed", total=n_scenes, unit="scenes")
    about = {
        "title": "Embeddings of tiles",
        "tile_size": description["tile_size"],
        "stride": params.stride,
        "n_orientations": params.orientations,
    }
    known = {**of_scene, "tile_size": description["tile_size"]}
    turned: list[xr.Dataset] = []
    n_tiles = stores.write_blocks(
        (part.assign_coords(known).assign_attrs(about) for part in _set_aside(parts, turned)),
        embeddings,
        params,
        dimension="tile",
    )
    if not n_tiles:
        raise ValueError(
            f"no scene holds a complete tile of {description['tile_size']} pixels on a grid of "
            f"{params.stride}; lower embed.stride or sample.tile_size"
        )
    if turned:
        stores.add_to_product(xr.concat(turned, "turned"), embeddings)


def _set_aside(parts: Iterator[_Embedded | None], turned: list[xr.Dataset]) -> Iterator[xr.Dataset]:
    """The tiles of each scene, while the turned copies of some are gathered in `turned`."""
    n_tiles = 0
    for part in parts:
        if part is not None:
            tiles, copies = part
            if copies is not None:
                turned.append(copies.assign(turned_tile=copies.turned_tile + n_tiles))
            n_tiles += tiles.sizes["tile"]
            yield tiles


@keep_latest
def _read_network(folder: Path, digest: str) -> tuple[Encoder, dict[str, Any]]:
    """The encoder, kept for the next scene; workers of a cluster outlive what is in `folder`."""
    if encoders.digest(folder) != digest:
        raise ValueError(f"the weights in {folder} are not those of the start; run embed again")
    weights, description = encoders.read_encoder(folder)
    return fused(rebuild_encoder(weights, description)), description


def _embed_scene(
    index: int, *, params: EmbedParams, scenes: xr.Dataset, encoder: Path, digest: str
) -> _Embedded | None:
    """Embeddings and statistics of a scene's tiles, or None where it has no complete one."""
    network, description = _read_network(encoder, digest)
    size = description["tile_size"]
    scene = scenes.isel(scene=index).load()
    places = grid_tiles(
        scene.valid.values,
        tile_size=size,
        stride=params.stride,
        max_invalid_share=params.max_invalid_share,
    )
    if not len(places):
        return None
    windows = sliding_window_view(scene.colour.values, (size, size), axis=(1, 2))
    embedding, brightness = [], []
    for first in range(0, len(places), TILES_AT_ONCE):
        row, column = places[first : first + TILES_AT_ONCE].T
        tiles = windows[:, row, column].swapaxes(0, 1)  # (tile, channel, row, column)
        embedding.append(
            embed_tiles(network, tiles, device=compute_device(), n_orientations=params.orientations)
        )
        brightness.append(tiles.mean((1, 2, 3), dtype=np.float64).astype(np.float32) / 255)
    split_of_day = {day: split for split, days in description["days"].items() for day in days}
    split = split_of_day.get(str(scene.time.values.astype("datetime64[D]")), "unseen")
    found = (
        describe_tiles(
            scene,
            land_mask(scene.latitude.values, scene.longitude.values),
            places,
            size,
            CloudRule(params.cloud_reflectance, params.cloud_brightness_temperature),
        )
        .assign(
            embedding=(
                ("tile", "dimension"),
                np.concatenate(embedding),
                {"long_name": "embedding of the tile", "units": "1"},
            ),
            brightness=(
                "tile",
                np.concatenate(brightness),
                {"long_name": "mean colour, of 1", "units": "1"},
            ),
        )
        .drop_vars(["time", "angle"], errors="ignore")
        .assign_coords(
            {
                **_tile_places(scene, places, size),
                "scene": ("tile", np.full(len(places), index, np.int32)),
                "time": ("tile", np.full(len(places), scene.time.values)),
                "split": ("tile", np.full(len(places), split, object)),
            }
        )
    )
    n_turned = min(params.turned_per_scene, len(places))
    copies = _turn(params, windows, places, n_turned, network) if n_turned else None
    return found, copies


def _turn(
    params: EmbedParams,
    windows: NDArray[np.uint8],
    places: IntArray,
    n_turned: int,
    network: Encoder,
) -> xr.Dataset:
    """Embeddings of some tiles, evenly spaced, as they are, turned, and turned when mirrored."""
    chosen = np.linspace(0, len(places) - 1, n_turned).round().astype(np.int32)
    row, column = places[chosen].T
    tiles = windows[:, row, column].swapaxes(0, 1)  # (turned, channel, row, column)
    embedding = embed_orientations(
        network, tiles, device=compute_device(), n_orientations=params.orientations
    )
    long_name = "embedding of the tile as it is, turned by 90, 180 and 270 degrees, and mirrored"
    return xr.Dataset(
        {
            "turned_embedding": (
                ("turned", "orientation", "dimension"),
                embedding,
                {"long_name": long_name, "units": "1"},
            ),
            "turned_tile": (
                "turned",
                chosen,
                {"long_name": "index of the tile in the product", "units": "1"},
            ),
        }
    )


def _tile_places(scene: xr.Dataset, places: IntArray, tile_size: int) -> dict[str, Any]:
    """First pixels, centres and corners of tiles."""
    row, column = places.T
    centres = tile_centres(scene.latitude.values, scene.longitude.values, places, tile_size)
    last = tile_size - 1
    corners = [(0, 0), (0, last), (last, last), (last, 0)]
    coordinates: dict[str, Any] = {
        "row": ("tile", row.astype(np.int32)),
        "column": ("tile", column.astype(np.int32)),
    }
    for name, centre in zip(("latitude", "longitude"), centres, strict=True):
        field = scene[name].values
        bounds = np.stack([field[row + down, column + right] for down, right in corners], axis=1)
        coordinates[name] = ("tile", centre, {"bounds": f"{name}_bounds"})
        coordinates[f"{name}_bounds"] = (("tile", "vertex"), bounds)
    return coordinates


if __name__ == "__main__":
    stage.start(run, EmbedParams)
