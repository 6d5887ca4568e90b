"""The triplets product: a group a split, with the tiles or only their places in the scenes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.core.buffer.cpu import NDBuffer

from pipeline.files.stores.products import TIME_ENCODING, described, open_product
from pipeline.files.stores.tiles import cut_tiles

TRIPLETS_PER_CHUNK = 128
N_READERS = 4


def create_triplets(
    path: Path,
    split: str,
    members: xr.Dataset,
    params: object,
    *,
    channels: list[str],
    tile_size: int,
    with_tiles: bool,
) -> None:
    """Write the places of a split's triplets, and an empty array for their tiles.

    Args:
        path: The product; the split becomes its group.
        split: Name of the group.
        members: Places (triplet, member).
        params: What made them.
        channels: Names of the tiles' channels.
        tile_size: Edge of a tile in pixels.
        with_tiles: False where the places are all that is stored.
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
    if not with_tiles:
        return
    n_triplets, n_members = members.sizes["triplet"], members.sizes["member"]
    tile_shape = (n_members, len(channels), tile_size, tile_size)
    zarr.open_group(path, path=split).create_array(
        "tiles",
        shape=(n_triplets, *tile_shape),
        dtype=np.uint8,
        chunks=(TRIPLETS_PER_CHUNK, *tile_shape),
        compressors=None,
        fill_value=0,
        dimension_names=("triplet", "member", "channel", "row", "column"),
        attributes={"long_name": "false colour of the members", "units": "1"},
    )


def write_tiles(path: Path, split: str, first: int, tiles: NDArray[np.uint8]) -> None:
    """Fill whole chunks of a split's tiles from triplet `first` on."""
    # Looking whether a chunk is empty takes longer than to compress it.
    with zarr.config.set({"array.write_empty_chunks": True}):
        array = _stored_tiles(path, split)
        assert array is not None
        array[first : first + len(tiles)] = tiles


class TripletTiles:
    """Tiles of a split's triplets: as stored, or cut from the scenes where only places are.

    Raises:
        ValueError: If the places are in other scenes.

    Attributes:
        members: Places and times (triplet, member), in memory.
        shape: Triplet, member, channel, row, column.
    """

    def __init__(self, triplets: Path, split: str, scenes: Path) -> None:
        root = open_product(triplets)
        self.members = open_product(triplets, split).drop_vars("tiles", errors="ignore").load()
        self.tile_size = int(root.attrs["tile_size"])
        sizes = self.members.sizes
        self.shape = (
            sizes["triplet"],
            sizes["member"],
            sizes["channel"],
            self.tile_size,
            self.tile_size,
        )
        self._stored = _stored_tiles(triplets, split)
        if self._stored is None:
            self._scenes = open_product(scenes)
            if not np.array_equal(root.granule.values, self._scenes.granule.values):
                raise ValueError(
                    f"{triplets} holds places in other scenes than those of {scenes}; run dvc "
                    "repro sample"
                )
            self._places = [
                self.members[name].values for name in ("scene", "first_row", "first_column")
            ]

    def read(self, spans: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Fill `out` with the triplets of spans (first, behind-the-last), one after the other."""
        if self._stored is None:
            triplets = np.concatenate([np.arange(*span) for span in spans])
            scene, row, column = (place[triplets].ravel() for place in self._places)
            tiles = out.reshape(-1, *out.shape[2:])
            cut_tiles(self._scenes, scene, row, column, self.tile_size, out=tiles)
            return
        behind = np.cumsum(spans[:, 1] - spans[:, 0])
        firsts = behind - (spans[:, 1] - spans[:, 0])
        with ThreadPoolExecutor(N_READERS) as threads:
            list(threads.map(self._read_span, spans, np.split(out, firsts[1:])))

    def _read_span(self, span: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        assert self._stored is not None
        self._stored.get_basic_selection(slice(*map(int, span)), out=NDBuffer(out))  # type: ignore[arg-type]


def _stored_tiles(path: Path, split: str) -> zarr.Array[Any] | None:
    group = zarr.open_group(path, path=split)
    if "tiles" not in group:
        return None
    tiles = group["tiles"]
    assert isinstance(tiles, zarr.Array)
    return tiles
