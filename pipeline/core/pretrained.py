"""Backbones that learnt photographs: weights of a network trained on ImageNet."""

from collections.abc import Mapping, Sequence

from timm.models import adapt_input_conv
from torch import Tensor

from pipeline.core.encoder import Encoder

HIGHEST_COLOUR = 255


def start_from(encoder: Encoder, weights: Mapping[str, Tensor]) -> None:
    """Give `weights` to the backbone of `encoder`.

    With other than three channels, the first convolution is adapted as timm does: its weights are
    summed for one channel, and repeated red, green, blue, red … and rescaled for more. Means and
    deviations of the colours go along.

    Args:
        encoder: Changed in place.
        weights: Names and shapes as in timm's model; those beyond the last layer are not needed.

    Raises:
        ValueError: If the weights are of another network, or end before the last layer.
    """
    network = encoder.backbone.network
    own = network.state_dict()
    config: Mapping[str, object] = network.pretrained_cfg  # type: ignore[assignment]
    first = f"{config['first_conv']}.weight"
    n_channels = own[first].shape[1]
    given = dict(weights)
    if first in given and given[first].ndim == 4 and given[first].shape[1] == 3:
        given[first] = adapt_input_conv(n_channels, given[first].float())
    for name, value in own.items():
        if name.endswith("num_batches_tracked"):
            given[name] = value
        elif name not in given or given[name].shape != value.shape:
            what = "misshape" if name in given else "lack"
            raise ValueError(
                f"the weights {what} {name} of this backbone; give weights of that network which "
                f"reach {encoder.layers[-1]}, or leave layers beyond out of train.embedding.layers"
            )
    network.load_state_dict({name: given[name] for name in own})
    encoder.set_colours(_colours(config["mean"], n_channels), _colours(config["std"], n_channels))  # type: ignore[arg-type]


def _colours(values: Sequence[float], n_channels: int) -> list[float]:
    """0 … 1 of red, green and blue as 0 … 255 of every channel."""
    if n_channels == 1:
        return [HIGHEST_COLOUR * sum(values) / len(values)]
    return [HIGHEST_COLOUR * values[channel % len(values)] for channel in range(n_channels)]
