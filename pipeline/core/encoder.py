"""The ResNet that turns a tile into its embedding."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any, Literal

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from timm.models.resnet import ResNet
from torch import Tensor, nn
from torch.backends import cudnn
from torch.fx.experimental.optimization import fuse

from pipeline.core.threads import side_by_side

LAYERS = ("layer1", "layer2", "layer3", "layer4")
EMBEDDING = "embedding"  # named as a layer, it is the vector before it comes to unit length
COLOUR_MEAN = 127.5
COLOUR_DEVIATION = 63.75
ONE_PIXEL_AT_LAYER4 = 16  # edge of tiles of which the layers before leave one pixel


# What an encoder keeps of the layers behind its backbone: nothing, one linear layer, or one of a
# multi-layer head, with batch normalisation and a rectifier.
Projection = Literal["none", "linear", "hidden"]


class Encoder(nn.Module):
    """ResNet, global average pooling and a projection; any tile size and channel count.

    Colours are normalised inside, so that tiles go in as stored: 0 … 255. With `standardise` each
    channel of each tile comes to mean 0 and deviation 1, so that what is left of it is contrast
    and shape.

    Source: Jean et al. (2019), doi:10.1609/aaai.v33i01.33013967; without a projection Chen et al.
    (2020), arXiv:2002.05709; with a hidden layer Chen et al. (2020), arXiv:2006.10029.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        *,
        n_dimensions: int,
        projection: Projection,
        mean: float | Sequence[float],
        deviation: float | Sequence[float],
        standardise: bool,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.standardise = standardise
        n_features = int(backbone.num_features)  # type: ignore[arg-type]
        self.n_dimensions = n_features if projection == "none" else n_dimensions
        self.projection = _create_projection(projection, n_features, n_dimensions)
        self.set_colours(mean, deviation)

    def set_colours(
        self, mean: float | Sequence[float], deviation: float | Sequence[float]
    ) -> None:
        """Normalise by this mean and deviation from now on, of all channels or of each."""
        self.register_buffer("mean", torch.as_tensor(mean).float().reshape(-1, 1, 1))
        self.register_buffer("deviation", torch.as_tensor(deviation).float().reshape(-1, 1, 1))

    def forward(self, tiles: Tensor, *, unit_length: bool = True) -> Tensor:
        """Embeddings (tile, dimension) of tiles (tile, channel, row, column).

        Those that products hold are of unit length; only training sees the vectors before that.
        """
        with _sound_precision(tiles):
            vectors: Tensor = self.projection(self.backbone(self._normalise(tiles))).float()
        return nn.functional.normalize(vectors, dim=1) if unit_length else vectors

    def features(self, tiles: Tensor, layer: str) -> Tensor:
        """Average-pooled output of `layer`, one of layer1 … layer4, float32 (tile, width).

        The layer called `embedding` is the vector before it comes to unit length.
        """
        if layer == EMBEDDING:
            vectors: Tensor = self(tiles, unit_length=False)
            return vectors
        resnet = self.backbone
        with _sound_precision(tiles):
            colours = self._normalise(tiles)
            activations = resnet.maxpool(resnet.act1(resnet.bn1(resnet.conv1(colours))))  # type: ignore[operator]
            for name in LAYERS[: LAYERS.index(layer) + 1]:
                activations = getattr(resnet, name)(activations)
            pooled: Tensor = activations.mean((2, 3)).float()
        return pooled

    def _normalise(self, tiles: Tensor) -> Tensor:
        colours = tiles.to(memory_format=torch.channels_last).float()
        if self.standardise:
            deviation, mean = torch.std_mean(colours, dim=(2, 3), keepdim=True, correction=0)
            return (colours - mean) / deviation.clamp_min(1.0)  # not to magnify flat tiles' noise
        return (colours - self.mean) / self.deviation


def _sound_precision(tiles: Tensor) -> AbstractContextManager[None]:
    """float32 on a CPU where the last layer sees maps of one pixel.

    There oneDNN's gradients of convolutions in bfloat16 are now and then not finite.
    """
    if tiles.device.type != "cpu" or min(tiles.shape[-2:]) > ONE_PIXEL_AT_LAYER4:
        return nullcontext()
    return torch.autocast("cpu", enabled=False)


def _create_projection(projection: Projection, n_features: int, n_dimensions: int) -> nn.Module:
    match projection:
        case "none":
            return nn.Identity()
        case "linear":
            return nn.Linear(n_features, n_dimensions)
        case "hidden":
            linear = nn.Linear(n_features, n_dimensions, bias=False)
            return nn.Sequential(linear, nn.BatchNorm1d(n_dimensions), nn.ReLU())


def create_encoder(
    *,
    backbone: str,
    n_channels: int,
    n_dimensions: int,
    seed: int,
    projection: Projection = "linear",
    mean: float | Sequence[float] = COLOUR_MEAN,
    deviation: float | Sequence[float] = COLOUR_DEVIATION,
    standardise: bool = False,
) -> Encoder:
    """An untrained encoder; one seed gives the same weights everywhere.

    Args:
        backbone: timm's name of a ResNet.
        n_channels: Channels of a tile.
        n_dimensions: Length of an embedding; without a projection it is the backbone's width.
        projection: What follows the pooling.
        seed: Of the weights; the global random state stays as it was.
        mean: Colour that becomes 0, of all channels or of each.
        deviation: Distance in colour that becomes 1.
        standardise: Whether mean and deviation are each tile's own instead.

    Raises:
        ValueError: If timm has no such ResNet.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        known = timm.is_model(backbone)
        resnet = timm.create_model(backbone, num_classes=0, in_chans=n_channels) if known else None
        if not isinstance(resnet, ResNet):
            raise ValueError(f"train.backbone {backbone!r} is no ResNet of timm; try 'resnet18'")
        encoder = Encoder(
            resnet,
            n_dimensions=n_dimensions,
            projection=projection,
            mean=mean,
            deviation=deviation,
            standardise=standardise,
        )
    return encoder.to(memory_format=torch.channels_last)


def autocast(device: torch.device) -> AbstractContextManager[None]:
    """bfloat16 where the device computes in it, float32 elsewhere."""
    if device.type == "cuda":
        enabled = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        enabled = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def fused(encoder: Encoder) -> Encoder:
    """A copy for inference alone: batch normalisation is taken up into the convolutions before it.

    It takes up to a tenth less time; embeddings differ by rounding.
    """
    copied = deepcopy(encoder).eval()
    copied.backbone = fuse(copied.backbone).to(memory_format=torch.channels_last)
    return copied


def embed_tiles(
    encoder: Encoder,
    tiles: NDArray[np.uint8],
    *,
    device: torch.device,
    batch_size: int = 32,
    layer: str | None = None,
) -> NDArray[np.float32]:
    """Embeddings of tiles, or pooled features of one layer, without gradients.

    In float32 on every device: in bfloat16, which training uses, 1 to 2 % of tiles would be of
    another cluster.

    Args:
        encoder: Put on `device` and in evaluation mode here.
        tiles: Shape (tile, channel, row, column), 0 … 255.
        device: Where to compute.
        batch_size: Tiles a forward pass.
        layer: None for embeddings, else the layer of `Encoder.features`.

    Returns:
        Shape (tile, dimension).
    """
    encoder = encoder.to(device).eval()
    forward: Callable[[Tensor], Tensor] = (
        encoder if layer is None else lambda batch: encoder.features(batch, layer)
    )

    def embed(first: int) -> NDArray[np.float32]:
        with torch.inference_mode(), cudnn.flags(allow_tf32=False):
            batch = torch.from_numpy(tiles[first : first + batch_size])
            vectors: NDArray[np.float32] = (
                forward(batch.to(device, non_blocking=True)).cpu().numpy()
            )
        return vectors

    return np.concatenate(list(side_by_side(embed, range(0, len(tiles), batch_size), device)))


def rebuild_encoder(weights: Mapping[str, Tensor], description: Mapping[str, Any]) -> Encoder:
    """The encoder which a training run wrote as `weights` and `description`."""
    encoder = create_encoder(
        backbone=description["backbone"],
        n_channels=len(description["channels"]),
        n_dimensions=description["n_dimensions"],
        projection=description.get("projection", "linear"),  # the only one there was before
        seed=0,
        mean=weights["mean"].flatten().tolist(),
        deviation=weights["deviation"].flatten().tolist(),
        standardise=description["standardise"],
    )
    encoder.load_state_dict(dict(weights))
    return encoder
