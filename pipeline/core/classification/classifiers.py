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
from pipeline.core.encoder import LAYERS, Encoder, embed_tiles

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.floating]
Predict = Callable[[IntArray, IntArray], FloatArray]

PIXEL_STATISTICS = "pixel statistics"
LAST, BEFORE_LAST = LAYERS[-1], LAYERS[-2]


@dataclass(frozen=True)
class Start:
    """A network in the state in which it enters the comparison."""

    name: str
    encoder: Encoder | None
    last_layer: str
    note: str
    has_embedding: bool


@dataclass(frozen=True)
class Classifier:
    """One row of the table.

    `predict` takes the indices of training and tested tiles and gives the probability of each label
    of the latter, (tested tile, label); where it is None, `note` says why.
    """

    encoder: str
    layer: str
    frozen: bool
    note: str
    predict: Predict | None

    @property
    def name(self) -> str:
        """What identifies the row."""
        if not self.layer:
            return self.encoder
        return f"{self.encoder} {self.layer} {'frozen' if self.frozen else 'unfrozen'}"


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

    Every network is compared at its last layer, frozen and unfrozen. Where one ends a layer
    earlier, all are compared unfrozen at that layer as well.

    Args:
        starts: Networks; their features are computed here, once.
        tiles: Shape (tile, channel, row, column).
        labels: Number of each tile's label, shape (tile,).
        days: Number of each tile's day, shape (tile,).
        strengths: Regularisations which logistic regression chooses from.
        fine_tune: `probabilities_by_fine_tuning` with all its settings but `layer`.
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
        Classifier(MAJORITY, "", True, "", partial(majority_shares, labels, n_labels=n_labels)),
        Classifier(PIXEL_STATISTICS, "", True, "", probe(pixel_statistics(tiles))),
    ]
    all_reach_last = all(start.last_layer == LAST for start in starts)
    unfrozen = (LAST,) if all_reach_last else (LAST, BEFORE_LAST)
    for start in starts:
        frozen = ("embedding", LAST, BEFORE_LAST) if start.has_embedding else (LAST, BEFORE_LAST)
        for layer in frozen:
            predict, note = None, _why_not(start, layer)
            if start.encoder is not None and not note:
                asked = None if layer == "embedding" else layer
                predict = probe(embed_tiles(start.encoder, tiles, device=device, layer=asked))
            rows.append(Classifier(start.name, layer, True, note, predict))
        for layer in unfrozen:
            predict, note = None, _why_not(start, layer)
            if start.encoder is not None and not note:
                predict = partial(fine_tune, start.encoder, tiles, labels, layer=layer)
            rows.append(Classifier(start.name, layer, False, note, predict))
    return rows


def _why_not(start: Start, layer: str) -> str:
    """Why a start has no features of `layer`; empty where it has."""
    if start.encoder is None:
        return start.note
    if layer in LAYERS and LAYERS.index(layer) > LAYERS.index(start.last_layer):
        return f"the weights end at {start.last_layer}"
    return ""
