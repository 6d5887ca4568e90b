"""The order in which triplets are seen.

A batch is put together from lanes, a micro-batch of each. Every lane goes through triplets of its
own, and what it sees depends on the seed alone: one process can take the lanes in turn, or each of
several processes some of them, and both see the same batches.
"""

import numpy as np

from pipeline.core.tile import IntArray


def lane_spans(
    n_triplets: int, *, lane: int, n_lanes: int, chunk: int, rng: np.random.Generator
) -> IntArray:
    """What a lane reads in an epoch: (first, behind-the-last) triplet of spans, shape (span, 2).

    The chunks are put into an order drawn by `rng`, and each lane takes an equal part of that.

    Args:
        n_triplets: Of the product; every one of them falls to one lane.
        lane: From 0 on.
        n_lanes: Which may differ by one triplet.
        chunk: Triplets that lie together on disk; no span reaches over its chunk.
        rng: The same for every lane.

    >>> [lane_spans(5, lane=lane, n_lanes=2, chunk=2, rng=np.random.default_rng(0)).tolist()
    ...  for lane in (0, 1)]
    [[[4, 5], [0, 1]], [[1, 2], [2, 4]]]
    """
    firsts = rng.permutation(np.arange(0, n_triplets, chunk))
    spans = np.stack([firsts, np.minimum(firsts + chunk, n_triplets)], axis=1)
    behind = np.cumsum(spans[:, 1] - spans[:, 0])  # in the order in which they are seen
    before = behind - (spans[:, 1] - spans[:, 0])
    start, stop = n_triplets * lane // n_lanes, n_triplets * (lane + 1) // n_lanes
    spans[:, 0] += np.maximum(start - before, 0)
    spans[:, 1] -= np.maximum(behind - stop, 0)
    return spans[spans[:, 0] < spans[:, 1]]


def micro_batch_sizes(n_triplets: int, *, n_lanes: int, batch_size: int) -> IntArray:
    """Triplets of every micro-batch of an epoch, shape (batch, lane), as even as can be.

    All lanes have as many batches, none of them empty: processes that wait for each other do so
    as often, and no last batch is too small for batch normalisation.

    Raises:
        ValueError: If there are too few triplets for a batch, or for all lanes in every batch.

    >>> micro_batch_sizes(21, n_lanes=2, batch_size=8)
    array([[4, 3],
           [3, 4],
           [3, 4]])
    """
    if n_triplets < batch_size:
        raise ValueError(
            f"{n_triplets} training triplets are less than a batch of {batch_size}; lower "
            "train.batch_size or raise sample.n_triplets.train"
        )
    n_batches = -(-n_triplets // batch_size)
    counts = np.diff(n_triplets * np.arange(n_lanes + 1) // n_lanes)
    if counts.min() < n_batches:
        raise ValueError(
            f"a batch of {batch_size} triplets is too small for {n_lanes} micro-batches; lower "
            "train.micro_batches or raise train.batch_size"
        )
    # What is left over goes to other batches in each lane, or these would become too large.
    remainder = counts % n_batches
    first = remainder.cumsum() - remainder
    larger = (np.arange(n_batches)[:, None] - first) % n_batches < remainder
    return np.asarray(counts // n_batches + larger)
