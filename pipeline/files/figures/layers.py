"""What lies on a map: footprints of tiles, and cells of a grid."""

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import Colormap, Normalize

from pipeline.files.figures.projections import (
    SEAM_MARGIN,
    central_longitude,
    place_rings,
    project,
)
from pipeline.files.figures.style import FloatArray

LARGEST_CELL = 2.0  # degrees: larger cells are subdivided, so that their edges follow parallels
MANY_TILES = 3000  # whose white edges would wash out their colours


def map_tiles(
    axes: Any, latitude_bounds: npt.ArrayLike, longitude_bounds: npt.ArrayLike, colours: Any
) -> PolyCollection:
    """Draw footprints of tiles, the last on top; those across the seam appear at both edges.

    Args:
        axes: A map.
        latitude_bounds: Corners in order, shape (tile, vertex), degrees.
        longitude_bounds: Likewise.
        colours: One colour, or one per tile.
    """
    outlines, tiles = place_rings(
        axes.projection,
        np.asarray(latitude_bounds, dtype=np.float64),
        np.asarray(longitude_bounds, dtype=np.float64),
    )
    order = np.argsort(tiles, kind="stable")
    if not isinstance(colours, str) and np.ndim(colours) > 1:
        colours = np.asarray(colours)[tiles[order]]
    drawn = PolyCollection(
        list(outlines[order]),
        facecolors=colours,
        edgecolors="white",
        linewidths=0.15 if len(tiles) < MANY_TILES else 0.0,
        zorder=2,
    )
    axes.add_collection(drawn, autolim=False)
    return drawn


def map_grid(
    axes: Any,
    latitude_edges: npt.ArrayLike,
    longitude_edges: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    colour_map: str | Colormap = "viridis",
    norm: Normalize | None = None,
) -> QuadMesh:
    """Draw cells of a grid; cells without a value are left open. Returns one mesh for a colour bar.

    Args:
        axes: A map.
        latitude_edges: Shape (latitude + 1,), ascending, degrees.
        longitude_edges: Shape (longitude + 1,), ascending, possibly beyond 180, degrees.
        values: Shape (latitude, longitude); NaN where there is none.
        colour_map: Of matplotlib.
        norm: Limits of the colours; by default those of the values.
    """
    table = np.ma.masked_invalid(np.asarray(values, dtype=np.float64))
    norm = norm or Normalize(float(table.min()), float(table.max()))
    south_north, rows = _refine(np.asarray(latitude_edges, dtype=np.float64))
    west_east, columns = _refine(np.asarray(longitude_edges, dtype=np.float64))
    table = table[np.ix_(rows, columns)]
    centre = central_longitude(axes.projection)
    relative = west_east - (centre or 0.0)
    blocks = [(relative, np.arange(len(relative) - 1))]
    if centre is not None:
        blocks = [_cut_block(relative + shift) for shift in (-360.0, 0.0, 360.0)]
    meshes = []
    for edges, kept in blocks:
        if len(kept) == 0:
            continue
        grid = np.meshgrid(edges + (centre or 0.0), south_north)
        placed = project(axes.projection, *grid)
        meshes.append(
            QuadMesh(
                placed,
                array=table[:, kept],
                cmap=colour_map,
                norm=norm,
                zorder=2,
                antialiased=False,  # else hairlines between the cells
                rasterized=True,
            )
        )
        axes.add_collection(meshes[-1], autolim=False)
    return meshes[0]


def _cut_block(edges: FloatArray) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    limit = 180 - SEAM_MARGIN
    kept = np.flatnonzero((edges[1:] > -limit) & (edges[:-1] < limit))
    if len(kept) == 0:
        return edges[:0], kept
    return np.clip(edges[kept[0] : kept[-1] + 2], -limit, limit), kept


def _refine(edges: FloatArray) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    n_parts = max(int(np.ceil(np.diff(edges).max() / LARGEST_CELL)), 1)
    positions = np.arange((len(edges) - 1) * n_parts + 1) / n_parts
    return (
        np.interp(positions, np.arange(len(edges)), edges),
        np.repeat(np.arange(len(edges) - 1), n_parts),
    )
