"""Places in embedding space: the nearest tiles, and the tiles on the way between two."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import shortest_path
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.neighbors import kneighbors_graph

from pipeline.core.search import ApproximateIndex, search_exactly

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]


FAINTEST = 1e-6  # sine of the angle between two embeddings that a great circle runs through
MOST_IN_GRAPH = 10_000  # tiles between which all nearest ones are looked for
N_NEAREST = 10  # tiles that a tile of the graph is joined with, at first


@dataclass(frozen=True)
class EmbeddingPath:
    """Real tiles along the great circle between two embeddings; every array has shape (step,).

    Attributes:
        tile: Index of the tile shown at the step, never twice.
        fraction: Where on the arc the step's point lies, from 0 at the start to 1 at the end.
        position: Where on the circle the point nearest to the tile lies, in the same measure.
        distance: From the tile to the step's point.
        distance_from_circle: From the tile to the nearest point of the circle, never more than
            `distance`.
    """

    tile: IntArray
    fraction: FloatArray
    position: FloatArray
    distance: FloatArray
    distance_from_circle: FloatArray


def nearest(
    embeddings: FloatArray,
    queries: IntArray,
    *,
    n_nearest: int,
    groups: NDArray[np.generic] | None = None,
    index: ApproximateIndex | None = None,
) -> tuple[IntArray, FloatArray]:
    """Tiles nearest to each query and their Euclidean distances, both of shape (query, rank).

    Without an index the search is exact; of equally distant tiles the one of lower index comes
    first. A query is never among its own answers.

    Args:
        embeddings: Shape (tile, dimension).
        queries: Indices of tiles, shape (query,).
        n_nearest: Tiles wanted for each query.
        groups: Shape (tile,), such as the granule or the day of each tile; tiles of the query's
            own group are left out. By default only the query itself is.
        index: Of the embeddings, to look into instead of comparing every tile.

    Raises:
        ValueError: If `n_nearest` is not positive, or more than the tiles a query is compared with.
    """
    if n_nearest < 1:
        raise ValueError(f"n_nearest is {n_nearest}; ask for 1 tile or more")
    groups = np.arange(len(embeddings)) if groups is None else groups
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    available = len(embeddings) - sizes[codes[queries]]
    if (available < n_nearest).any():
        query = int(queries[available.argmin()])
        raise ValueError(
            f"tile {query} can be compared with {available.min()} tiles only, fewer than the "
            f"{n_nearest} wanted; lower retrieve.n_nearest or loosen retrieve.exclude"
        )
    find = partial(search_exactly, embeddings) if index is None else index.search
    return find(embeddings[queries], n_nearest, own=codes[queries], codes=codes)


def path_between(embeddings: FloatArray, start: int, end: int, *, n_steps: int) -> EmbeddingPath:
    """Real tiles along the shorter great circle from tile `start` to tile `end`.

    Embeddings lie on a sphere, which the straight line leaves. The arc is divided evenly into
    `n_steps` points, of which the first and the last are the two tiles. Each point between them is
    given another tile, so that the tiles' distances to their points have the least sum; where no
    two points have the same nearest tile, this is simply the nearest tile of each.

    Args:
        embeddings: Of unit length, shape (tile, dimension).
        start: Index of a tile.
        end: Index of another.
        n_steps: Points on the arc, both ends included.

    Raises:
        ValueError: If the ends are the same or opposite, or there are fewer tiles than steps.

    Source: interpolation between cloud embeddings follows Denby (2020), doi:10.1029/2019GL085190;
    along great circles, Shoemake (1985), doi:10.1145/325165.325242.
    """
    if not 2 <= n_steps <= len(embeddings):
        raise ValueError(
            f"a path of {n_steps} steps needs 2 steps or more and as many tiles, there are "
            f"{len(embeddings)} tiles; change interpolate.n_steps"
        )
    first, last = embeddings[[start, end]].astype(np.float64)
    across = last - (last @ first) * first
    sine = float(np.linalg.norm(across))
    if sine < FAINTEST:
        where = "the same embedding" if last @ first > 0 else "opposite embeddings"
        raise ValueError(
            f"tiles {start} and {end} have {where}, so no great circle is between them; "
            "name other tiles in interpolate.pairs"
        )
    angle = np.arctan2(sine, last @ first)
    plane = np.stack([first, across / sine])  # (axis, dimension)
    fraction = np.linspace(0, 1, n_steps)

    def on_circle(position: FloatArray) -> FloatArray:
        turned = angle * position
        return np.asarray(np.stack([np.cos(turned), np.sin(turned)], axis=1) @ plane)

    points = on_circle(fraction)  # (step, dimension)
    tile = np.array([start, *_distinct_tiles(embeddings, points[1:-1], (start, end)), end])
    shown = embeddings[tile].astype(np.float64)
    along, aside = plane @ shown.T
    position = np.arctan2(aside, along) / angle
    return EmbeddingPath(
        tile=tile,
        fraction=fraction,
        position=position,
        distance=np.linalg.norm(shown - points, axis=1),
        distance_from_circle=np.linalg.norm(shown - on_circle(position), axis=1),
    )


def path_through(
    embeddings: FloatArray, start: int, end: int, *, n_steps: int, seed: int
) -> IntArray:
    """Real tiles on the shortest way from one near tile to the next, shape (step,).

    Tiles are joined with their nearest ones, edges being as long as the angle between the two; the
    way never leaves what tiles there are, where a great circle may cross a gap. Of a way of more
    tiles than steps those nearest to even steps of its length are shown, of fewer all, and -1.

    Args:
        embeddings: Of unit length, shape (tile, dimension).
        start: Index of a tile.
        end: Index of another.
        n_steps: Tiles to be shown.
        seed: Draws the tiles of the graph where there are very many.

    Source: Tenenbaum et al. (2000), doi:10.1126/science.290.5500.2319.
    """
    others = np.delete(np.arange(len(embeddings)), [start, end])
    if len(others) > MOST_IN_GRAPH:
        drawn = np.random.default_rng(seed).choice(len(others), MOST_IN_GRAPH, replace=False)
        others = others[np.sort(drawn)]
    tiles = np.array([start, end, *others])
    points = embeddings[tiles].astype(np.float64)
    n_nearest = min(N_NEAREST, len(tiles) - 1)
    while True:
        graph = kneighbors_graph(points, n_nearest, mode="distance")
        graph.data = 2 * np.arcsin(np.minimum(graph.data / 2, 1)) + np.finfo(float).tiny
        length, before = shortest_path(graph, directed=False, indices=0, return_predecessors=True)
        if np.isfinite(length[1]):
            break
        n_nearest = min(2 * n_nearest, len(tiles) - 1)
    way = [1]
    while way[-1] != 0:
        way.append(int(before[way[-1]]))
    way = way[::-1]
    if len(way) <= n_steps:
        return np.array([*tiles[way], *[-1] * (n_steps - len(way))])
    wanted = np.linspace(0, length[1], n_steps)[1:-1, None]
    _, chosen = linear_sum_assignment(np.abs(wanted - length[way[1:-1]]))
    return np.asarray(tiles[[0, *np.array(way[1:-1])[np.sort(chosen)], 1]])


def _distinct_tiles(embeddings: FloatArray, points: FloatArray, taken: tuple[int, int]) -> IntArray:
    """For each point another tile, none of those taken, at the least sum of distances."""
    is_taken = np.isin(np.arange(len(embeddings)), taken).astype(np.int64)
    own = np.ones(len(points), np.int64)
    # Of n points none needs more than its n nearest tiles: the others take n - 1 at most.
    tiles, _ = search_exactly(embeddings, points, len(points), own=own, codes=is_taken)
    candidates = np.unique(tiles)
    _, chosen = linear_sum_assignment(cdist(points, embeddings[candidates]))
    return np.asarray(candidates[chosen])


def far_apart(centroids: FloatArray, *, n_pairs: int) -> IntArray:
    """Pairs of centroids, the most distant first and no centroid twice, shape (pair, 2).

    Raises:
        ValueError: If there are fewer than two centroids a pair.
    """
    if 2 * n_pairs > len(centroids):
        raise ValueError(
            f"{n_pairs} pairs need {2 * n_pairs} clusters, there are {len(centroids)}; "
            "lower interpolate.n_far_apart"
        )
    distances = np.triu(squareform(pdist(centroids)))
    pairs = []
    for _ in range(n_pairs):
        pair = np.unravel_index(distances.argmax(), distances.shape)
        pairs.append(pair)
        distances[list(pair), :] = distances[:, list(pair)] = -1
    return np.array(pairs, dtype=np.int64).reshape(n_pairs, 2)


def find_tile(embeddings: xr.Dataset, *, granule: str, row: int, column: int) -> int:
    """Index of the granule's tile whose first pixel is at, or nearest to, `row` and `column`.

    Args:
        embeddings: The product `embeddings.zarr`: `granule` (scene); `scene`, `row` and `column`
            (tile).
        granule: Name of the granule.
        row: Row of the tile's first pixel.
        column: Column of the tile's first pixel.

    Raises:
        ValueError: If the granule is unknown or has no tile.
    """
    names = embeddings.granule.values.astype(object)
    tiles = np.flatnonzero(np.isin(embeddings.scene.values, np.flatnonzero(names == granule)))
    if len(tiles) == 0:
        known = names[np.unique(embeddings.scene.values)]
        raise ValueError(
            f"granule {granule!r} has no embedded tile; name one of the {len(known)} that have, "
            f"such as '{known[0]}'"
        )
    rows, columns = embeddings.row.values[tiles], embeddings.column.values[tiles]
    offsets = np.hypot(rows.astype(float) - row, columns.astype(float) - column)
    return int(tiles[offsets.argmin()])


def tile_places(embeddings: xr.Dataset, tiles: xr.DataArray) -> xr.Dataset:
    """Index, granule, row, column, latitude, longitude and time of `tiles`, in their dimensions.

    Args:
        embeddings: The product `embeddings.zarr`.
        tiles: Indices of tiles, of any dimensions.
    """
    table = embeddings.reset_coords()
    places = table[["row", "column", "latitude", "longitude", "time"]].isel(tile=tiles)
    for variable in places.variables.values():
        variable.attrs.pop("bounds", None)  # corners stay with the embeddings
    granule = table.granule.isel(scene=table.scene.isel(tile=tiles))
    return places.assign(tile=tiles, granule=granule)
