"""Backbones that learnt photographs: weights of a ResNet trained on ImageNet."""

from collections.abc import Mapping, Sequence

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import adapt_input_conv
from torch import Tensor

from pipeline.core.encoder import LAYERS, Encoder, create_encoder

HIGHEST_COLOUR = 255
LEAST_LAYER = "layer3"


def create_pretrained(
    weights: Mapping[str, Tensor], *, backbone: str, n_channels: int
) -> tuple[Encoder, str]:
    """An encoder with ImageNet `weights` as its backbone, and the last layer they reach.

    Raises:
        ValueError: If the weights are of another network, or do not reach layer3.
    """
    encoder = create_encoder(backbone=backbone, n_channels=n_channels, n_dimensions=1, seed=0)
    return encoder, start_from(encoder, weights)


def start_from(encoder: Encoder, weights: Mapping[str, Tensor]) -> str:
    """The last layer that `weights` reach, which the backbone of `encoder` takes up to there.

    With other than three channels, the first convolution is adapted as timm does: its weights are
    summed for one channel, and repeated red, green, blue, red … and rescaled for more. Means and
    deviations of the colours go along.

    Args:
        encoder: Changed in place; what lies above the last whole layer stays as it is.
        weights: Names and shapes as in timm's model.

    Raises:
        ValueError: If the weights are of another network, or do not reach layer3.
    """
    own = encoder.backbone.state_dict()
    own = {name: value for name, value in own.items() if not name.endswith("num_batches_tracked")}
    first = f"{encoder.backbone.default_cfg['first_conv']}.weight"  # type: ignore[index]
    n_channels = own[first].shape[1]
    given = dict(weights)
    if first in given and given[first].ndim == 4 and given[first].shape[1] == 3:
        given[first] = adapt_input_conv(n_channels, given[first])
    misfits = [name for name in own if name not in given or given[name].shape != own[name].shape]
    whole = [layer for layer in LAYERS if not any(_is_needed(name, layer) for name in misfits)]
    if LEAST_LAYER not in whole:
        first_misfit = next(name for name in misfits if _is_needed(name, LEAST_LAYER))
        what = "misshape" if first_misfit in given else "lack"
        raise ValueError(
            f"the weights {what} {first_misfit} of this backbone; give weights of that ResNet "
            "which reach layer3"
        )
    usable = {name: given[name] for name in own if _is_needed(name, whole[-1])}
    encoder.backbone.load_state_dict(usable, strict=False)
    encoder.set_colours(
        _colours(IMAGENET_DEFAULT_MEAN, n_channels), _colours(IMAGENET_DEFAULT_STD, n_channels)
    )
    return whole[-1]


def reached_weights(encoder: Encoder, last_layer: str) -> dict[str, Tensor]:
    """Copies of the weights of `encoder` up to a layer, by name."""
    return {
        f"backbone.{name}": value.clone()
        for name, value in encoder.backbone.state_dict().items()
        if _is_needed(name, last_layer) and value.is_floating_point()
    }


def blend(
    weights: Mapping[str, Tensor], initial: Mapping[str, Tensor], *, share: float
) -> dict[str, Tensor]:
    """Weights of an encoder drawn back to those it started from.

    Means of trained and initial weights often serve better than either.

    Args:
        weights: Of the encoder, by name.
        initial: Of those that were given; the others stay.
        share: Of the initial ones, 0 … 1.

    Source: Wortsman et al. (2022), doi:10.1109/CVPR52688.2022.00780.
    """
    drawn = {
        name: torch.lerp(weights[name], value.to(weights[name].device), share)
        for name, value in initial.items()
    }
    return {**weights, **drawn}


def _is_needed(name: str, layer: str) -> bool:
    """Whether the output of `layer` depends on the weight called `name`."""
    part = name.partition(".")[0]
    return part not in LAYERS or LAYERS.index(part) <= LAYERS.index(layer)


def _colours(values: Sequence[float], n_channels: int) -> list[float]:
    """0 … 1 of red, green and blue as 0 … 255 of every channel."""
    if n_channels == 1:
        return [HIGHEST_COLOUR * sum(values) / len(values)]
    return [HIGHEST_COLOUR * values[channel % len(values)] for channel in range(n_channels)]
