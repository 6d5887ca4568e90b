"""Stage embed: scenes, encoder → an embedding of every complete tile on a regular grid."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from pipeline.core.encoder import Encoder, compute_device, embed_tiles, rebuild_encoder
from pipeline.core.tile import IntArray, grid_tiles, tile_means
from pipeline.files import encoders, stage, stores
from pipeline.files.progress import progress

PHYSICAL = {
    "brightness_temperature": {"long_name": "mean window-channel brightness temperature"},
    "reflectance": {"long_name": "mean visible reflectance"},
}


@dataclass(frozen=True)
class EmbedParams:
    """Section `embed` of params.yaml; `stride` in pixels, thresholds in percent and K."""

    stride: Annotated[int, Field(gt=0)]
    cloud_reflectance: Annotated[float, Field(gt=0)]
    cloud_brightness_temperature: Annotated[float, Field(gt=0)]


def run(params: EmbedParams, scenes: Path, encoder: Path, embeddings: Path) -> None:
    """Write the embeddings of the tiles of every scene to `embeddings`."""
    weights, description = encoders.read_encoder(encoder)
    opened = stores.open_product(scenes)
    if (channels := list(opened.channel.values)) != description["channels"]:
        raise ValueError(
            f"{scenes} has the channels {', '.join(channels)}, the encoder was trained on "
            f"{', '.join(description['channels'])}; change ingest.preset or train anew"
        )
    split_of_day = {day: split for split, days in description["days"].items() for day in days}
    network = rebuild_encoder(weights, description)
    parts = list(_embed_scenes(params, opened, network, description["tile_size"], split_of_day))
    if not parts:
        raise ValueError(
            f"no scene holds a complete tile of {description['tile_size']} pixels on a grid of "
            f"{params.stride}; lower embed.stride or sample.tile_size"
        )
    tiles = xr.concat(parts, "tile")
    tiles = tiles.assign_coords(granule=opened.granule.variable, platform=opened.platform.variable)
    tiles.attrs = {
        "title": "Embeddings of tiles",
        "tile_size": description["tile_size"],
        "stride": params.stride,
    }
    stores.write_product(tiles, embeddings, params)


def _embed_scenes(
    params: EmbedParams,
    scenes: xr.Dataset,
    encoder: Encoder,
    tile_size: int,
    split_of_day: dict[str, str],
) -> Iterator[xr.Dataset]:
    device = compute_device()
    for index in progress(range(scenes.sizes["scene"]), "embed", unit="scenes"):
        scene = scenes.isel(scene=index).load()
        places = grid_tiles(scene.valid.values, tile_size=tile_size, stride=params.stride)
        if not len(places):
            continue
        row, column = places.T
        tiles = stores.cut_tiles(scenes, np.full(len(places), index), row, column, tile_size)
        day = str(scene.time.values.astype("datetime64[D]"))
        yield _as_dataset(
            {
                "embedding": (("tile", "dimension"), embed_tiles(encoder, tiles, device=device)),
                "brightness": (
                    "tile",
                    tiles.mean((1, 2, 3), dtype=np.float64).astype(np.float32) / 255,
                    {"long_name": "mean colour, of 1", "units": "1"},
                ),
                **_physical(params, scene, places, tile_size),
            },
            {
                **_tile_places(scene, places, tile_size),
                "scene": ("tile", np.full(len(places), index, np.int32)),
                "time": ("tile", np.full(len(places), scene.time.values)),
                "split": ("tile", np.full(len(places), split_of_day.get(day, "unseen"), object)),
            },
        )


def _as_dataset(variables: dict[str, Any], coordinates: dict[str, Any]) -> xr.Dataset:
    variables["embedding"] += ({"long_name": "embedding of the tile", "units": "1"},)
    return xr.Dataset(variables, coords=coordinates)


def _tile_places(scene: xr.Dataset, places: IntArray, tile_size: int) -> dict[str, Any]:
    """First pixels, centres and corners of tiles."""
    row, column = places.T
    middle = row + tile_size // 2, column + tile_size // 2
    last = tile_size - 1
    corners = [(0, 0), (0, last), (last, last), (last, 0)]
    coordinates: dict[str, Any] = {
        "row": ("tile", row.astype(np.int32)),
        "column": ("tile", column.astype(np.int32)),
    }
    for name in ("latitude", "longitude"):
        field = scene[name].values
        bounds = np.stack([field[row + down, column + right] for down, right in corners], axis=1)
        coordinates[name] = ("tile", field[middle], {"bounds": f"{name}_bounds"})
        coordinates[f"{name}_bounds"] = (("tile", "vertex"), bounds)
    return coordinates


def _physical(
    params: EmbedParams, scene: xr.Dataset, places: IntArray, tile_size: int
) -> dict[str, Any]:
    """Means over each tile of what was measured, and the share of cloud."""
    found: dict[str, Any] = {
        name: ("tile", _means(scene[name].values, places, tile_size), attributes)
        for name, attributes in PHYSICAL.items()
        if name in scene
    }
    if "reflectance" in scene:
        field = scene.reflectance.values
        cloudy, rule = (
            field >= params.cloud_reflectance,
            f"visible reflectance of at least {params.cloud_reflectance} percent",
        )
    elif "brightness_temperature" in scene:
        field = scene.brightness_temperature.values
        limit = params.cloud_brightness_temperature
        cloudy, rule = field <= limit, f"window brightness temperature of at most {limit} K"
    else:
        return found
    share = _means(np.where(np.isfinite(field), cloudy, np.nan), places, tile_size)
    found["cloud_fraction"] = (
        "tile",
        share,
        {"long_name": f"share of pixels with a {rule}", "units": "1"},
    )
    return found


def _means(field: NDArray[Any], places: IntArray, tile_size: int) -> NDArray[np.float32]:
    return tile_means(field, places, tile_size).astype(np.float32)


if __name__ == "__main__":
    stage.start(run, EmbedParams)
