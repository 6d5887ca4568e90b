import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.core.objective import (
    effective_rank,
    judge_triplets,
    learning_rate_factor,
    triplet_loss,
)

EMBEDDINGS = arrays(np.float32, (5, 3, 4), elements=st.floats(-10, 10, width=32))


@given(EMBEDDINGS, st.floats(0.1, 3))
def test_loss_is_the_formula(embeddings: np.ndarray, margin: float) -> None:
    near = np.linalg.norm(embeddings[:, 0] - embeddings[:, 1], axis=1)
    far = np.linalg.norm(embeddings[:, 0] - embeddings[:, 2], axis=1)
    expected = np.maximum(0, margin + near - far).mean()
    # torch adds 1e-6 to every difference, so that the root has a gradient at zero.
    found = triplet_loss(torch.from_numpy(embeddings), margin=margin)
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_judgement_by_hand() -> None:
    triplets = torch.tensor([[[0.0, 0], [3, 4], [0, 10]], [[0, 0], [0, 2], [1, 0]]])
    judged = judge_triplets(triplets, margin=1.0)
    assert judged["triplet_accuracy"] == 0.5
    assert judged["neighbour_distance"] == pytest.approx(3.5)
    assert judged["distant_distance"] == pytest.approx(5.5)
    assert judged["loss"] == pytest.approx((0 + 2) / 2, abs=1e-4)


@given(st.integers(1, 6), st.integers(0, 99))
def test_effective_rank_of_a_sphere_and_a_subspace(rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    corners = np.vstack([basis[:rank], -basis[:rank]])  # equal variance in `rank` directions
    assert effective_rank(torch.from_numpy(corners)) == pytest.approx(rank, rel=1e-6)


def test_collapse_shows() -> None:
    assert effective_rank(torch.ones(5, 3)) == 0
    judged = judge_triplets(torch.ones(4, 3, 2), margin=1.0)
    assert judged["spread"] == 0
    assert judged["triplet_accuracy"] == 0


@given(st.integers(1, 50), st.integers(0, 20))
def test_learning_rate_rises_then_falls(n_after: int, n_warm_up: int) -> None:
    n_steps = n_after + n_warm_up
    factors = [
        learning_rate_factor(step, n_warm_up=n_warm_up, n_steps=n_steps) for step in range(n_steps)
    ]
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:n_warm_up] == sorted(factors[:n_warm_up])
    assert factors[n_warm_up:] == sorted(factors[n_warm_up:], reverse=True)
    assert math.isclose(max(factors), 1)
