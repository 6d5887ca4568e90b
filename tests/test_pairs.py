import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.objective.learner import MicroBatch
from pipeline.core.objective.pairs import PairLoss, PairName
from pipeline.core.objective.triplet import Distance

NAMES = get_args(PairName)
TEMPERATURE = 0.3
MARGIN = 0.6


def _vectors(n_triplets: int, seed: int) -> np.ndarray:
    """Shape (triplet, view, dimension), views of one triplet alike."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n_triplets, 2, 5))
    vectors[:, 1] = vectors[:, 0] + 0.7 * rng.normal(size=(n_triplets, 5))
    return vectors


def _found(
    name: PairName,
    vectors: np.ndarray,
    *,
    allowed: np.ndarray | None = None,
    labels: list[int] | None = None,
    distance: Distance = "euclidean",
) -> float:
    tiles = torch.from_numpy(vectors)
    batch = MicroBatch(
        tiles,
        targets=None if labels is None else torch.tensor(labels),
        may_be_negative=None if allowed is None else torch.from_numpy(allowed),
    )
    criterion = PairLoss(name, distance=distance, margin=MARGIN, temperature=TEMPERATURE)
    return float(criterion(tiles, batch))


def _plain(name: PairName, vectors: np.ndarray, allowed: np.ndarray, labels: list[int]) -> float:
    """The formulas, tile by tile."""
    tiles = vectors.reshape(-1, vectors.shape[-1])
    unit = tiles / np.linalg.norm(tiles, axis=1, keepdims=True)
    n_tiles = len(tiles)

    def same(one: int, other: int) -> bool:
        first, second = labels[one // 2], labels[other // 2]
        return one // 2 == other // 2 or (name == "supcon" and first == second >= 0)

    if name in ("n_pairs", "infonce"):
        losses = []
        for anchor in range(0, n_tiles, 2):
            logits = {
                other: (
                    tiles[anchor] @ tiles[other]
                    if name == "n_pairs"
                    else unit[anchor] @ unit[other] / TEMPERATURE
                )
                for other in range(1, n_tiles, 2)
                if other == anchor + 1 or allowed[anchor, other]
            }
            total = sum(math.exp(logit) for logit in logits.values())
            losses.append(-math.log(math.exp(logits[anchor + 1]) / total))
        return float(np.mean(losses))
    attracted, repelled, losses = [], [], []
    for one in range(n_tiles):
        positives = [other for other in range(n_tiles) if other != one and same(one, other)]
        negatives = [
            other for other in range(n_tiles) if not same(one, other) and allowed[one, other]
        ]
        cosine = unit[one] @ unit.T
        if name == "contrastive":
            apart = np.linalg.norm(unit[one] - unit, axis=1)
            attracted += [apart[other] for other in positives]
            repelled += [MARGIN - apart[other] for other in negatives if apart[other] < MARGIN]
        elif name == "logistic":
            for other in positives:
                attracted.append(math.log(1 + math.exp(-cosine[other] / TEMPERATURE)))
            for other in negatives:
                repelled.append(math.log(1 + math.exp(cosine[other] / TEMPERATURE)))
        else:
            total = sum(math.exp(cosine[other] / TEMPERATURE) for other in positives + negatives)
            losses.append(
                np.mean([math.log(total) - cosine[other] / TEMPERATURE for other in positives])
            )
    if losses:
        return float(np.mean(losses))
    return float(np.mean(attracted)) + (float(np.mean(repelled)) if repelled else 0.0)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(n_triplets=st.integers(2, 8), seed=st.integers(0, 9999))
def test_loss_is_the_plain_formula(name: PairName, n_triplets: int, seed: int) -> None:
    vectors = _vectors(n_triplets, seed)
    rng = np.random.default_rng(seed)
    drawn = rng.random((2 * n_triplets, 2 * n_triplets)) < 0.8
    allowed = drawn & drawn.T
    allowed[0, 3] = allowed[3, 0] = True
    labels = [-1, *rng.integers(-1, 2, n_triplets - 1).tolist()]
    expected = _plain(name, vectors, allowed, labels)
    found = _found(name, vectors, allowed=allowed, labels=labels)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", ["contrastive", "nt_xent", "logistic"])
def test_labels_are_only_looked_at_by_supcon(name: PairName) -> None:
    vectors = _vectors(5, seed=0)
    assert _found(name, vectors, labels=[0, 0, 1, 1, -1]) == _found(name, vectors)


def test_supcon_without_labels_is_nt_xent() -> None:
    vectors = _vectors(5, seed=0)
    assert _found("supcon", vectors, labels=[-1] * 5) == _found("nt_xent", vectors)
    assert _found("supcon", vectors, labels=[0, 0, -1, 1, 1]) != _found("nt_xent", vectors)


def test_known_losses_of_two_orthogonal_pairs() -> None:
    vectors = np.array([[[2.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 3.0]]])
    # A positive of cosine 1 and one (infonce) or two negatives of cosine 0.
    e = math.exp(1 / TEMPERATURE)
    assert _found("infonce", vectors) == pytest.approx(-math.log(e / (e + 1)))
    assert _found("nt_xent", vectors) == pytest.approx(-math.log(e / (e + 2)))
    assert _found("n_pairs", vectors) == pytest.approx(
        np.mean([-math.log(1 / (1 + math.exp(-product))) for product in (2, 3)])
    )
    expected = math.log(1 + math.exp(-1 / TEMPERATURE)) + math.log(2)
    assert _found("logistic", vectors) == pytest.approx(expected)
    assert _found("contrastive", vectors) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("distance", ["squared", "cosine"])
def test_contrastive_of_other_distances(distance: Distance) -> None:
    angle = math.radians(40)
    vectors = np.array(
        [[[1.0, 0.0], [0.0, 1.0]], [[math.cos(angle), math.sin(angle)], [-1.0, 0.0]]]
    )
    cosines = {"positive": [0, -math.cos(angle)], "negative": [math.cos(angle), math.sin(angle)]}
    scale = 2 if distance == "squared" else 1
    apart = {name: [scale * (1 - cosine) for cosine in each] for name, each in cosines.items()}
    near = [MARGIN - each for each in apart["negative"] if each < MARGIN]
    expected = np.mean(apart["positive"]) + np.mean(near)
    assert _found("contrastive", vectors, distance=distance) == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_negatives_is_refused(name: PairName) -> None:
    with pytest.raises(ValueError, match=r"no tile of a micro-batch may be a negative of another"):
        _found(name, _vectors(3, seed=0), allowed=np.zeros((6, 6), bool))
