"""What an encoder is held against: features of tiles that have learnt nothing of clouds."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from pipeline.core.classification.probe import pixel_statistics
from pipeline.core.device import compute_device
from pipeline.core.encoder import (
    Encoder,
    create_untrained,
    pool_tiles,
    rebuild_encoder,
)
from pipeline.core.representations import INITIAL, STATISTICS, UNTRAINED

FloatArray = NDArray[np.floating]


def reference_features(
    tiles: NDArray[np.uint8],
    description: Mapping[str, Any],
    initial: Mapping[str, torch.Tensor] | None,
    *,
    embed: Callable[[Encoder, NDArray[np.uint8]], FloatArray],
    seed: int,
) -> dict[str, FloatArray]:
    """Features (tile, feature) of `STATISTICS`, `UNTRAINED` and, of given weights, `INITIAL`.

    Args:
        tiles: Shape (tile, channel, row, column).
        description: Of the own encoder.
        initial: Weights from which it was trained.
        embed: `embed_tiles` as of the own embeddings.
        seed: Of the untrained encoder.
    """
    untrained = create_untrained(description, tiles, seed=seed)
    features = pool_tiles(untrained, tiles, device=compute_device())
    untrained.fit(torch.from_numpy(features), n_dimensions=description["n_dimensions"])
    found: dict[str, FloatArray] = {
        STATISTICS: StandardScaler().fit_transform(pixel_statistics(tiles)),
        UNTRAINED: embed(untrained, tiles),
    }
    if initial is not None:
        found[INITIAL] = embed(rebuild_encoder(initial, description), tiles)
    return found


def shuffle_pixels(tiles: NDArray[np.uint8], *, seed: int) -> NDArray[np.uint8]:
    """Tiles of the same colours without their arrangement, each shuffled by an order of its own.

    The channels of a pixel stay together, so that the joint histogram is the tile's.

    Args:
        tiles: Shape (tile, channel, row, column).
        seed: Of the orders.
    """
    pixels = tiles.reshape(*tiles.shape[:2], -1)
    rng = np.random.default_rng(seed)
    order = rng.permuted(np.tile(np.arange(pixels.shape[-1]), (len(tiles), 1)), axis=1)
    return np.take_along_axis(pixels, order[:, None], axis=-1).reshape(tiles.shape)
