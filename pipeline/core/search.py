"""Searching for the tiles nearest to points in embedding space: every one, or by an index."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.core.device import compute_device

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

# A table of distances, (point, tile), takes 16 MiB, little enough for the cache.
POINTS_PER_BLOCK = 512
TILES_PER_BLOCK = 8192
PAIRS_AT_ONCE = 65_536  # whose distances are computed; of equal tiles there are many
LISTS_PROBED = 16


def search_exactly(
    embeddings: FloatArray, points: FloatArray, n_nearest: int, *, own: IntArray, codes: IntArray
) -> tuple[IntArray, FloatArray]:
    """Nearest tiles and their distances (point, rank), without those whose code is the point's.

    Squared distances by a matrix product, on a GPU where there is one, and the largest error that
    rounding gives these, leave few tiles that can be among the nearest; their distances are
    computed one by one. Of equally distant tiles the one of lower index comes first.

    Args:
        embeddings: Shape (tile, dimension).
        points: Shape (point, dimension).
        n_nearest: Tiles wanted for each point, of which there must be as many.
        own: Code of each point, shape (point,).
        codes: Code of each tile, shape (tile,).
    """
    tiles = np.full((len(points), n_nearest), -1)
    distances = np.full((len(points), n_nearest), np.inf)
    for first in range(0, len(points), POINTS_PER_BLOCK):
        block = slice(first, first + POINTS_PER_BLOCK)
        asked = _Points(points[block], own[block], tiles[block], distances[block])
        for start in range(0, len(embeddings), TILES_PER_BLOCK):
            some = slice(start, start + TILES_PER_BLOCK)
            asked.take_nearer(embeddings[some], codes[some], start)
    return tiles, distances


@dataclass
class _Points:
    """Points (point, dimension), their codes, and the nearest tiles so far, (point, rank)."""

    points: FloatArray
    own: IntArray
    tiles: IntArray
    distances: FloatArray

    def take_nearer(self, embeddings: FloatArray, codes: IntArray, start: int) -> None:
        """Compare with a block of tiles, of which the first has the index `start`."""
        pairs = self._may_be_nearest(embeddings, codes)
        for first in range(0, len(pairs), PAIRS_AT_ONCE):
            point, tile = pairs[first : first + PAIRS_AT_ONCE].T
            self._merge(point, tile + start, _distances(self.points[point], embeddings[tile]))

    def _merge(self, point: IntArray, tile: IntArray, distance: FloatArray) -> None:
        """Keep the nearest of those so far and of further pairs, all of shape (pair,)."""
        changed, n_nearest = np.unique(point), self.tiles.shape[1]
        points = np.concatenate([np.repeat(changed, n_nearest), point])
        tiles = np.concatenate([self.tiles[changed].ravel(), tile])
        distances = np.concatenate([self.distances[changed].ravel(), distance])
        order = np.lexsort((tiles, distances, points))
        first = np.searchsorted(points[order], changed)
        best = order[first[:, None] + np.arange(n_nearest)]  # (changed, rank)
        self.tiles[changed], self.distances[changed] = tiles[best], distances[best]

    def _may_be_nearest(self, embeddings: FloatArray, codes: IntArray) -> IntArray:
        """Pairs (pair, 2) of a point and a tile that may be among its nearest."""
        device = compute_device()
        kind = np.result_type(embeddings, np.float32)
        points = torch.from_numpy(np.ascontiguousarray(self.points, kind)).to(device)
        known = torch.from_numpy(np.ascontiguousarray(embeddings, kind)).to(device)
        lengths, own_lengths = known.square().sum(dim=1), points.square().sum(dim=1)
        squares = torch.addmm(lengths, points, known.T, alpha=-2)  # less those of the points
        # A sum of d products is off by d roundings at most, of terms no longer than this together.
        longest = own_lengths.double().sqrt() + lengths.max().double().sqrt()
        error = 4 * (points.shape[1] + 8) * torch.finfo(squares.dtype).eps * longest.square()
        limit = torch.from_numpy(np.square(self.distances[:, -1])).to(device) - own_lengths + error
        asking = (squares.amin(dim=1) <= limit).nonzero()[:, 0]
        squares, limit = squares[asking], limit[asking]
        own, others = (torch.from_numpy(some).to(device) for some in (self.own, codes))
        squares.masked_fill_(own[asking, None] == others, torch.nan)
        # Once every point has its tiles, the farthest of these is limit enough.
        n_nearest = self.tiles.shape[1]
        if len(known) >= n_nearest and not limit.isfinite().all():
            limit = limit.fmin(squares.kthvalue(n_nearest, dim=1).values + error[asking])
        near = (squares <= limit.to(squares.dtype)[:, None]).nonzero()
        pairs: IntArray = torch.stack([asking[near[:, 0]], near[:, 1]], dim=1).cpu().numpy()
        return pairs


def _distances(points: FloatArray, embeddings: FloatArray) -> FloatArray:
    """From each point (…, dimension) to the embedding beside it, shape (…)."""
    away = points.astype(np.float64) - embeddings
    distances: FloatArray = np.sqrt(np.einsum("...i,...i->...", away, away))
    return distances


class ApproximateIndex:
    """Tiles in lists around centroids, of which a search looks into a few only.

    There are as many lists as each holds tiles on average.

    Source: inverted file, Jégou et al. (2011), doi:10.1109/TPAMI.2010.57; the library is described
    by Douze et al. (2024), doi:10.48550/arXiv.2401.08281.
    """

    def __init__(self, embeddings: FloatArray) -> None:
        import faiss  # not needed by whoever searches exactly

        self.embeddings = np.ascontiguousarray(embeddings, np.float32)
        n_tiles, n_dimensions = self.embeddings.shape
        self.index: Any = faiss.IndexIVFFlat(
            faiss.IndexFlatL2(n_dimensions), n_dimensions, max(1, round(np.sqrt(n_tiles)))
        )
        self.index.cp.min_points_per_centroid = 1  # so that it does not warn of few tiles
        with threadpool_limits(limits=1):  # whose number would change the rounding of centroids
            self.index.train(self.embeddings)
            self.index.add(self.embeddings)

    def search(
        self, points: FloatArray, n_nearest: int, *, own: IntArray, codes: IntArray
    ) -> tuple[IntArray, FloatArray]:
        """Near tiles and their distances as of `search_exactly`, which takes over from few tiles.

        Args:
            points: Shape (point, dimension).
            n_nearest: Tiles wanted for each point, of which there must be as many.
            own: Code of each point, shape (point,).
            codes: Code of each tile, shape (tile,).
        """
        import faiss

        tiles = np.empty((len(points), n_nearest), np.int64)
        given = np.ascontiguousarray(points, np.float32)
        by_code = np.argsort(codes, kind="stable")
        with threadpool_limits(limits=1):
            for code in np.unique(own):
                first, last = np.searchsorted(codes, [code, code + 1], sorter=by_code)
                same = faiss.IDSelectorBatch(by_code[first:last])
                asked = faiss.SearchParametersIVF(
                    sel=faiss.IDSelectorNot(same), nprobe=LISTS_PROBED
                )
                is_asking = own == code
                tiles[is_asking] = self.index.search(given[is_asking], n_nearest, params=asked)[1]
        lacking = (tiles < 0).any(axis=1)
        away = _distances(points[:, None], self.embeddings[tiles])
        order = np.lexsort((tiles, away))  # along the last axis
        tiles = np.take_along_axis(tiles, order, axis=1)
        distances = np.take_along_axis(away, order, axis=1)
        if lacking.any():
            tiles[lacking], distances[lacking] = search_exactly(
                self.embeddings, points[lacking], n_nearest, own=own[lacking], codes=codes
            )
        return tiles, distances


def recall(found: IntArray, exact: IntArray) -> float:
    """Share of the exact answers (query, rank) that are among those found.

    >>> recall(np.array([[4, 2], [1, 7]]), np.array([[2, 4], [1, 3]]))
    0.75
    """
    return float((exact[:, :, None] == found[:, None]).any(axis=2).mean())
