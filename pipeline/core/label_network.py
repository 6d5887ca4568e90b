"""A network that predicts labels: the features of an encoder, and a linear head."""

import copy
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from pipeline.core.encoder import Encoder, rebuild_encoder

EPSILON = 1e-12  # variance of no feature, so that a linear classifier can be taken over exactly


class LabelNetwork(nn.Module):
    """A copy of an encoder, whose pooled features are standardised, and a linear head.

    Attributes:
        temperature: Scores are divided by it before they become probabilities.
    """

    temperature: Tensor

    def __init__(self, encoder: Encoder, *, n_labels: int) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.encoder.keeps_statistics = True
        self.standardise = nn.BatchNorm1d(encoder.width, affine=False, eps=EPSILON)
        self.head = nn.utils.skip_init(nn.Linear, encoder.width, n_labels)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("temperature", torch.ones(()))

    def train(self, mode: bool = True) -> Self:
        """Training mode but for all statistics: a few hundred tiles would spoil them."""
        super().train(mode)
        self.standardise.eval()
        return self

    def forward(self, tiles: Tensor) -> Tensor:
        """Scores of the labels before the softmax, shape (tile, label)."""
        scores: Tensor = self.head(self.standardise(self.encoder.pool(tiles).float()))
        return scores.float()


def rebuild_label_network(
    weights: Mapping[str, Tensor], head: Mapping[str, Tensor], description: Mapping[str, Any]
) -> LabelNetwork:
    """The network which stage finetune wrote as weights of encoder and head and a description."""
    network = LabelNetwork(
        rebuild_encoder(weights, description),
        n_labels=len(description["labels"]),
    )
    network.load_state_dict({**network.state_dict(), **head})
    return network
