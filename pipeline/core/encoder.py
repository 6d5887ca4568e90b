"""The network that turns a tile into its embedding."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from timm.models import is_model_in_modules
from timm.models.efficientnet import EfficientNet
from torch import Tensor, nn
from torch.backends import cudnn
from torch.fx.experimental.optimization import fuse
from torch.optim.swa_utils import update_bn

from pipeline.core.pooling import Pooling, pool
from pipeline.core.threads import side_by_side
from pipeline.core.tile import orientations

COLOUR_MEAN = 127.5
COLOUR_DEVIATION = 63.75
LEAST_DEVIATION = 1.0  # of a channel, not to magnify the noise of one that is flat
ONE_PIXEL_AT_LAST = 16  # edge of tiles of which a ResNet's last but one layer leaves one pixel
N_QUARTERS = 4  # of a tile, by halves of its rows and columns
RENEWED_AT_ONCE = 128  # tiles
PROBED_SIZE = 64  # edge of a tile at the last scale, to learn how many features there are


class Backbone(nn.Module):
    """A network of timm up to the last of the layers that are looked at; any tile size.

    Attributes:
        layers: Their names, in the network's order.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self._more: dict[str, bool] = {}
        known = [stage["module"] for stage in network.feature_info]  # type: ignore[union-attr]
        if isinstance(network, EfficientNet):
            # By default timm counts blocks that halve the maps alone.
            known = ["conv_stem", *(f"blocks.{number}" for number in range(len(network.blocks)))]
            self._more = {"extra_blocks": True}
        if unknown := [layer for layer in layers if layer not in known]:
            raise ValueError(
                f"train.embedding.layers names {unknown[0]!r}, which the backbone lacks; it has "
                f"{', '.join(known)}"
            )
        self._indices = sorted({known.index(layer) for layer in layers})
        self.layers = [known[index] for index in self._indices]
        network.prune_intermediate_layers(self._indices, prune_norm=True, **self._more)  # type: ignore[operator]

    def forward(self, colours: Tensor) -> list[Tensor]:
        """Feature maps (tile, channel, row, column) of each layer."""
        maps: list[Tensor] = self.network.forward_intermediates(  # type: ignore[operator]
            colours, indices=self._indices, intermediates_only=True, **self._more
        )
        return maps


class Encoder(nn.Module):
    """A backbone, of which the embedding is what several layers show, pooled.

    Features are standardised by the means and deviations of training tiles, reduced to principal
    components, which are not whitened, and brought to unit length. While they are trained they are
    standardised by those of the micro-batch and not reduced. With several scales, the backbone sees
    a tile as it is and at a half, a quarter … of its resolution, and patterns of twice, four times
    … the size.

    Colours are normalised inside, so that tiles go in as stored: 0 … 255. With `standardise` each
    channel of each tile comes to mean 0 and deviation 1, so that what is left of it is contrast
    and shape.

    Sources: Jean et al. (2019), doi:10.1609/aaai.v33i01.33013967, for the embedding; for textures
    in deviations of middle layers Huang & Belongie (2017), doi:10.1109/ICCV.2017.167.

    Attributes:
        layers: Those that are pooled.
        width: Number of features, all scales and layers together.
        n_scales: At which tiles are seen.
        keeps_statistics: Whether batch normalisation of the backbone stays in evaluation mode when
            trained, as suits weights that were given.
    """

    mean: Tensor
    deviation: Tensor
    axes: Tensor

    def __init__(
        self,
        backbone: Backbone,
        *,
        pooling: Pooling,
        n_scales: int,
        n_channels: int,
        standardise: bool,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.n_scales = n_scales
        self.standardise = standardise
        self.keeps_statistics = False
        self.set_colours(COLOUR_MEAN, COLOUR_DEVIATION)
        self.eval()
        with torch.no_grad():
            probed = self.pool(torch.zeros(1, n_channels, *[PROBED_SIZE << (n_scales - 1)] * 2))
        self.width = probed.shape[1]
        self.train()
        self.standard = nn.BatchNorm1d(self.width, affine=False)
        self.register_buffer("axes", torch.empty(0, self.width))

    @property
    def layers(self) -> list[str]:
        """Those that are pooled."""
        return self.backbone.layers

    @property
    def n_dimensions(self) -> int:
        """Length of an embedding."""
        return len(self.axes) or self.width

    def set_colours(
        self, mean: float | Sequence[float], deviation: float | Sequence[float]
    ) -> None:
        """Normalise by this mean and deviation from now on, of all channels or of each."""
        self.register_buffer("mean", torch.as_tensor(mean).float().reshape(-1, 1, 1))
        self.register_buffer("deviation", torch.as_tensor(deviation).float().reshape(-1, 1, 1))

    def fit_colours(self, tiles: NDArray[np.uint8]) -> None:
        """Normalise by the mean and deviation of each channel of training tiles from now on.

        Args:
            tiles: Shape (tile, channel, row, column).
        """
        colours = np.arange(256)
        means, deviations = [], []
        for channel in tiles.swapaxes(0, 1):
            counts = np.bincount(channel.ravel(), minlength=256)
            mean = np.average(colours, weights=counts)
            means.append(mean)
            deviations.append(np.average(np.square(colours - mean), weights=counts) ** 0.5)
        self.set_colours(means, np.maximum(deviations, LEAST_DEVIATION).tolist())

    def fit(self, features: Tensor, *, n_dimensions: int) -> None:
        """Standardise and reduce as these features of training tiles suggest, from now on.

        Args:
            features: Of `pool_tiles`, (tile, feature), at least two tiles.
            n_dimensions: Principal components that are kept; 0 for the features themselves.
        """
        values = features.double().cpu()
        variance, mean = torch.var_mean(values, dim=0, correction=0)
        self.standard.running_mean.copy_(mean)  # type: ignore[union-attr]
        self.standard.running_var.copy_(variance)  # type: ignore[union-attr]
        axes = torch.empty(0, self.width)
        if 0 < n_dimensions < self.width:
            scaled = (values - mean) / (variance + self.standard.eps).sqrt()
            _, vectors = torch.linalg.eigh(scaled.mT @ scaled)
            axes = vectors.flip(1)[:, :n_dimensions].mT  # of the largest variance first
            largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
            axes = axes * largest.sign()  # one of two signs, which the decomposition leaves open
        self.axes = axes.to(self.mean)

    def train(self, mode: bool = True) -> "Encoder":
        """Training mode, in which batch normalisation may have to keep its statistics."""
        super().train(mode)
        if self.keeps_statistics:
            for module in self.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, tiles: Tensor, *, unit_length: bool = True) -> Tensor:
        """Embeddings (tile, dimension) of tiles (tile, channel, row, column).

        Those that products hold are of unit length; only training sees the vectors before that.
        """
        return self.embed_features(self.pool(tiles), unit_length=unit_length)

    def embed_features(self, features: Tensor, *, unit_length: bool = True) -> Tensor:
        """Embeddings (tile, dimension) of the features (tile, feature) of `pool`."""
        with torch.autocast(features.device.type, enabled=False):
            vectors: Tensor = self.standard(features)
            if len(self.axes):
                vectors = vectors @ self.axes.mT
        return nn.functional.normalize(vectors, dim=1) if unit_length else vectors

    def pool(self, tiles: Tensor, layer: str | None = None) -> Tensor:
        """Features (tile, feature) of all scales and layers, or of one layer, as they come."""
        if layer is None:
            maps = self._maps(tiles, self.n_scales)
        else:
            maps = [self._maps(tiles, 1)[self.layers.index(layer)]]
        return torch.cat([self._pool_maps(each) for each in maps], dim=1)

    def pool_with_quarters(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Features of tiles, (tile, feature), and of each quarter, (tile, quarter, feature).

        Raises:
            ValueError: If a map is so small that it has no quarters.
        """
        wholes, parts = [], []
        for maps in self._maps(tiles, self.n_scales):
            if min(maps.shape[2:]) < 2:
                raise ValueError(
                    f"the feature maps of tiles of {tiles.shape[-1]} pixels have no quarters; set "
                    "train.objective.local_weight to 0, or lower train.embedding.n_scales"
                )
            halves = maps.tensor_split(2, dim=2)
            quarters = [quarter for half in halves for quarter in half.tensor_split(2, dim=3)]
            wholes.append(self._pool_maps(maps))
            parts.append(torch.stack([self._pool_maps(each) for each in quarters], dim=1))
        return torch.cat(wholes, dim=1), torch.cat(parts, dim=2)

    def _maps(self, tiles: Tensor, n_scales: int) -> list[Tensor]:
        colours, maps = self._normalise(tiles), []
        for scale in range(n_scales):
            if scale > 0:
                rows, columns = (max(1, size // 2) for size in colours.shape[-2:])
                colours = nn.functional.adaptive_avg_pool2d(colours, (rows, columns))
            with _sound_precision(colours):
                maps += self.backbone(colours)
        return maps

    def _pool_maps(self, maps: Tensor) -> Tensor:
        with torch.autocast(maps.device.type, enabled=False):
            return pool(_single(maps), self.pooling)

    def _normalise(self, tiles: Tensor) -> Tensor:
        colours = tiles.to(memory_format=torch.channels_last).float()
        if self.standardise:
            deviation, mean = torch.std_mean(colours, dim=(2, 3), keepdim=True, correction=0)
            return (colours - mean) / deviation.clamp_min(LEAST_DEVIATION)
        return (colours - self.mean) / self.deviation


def _single(maps: Tensor) -> Tensor:
    """In single precision at least."""
    return maps.to(torch.promote_types(maps.dtype, torch.float32))


def _sound_precision(tiles: Tensor) -> AbstractContextManager[None]:
    """float32 on a CPU where the last layer sees maps of one pixel.

    There oneDNN's gradients of convolutions in bfloat16 are now and then not finite.
    """
    if tiles.device.type != "cpu" or min(tiles.shape[-2:]) > ONE_PIXEL_AT_LAST:
        return nullcontext()
    return torch.autocast("cpu", enabled=False)


def create_encoder(
    *,
    backbone: str,
    layers: Sequence[str],
    pooling: Pooling,
    n_channels: int,
    seed: int,
    n_scales: int = 1,
    standardise: bool = False,
) -> Encoder:
    """An untrained encoder; one seed gives the same weights everywhere.

    Args:
        backbone: timm's name of a network that yields feature maps.
        layers: Of the backbone, by timm's names; what lies beyond the last is left out.
        pooling: Of their feature maps.
        n_channels: Channels of a tile.
        seed: Of the weights; the global random state stays as it was.
        n_scales: At which tiles are seen, each at half the resolution of the one before.
        standardise: Whether each tile is normalised by its own colours.

    Raises:
        ValueError: If timm has no such network, or it no such layer.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _create_network(backbone, n_channels)
        encoder = Encoder(
            Backbone(network, layers),
            pooling=pooling,
            n_scales=n_scales,
            n_channels=n_channels,
            standardise=standardise,
        )
    return encoder.to(memory_format=torch.channels_last)


def _create_network(backbone: str, n_channels: int) -> nn.Module:
    any_size: dict[str, Any] = {}
    if timm.is_model(backbone):
        if is_model_in_modules(backbone, ("vision_transformer", "eva")):
            any_size = {"dynamic_img_size": True, "dynamic_img_pad": True}
        elif is_model_in_modules(backbone, ("swin_transformer",)):
            any_size = {"strict_img_size": False}
        network: nn.Module = timm.create_model(
            backbone, num_classes=0, in_chans=n_channels, **any_size
        )
        if hasattr(network, "forward_intermediates") and hasattr(network, "feature_info"):
            return network
    raise ValueError(
        f"train.backbone {backbone!r} is no network of timm that yields feature maps; try "
        "'resnet18'"
    )


def autocast(device: torch.device) -> AbstractContextManager[None]:
    """bfloat16 where the device computes in it, float32 elsewhere.

    On a CPU weights are cast at every use: threads have one cache of them, and whichever ends first
    empties it, by which gradients of weights used twice would be rounded otherwise in each run.
    """
    if device.type == "cuda":
        enabled = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        enabled = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    cached = device.type == "cuda"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=cached)


def fused(encoder: Encoder) -> Encoder:
    """A copy for inference alone: batch normalisation is taken up into the convolutions before it.

    It takes up to a tenth less time; embeddings differ by rounding.
    """
    copied = deepcopy(encoder).eval()
    if any(type(module) is nn.BatchNorm2d for module in copied.backbone.modules()):
        traced: Any = fuse(copied.backbone).to(memory_format=torch.channels_last)
        traced.layers = copied.layers
        copied.backbone = traced
    return copied


def embed_tiles(
    encoder: Encoder,
    tiles: NDArray[np.uint8],
    *,
    device: torch.device,
    n_orientations: int = 1,
    batch_size: int = 32,
) -> NDArray[np.float32]:
    """Embeddings of tiles, without gradients, (tile, dimension).

    In float32 on every device: in bfloat16, which training uses, 1 to 2 % of tiles would be of
    another cluster.

    Args:
        encoder: Put on `device` and in evaluation mode here.
        tiles: Shape (tile, channel, row, column), 0 … 255.
        device: Where to compute.
        n_orientations: 1 for tiles as they are; 4 or 8 for the mean over quarter turns, or over
            these with and without mirroring, before it comes to unit length.
        batch_size: Tiles a forward pass.
    """

    def embed(batch: NDArray[np.uint8]) -> Tensor:
        vectors = _vectors(encoder, orientations(batch)[:n_orientations], device)
        return nn.functional.normalize(vectors.mean(dim=1), dim=1)

    return _in_batches(encoder, tiles, embed, device=device, batch_size=batch_size)


def embed_orientations(
    encoder: Encoder,
    tiles: NDArray[np.uint8],
    *,
    device: torch.device,
    n_orientations: int = 1,
    batch_size: int = 32,
) -> NDArray[np.float32]:
    """What `embed_tiles` makes of tiles in each of their `orientations`, (tile, 8, dimension).

    Every orientation is looked at once, since the mean is over the same ones for several.
    """

    def embed(batch: NDArray[np.uint8]) -> Tensor:
        vectors = _vectors(encoder, orientations(batch), device)
        means = vectors.unflatten(1, (-1, n_orientations)).mean(dim=2)
        return nn.functional.normalize(means, dim=2).repeat_interleave(n_orientations, dim=1)

    return _in_batches(encoder, tiles, embed, device=device, batch_size=batch_size)


def pool_tiles(
    encoder: Encoder,
    tiles: NDArray[np.uint8],
    *,
    device: torch.device,
    layer: str | None = None,
    batch_size: int = 32,
) -> NDArray[np.float32]:
    """Features of tiles, of all layers or of one, as `Encoder.pool`; otherwise as `embed_tiles`."""

    def pool_batch(batch: NDArray[np.uint8]) -> Tensor:
        return encoder.pool(_on(device, batch), layer)

    return _in_batches(encoder, tiles, pool_batch, device=device, batch_size=batch_size)


def _vectors(encoder: Encoder, turned: Sequence[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Of turned copies of tiles, (tile, orientation, dimension), not of unit length."""
    return torch.stack([encoder(_on(device, each), unit_length=False) for each in turned], dim=1)


def _in_batches(
    encoder: Encoder,
    tiles: NDArray[np.uint8],
    function: Callable[[NDArray[np.uint8]], Tensor],
    *,
    device: torch.device,
    batch_size: int,
) -> NDArray[np.float32]:
    encoder.to(device).eval()

    def compute(first: int) -> NDArray[np.float32]:
        with torch.inference_mode(), cudnn.flags(allow_tf32=False):
            found: NDArray[np.float32] = function(tiles[first : first + batch_size]).cpu().numpy()
        return found

    return np.concatenate(list(side_by_side(compute, range(0, len(tiles), batch_size), device)))


def _on(device: torch.device, tiles: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(tiles)).to(device, non_blocking=True)


def renew_statistics(encoder: Encoder, tiles: NDArray[np.uint8]) -> None:
    """Compute the means and variances of batch normalisation anew.

    Untrained weights have none; those that training gathered are of other activations than those
    of averaged weights, and of tiles that were cropped and altered. Where they were given with the
    weights they stay.

    Args:
        encoder: Changed in place.
        tiles: Of training, (tile, channel, row, column), seen in batches in training mode.

    Source: Izmailov et al. (2018), arXiv:1803.05407, section 3.2.
    """
    if encoder.keeps_statistics:
        return
    device = next(encoder.parameters()).device
    batches = torch.from_numpy(tiles).tensor_split(math.ceil(len(tiles) / RENEWED_AT_ONCE))
    with autocast(device):
        update_bn(batches, encoder, device)


def describe_encoder(encoder: Encoder, *, backbone: str) -> dict[str, Any]:
    """What `rebuild_encoder` needs to know beside the weights and the channels."""
    return {
        "backbone": backbone,
        "layers": encoder.layers,
        "pooling": encoder.pooling,
        "n_scales": encoder.n_scales,
        "standardise": encoder.standardise,
    }


def create_described(description: Mapping[str, Any], *, seed: int) -> Encoder:
    """An untrained encoder as `describe_encoder` and `channels` describe it."""
    return create_encoder(
        backbone=description["backbone"],
        layers=description["layers"],
        pooling=description["pooling"],
        n_channels=len(description["channels"]),
        seed=seed,
        n_scales=description.get("n_scales", 1),  # earlier versions knew one alone
        standardise=description["standardise"],
    )


def create_untrained(
    description: Mapping[str, Any], tiles: NDArray[np.uint8], *, seed: int
) -> Encoder:
    """The network of `create_described` with colours and statistics of its tiles, as a trained one.

    Args:
        description: As of `create_described`.
        tiles: Shape (tile, channel, row, column), 0 … 255.
        seed: Of the weights.
    """
    encoder = create_described(description, seed=seed)
    encoder.fit_colours(tiles)
    renew_statistics(encoder, tiles)
    return encoder


def rebuild_encoder(weights: Mapping[str, Tensor], description: Mapping[str, Any]) -> Encoder:
    """The encoder which a training run wrote as `weights` and `description`.

    Raises:
        ValueError: If it is of a version whose encoders were made otherwise.
    """
    if "layers" not in description:
        raise ValueError(
            "the encoder is of an earlier version, whose embeddings were of the last layer alone; "
            "train anew, or install the version that made it"
        )
    encoder = create_described(description, seed=0)
    for name in ("mean", "deviation", "axes"):
        encoder.register_buffer(name, weights[name].clone())
    encoder.load_state_dict(dict(weights))
    return encoder.eval()
