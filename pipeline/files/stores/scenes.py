"""The scenes product: arrays (scene, …, row, column), written scene by scene wherever."""

import asyncio
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.api.asynchronous import create_group
from zarr.codecs import BloscCodec

from pipeline.files.stores.products import ATTRIBUTES, TIME_ENCODING, consolidate, described

CHUNKS = {"row": 512, "column": 512, "lattice_row": 64, "lattice_column": 64}
CHUNKS_PER_SHARD = 4  # along an edge


@dataclass(frozen=True)
class ScenePart:
    """A scene on disk that is not yet in its product: what it is, and its lengths by dimension."""

    path: Path
    granule: str
    platform: str
    time: np.datetime64
    variables: Mapping[str, tuple[str, ...]]
    sizes: Mapping[str, int]
    coordinates: Mapping[str, tuple[str, ...]]


def write_part(path: Path, scene: xr.Dataset) -> ScenePart:
    """Write a scene by itself, in the chunks of the product.

    Args:
        path: Folder of its own; what it held is lost.
        scene: Variables (…, row, column) or (…, lattice_row, lattice_column), and attributes
            `granule`, `time` and `platform`.
    """
    shutil.rmtree(path, ignore_errors=True)
    asyncio.run(_write_arrays(path, scene))
    return ScenePart(
        path,
        scene.attrs["granule"],
        scene.attrs["platform"],
        scene.attrs["time"],
        {str(name): tuple(map(str, each.dims)) for name, each in scene.data_vars.items()},
        {str(name): length for name, length in scene.sizes.items()},
        {str(name): tuple(map(str, values.values)) for name, values in scene.coords.items()},
    )


class SceneStore:
    """Takes up parts of any shape in order; the product is padded to the largest of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.group = zarr.create_group(path, zarr_format=3)
        self.parts: list[ScenePart] = []

    def take_up(self, part: ScenePart) -> None:
        """Move the chunks of `part` to where the next scene's are; its metadata goes."""
        for name in part.variables:
            if not (self.path / name).exists():
                shutil.copytree(part.path / name, self.path / name, ignore=lambda *_: ["c"])
            chunks = part.path / name / "c" / "0"
            if chunks.exists():  # there are none where all is fill
                (self.path / name / "c").mkdir(exist_ok=True)
                chunks.rename(self.path / name / "c" / str(len(self.parts)))
        shutil.rmtree(part.path)
        self.parts.append(part)

    def close(self, params: object, attributes: Mapping[str, Any]) -> None:
        """Write what is known of the scenes as a whole."""
        variables = {name: dims for part in self.parts for name, dims in part.variables.items()}
        for name, dimensions in variables.items():
            largest = [max(part.sizes.get(each, 0) for part in self.parts) for each in dimensions]
            array = self.group[name]
            assert isinstance(array, zarr.Array)
            array.resize((len(self.parts), *largest))
        table = xr.Dataset(
            coords={
                "granule": ("scene", [part.granule for part in self.parts]),
                "platform": ("scene", [part.platform for part in self.parts]),
                "time": ("scene", np.array([part.time for part in self.parts])),
                **{name: list(values) for name, values in self.parts[0].coordinates.items()},
            },
            attrs={"title": "False-colour scenes", **attributes},
        )
        described(table, params).to_zarr(
            self.path, mode="a", consolidated=False, encoding={"time": TIME_ENCODING}
        )
        consolidate(self.path)


def channel_limits(scenes: xr.Dataset) -> dict[str, list[float]]:
    """`minimum` and `maximum` of the product's channels: percent or K that became 0 and 255."""
    preset = json.loads(scenes.attrs["parameters"])["presets"][scenes.attrs["preset"]]
    return {name: list(preset[name]) for name in ("minimum", "maximum")}


async def _write_arrays(path: Path, scene: xr.Dataset) -> None:
    """All at once, since writing one spends most of its time on waiting for zarr's threads."""
    group = await create_group(store=path, zarr_format=3)
    await asyncio.gather(
        *(_write_array(group, str(name), each) for name, each in scene.data_vars.items())
    )


async def _write_array(group: zarr.AsyncGroup, name: str, variable: xr.DataArray) -> None:
    dimensions = tuple(map(str, variable.dims))
    chunks = [CHUNKS.get(each, variable.sizes[each]) for each in dimensions]
    shards = [
        chunk * (CHUNKS_PER_SHARD if each in CHUNKS else 1)
        for each, chunk in zip(dimensions, chunks, strict=True)
    ]
    array = await group.create_array(
        name,
        shape=(1, *variable.shape),
        dtype=variable.dtype,
        chunks=(1, *chunks),
        shards=(1, *shards),
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
        fill_value=np.nan if variable.dtype.kind == "f" else 0,
        dimension_names=("scene", *dimensions),
        attributes={**ATTRIBUTES[name], "coordinates": "granule platform time"},
    )
    await array.setitem(slice(None), variable.values[None])
