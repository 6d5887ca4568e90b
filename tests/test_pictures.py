"""Pictures of tiles and scenes with any number of channels."""

import numpy as np
import pytest

from pipeline.files.base.pictures import as_rgb


@pytest.mark.parametrize(
    ("n_channels", "expected"), [(1, [1, 1, 1]), (2, [1, 2, 0]), (3, [1, 2, 3]), (5, [1, 2, 3])]
)
def test_any_number_of_channels_is_shown(n_channels: int, expected: list[int]) -> None:
    tiles = np.ones((2, n_channels, 4, 6), dtype=np.uint8)
    tiles *= np.arange(1, n_channels + 1, dtype=np.uint8)[:, None, None]
    rgb = as_rgb(tiles)
    assert rgb.shape == (2, 4, 6, 3)
    assert rgb[1, 2, 3].tolist() == expected


def test_what_has_no_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dimensions \(\.\.\., channel, row, column\)"):
        as_rgb(np.zeros((8, 8), dtype=np.uint8))
