import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.lane import lane_spans, micro_batch_sizes

LANES = st.integers(1, 8)


def _spans(n_triplets: int, n_lanes: int, chunk: int, seed: int) -> list[np.ndarray]:
    return [
        lane_spans(
            n_triplets,
            lane=lane,
            n_lanes=n_lanes,
            chunk=chunk,
            rng=np.random.default_rng(seed),
        )
        for lane in range(n_lanes)
    ]


@given(st.integers(1, 300), LANES, st.integers(1, 40), st.integers(0, 99))
def test_every_triplet_falls_to_one_lane(
    n_triplets: int, n_lanes: int, chunk: int, seed: int
) -> None:
    lanes = _spans(n_triplets, n_lanes, chunk, seed)
    spans = np.concatenate(lanes)
    assert sorted(np.concatenate([np.arange(*span) for span in spans])) == [*range(n_triplets)]
    lengths = [int((lane[:, 1] - lane[:, 0]).sum()) for lane in lanes]
    assert max(lengths) - min(lengths) <= 1


@given(st.integers(1, 300), LANES, st.integers(1, 40), st.integers(0, 99))
def test_no_span_reaches_over_its_chunk_or_is_empty(
    n_triplets: int, n_lanes: int, chunk: int, seed: int
) -> None:
    first, behind = np.concatenate(_spans(n_triplets, n_lanes, chunk, seed)).T
    assert (first < behind).all()
    assert (first // chunk == (behind - 1) // chunk).all()


def test_lanes_share_one_order_of_chunks_which_the_seed_draws() -> None:
    alone = lane_spans(1000, lane=0, n_lanes=1, chunk=10, rng=np.random.default_rng(5))
    shared = np.concatenate(_spans(1000, 4, 10, seed=5))
    np.testing.assert_array_equal(alone, shared)  # 250 triplets are whole chunks
    assert not np.array_equal(alone, np.concatenate(_spans(1000, 4, 10, seed=6)))
    assert not np.array_equal(alone, alone[alone[:, 0].argsort()])


@given(st.data(), LANES, st.integers(1, 40))
def test_micro_batches_are_as_even_as_can_be(data: st.DataObject, n_lanes: int, more: int) -> None:
    batch_size = 2 * n_lanes + more
    n_triplets = data.draw(st.integers(batch_size, 20 * batch_size))
    sizes = micro_batch_sizes(n_triplets, n_lanes=n_lanes, batch_size=batch_size)
    assert sizes.shape == (-(-n_triplets // batch_size), n_lanes)
    assert sizes.min() > 0
    assert np.ptp(sizes, axis=0).max() <= 1
    batches = sizes.sum(axis=1)
    assert batches.max() <= batch_size
    assert np.ptp(batches) <= 1


@pytest.mark.parametrize(("n_triplets", "n_lanes"), [(10, 8), (3, 2)])
def test_a_batch_too_small_for_its_lanes_is_refused(n_triplets: int, n_lanes: int) -> None:
    message = (
        rf"a batch of 2 triplets is too small for {n_lanes} micro-batches; lower "
        r"train\.micro_batches or raise train\.batch_size"
    )
    with pytest.raises(ValueError, match=message):
        micro_batch_sizes(n_triplets, n_lanes=n_lanes, batch_size=2)


@given(st.integers(20, 300), LANES, st.integers(16, 20), st.integers(1, 40))
def test_micro_batches_of_a_lane_hold_its_triplets(
    n_triplets: int, n_lanes: int, batch_size: int, chunk: int
) -> None:
    sizes = micro_batch_sizes(n_triplets, n_lanes=n_lanes, batch_size=batch_size)
    lanes = _spans(n_triplets, n_lanes, chunk, seed=0)
    lengths = [int((lane[:, 1] - lane[:, 0]).sum()) for lane in lanes]
    assert sizes.sum(axis=0).tolist() == lengths


def test_too_few_triplets_for_a_batch_are_refused() -> None:
    message = (
        r"15 training triplets are less than a batch of 16; lower train\.batch_size or "
        r"raise sample\.n_triplets\.train"
    )
    with pytest.raises(ValueError, match=message):
        micro_batch_sizes(15, n_lanes=2, batch_size=16)
    np.testing.assert_array_equal(micro_batch_sizes(16, n_lanes=2, batch_size=16), [[8, 8]])
