"""What tiles at a small stride tell of every pixel of a scene."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from pipeline.core.encoder import Encoder, fused, rebuild_encoder
from pipeline.core.threads import keep_latest
from pipeline.core.tile import grid_tiles, shape_on_earth

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.floating]

NO_TILE = -1
TILES_AT_ONCE = 1024  # of a block; whole batches of `embed_tiles`
WANTED = ["colour", "valid", "latitude", "longitude"]


class Stored(Protocol):
    """An encoder that a worker can read; equal ones have the same weights."""

    def __hash__(self) -> int: ...

    def read(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Weights and description."""


def without_padding(scene: xr.Dataset) -> xr.Dataset:
    """The scene in memory, without the empty rows and columns that make all scenes one size."""
    row, column = shape_on_earth(scene.latitude.values)
    return scene[WANTED].isel(row=slice(row), column=slice(column)).load()


def lay_tiles(
    scene: xr.Dataset,
    description: Mapping[str, Any],
    *,
    stride: int,
    max_invalid_share: float,
    section: str,
) -> IntArray:
    """First (row, column) of the tiles of a scene on a lattice, shape (tile, 2).

    Args:
        scene: Of `without_padding`.
        description: Of the encoder.
        stride: Pixels between tiles.
        max_invalid_share: So many of a tile's pixels may be invalid.
        section: Of params.yaml, to name in messages.

    Raises:
        ValueError: If the scene has other channels than the encoder, or no complete tile, or the
            stride is larger than a tile.
    """
    size, name = description["tile_size"], str(scene.granule.values)
    if (channels := list(scene.channel.values)) != description["channels"]:
        raise ValueError(
            f"{name} has the channels {', '.join(channels)}, the encoder was trained on "
            f"{', '.join(description['channels'])}; change ingest.preset or train anew"
        )
    if stride > size:
        raise ValueError(
            f"{section}.stride {stride} is larger than the encoder's tiles of {size} pixels, which "
            "would leave gaps between them; lower it"
        )
    places = grid_tiles(
        scene.valid.values, tile_size=size, stride=stride, max_invalid_share=max_invalid_share
    )
    if not len(places):
        raise ValueError(
            f"{name} holds no tile of {size} pixels; name another granule in {section} or raise "
            f"{section}.max_invalid_share"
        )
    return places


def split_places(places: IntArray) -> list[IntArray]:
    """Blocks of tiles for `describe_block`."""
    return np.split(places, range(TILES_AT_ONCE, len(places), TILES_AT_ONCE))


def describe_block(
    places: IntArray,
    *,
    colour: xr.DataArray,
    tile_size: int,
    encoder: Stored,
    describe: Callable[[Encoder, NDArray[np.uint8]], FloatArray],
) -> FloatArray:
    """What `describe` says of tiles cut from the lines that hold them.

    Args:
        places: First (row, column), shape (tile, 2).
        colour: Of one scene, (channel, row, column).
        tile_size: Edge of a tile.
        encoder: Read for the first block and kept.
        describe: `embed_tiles` or `pool_tiles`.
    """
    row, column = places.T
    lines = colour.isel(row=slice(row.min(), row.max() + tile_size)).values
    windows = sliding_window_view(lines, (tile_size, tile_size), axis=(1, 2))
    tiles = windows[:, row - row.min(), column].swapaxes(0, 1)  # (tile, channel, row, column)
    return describe(_read_network(encoder), tiles)


@keep_latest
def _read_network(encoder: Stored) -> Encoder:
    return fused(rebuild_encoder(*encoder.read()))


def nearest_tiles(
    places: IntArray, *, scene_shape: tuple[int, int], tile_size: int, stride: int
) -> IntArray:
    """For each pixel the tile whose centre is nearest, shape (row, column).

    A tile speaks for the square of `stride` pixels around its centre and for no other, so that
    pixels nearer than half a tile to the edge of the scene, or to what is invalid, have none.

    Args:
        places: First (row, column) of each tile, on a lattice of `stride`, shape (tile, 2).
        scene_shape: Rows and columns.
        tile_size: Edge of a tile.
        stride: Distance between tiles, at most `tile_size`.

    Returns:
        Index into `places`, or `NO_TILE`.

    >>> nearest_tiles(np.array([[0, 0], [0, 2]]), scene_shape=(4, 6), tile_size=4, stride=2)
    array([[-1, -1, -1, -1, -1, -1],
           [-1,  0,  0,  1,  1, -1],
           [-1,  0,  0,  1,  1, -1],
           [-1, -1, -1, -1, -1, -1]])
    """
    tiles = np.full((scene_shape[0] // stride + 2, scene_shape[1] // stride + 2), NO_TILE)
    tiles[tuple(places.T // stride)] = np.arange(len(places))
    # Of two centres as near, where tile and stride are not both odd or even, the latter counts.
    margin = (tile_size - stride) // 2
    row, column = ((np.arange(length) - margin) // stride for length in scene_shape)
    # Before the first tile, -1 reads the end of the table, where none is.
    return np.asarray(tiles[np.ix_(np.maximum(row, -1), np.maximum(column, -1))])


def margins(embeddings: FloatArray, centroids: FloatArray) -> NDArray[np.float32]:
    """How much nearer the nearest centroid is than the next, from 0 (as near) to 1, shape (tile,).

    It is (d2 - d1) / d2 of the two smallest distances, and 0 where both are.

    Args:
        embeddings: Shape (tile, dimension).
        centroids: Shape (cluster, dimension), at least two.

    >>> margins(np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [4.0]])).round(2).tolist()
    [1.0, 0.6700000166893005, 0.0]
    """
    first, second = np.partition(cdist(embeddings, centroids), 1, axis=1).T[:2]
    differences = np.divide(second - first, second, out=np.zeros_like(second), where=second > 0)
    return np.asarray(differences, np.float32)


def most_varied(scenes: IntArray, clusters: IntArray) -> int:
    """The scene whose tiles are in the most clusters; of equals the one of the most tiles.

    Args:
        scenes: Scene of each tile, shape (tile,).
        clusters: Cluster of each tile.

    >>> most_varied(np.array([3, 3, 5, 5, 5, 9]), np.array([0, 1, 0, 1, 1, 2]))
    5
    """
    found, n_tiles = np.unique(scenes, return_counts=True)
    pairs = np.unique(np.stack([scenes, clusters]), axis=1)
    _, n_clusters = np.unique(pairs[0], return_counts=True)
    return int(found[np.lexsort([-n_tiles, -n_clusters])[0]])
