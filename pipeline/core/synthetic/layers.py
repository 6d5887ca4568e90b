"""What a morphology is made of, before any band is computed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Layers:
    """Clouds over the sea, each of shape (row, column)."""

    low_cloud: FloatArray  # 0 (none) to 1 (thickest, highest); optical thickness follows from it
    ice_thickness: FloatArray  # optical thickness of ice cloud at visible wavelengths
    ice_top: FloatArray  # K
    moisture: FloatArray  # anomaly of upper-tropospheric humidity, about -1 to 1
    glint: FloatArray  # reflectance of the sun's glint on the sea


def no_cloud(shape: tuple[int, int]) -> dict[str, FloatArray]:
    """Layers without any cloud, by name."""
    empty = {name: np.zeros(shape, np.float32) for name in Layers.__dataclass_fields__}
    return empty | {"ice_top": np.full(shape, 240, np.float32)}
