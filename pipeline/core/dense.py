"""Clusters on every pixel of a scene, painted from tiles at a small stride."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

NO_TILE = -1


def nearest_tiles(
    places: IntArray, *, scene_shape: tuple[int, int], tile_size: int, stride: int
) -> IntArray:
    """For each pixel the tile whose centre is nearest, shape (row, column).

    A tile speaks for the square of `stride` pixels around its centre and for no other, so that
    pixels nearer than half a tile to the edge of the scene, or to what is invalid, have none.

    Args:
        places: First (row, column) of each tile, on a lattice of `stride`, shape (tile, 2).
        scene_shape: Rows and columns.
        tile_size: Edge of a tile.
        stride: Distance between tiles, at most `tile_size`.

    Returns:
        Index into `places`, or `NO_TILE`.

    >>> nearest_tiles(np.array([[0, 0], [0, 2]]), scene_shape=(4, 6), tile_size=4, stride=2)
    array([[-1, -1, -1, -1, -1, -1],
           [-1,  0,  0,  1,  1, -1],
           [-1,  0,  0,  1,  1, -1],
           [-1, -1, -1, -1, -1, -1]])
    """
    tiles = np.full((scene_shape[0] // stride + 2, scene_shape[1] // stride + 2), NO_TILE)
    tiles[tuple(places.T // stride)] = np.arange(len(places))
    # Of two centres as near, where tile and stride are not both odd or even, the latter counts.
    margin = (tile_size - stride) // 2
    row, column = ((np.arange(length) - margin) // stride for length in scene_shape)
    # Before the first tile, -1 reads the end of the table, where none is.
    return np.asarray(tiles[np.ix_(np.maximum(row, -1), np.maximum(column, -1))])


def margins(embeddings: FloatArray, centroids: FloatArray) -> NDArray[np.float32]:
    """How much nearer the nearest centroid is than the next, from 0 (as near) to 1, shape (tile,).

    It is (d2 - d1) / d2 of the two smallest distances, and 0 where both are.

    Args:
        embeddings: Shape (tile, dimension).
        centroids: Shape (cluster, dimension), at least two.

    >>> margins(np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [4.0]])).round(2).tolist()
    [1.0, 0.6700000166893005, 0.0]
    """
    first, second = np.partition(cdist(embeddings, centroids), 1, axis=1).T[:2]
    differences = np.divide(second - first, second, out=np.zeros_like(second), where=second > 0)
    return np.asarray(differences, np.float32)


def most_varied(scenes: IntArray, clusters: IntArray) -> int:
    """The scene whose tiles are in the most clusters; of equals the one of the most tiles.

    Args:
        scenes: Scene of each tile, shape (tile,).
        clusters: Cluster of each tile.

    >>> most_varied(np.array([3, 3, 5, 5, 5, 9]), np.array([0, 1, 0, 1, 1, 2]))
    5
    """
    found, n_tiles = np.unique(scenes, return_counts=True)
    pairs = np.unique(np.stack([scenes, clusters]), axis=1)
    _, n_clusters = np.unique(pairs[0], return_counts=True)
    return int(found[np.lexsort([-n_tiles, -n_clusters])[0]])
