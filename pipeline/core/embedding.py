"""Places in embedding space: the nearest tiles, and the tiles along a straight line."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist, squareform

from pipeline.core.search import ApproximateIndex, search_exactly

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class EmbeddingPath:
    """Real tiles along the straight line between two embeddings; every array has shape (step,).

    Attributes:
        tile: Index of the tile shown at the step, never twice.
        fraction: Where on the line the step's point lies, from 0 at the start to 1 at the end.
        position: Where on the line the tile's foot of the perpendicular lies, in the same measure.
        distance: From the tile to the step's point.
        distance_from_line: From the tile to its foot of the perpendicular, never more than
            `distance`; the line is taken beyond its ends.
    """

    tile: IntArray
    fraction: FloatArray
    position: FloatArray
    distance: FloatArray
    distance_from_line: FloatArray


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
    """Real tiles along the straight line from tile `start` to tile `end`.

    The line is divided evenly into `n_steps` points, of which the first and the last are the two
    tiles. Each point between them is given another tile, so that the tiles' distances to their
    points have the least sum; where no two points have the same nearest tile, this is simply the
    nearest tile of each.

    Args:
        embeddings: Shape (tile, dimension).
        start: Index of a tile.
        end: Index of another.
        n_steps: Points on the line, both ends included.

    Raises:
        ValueError: If the ends have the same embedding, or there are fewer tiles than steps.

    Source: interpolation between cloud embeddings follows Denby (2020), doi:10.1029/2019GL085190.
    """
    if not 2 <= n_steps <= len(embeddings):
        raise ValueError(
            f"a path of {n_steps} steps needs 2 steps or more and as many tiles, there are "
            f"{len(embeddings)} tiles; change interpolate.n_steps"
        )
    first, last = embeddings[[start, end]].astype(np.float64)
    length = float(np.linalg.norm(last - first))
    if length == 0:
        raise ValueError(
            f"tiles {start} and {end} have the same embedding, so no line runs between them; "
            "name other tiles in interpolate.pairs"
        )
    fraction = np.linspace(0, 1, n_steps)
    points = first + fraction[:, None] * (last - first)  # (step, dimension)
    tile = np.array([start, *_distinct_tiles(embeddings, points[1:-1], (start, end)), end])
    shown = embeddings[tile].astype(np.float64)
    position = (shown - first) @ (last - first) / length**2
    feet = first + position[:, None] * (last - first)
    return EmbeddingPath(
        tile=tile,
        fraction=fraction,
        position=position,
        distance=np.linalg.norm(shown - points, axis=1),
        distance_from_line=np.linalg.norm(shown - feet, axis=1),
    )


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
