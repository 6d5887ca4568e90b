import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.judgement import (
    check_collapse,
    collapse_measures,
    effective_rank,
    judge_triplets,
    participation_ratio,
)
from pipeline.core.objective.triplet import Distance

# Squared distances from the anchors: 0.8 and 4 of the first triplet, 4 and 0.8 of the second.
TRIPLETS = torch.tensor(
    [[[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]], [[0.0, 1.0], [0.0, -1.0], [0.8, 0.6]]]
)

LIMITS = {"spread": 0.002, "effective_rank": 2.5, "participation_ratio": 1.2}


@pytest.mark.parametrize(
    ("distance", "losses"),
    [("euclidean", (0, 3 - 0.8**0.5)), ("squared", (0, 5 - 0.8)), ("cosine", (0, 3 - 0.4))],
)
def test_judgement_by_hand(distance: Distance, losses: tuple[float, float]) -> None:
    judged = judge_triplets(TRIPLETS, margin=1.0, distance=distance)
    assert judged["loss"] == pytest.approx(sum(losses) / 2, abs=1e-4)
    assert judged["triplet_accuracy"] == 0.5
    # Distances are Euclidean whatever that of the loss.
    assert judged["neighbour_distance"] == pytest.approx((0.8**0.5 + 2) / 2, abs=1e-5)
    assert judged["distant_distance"] == pytest.approx((0.8**0.5 + 2) / 2, abs=1e-5)
    # Either dimension sums up to 1.4, its squares to 3.
    assert judged["spread"] == pytest.approx(((3 - 1.4**2 / 6) / 5) ** 0.5)
    assert 1 < judged["effective_rank"] <= 2


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(0, 99))
def test_effective_rank_of_a_sphere_and_a_subspace(rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    corners = np.vstack([basis[:rank], -basis[:rank]])  # equal variance in `rank` directions
    assert effective_rank(torch.from_numpy(corners)) == pytest.approx(rank, rel=1e-6)


@settings(deadline=None)
@given(st.integers(0, 99), st.floats(0.1, 10), st.floats(-5, 5))
def test_effective_rank_is_of_the_form_not_of_place_or_size(
    seed: int, size: float, place: float
) -> None:
    embeddings = torch.from_numpy(np.random.default_rng(seed).normal(size=(20, 4)))
    rank = effective_rank(embeddings)
    assert 1 <= rank <= 4
    assert effective_rank(size * embeddings + place) == pytest.approx(rank, rel=1e-9)


def test_effective_rank_by_hand() -> None:
    # Singular values 3 √2 and √2, shares 3/4 and 1/4.
    cross = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    expected = (4 / 3) ** (3 / 4) * 4 ** (1 / 4)
    assert effective_rank(cross) == pytest.approx(expected)
    assert participation_ratio(cross) == pytest.approx((9 + 1) ** 2 / (9**2 + 1**2))


def test_faint_directions_raise_the_effective_rank_alone() -> None:
    deviations = torch.tensor([0.72, 0.52, 0.37, 0.22, *[0.015] * 124])
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(4000, 128)))
    embeddings = noise * deviations
    assert effective_rank(embeddings) > 10
    assert 2.5 < participation_ratio(embeddings) < 3


def test_collapse_shows() -> None:
    assert set(collapse_measures(torch.ones(5, 3)).values()) == {0}
    judged = judge_triplets(torch.ones(4, 3, 2), margin=1.0, distance="euclidean")
    assert judged["spread"] == 0
    assert judged["triplet_accuracy"] == 0
    line = torch.tensor([[-1.0, 2.0], [0.0, 0.0], [1.0, -2.0]])
    assert effective_rank(line) == pytest.approx(1)


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        (
            {"spread": 0.0012, "effective_rank": 7.0, "participation_ratio": 3.0},
            r"^the embedding collapsed: its spread is 0\.0012, below 0\.002; lower "
            r"train\.learning_rate, or change train\.objective$",
        ),
        (
            {"spread": 0.1, "effective_rank": 1.96, "participation_ratio": 1.5},
            r"^the embedding collapsed: its effective rank is 2, below 2\.5; lower "
            r"train\.learning_rate, or change train\.objective$",
        ),
        (
            {"spread": 0.1, "effective_rank": 11.7, "participation_ratio": 1.04},
            r"^the embedding collapsed: its participation ratio is 1, below 1\.2; lower ",
        ),
    ],
)
def test_a_collapsed_embedding_is_refused(measures: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_collapse(measures, LIMITS)


def test_an_embedding_that_is_not_finite_is_refused() -> None:
    measures = collapse_measures(torch.tensor([[0.0, 1.0], [torch.nan, 0.0]]))
    with pytest.raises(ValueError, match=r"the embedding is not finite; lower train.learning_rate"):
        check_collapse(measures, dict.fromkeys(LIMITS, 0.0))


@given(st.floats(0.002, 1), st.floats(2.5, 128))
def test_an_embedding_at_its_limits_or_above_is_accepted(spread: float, rank: float) -> None:
    measures = {"loss": 0.3, "spread": spread, "effective_rank": rank, "participation_ratio": 1.2}
    assert check_collapse(measures, LIMITS) is None
