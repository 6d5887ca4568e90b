from collections.abc import Iterator
from itertools import pairwise
from threading import Semaphore

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.files.batches import Batch, ordered_batches, shuffled_batches


class ToyTiles:
    """Tiles of one colour, the number of their triplet; it is noted what is read at a time."""

    def __init__(self, n_triplets: int, unreadable: int = -1) -> None:
        self.shape = (n_triplets, 3, 1, 2, 2)
        self.unreadable = unreadable
        self.n_read: list[int] = []
        self.n_spans: list[int] = []
        self.is_read = Semaphore(0)

    def read(self, spans: np.ndarray, out: np.ndarray) -> None:
        triplets = np.concatenate([np.arange(*span) for span in spans])
        if self.unreadable in triplets:
            raise OSError(f"triplet {self.unreadable} is torn")
        assert len(out) == len(triplets)
        out[:] = triplets.reshape(-1, 1, 1, 1, 1)
        self.n_read.append(len(triplets))
        self.n_spans.append(len(spans))
        self.is_read.release()


@st.composite
def _spans(draw: st.DrawFn) -> np.ndarray:
    """Spans of up to 200 triplets in any order, not all triplets being in one."""
    edges = sorted(draw(st.sets(st.integers(0, 200), min_size=2, max_size=12)))
    spans = list(pairwise(edges))
    return np.array(draw(st.permutations(spans))[: draw(st.integers(1, len(spans)))])


@st.composite
def _sizes(draw: st.DrawFn, n_triplets: int) -> list[int]:
    """Sizes of batches, different ones, that sum up to `n_triplets`."""
    cuts = draw(st.sets(st.integers(1, max(1, n_triplets - 1)), max_size=20)) - {n_triplets}
    return np.diff([0, *sorted(cuts), n_triplets]).tolist()


def _triplets(spans: np.ndarray) -> list[int]:
    return [triplet for span in spans for triplet in range(*span)]


def _seen(batches: list[Batch]) -> list[int]:
    """The triplets of batches, whose tiles must be theirs."""
    for batch in batches:
        expected = np.broadcast_to(batch.triplets.reshape(-1, 1, 1, 1, 1), batch.tiles.shape)
        np.testing.assert_array_equal(batch.tiles, expected)
    return [int(triplet) for batch in batches for triplet in batch.triplets]


def _shuffled(
    tiles: ToyTiles,
    spans: np.ndarray | None = None,
    sizes: list[int] | None = None,
    *,
    n_mixed: int = 50,
    seed: int = 0,
) -> Iterator[Batch]:
    """Of spans of 10 triplets and batches of 20, if nothing else is said."""
    if spans is None:
        firsts = np.arange(0, tiles.shape[0], 10)
        spans = np.stack([firsts, firsts + 10], axis=1)
    return shuffled_batches(
        tiles,
        spans=spans,
        sizes=[20] * (tiles.shape[0] // 20) if sizes is None else sizes,
        n_mixed=n_mixed,
        rng=np.random.default_rng(seed),
    )


@settings(deadline=None)
@given(st.data(), _spans(), st.integers(1, 120), st.integers(0, 99))
def test_every_triplet_comes_once(
    data: st.DataObject, spans: np.ndarray, n_mixed: int, seed: int
) -> None:
    triplets, tiles = _triplets(spans), ToyTiles(200)
    sizes = data.draw(_sizes(len(triplets)))
    batches = list(_shuffled(tiles, spans, sizes, n_mixed=n_mixed, seed=seed))
    assert sorted(_seen(batches)) == sorted(triplets)
    assert [len(batch.triplets) for batch in batches] == sizes


@settings(deadline=None)
@given(_spans(), st.integers(1, 120))
def test_no_more_is_read_at_a_time_than_is_mixed(spans: np.ndarray, n_mixed: int) -> None:
    tiles, longest = ToyTiles(200), int((spans[:, 1] - spans[:, 0]).max())
    batches = list(_shuffled(tiles, spans, [len(_triplets(spans))], n_mixed=n_mixed))
    assert sum(tiles.n_read) == len(batches[0].triplets)
    assert max(tiles.n_read) <= max(n_mixed, longest)
    over = [
        count for count, n_spans in zip(tiles.n_read, tiles.n_spans, strict=True) if n_spans > 1
    ]
    assert max(over, default=0) <= n_mixed


def test_all_that_is_in_memory_is_mixed() -> None:
    seen = _seen(list(_shuffled(ToyTiles(200), n_mixed=50)))
    for part in range(0, 200, 50):
        own = seen[part : part + 50]
        assert sorted(own) == list(range(part, part + 50))
        assert len({triplet // 10 for triplet in own[:20]}) == 5  # a batch takes of every span


def test_one_seed_gives_one_order_and_epochs_differ() -> None:
    first, again, other = (_seen(list(_shuffled(ToyTiles(200), seed=seed))) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_batches_stay_as_they_are_while_more_is_read() -> None:
    batches = _shuffled(ToyTiles(200), n_mixed=20)
    first = next(batches)
    before = first.tiles.copy()
    assert len(list(batches)) == 9
    np.testing.assert_array_equal(first.tiles, before)


def test_one_group_is_read_ahead_while_a_batch_is_used() -> None:
    tiles = ToyTiles(200)
    batches = _shuffled(tiles, n_mixed=20)
    assert tiles.n_read == []
    for number in range(1, 10):
        next(batches)
        assert tiles.is_read.acquire(timeout=30)
        assert number <= len(tiles.n_read) <= number + 1
    assert tiles.is_read.acquire(timeout=30)  # the tenth group, of which no batch was asked for


@settings(deadline=None)
@given(_spans(), st.integers(1, 120))
def test_ordered_batches_keep_the_order(spans: np.ndarray, batch_size: int) -> None:
    batches = list(ordered_batches(ToyTiles(200), spans=spans, batch_size=batch_size))
    assert _seen(batches) == _triplets(spans)
    assert all(0 < len(batch.triplets) <= batch_size for batch in batches)


def test_an_early_stop_does_not_wait_for_the_rest() -> None:
    tiles = ToyTiles(200)
    batches = _shuffled(tiles, n_mixed=20)
    next(batches)
    batches.close()
    assert sum(tiles.n_read) <= 40
    assert next(batches, None) is None


@pytest.mark.parametrize("unreadable", [0, 105, 199])
def test_an_error_of_the_disk_comes_out(unreadable: int) -> None:
    tiles = ToyTiles(200, unreadable=unreadable)
    with pytest.raises(OSError, match=f"triplet {unreadable} is torn"):
        list(_shuffled(tiles, n_mixed=20))
    with pytest.raises(OSError, match=f"triplet {unreadable} is torn"):
        list(ordered_batches(tiles, spans=np.array([[0, 100], [100, 200]]), batch_size=30))
