"""The classifiers that are compared, each on the same tiles and folds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.core.classification.probe import (
    majority_shares,
    pixel_statistics,
    probabilities_from_features,
)
from pipeline.core.classification.scores import MAJORITY
from pipeline.core.encoder import Encoder, pool_tiles

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.floating]
Predict = Callable[[IntArray, IntArray], FloatArray]

PIXEL_STATISTICS = "pixel statistics"


@dataclass(frozen=True)
class Start:
    """A network in the state in which it enters the comparison; without one, a note says why."""

    name: str
    encoder: Encoder | None
    note: str = ""


@dataclass(frozen=True)
class Classifier:
    """One row of the table.

    `predict` takes the indices of training and tested tiles and gives the probability of each label
    of the latter, (tested tile, label); where it is None, `note` says why.
    """

    name: str
    encoder: str
    frozen: bool
    note: str
    predict: Predict | None


def list_classifiers(
    starts: Sequence[Start],
    tiles: NDArray[np.uint8],
    labels: IntArray,
    days: IntArray,
    *,
    strengths: Sequence[float],
    fine_tune: Callable[..., FloatArray],
    device: torch.device,
) -> list[Classifier]:
    """The rows of the table: two without a network, then those of every start.

    Every network is compared frozen and unfrozen, by the features of all its layers.

    Args:
        starts: Networks; their features are computed here, once.
        tiles: Shape (tile, channel, row, column).
        labels: Number of each tile's label, shape (tile,).
        days: Number of each tile's day, shape (tile,).
        strengths: Regularisations which logistic regression chooses from.
        fine_tune: `probabilities_by_fine_tuning` with all its settings.
        device: Where to compute features.
    """
    n_labels = int(labels.max()) + 1

    def probe(features: FloatArray) -> Predict:
        return partial(
            probabilities_from_features,
            features,
            labels,
            days,
            n_labels=n_labels,
            strengths=strengths,
        )

    rows = [
        _without_network(MAJORITY, partial(majority_shares, labels, n_labels=n_labels)),
        _without_network(PIXEL_STATISTICS, probe(pixel_statistics(tiles))),
    ]
    for start in starts:
        frozen, unfrozen = None, None
        if start.encoder is not None:
            frozen = probe(pool_tiles(start.encoder, tiles, device=device))
            unfrozen = partial(fine_tune, start.encoder, tiles, labels, days)
        rows.append(Classifier(f"{start.name} frozen", start.name, True, start.note, frozen))
        rows.append(Classifier(f"{start.name} unfrozen", start.name, False, start.note, unfrozen))
    return rows


def _without_network(name: str, predict: Predict) -> Classifier:
    return Classifier(name, name, True, "", predict)
