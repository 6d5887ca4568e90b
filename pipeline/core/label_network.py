"""A network that tells labels: an encoder up to one layer, and a linear head."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from pipeline.core.encoder import EMBEDDING, Encoder, rebuild_encoder


class LabelNetwork(nn.Module):
    """A copy of an encoder up to one layer, average pooling, standardisation and a linear head."""

    def __init__(self, encoder: Encoder, *, layer: str, n_labels: int) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.layer = layer
        width = layer_width(encoder, layer)
        # Standardised features let one learning rate of the head suit every encoder.
        self.standardise = nn.BatchNorm1d(width, affine=False)
        self.head = nn.utils.skip_init(nn.Linear, width, n_labels)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, tiles: Tensor) -> Tensor:
        """Scores of the labels before the softmax, shape (tile, label)."""
        scores: Tensor = self.head(self.standardise(self.encoder.features(tiles, self.layer)))
        return scores.float()


def rebuild_label_network(
    weights: Mapping[str, Tensor], head: Mapping[str, Tensor], description: Mapping[str, Any]
) -> LabelNetwork:
    """The network which stage finetune wrote as weights of encoder and head and a description."""
    network = LabelNetwork(
        rebuild_encoder(weights, description),
        layer=description["label_layer"],
        n_labels=len(description["labels"]),
    )
    network.load_state_dict({**network.state_dict(), **head})
    return network


def layer_width(encoder: Encoder, layer: str) -> int:
    """Number of features of `layer`."""
    if layer == EMBEDDING:
        return encoder.n_dimensions
    widths = {stage["module"]: stage["num_chs"] for stage in encoder.backbone.feature_info}  # type: ignore[union-attr]
    return int(widths[layer])
