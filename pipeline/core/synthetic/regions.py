"""How a scene falls into regions of one morphology each."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from pipeline.core.synthetic.noise import smooth_noise

IntArray = NDArray[np.int64]

REGION_WIDTH = 170  # pixels, that many tiles of 64 pixels lie in one region
MOST_REGIONS = 5
CANDIDATES = 30


def split_scene(shape: tuple[int, int], *, rng: np.random.Generator) -> IntArray:
    """Number of the region of every pixel, 0 … n - 1 with n from 2 to 5, shape (row, column).

    Regions are Voronoi cells of seeds which keep away from each other (Mitchell's best
    candidate), with borders bent over tens of pixels. Small scenes get fewer of them.
    """
    most = int(np.clip(np.prod(shape) / REGION_WIDTH**2, 2, MOST_REGIONS))
    n_regions = int(rng.integers(2, most, endpoint=True))
    size = np.array(shape, dtype=float)
    seeds = rng.uniform(0.15, 0.85, (1, 2)) * size
    while len(seeds) < n_regions:
        candidates = rng.uniform(0.1, 0.9, (CANDIDATES, 2)) * size
        distances, _ = cKDTree(seeds).query(candidates)
        seeds = np.concatenate([seeds, candidates[[np.argmax(distances)]]])
    bends = [12 * smooth_noise(shape, length=22, rng=rng) for _ in range(2)]
    rows, columns = np.indices(shape)
    pixels = np.stack([(rows + bends[0]).ravel(), (columns + bends[1]).ravel()], axis=1)
    nearest: IntArray = cdist(pixels, seeds, "sqeuclidean").argmin(axis=1)
    return nearest.reshape(shape)
