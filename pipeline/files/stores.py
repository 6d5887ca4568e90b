"""Zarr and netCDF products: dimensions, units, chunks and the parameters that made them."""

import dataclasses
import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

CONVENTIONS = "CF-1.11"
TIME_ENCODING = {"units": "milliseconds since 1970-01-01", "dtype": "int64"}
SCENE_CHUNK = 512
TRIPLETS_PER_CHUNK = 64
TRIPLETS_PER_SHARD = 1024

ATTRIBUTES: dict[str, dict[str, str]] = {
    "colour": {"long_name": "false colour", "units": "1"},
    "valid": {"long_name": "every channel of the pixel was measured", "units": "1"},
    "latitude": {"standard_name": "latitude", "units": "degrees_north"},
    "longitude": {"standard_name": "longitude", "units": "degrees_east"},
    "solar_zenith_angle": {"standard_name": "solar_zenith_angle", "units": "degree"},
    "brightness_temperature": {
        "long_name": "window-channel brightness temperature",
        "standard_name": "toa_brightness_temperature",
        "units": "K",
    },
    "reflectance": {
        "long_name": "visible reflectance",
        "standard_name": "toa_bidirectional_reflectance",
        "units": "percent",
    },
    "time": {"long_name": "start time of the granule, UTC", "standard_name": "time"},
    "granule": {"long_name": "file name of the granule"},
    "platform": {"long_name": "satellite", "standard_name": "platform_name"},
    "scene": {"long_name": "position in the scenes of the product", "units": "1"},
    "row": {"long_name": "row of the tile's first pixel", "units": "1"},
    "column": {"long_name": "column of the tile's first pixel", "units": "1"},
    "channel": {"long_name": "channel of the false colour"},
    "member": {"long_name": "role in the triplet"},
    "split": {"long_name": "part of the days the granule belongs to"},
}


def open_product(path: Path, group: str | None = None) -> xr.Dataset:
    """The product at `path`, read when used.

    Raises:
        FileNotFoundError: If there is none.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; run dvc repro {path}")
    if path.suffix == ".zarr":
        return xr.open_zarr(path, group=group, chunks=None)  # type: ignore[no-any-return]
    return xr.open_dataset(path, group=group, engine="netcdf4")


def write_product(dataset: xr.Dataset, path: Path, params: object) -> None:
    """Write `dataset` as Zarr v3 or netCDF-4, by the suffix, with `params` as an attribute."""
    path.parent.mkdir(parents=True, exist_ok=True)
    product = _described(dataset, params)
    encoding: dict[str, dict[str, Any]] = {
        str(name): dict(TIME_ENCODING)
        for name in product.variables
        if product[name].dtype.kind == "M"
    }
    if path.suffix == ".zarr":
        product.to_zarr(path, zarr_format=3, consolidated=False, encoding=encoding)
        consolidate(path)
        return
    for name, variable in product.variables.items():
        if name in product.coords:
            encoding.setdefault(str(name), {})["_FillValue"] = None
        elif variable.dtype.kind in "fiu":
            encoding.setdefault(str(name), {}).update(zlib=True, complevel=4)
    product.to_netcdf(path, engine="netcdf4", encoding=encoding)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON, metrics above all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def consolidate(path: Path) -> None:
    """Gather the metadata of a Zarr product in one place, for xarray to open it at once."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(path)


class SceneWriter:
    """Appends scenes of any shape to one product, padded to the largest of them.

    A scene is a Dataset of dimensions (channel, row, column) with `colour`, `valid`, places,
    angles and physical variables, and attributes `granule`, `time` and `platform`.
    """

    def __init__(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        self.group = zarr.create_group(path, zarr_format=3)
        self.path = path
        self.scenes: list[dict[str, Any]] = []
        self.channels: list[str] = []

    def append(self, scene: xr.Dataset) -> None:
        """Write one more scene."""
        self.channels = list(scene.channel.values)
        index = len(self.scenes)
        for name, variable in scene.data_vars.items():
            array = self._array(str(name), variable)
            array.resize((index + 1, *map(max, array.shape[1:], variable.shape)))
            region = tuple(slice(length) for length in variable.shape)
            array[(slice(index, index + 1), *region)] = variable.values[None]
        self.scenes.append(scene.attrs)

    def close(self, params: object, attributes: Mapping[str, Any]) -> None:
        """Write what is known of the scenes as a whole."""
        shape = np.max([array.shape[-2:] for _, array in self.group.arrays()], axis=0)
        for _, array in self.group.arrays():
            array.resize((len(self.scenes), *array.shape[1:-2], *shape))
        table = xr.Dataset(
            coords={
                "granule": ("scene", [scene["granule"] for scene in self.scenes]),
                "platform": ("scene", [scene["platform"] for scene in self.scenes]),
                "time": ("scene", np.array([scene["time"] for scene in self.scenes])),
                "channel": self.channels,
            },
            attrs={"title": "False-colour scenes", **attributes},
        )
        _described(table, params).to_zarr(
            self.path, mode="a", consolidated=False, encoding={"time": TIME_ENCODING}
        )
        consolidate(self.path)

    def _array(self, name: str, variable: xr.DataArray) -> zarr.Array[Any]:
        if name in self.group:
            array = self.group[name]
            assert isinstance(array, zarr.Array)
            return array
        dimensions = ("scene", *map(str, variable.dims))
        lengths = [min(length, SCENE_CHUNK) for length in variable.shape[-2:]]
        chunks = (1, *variable.shape[:-2], *lengths)
        return self.group.create_array(
            name,
            shape=(0, *variable.shape),
            dtype=variable.dtype,
            chunks=chunks,
            shards=(1, *_multiples(variable.shape, chunks[1:])),
            compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
            fill_value=np.nan if variable.dtype.kind == "f" else 0,
            dimension_names=dimensions,
            attributes={**ATTRIBUTES[name], "coordinates": "granule platform time"},
        )


def cut_tiles(
    scenes: xr.Dataset,
    scene: NDArray[np.integer],
    row: NDArray[np.integer],
    column: NDArray[np.integer],
    tile_size: int,
) -> NDArray[np.uint8]:
    """Tiles (tile, channel, row, column) cut from the scenes product, whatever their order.

    Args:
        scenes: The product `scenes.zarr`.
        scene: Index of each tile's scene, shape (tile,).
        row: First row of each tile.
        column: First column of each tile.
        tile_size: Edge of a tile in pixels.
    """
    tiles = np.empty((len(scene), scenes.sizes["channel"], tile_size, tile_size), np.uint8)
    for index in np.unique(scene):
        chosen = np.flatnonzero(scene == index)
        top, left = int(row[chosen].min()), int(column[chosen].min())
        window = scenes.colour.isel(
            scene=int(index),
            row=slice(top, int(row[chosen].max()) + tile_size),
            column=slice(left, int(column[chosen].max()) + tile_size),
        ).values  # (channel, row, column)
        for tile in chosen:
            rows = slice(int(row[tile]) - top, int(row[tile]) - top + tile_size)
            columns = slice(int(column[tile]) - left, int(column[tile]) - left + tile_size)
            tiles[tile] = window[:, rows, columns]
    return tiles


def cut_embedded_tiles(scenes: Path, embedded: xr.Dataset) -> NDArray[np.uint8]:
    """Tiles (tile, channel, row, column) of a part of the embeddings, cut from `scenes`."""
    return cut_tiles(
        open_product(scenes),
        embedded.scene.values,
        embedded.row.values,
        embedded.column.values,
        embedded.attrs["tile_size"],
    )


def create_triplets(
    path: Path,
    split: str,
    members: xr.Dataset,
    params: object,
    *,
    channels: list[str],
    tile_size: int,
) -> None:
    """Write the places of a split's triplets, and an empty array for their tiles.

    Args:
        path: The product; the split becomes its group.
        split: Name of the group.
        members: Places (triplet, member).
        params: What made them.
        channels: Names of the tiles' channels.
        tile_size: Edge of a tile in pixels.
    """
    described = _described(members.assign_coords(channel=channels), params)
    described.attrs["title"] = f"Triplets of tiles for {split}"
    described.to_zarr(
        path,
        group=split,
        mode="a",
        zarr_format=3,
        consolidated=False,
        encoding={"time": TIME_ENCODING},
    )
    n_triplets, n_members = members.sizes["triplet"], members.sizes["member"]
    tile_shape = (n_members, len(channels), tile_size, tile_size)
    zarr.open_group(path, path=split).create_array(
        "tiles",
        shape=(n_triplets, *tile_shape),
        dtype=np.uint8,
        chunks=(TRIPLETS_PER_CHUNK, *tile_shape),
        shards=(TRIPLETS_PER_SHARD, *tile_shape),
        compressors=BloscCodec(cname="lz4", clevel=1, shuffle="noshuffle"),
        fill_value=0,
        dimension_names=("triplet", "member", "channel", "row", "column"),
        attributes={"long_name": "false colour of the members", "units": "1"},
    )


def open_tiles(path: Path, split: str) -> zarr.Array[Any]:
    """The array (triplet, member, channel, row, column) of a split, to read or to fill."""
    tiles = zarr.open_group(path, path=split)["tiles"]
    assert isinstance(tiles, zarr.Array)
    return tiles


def _described(dataset: xr.Dataset, params: object) -> xr.Dataset:
    """`dataset` with attributes of known variables, and strings as every format stores them."""
    described = dataset.copy()
    for name in dataset.variables:
        variable = described[name]
        if variable.dtype.kind in "UT" or variable.dtype == object:
            described[name] = variable.astype(object)
        described[name].attrs = {**ATTRIBUTES.get(str(name), {}), **variable.attrs}
    if dataclasses.is_dataclass(params) and not isinstance(params, type):
        described.attrs["parameters"] = json.dumps(dataclasses.asdict(params), default=str)
    described.attrs["Conventions"] = CONVENTIONS
    return described


def _multiples(lengths: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...]:
    """The smallest multiples of `chunks` that hold `lengths`."""
    return tuple(-(-length // chunk) * chunk for length, chunk in zip(lengths, chunks, strict=True))
