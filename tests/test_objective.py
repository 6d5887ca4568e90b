import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.core.objective.learner import MicroBatch
from pipeline.core.objective.triplet import (
    Distance,
    Negatives,
    TripletLoss,
    member_distances,
    triplet_loss,
)
from pipeline.core.schedule import learning_rate_factor

DISTANCES = get_args(Distance)
NEGATIVES = get_args(Negatives)
# Triplets of directions (triplet, member, dimension), none of them near zero.
POSITIVE = st.floats(0.125, 1, width=32)
DIRECTIONS = arrays(np.float32, (5, 3, 4), elements=POSITIVE | POSITIVE.map(float.__neg__))


def _measure(first: np.ndarray, second: np.ndarray, distance: Distance) -> np.ndarray:
    squared = ((first - second) ** 2).sum(axis=-1)
    return {
        "euclidean": np.sqrt(squared),
        "squared": squared,
        "cosine": 1 - (first * second).sum(axis=-1),
    }[distance]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _vectors(n_triplets: int, seed: int) -> np.ndarray:
    """Vectors (triplet, member, dimension), neighbours nearer to their anchors than others."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n_triplets, 3, 4))
    vectors[:, 1] = vectors[:, 0] + 0.5 * rng.normal(size=(n_triplets, 4))
    return vectors


def _allowed(n_triplets: int, seed: int) -> np.ndarray:
    """Who may be pushed away from whom, (tile, tile): about two thirds of all."""
    drawn = np.random.default_rng(seed).random((3 * n_triplets, 3 * n_triplets)) < 0.8
    return drawn & drawn.T


def _loss_by_hand(
    vectors: np.ndarray, allowed: np.ndarray, *, distance: Distance, margin: float, semi_hard: bool
) -> float:
    tiles = _unit(vectors).reshape(-1, vectors.shape[-1])
    losses = []
    for pair in range(0, len(tiles), 3):
        for one, other in ((pair, pair + 1), (pair + 1, pair)):
            near = _measure(tiles[one], tiles[other], distance)
            for negative in set(range(len(tiles))) - {one, other}:
                far = _measure(tiles[one], tiles[negative], distance)
                if not allowed[one, negative] or (semi_hard and not near < far < near + margin):
                    continue
                losses.append(max(0.0, margin + near - far))
    losses = [loss for loss in losses if loss > 0]
    return float(np.mean(losses)) if losses else 0.0


def _loss(
    vectors: torch.Tensor,
    allowed: torch.Tensor | None,
    distance: Distance,
    negatives: Negatives,
    *,
    margin: float = 0.5,
) -> torch.Tensor:
    criterion = TripletLoss(distance=distance, margin=margin, negatives=negatives)
    return criterion(vectors, MicroBatch(vectors, may_be_negative=allowed))


@pytest.mark.parametrize("distance", DISTANCES)
@settings(deadline=None)
@given(directions=DIRECTIONS, margin=st.floats(0.1, 3))
def test_loss_is_the_formula(distance: Distance, directions: np.ndarray, margin: float) -> None:
    embeddings = _unit(directions)
    near = _measure(embeddings[:, 0], embeddings[:, 1], distance)
    far = _measure(embeddings[:, 0], embeddings[:, 2], distance)
    expected = np.maximum(0, margin + near - far).mean()
    found = triplet_loss(torch.from_numpy(embeddings), margin=margin, distance=distance)
    # torch adds 1e-6 to every difference, so that the root has a gradient at zero.
    assert float(found) == pytest.approx(expected, abs=1e-4)


@settings(deadline=None)
@given(DIRECTIONS)
def test_cosine_is_half_the_squared_distance(directions: np.ndarray) -> None:
    embeddings = torch.from_numpy(_unit(directions))
    for cosine, squared in zip(
        member_distances(embeddings, "cosine"), member_distances(embeddings, "squared"), strict=True
    ):
        torch.testing.assert_close(cosine, squared / 2, rtol=0, atol=1e-4)


@pytest.mark.parametrize("distance", DISTANCES)
@settings(deadline=None)
@given(directions=DIRECTIONS, length=st.floats(0.1, 10))
def test_the_sampled_distant_tile_alone_is_compared_whatever_the_length(
    distance: Distance, directions: np.ndarray, length: float
) -> None:
    embeddings = torch.from_numpy(_unit(directions))
    expected = triplet_loss(embeddings, margin=0.7, distance=distance)
    found = _loss(length * embeddings, None, distance, "distant", margin=0.7)
    assert float(found) == pytest.approx(float(expected), rel=1e-4, abs=1e-4)


# In double precision no comparison is on the other side of a limit by rounding.
@pytest.mark.parametrize("negatives", ["batch", "semi_hard"])
@pytest.mark.parametrize("distance", DISTANCES)
@settings(max_examples=30, deadline=None)
@given(n_triplets=st.integers(1, 10), margin=st.floats(0.05, 2), seed=st.integers(0, 9999))
def test_loss_within_a_batch_against_a_loop(
    distance: Distance, negatives: Negatives, n_triplets: int, margin: float, seed: int
) -> None:
    vectors, allowed = _vectors(n_triplets, seed), _allowed(n_triplets, seed)
    expected = _loss_by_hand(
        vectors, allowed, distance=distance, margin=margin, semi_hard=negatives == "semi_hard"
    )
    found = _loss(
        torch.from_numpy(vectors), torch.from_numpy(allowed), distance, negatives, margin=margin
    )
    assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_semi_hard_is_farther_than_the_positive_within_the_margin() -> None:
    # Angles from the anchor at 0°: its neighbour at 60°, and distant tiles of three triplets. The
    # squared distances are 1 at 60°, 2 at 90°, 3 at 120°.
    angles = np.radians([[0, 60, -90], [170, 170, -120], [170, 170, 30]])
    vectors = torch.from_numpy(np.stack([np.cos(angles), np.sin(angles)], axis=-1))
    allowed = torch.zeros(9, 9, dtype=torch.bool)
    allowed[0, [2, 5, 8]] = True  # of the anchor alone
    semi_hard = _loss(vectors, allowed, "squared", "semi_hard", margin=1.5)
    assert float(semi_hard) == pytest.approx(1.5 + 1 - 2)
    every = _loss(vectors, allowed, "squared", "batch", margin=1.5)
    at_30_degrees = 2 - 2 * math.cos(math.radians(30))
    expected = (0.5 + 1.5 + 1 - at_30_degrees) / 2  # that at 120° is far enough
    assert float(every) == pytest.approx(expected)


@pytest.mark.parametrize("negatives", ["batch", "semi_hard"])
@pytest.mark.parametrize("distance", DISTANCES)
def test_who_may_not_be_negative_is_not_pushed(distance: Distance, negatives: Negatives) -> None:
    vectors = torch.from_numpy(_vectors(4, seed=0)).requires_grad_()
    allowed = torch.ones(12, 12, dtype=torch.bool)
    allowed[:, 5] = False  # the second triplet's distant tile
    loss = _loss(vectors, allowed, distance, negatives, margin=2.0)
    (gradient,) = torch.autograd.grad(loss, vectors)
    assert loss > 0
    assert (gradient[1, 2] == 0).all()
    assert (gradient[[0, 2, 3], 2] != 0).any()


@pytest.mark.parametrize("negatives", ["batch", "semi_hard"])
@pytest.mark.parametrize("distance", DISTANCES)
def test_where_none_may_be_negative_there_is_nothing_to_learn(
    distance: Distance, negatives: Negatives
) -> None:
    vectors = torch.from_numpy(_vectors(4, seed=0)).float().requires_grad_()
    allowed = torch.zeros(12, 12, dtype=torch.bool)
    loss = _loss(vectors, allowed, distance, negatives)
    (gradient,) = torch.autograd.grad(loss, vectors)
    assert loss == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("negatives", NEGATIVES)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("n_triplets", [2, 20])  # torch takes another way from 26 tiles on
def test_coinciding_tiles_have_a_finite_gradient(
    distance: Distance, negatives: Negatives, n_triplets: int
) -> None:
    vectors = torch.ones(n_triplets, 3, 4, requires_grad=True)
    allowed = torch.ones(3 * n_triplets, 3 * n_triplets, dtype=torch.bool)
    loss = _loss(vectors, allowed, distance, negatives)
    (gradient,) = torch.autograd.grad(loss, vectors)
    assert gradient.isfinite().all()


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
