"""Batches of triplets: chunks are read ahead in threads and mixed in memory."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Tiles = NDArray[np.uint8]


class Readable(Protocol):
    """Tiles of shape (triplet, member, channel, row, column), on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all tiles."""

    def read(self, spans: IntArray, out: Tiles) -> None:
        """Fill `out` with the triplets of spans (first, behind-the-last), one after the other."""


@dataclass(frozen=True)
class Batch:
    """Triplets: their places in the product, and their tiles."""

    triplets: IntArray
    tiles: Tiles


def shuffled_batches(
    tiles: Readable,
    *,
    spans: IntArray,
    sizes: Sequence[int],
    n_mixed: int,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """Every triplet of `spans` once, in an order drawn by `rng`.

    Args:
        tiles: From which to read.
        spans: First and behind-the-last triplet of each, shape (span, 2).
        sizes: Triplets of each batch; as many as there are in all.
        n_mixed: Triplets held in memory to be mixed; as many again are read ahead.
        rng: Draws the order.
    """
    assert sum(sizes) == (spans[:, 1] - spans[:, 0]).sum()
    held: list[Batch] = []
    remaining = iter(sizes)
    wanted = next(remaining, 0)
    for triplets, loaded in _read_ahead(tiles, _groups(spans, n_mixed)):
        order = rng.permutation(len(triplets))
        taken = 0
        while taken < len(order):
            rows = order[taken : taken + wanted - sum(len(part.triplets) for part in held)]
            held.append(Batch(triplets[rows], _gather(loaded, rows)))
            taken += len(rows)
            if sum(len(part.triplets) for part in held) == wanted:
                yield _joined(held)
                held, wanted = [], next(remaining, 0)


def ordered_batches(tiles: Readable, *, spans: IntArray, batch_size: int) -> Iterator[Batch]:
    """Every triplet of `spans` once, in their order; a batch ends where its part of them does."""
    for triplets, loaded in _read_ahead(tiles, _groups(spans, batch_size)):
        for first in range(0, len(triplets), batch_size):
            rows = np.arange(first, min(first + batch_size, len(triplets)))
            yield Batch(triplets[rows], _gather(loaded, rows))


def _groups(spans: IntArray, n_together: int) -> list[IntArray]:
    """Spans that are read together: at most `n_together` triplets, but at least one span."""
    lengths = spans[:, 1] - spans[:, 0]
    groups, first = [], 0
    for index in range(1, len(spans) + 1):
        if index == len(spans) or lengths[first : index + 1].sum() > n_together:
            groups.append(spans[first:index])
            first = index
    return groups


def _read_ahead(tiles: Readable, groups: Sequence[IntArray]) -> Iterator[tuple[IntArray, Tiles]]:
    """Triplets and tiles of each group; the tiles are overwritten once the next is asked for."""
    largest = max((int((group[:, 1] - group[:, 0]).sum()) for group in groups), default=0)
    buffers = [np.empty((largest, *tiles.shape[1:]), np.uint8) for _ in range(2)]

    def read(number: int) -> tuple[IntArray, Tiles]:
        triplets = np.concatenate([np.arange(*span) for span in groups[number]])
        loaded = buffers[number % 2][: len(triplets)]
        tiles.read(groups[number], loaded)
        return triplets, loaded

    with ThreadPoolExecutor(len(buffers)) as threads:
        pending = deque(threads.submit(read, number) for number in range(min(2, len(groups))))
        for number in range(len(groups)):
            yield pending.popleft().result()
            if number + 2 < len(groups):  # as soon as its buffer is free
                pending.append(threads.submit(read, number + 2))


def _gather(loaded: Tiles, rows: IntArray) -> Tiles:
    gathered = np.empty((len(rows), *loaded.shape[1:]), np.uint8)
    return np.take(loaded, rows, axis=0, out=gathered, mode="clip")  # "raise" copies twice


def _joined(parts: Sequence[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    return Batch(
        np.concatenate([part.triplets for part in parts]),
        np.concatenate([part.tiles for part in parts]),
    )
