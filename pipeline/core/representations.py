"""What tiles are seen by: an encoder, and what it is held against."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OWN, STATISTICS, UNTRAINED = "own encoder", "pixel statistics", "untrained encoder"
INITIAL = "encoder before training"  # where it did not begin untrained
SHUFFLED = "shuffled pixels"  # seen by the own encoder


@dataclass(frozen=True)
class Representation:
    """Tiles as a clustering sees them, and its clusters (tile,) and centroids for each k."""

    features: NDArray[np.floating]
    clusters: Mapping[int, tuple[NDArray[np.integer], NDArray[np.floating]]]
