from pathlib import Path

import numpy as np
import zarr
from hypothesis import given
from hypothesis import strategies as st

from pipeline.files.batches import ordered_batches, shuffled_batches


def _store(path: Path | None, n_triplets: int) -> zarr.Array:
    numbers = np.arange(n_triplets, dtype=np.uint8).reshape(-1, 1, 1, 1, 1)
    array = zarr.create_array(
        zarr.storage.MemoryStore() if path is None else path,
        shape=(n_triplets, 3, 1, 2, 2),
        chunks=(2, 3, 1, 2, 2),
        shards=(8, 3, 1, 2, 2),
        dtype=np.uint8,
    )
    array[:] = np.broadcast_to(numbers, array.shape)
    return array


@given(st.integers(1, 60), st.integers(2, 20), st.integers(1, 4), st.integers(0, 99))
def test_every_triplet_comes_once(n: int, batch: int, shards: int, seed: int) -> None:
    tiles = _store(None, n)
    batches = list(
        shuffled_batches(
            tiles, batch_size=batch, shards_in_memory=shards, rng=np.random.default_rng(seed)
        )
    )
    assert sorted(np.concatenate(batches)[:, 0, 0, 0, 0]) == list(range(n))
    assert all(len(part) == batch for part in batches[:-1])
    assert all((part == part[:, :1, :1, :1, :1]).all() for part in batches)


def test_one_seed_gives_one_order_and_epochs_differ(tmp_path: Path) -> None:
    tiles = _store(tmp_path / "tiles.zarr", 50)

    def order(seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        drawn = shuffled_batches(tiles, batch_size=7, shards_in_memory=2, rng=rng)
        return [int(number) for part in drawn for number in part[:, 0, 0, 0, 0]]

    assert order(3) == order(3)
    assert order(3) != order(4)


def test_ordered_batches_keep_the_order(tmp_path: Path) -> None:
    tiles = _store(tmp_path / "tiles.zarr", 21)
    batches = [part[:, 0, 0, 0, 0].tolist() for part in ordered_batches(tiles)]
    assert batches == [list(range(8)), list(range(8, 16)), list(range(16, 21))]
