"""What trained encoders are held against: textures, networks as they are, and controls."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler, normalize
from torch import Tensor

from pipeline.core.comparison.judge import Representation, Tiles
from pipeline.core.device import compute_device
from pipeline.core.encoder import Encoder, create_encoder, pool_tiles, renew_statistics
from pipeline.core.pooling import Pooling
from pipeline.core.pretrained import start_from
from pipeline.core.references import shuffle_pixels
from pipeline.core.textures import TEXTURES, Describe

FloatArray = NDArray[np.floating]
Name = Annotated[str, Field(min_length=1)]

COMPONENTS = "principal components"
N_COMPONENTS = 64
SHRUNK_TO = 32  # pixels along a tile's edge, of which the components are


@dataclass(frozen=True)
class TextureBaseline:
    """Features that no network is needed for."""

    texture: Literal[
        "pixel statistics",
        "principal components",
        "power spectrum",
        "wavelet scattering",
        "Haralick",
        "local binary patterns",
        "organisation metrics",
    ]


@dataclass(frozen=True)
class NetworkBaseline:
    """A network as it is: untrained, or off the shelf.

    Attributes:
        backbone: As in section `train`.
        init: Likewise.
        layers: As in `train.embedding`.
        pooling: As in `train.embedding`.
        n_scales: Number of scales, as in `train.embedding`.
        colours: Whether they are normalised as the network was trained, or by training tiles.
    """

    backbone: Name
    init: Name
    layers: Annotated[tuple[Name, ...], Field(min_length=1)]
    pooling: Pooling
    n_scales: Annotated[int, Field(ge=1, le=4)]
    colours: Literal["network", "training"]


@dataclass(frozen=True)
class JoinedBaseline:
    """The features of several baselines, side by side."""

    joined: Annotated[tuple[Name, ...], Field(min_length=2)]


@dataclass(frozen=True)
class ShuffledBaseline:
    """A baseline that sees tiles whose pixels were shuffled: what colours alone tell it."""

    shuffled: Name


def _kind(line: object) -> str:
    """Tag of a baseline's kind, in brackets, by the key that only this kind has."""
    keys = ("texture", "joined", "shuffled")
    key = next((key for key in keys if isinstance(line, Mapping) and key in line), "backbone")
    return f"({key})"


Baseline = Annotated[
    Annotated[TextureBaseline, Tag("(texture)")]
    | Annotated[NetworkBaseline, Tag("(backbone)")]
    | Annotated[JoinedBaseline, Tag("(joined)")]
    | Annotated[ShuffledBaseline, Tag("(shuffled)")],
    Discriminator(_kind),
]


def create_network(
    baseline: NetworkBaseline, weights: Mapping[str, Tensor] | None, fitted: Tiles, *, seed: int
) -> Encoder:
    """The network of a baseline, standardised by training tiles.

    Args:
        baseline: What it is.
        weights: To start from; None for an untrained network.
        fitted: Training tiles.
        seed: Of an untrained network.
    """
    encoder = create_encoder(
        backbone=baseline.backbone,
        layers=baseline.layers,
        pooling=baseline.pooling,
        n_scales=baseline.n_scales,
        n_channels=fitted.shape[1],
        seed=seed,
    )
    if weights is not None:
        start_from(encoder, weights)
    if baseline.colours == "training":
        encoder.fit_colours(fitted)
    if weights is None:
        renew_statistics(encoder, fitted)
    features = pool_tiles(encoder, fitted, device=compute_device())
    encoder.fit(torch.from_numpy(features), n_dimensions=0)
    return encoder


def seen_by_network(encoder: Encoder) -> Representation:
    """By the pooled features of an encoder, and by its embedding."""
    device = compute_device()
    made_of = hashlib.sha256(repr((encoder.layers, encoder.pooling, encoder.n_scales)).encode())
    for value in encoder.state_dict().values():
        made_of.update(value.cpu().numpy().tobytes())

    def embed(features: FloatArray) -> FloatArray:
        with torch.inference_mode():
            vectors = encoder.embed_features(torch.from_numpy(features).to(device))
        return np.asarray(vectors.cpu().numpy())

    return Representation(
        partial(pool_tiles, encoder, device=device), embed, made_of.hexdigest(), encoder
    )


def seen_by_texture(texture: str, fitted: Tiles, *, seed: int) -> Representation:
    """By features that no network is needed for, standardised by training tiles."""
    describe = _components(fitted, seed) if texture == COMPONENTS else TEXTURES[texture]
    return _standardised(describe, fitted, made_of=texture)


def join(parts: Sequence[Representation], fitted: Tiles) -> Representation:
    """By the features of all `parts` side by side, standardised by training tiles."""

    def describe(tiles: Tiles) -> FloatArray:
        return np.concatenate([part.features(tiles) for part in parts], axis=1)

    return _standardised(describe, fitted, made_of=" ".join(part.made_of for part in parts))


def shuffle(representation: Representation, *, seed: int) -> Representation:
    """By the same features of tiles whose pixels are shuffled."""

    def describe(tiles: Tiles) -> FloatArray:
        return representation.features(shuffle_pixels(tiles, seed=seed))

    return Representation(describe, representation.embed, f"shuffled {representation.made_of}")


def _standardised(describe: Describe, fitted: Tiles, *, made_of: str) -> Representation:
    @cache
    def scaler() -> StandardScaler:  # takes long, and nothing is embedded whose scores are kept
        return StandardScaler().fit(describe(fitted))

    def embed(features: FloatArray) -> FloatArray:
        return np.asarray(normalize(scaler().transform(features)))

    return Representation(describe, embed, made_of)


def _components(fitted: Tiles, seed: int) -> Describe:
    """What takes tiles to their principal components, (tile, component)."""
    pixels = shrunk_pixels(fitted)
    components = PCA(min(N_COMPONENTS, *pixels.shape), random_state=seed).fit(pixels)

    def project(tiles: Tiles) -> FloatArray:
        return np.asarray(components.transform(shrunk_pixels(tiles)), np.float32)

    return project


def shrunk_pixels(tiles: Tiles) -> FloatArray:
    """Pixels of tiles that were averaged to 32 by 32, (tile, value)."""
    shrunk = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(tiles).float(), SHRUNK_TO)
    return shrunk.flatten(1).numpy()
