"""The scenes product: arrays (scene, …, row, column), written scene by scene wherever."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from pipeline.files.stores.products import ATTRIBUTES, TIME_ENCODING, consolidate, described

CHUNK = 512  # pixels
SHARD = 2048


@dataclass(frozen=True)
class ScenePart:
    """A scene on disk that is not yet in its product."""

    path: Path
    granule: str
    platform: str
    time: np.datetime64
    channels: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]


def write_part(path: Path, scene: xr.Dataset) -> ScenePart:
    """Write a scene by itself, in the chunks of the product.

    Args:
        path: Folder of its own; what it held is lost.
        scene: Dimensions (channel, row, column), with `colour`, `valid`, places, angles and
            physical variables, and attributes `granule`, `time` and `platform`.
    """
    shutil.rmtree(path, ignore_errors=True)
    group = zarr.create_group(path, zarr_format=3)
    for name, variable in scene.data_vars.items():
        dimensions = ("scene", *map(str, variable.dims))
        shape = (1, *variable.shape)
        array = _create(group, str(name), dimensions, shape, variable.dtype)
        array[:] = variable.values[None]
    return ScenePart(
        path,
        scene.attrs["granule"],
        scene.attrs["platform"],
        scene.attrs["time"],
        tuple(map(str, scene.channel.values)),
        {str(name): variable.shape for name, variable in scene.data_vars.items()},
    )


class SceneStore:
    """Takes up parts of any shape in order; the product is padded to the largest of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.group = zarr.create_group(path, zarr_format=3)
        self.parts: list[ScenePart] = []
        self.shapes: dict[str, NDArray[np.int64]] = {}

    def take_up(self, part: ScenePart) -> None:
        """Move the chunks of `part` to where the next scene's are; its metadata goes."""
        for name, shape in part.shapes.items():
            if name not in self.shapes:
                shutil.copytree(part.path / name, self.path / name, ignore=lambda *_: ["c"])
            self.shapes[name] = np.maximum(self.shapes.get(name, 0), shape)
            chunks = part.path / name / "c" / "0"
            if chunks.exists():  # there are none where all is fill
                (self.path / name / "c").mkdir(exist_ok=True)
                chunks.rename(self.path / name / "c" / str(len(self.parts)))
        shutil.rmtree(part.path)
        self.parts.append(part)

    def close(self, params: object, attributes: Mapping[str, Any]) -> None:
        """Write what is known of the scenes as a whole."""
        edges = np.max([shape[-2:] for shape in self.shapes.values()], axis=0)
        for name, shape in self.shapes.items():
            array = self.group[name]
            assert isinstance(array, zarr.Array)
            array.resize((len(self.parts), *map(int, shape[:-2]), *map(int, edges)))
        table = xr.Dataset(
            coords={
                "granule": ("scene", [part.granule for part in self.parts]),
                "platform": ("scene", [part.platform for part in self.parts]),
                "time": ("scene", np.array([part.time for part in self.parts])),
                "channel": list(self.parts[0].channels),
            },
            attrs={"title": "False-colour scenes", **attributes},
        )
        described(table, params).to_zarr(
            self.path, mode="a", consolidated=False, encoding={"time": TIME_ENCODING}
        )
        consolidate(self.path)


def _create(
    group: zarr.Group,
    name: str,
    dimensions: tuple[str, ...],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> zarr.Array[Any]:
    between = shape[1:-2]
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=(1, *between, CHUNK, CHUNK),
        shards=(1, *between, SHARD, SHARD),
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"),
        fill_value=np.nan if dtype.kind == "f" else 0,
        dimension_names=dimensions,
        attributes={**ATTRIBUTES[name], "coordinates": "granule platform time"},
    )
