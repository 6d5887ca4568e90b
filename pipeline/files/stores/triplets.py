"""The triplets product: a group a split, tiles in shards."""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec

from pipeline.files.stores.products import TIME_ENCODING, described

TRIPLETS_PER_CHUNK = 64
TRIPLETS_PER_SHARD = 1024


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
    dataset = described(members.assign_coords(channel=channels), params)
    dataset.attrs["title"] = f"Triplets of tiles for {split}"
    dataset.to_zarr(
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
