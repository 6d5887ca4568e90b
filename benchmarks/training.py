"""Rates of loading and training, each beside the fastest it could be, measured in one run.

    python benchmarks/training.py [data/triplets.zarr]

Ratios hold on a busy machine, where rates do not.
"""

import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.core.encoder import autocast, compute_device, create_encoder, turn_and_flip
from pipeline.core.objective import triplet_loss
from pipeline.files.batches import shuffled_batches
from pipeline.files.stores import TRIPLETS_PER_SHARD, open_tiles

BATCH_SIZE = 64
N_BATCHES = 16
N_ROUNDS = 3


def main(triplets: Path) -> None:
    """Print the table."""
    tiles = open_tiles(triplets, "train")
    step = _make_step(tiles.shape[2])
    kept = next(_load(triplets))
    rows: list[tuple[str, Callable[[], int], str, Callable[[], int]]] = [
        (
            "loading and shuffling",
            lambda: sum(map(len, _load(triplets))),
            "reading the same shards",
            lambda: _read(triplets),
        ),
        (
            "training through the loader",
            lambda: sum(step(batch) for batch in islice(_load(triplets), N_BATCHES)),
            "the step on one batch in memory",
            lambda: sum(step(kept) for _ in range(N_BATCHES)),
        ),
    ]
    step(kept)
    print(f"{'measure':32}{'triplets/s':>11}  {'against':32}{'triplets/s':>11}{'ratio':>7}")
    for name, measured, against, reference in rows:
        # Taken in turns, so that a busy spell of the machine falls on both.
        rates = np.array([(_rate(measured), _rate(reference)) for _ in range(N_ROUNDS)])
        rate, other = np.median(rates, axis=0)
        ratio = np.median(rates[:, 0] / rates[:, 1])
        print(f"{name:32}{rate:11.0f}  {against:32}{other:11.0f}{ratio:7.2f}")


def _load(triplets: Path) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return shuffled_batches(
        open_tiles(triplets, "train"), batch_size=BATCH_SIZE, shards_in_memory=4, rng=rng
    )


def _read(triplets: Path) -> int:
    tiles = open_tiles(triplets, "train")
    firsts = range(0, tiles.shape[0], TRIPLETS_PER_SHARD)
    return sum(len(np.asarray(tiles[first : first + TRIPLETS_PER_SHARD])) for first in firsts)


def _make_step(n_channels: int) -> Callable[[NDArray[np.uint8]], int]:
    device = compute_device()
    encoder = create_encoder(
        backbone="resnet18", n_channels=n_channels, n_dimensions=128, seed=0
    ).to(device)
    optimizer = torch.optim.AdamW(encoder.parameters(), fused=True)
    generator = torch.Generator().manual_seed(0)
    encoder.train()

    def step(batch: NDArray[np.uint8]) -> int:
        members = torch.from_numpy(batch).to(device)
        with autocast(device):
            embeddings = encoder(turn_and_flip(members.flatten(0, 1), generator))
        loss = triplet_loss(embeddings.unflatten(0, members.shape[:2]), margin=1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return len(batch)

    return step


def _rate(work: Callable[[], int]) -> float:
    start = time.perf_counter()
    return work() / (time.perf_counter() - start)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data/triplets.zarr"))
