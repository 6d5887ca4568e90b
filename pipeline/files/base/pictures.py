"""Pictures of false colour, for figures and maps."""

import numpy as np
from numpy.typing import NDArray

ByteArray = NDArray[np.uint8]


def as_rgb(tiles: ByteArray) -> ByteArray:
    """Return `tiles` (..., channel, row, column) as pictures (..., row, column, 3).

    One channel is shown grey; of more than three the first three are red, green and blue; with
    two, blue stays zero.
    """
    tiles = np.asarray(tiles, dtype=np.uint8)
    if tiles.ndim < 3 or tiles.shape[-3] == 0:
        raise ValueError(
            f"tiles need dimensions (..., channel, row, column), this array has {tiles.shape}"
        )
    n_channels = tiles.shape[-3]
    if n_channels == 1:
        tiles = np.repeat(tiles, 3, axis=-3)
    elif n_channels == 2:
        tiles = np.concatenate([tiles, np.zeros_like(tiles[..., :1, :, :])], axis=-3)
    return np.ascontiguousarray(np.moveaxis(tiles[..., :3, :, :], -3, -1))
