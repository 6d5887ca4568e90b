"""Vectors of earlier batches, and which of them lie far enough away."""

import torch
from lightly.models.modules.memory_bank import MemoryBankModule
from torch import Tensor

from pipeline.core.sphere import EARTH_RADIUS_KM


class Queue(MemoryBankModule):  # type: ignore[misc]
    """The last so many rows of what it was given, as part of a checkpoint; random at first."""

    def __init__(self, length: int, n_columns: int) -> None:
        super().__init__((length, n_columns), feature_dim_first=False)
        for name, buffer in list(self.named_buffers()):
            self.register_buffer(name, buffer, persistent=True)


def far_apart(places: Tensor, others: Tensor, *, hours: float, km: float) -> Tensor:
    """Whether tiles are so many hours or so many kilometres away from others, (tile, other).

    Args:
        places: Hours since any time, latitude and longitude in degrees, (tile, 3).
        others: Likewise, (other, 3); one of NaN is always far.
        hours: At least so many …
        km: … or so many along the great circle.
    """
    hours_apart = (places[:, None, 0] - others[:, 0]).abs()
    chord = torch.cdist(_directions(places), _directions(others.nan_to_num()))
    km_apart = 2 * EARTH_RADIUS_KM * (chord / 2).clamp(max=1).asin()
    return ~((hours_apart < hours) & (km_apart < km))


def _directions(places: Tensor) -> Tensor:
    """Unit vectors from the Earth's centre, (tile, 3)."""
    φ, λ = places[:, 1:].double().deg2rad().unbind(1)
    return torch.stack([φ.cos() * λ.cos(), φ.cos() * λ.sin(), φ.sin()], dim=1)
