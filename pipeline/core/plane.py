"""A plane that keeps near tiles together: t-SNE, and further tiles placed among those fitted."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray
from openTSNE import TSNE, PartialTSNEEmbedding, TSNEEmbedding
from openTSNE.affinity import PrecomputedAffinities, joint_probabilities_nn
from openTSNE.initialization import median
from openTSNE.nearest_neighbors import PrecomputedNeighbors
from scipy.sparse import csr_array
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

TILES_PER_SEARCH = 1000
# As openTSNE recommends to place tiles: Poličar et al. (2023), doi:10.1007/s10994-021-06043-1.
PERPLEXITY = 5.0
N_NEAREST = 15
DESCENT = {
    "n_iter": 250,
    "learning_rate": 0.1,
    "exaggeration": 1.5,
    "momentum": 0.8,
    "max_grad_norm": 0.25,
}


def fit_plane(
    embeddings: FloatArray, *, perplexity: float, seed: int, n_threads: int
) -> tuple[NDArray[np.float32], float]:
    """Positions (tile, axis) of embeddings (tile, dimension) by t-SNE, and their divergence.

    Source: van der Maaten and Hinton (2008), https://jmlr.org/papers/v9/vandermaaten08a.html;
    openTSNE: Poličar et al. (2024), doi:10.18637/jss.v109.i03.
    """
    n_nearest = min(len(embeddings) - 1, int(3 * perplexity))
    tiles, distances = _search(embeddings, embeddings, n_nearest + 1, n_threads=n_threads)
    others = tiles != np.arange(len(tiles))[:, None]
    others[others.all(axis=1), -1] = False  # a tile is not found where enough others equal it
    shape = len(tiles), n_nearest
    nearest = PrecomputedNeighbors(tiles[others].reshape(shape), distances[others].reshape(shape))
    # t-SNE magnifies the rounding of sums, which threads add in another order.
    with threadpool_limits(limits=1):
        fitted = TSNE(
            perplexity=perplexity,
            initialization="pca",
            neighbors=nearest,
            n_jobs=1,
            random_state=seed,
        ).fit(embeddings)
    return np.asarray(fitted, np.float32), float(fitted.kl_divergence)


class Plane:
    """Fitted tiles, and the places of further ones among them; none moves another."""

    def __init__(self, embeddings: FloatArray, positions: FloatArray, *, n_threads: int) -> None:
        """Of fitted tiles: `embeddings` (tile, dimension) and `positions` (tile, axis)."""
        self.embeddings = embeddings
        self.n_threads = n_threads
        # openTSNE moves the middle of what it places tiles among to the origin.
        self.middle = (positions.max(axis=0) + positions.min(axis=0)) / 2
        nothing = csr_array((len(positions), len(positions)))
        self.fitted = TSNEEmbedding(
            positions - self.middle, PrecomputedAffinities(nothing, normalize=False)
        )

    def place(self, embeddings: FloatArray) -> NDArray[np.float32]:
        """Positions of further tiles, shape (tile, axis)."""
        n_nearest = min(len(self.embeddings), N_NEAREST)
        tiles, distances = _search(self.embeddings, embeddings, n_nearest, n_threads=self.n_threads)
        with threadpool_limits(limits=1):
            affinities = joint_probabilities_nn(
                tiles,
                distances,
                [min(PERPLEXITY, n_nearest / 3)],
                symmetrize=False,
                normalization="point-wise",
                n_reference_samples=len(self.embeddings),
            )
            placed = PartialTSNEEmbedding(
                median(self.fitted, tiles),
                self.fitted,
                P=affinities,
                negative_gradient_method="fft",  # the default follows the number of tiles
                n_jobs=1,
            )
            placed.optimize(**DESCENT, inplace=True)
        return np.asarray(placed + self.middle, np.float32)


def _search(
    embeddings: FloatArray, points: FloatArray, n_nearest: int, *, n_threads: int
) -> tuple[IntArray, FloatArray]:
    """Nearest tiles and their distances, (point, rank), whatever the number of threads.

    Threads search for points of their own: where they share a search, which of equally distant
    tiles is found is up to them.
    """
    index = NearestNeighbors(n_neighbors=n_nearest, algorithm="brute").fit(embeddings)
    blocks = np.split(points, range(TILES_PER_SEARCH, len(points), TILES_PER_SEARCH))
    with threadpool_limits(limits=1), ThreadPoolExecutor(n_threads) as executor:
        found = executor.map(partial(_search_alone, index), blocks)
        distances, tiles = zip(*found, strict=True)
    return np.concatenate(tiles), np.concatenate(distances)


def _search_alone(index: NearestNeighbors, points: FloatArray) -> tuple[FloatArray, IntArray]:
    with threadpool_limits(limits=1, user_api="openmp"):  # which each thread sets for itself
        distances, tiles = index.kneighbors(points)
    return distances, tiles
