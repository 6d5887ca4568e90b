"""Batches of triplets: whole shards are read ahead and shuffled in memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

Tiles = NDArray[np.uint8]


def shuffled_batches(
    tiles: zarr.Array[Any], *, batch_size: int, shards_in_memory: int, rng: np.random.Generator
) -> Iterator[Tiles]:
    """Every triplet once, in an order drawn by `rng`; the last batch may be smaller.

    Args:
        tiles: Shape (triplet, member, channel, row, column).
        batch_size: Triplets a batch.
        shards_in_memory: Shards whose triplets are mixed; as many again are read ahead.
        rng: Draws the order.
    """
    shard = (tiles.shards or tiles.chunks)[0]
    firsts = rng.permutation(np.arange(0, tiles.shape[0], shard))
    rest: Tiles = np.empty((0, *tiles.shape[1:]), np.uint8)
    for loaded in _read_ahead(tiles, firsts, shard, shards_in_memory):
        mixed = np.concatenate([rest, loaded])
        mixed = mixed[rng.permutation(len(mixed))]
        n_full = len(mixed) // batch_size * batch_size
        for first in range(0, n_full, batch_size):
            yield mixed[first : first + batch_size]
        rest = mixed[n_full:]
    if len(rest):
        yield rest


def ordered_batches(tiles: zarr.Array[Any]) -> Iterator[Tiles]:
    """Every triplet once, in the order of the store, a shard at a time."""
    shard = (tiles.shards or tiles.chunks)[0]
    yield from _read_ahead(tiles, np.arange(0, tiles.shape[0], shard), shard, 1)


def _read_ahead(
    tiles: zarr.Array[Any], firsts: NDArray[np.int64], shard: int, n_together: int
) -> Iterator[Tiles]:
    def read(chosen: NDArray[np.int64]) -> Tiles:
        return np.concatenate([np.asarray(tiles[first : first + shard]) for first in chosen])

    groups = [firsts[first : first + n_together] for first in range(0, len(firsts), n_together)]
    with ThreadPoolExecutor(1) as thread:
        pending = thread.submit(read, groups[0])
        for following in [*groups[1:], None]:
            loaded = pending.result()
            if following is not None:
                pending = thread.submit(read, following)
            yield loaded
