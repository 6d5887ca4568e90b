"""A scene and, beside it, the clusters or labels that cover it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from scipy.ndimage import distance_transform_edt

from pipeline.files.base.palette import cluster_colours
from pipeline.files.base.pictures import as_rgb
from pipeline.files.figures.maps import map_panels
from pipeline.files.figures.projections import SEAM_MARGIN, central_longitude, project
from pipeline.files.figures.style import INK, ByteArray, FloatArray, IntArray, save, style

OPACITY = 0.5
MOST_PIXELS = 1000  # along an edge; a panel has no more dots
LEGEND_COLUMNS = 10
LEGEND_TITLE, LEGEND_ROW = 0.3, 0.16  # inches
LABEL_SHARE = 0.02  # of the shorter edge: a patch with less room around its middle has no name


def granule_picture(scenes: xr.Dataset, product: xr.Dataset) -> ByteArray:
    """Return the picture (row, column, 3) of the granule that `product` maps, without padding.

    Raises:
        ValueError: If it is not among `scenes`.
    """
    name, time = product.granule.item(), product.time.values
    found = np.flatnonzero((scenes.granule.values == name) & (scenes.time.values == time))
    if not len(found):
        raise ValueError(f"{name} is mapped but not among the scenes; map it again")
    inside = {axis: slice(product.sizes[axis]) for axis in ("row", "column")}
    return as_rgb(scenes.colour.isel(scene=found[0], **inside).values)


def dense_map(
    picture: ByteArray,
    kinds: IntArray,
    latitude_edges: FloatArray,
    longitude_edges: FloatArray,
    stem: Path,
    *,
    names: Sequence[str],
    platform: str,
    time: np.datetime64,
    subtitle: str,
    legend_title: str,
) -> None:
    """Write a map of a scene and beside it its kinds, outlined and named, as PNG and PDF.

    Args:
        picture: False colour, shape (row, column, 3).
        kinds: Number of each pixel's cluster or label, negative for none, shape (row, column).
        latitude_edges: Of the pixels, shape (row + 1,), degrees.
        longitude_edges: Likewise, shape (column + 1,), possibly beyond 180.
        stem: Figures to write, without the suffix.
        names: Of every kind there is, in this scene or another.
        platform: Above the scene, with the time.
        time: UTC.
        subtitle: Above its kinds.
        legend_title: Above the kinds there are and their shares.
    """
    step = -(-max(kinds.shape) // MOST_PIXELS)
    picture, kinds = picture[::step, ::step], kinds[::step, ::step]
    edges = _thin(latitude_edges, step), _thin(longitude_edges, step)
    figure, maps = map_panels(*np.meshgrid(*edges, indexing="ij"), n_panels=2)
    if (centre := central_longitude(maps[0].projection)) is not None:
        order, longitude = _from_seam(edges[1], centre - 180)
        picture, kinds, edges = picture[:, order], kinds[:, order], (edges[0], longitude)
    colours = cluster_colours(len(names))
    painted = (1 - OPACITY) * picture / 255 + OPACITY * colours[kinds, :3]
    painted = np.where(kinds[..., None] < 0, picture / 255, painted)
    with style():
        for panel, shown in zip(maps, (picture / 255, painted), strict=True):
            _show(panel, shown, *edges)
        _outline(maps[1], kinds, *edges)
        _name(maps[1], kinds, *edges, names)
        minute = np.datetime_as_string(time, unit="m").replace("T", " ")
        maps[0].set_title(f"{platform}, {minute} UTC")
        maps[1].set_title(subtitle)
        _add_legend(figure, kinds, colours, names, legend_title)
    save(figure, *(stem.with_suffix(suffix) for suffix in (".png", ".pdf")))


def _add_legend(
    figure: Figure, kinds: IntArray, colours: FloatArray, names: Sequence[str], title: str
) -> None:
    """Below the maps, which keep their size."""
    present, n_pixels = np.unique(kinds[kinds >= 0], return_counts=True)
    if not len(present):
        return
    n_columns = min(len(present), LEGEND_COLUMNS)
    n_rows = -(-len(present) // n_columns)
    # matplotlib fills column by column, but numbers are read row by row.
    order = [
        place for column in range(n_columns) for place in range(column, len(present), n_columns)
    ]
    shares = n_pixels / n_pixels.sum()
    figure.set_figheight(figure.get_figheight() + LEGEND_TITLE + LEGEND_ROW * n_rows)
    figure.legend(
        handles=[
            Patch(
                color=colours[present[place]],
                label=f"{names[present[place]]}: {_name_share(shares[place])}",
            )
            for place in order
        ],
        title=title,
        title_fontsize=8,
        loc="outside lower center",
        ncols=n_columns,
        fontsize=7,
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.0,
        handletextpad=0.4,
    )


def _name_share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else "< 1%"


def _from_seam(edges: FloatArray, seam: float) -> tuple[IntArray, FloatArray]:
    """The columns in the order in which a map shows them, and their edges on it.

    Args:
        edges: Longitudes (column + 1,), rising.
        seam: Longitude at which the map begins; a column across it is drawn up to it.
    """
    widths = np.diff(edges)
    centres = (edges[:-1] + widths / 2 - seam) % 360
    order = np.argsort(centres, kind="stable")
    first = seam + centres[order[0]] - widths[order[0]] / 2
    moved = first + np.cumsum([0.0, *widths[order]])
    return order, np.clip(moved, seam + SEAM_MARGIN, seam + 360 - SEAM_MARGIN)


def _thin(edges: FloatArray, step: int) -> FloatArray:
    return np.append(edges[:-1:step], edges[-1])


def _show(axes: Any, shown: FloatArray, latitude: FloatArray, longitude: FloatArray) -> None:
    placed = project(axes.projection, *np.meshgrid(longitude, latitude))
    mesh = QuadMesh(placed, array=shown, antialiased=False, rasterized=True, zorder=1.5)
    axes.add_collection(mesh, autolim=False)


def _outline(axes: Any, kinds: IntArray, latitude: FloatArray, longitude: FloatArray) -> None:
    middle = _middles(axes, latitude, longitude)
    for number in np.unique(kinds[kinds >= 0]):
        axes.contour(
            *np.moveaxis(middle, -1, 0),
            (kinds == number).astype(float),
            levels=[0.5],
            colors="white",
            linewidths=0.4,
            zorder=2,
        )


def _name(
    axes: Any,
    kinds: IntArray,
    latitude: FloatArray,
    longitude: FloatArray,
    names: Sequence[str],
) -> None:
    """Write the name of each kind where it has the most room."""
    middle = _middles(axes, latitude, longitude)
    for number in np.unique(kinds[kinds >= 0]):
        room = distance_transform_edt(np.pad(kinds == number, 1))[1:-1, 1:-1]
        if room.max() < LABEL_SHARE * min(kinds.shape):
            continue
        axes.annotate(
            names[number],
            middle[np.unravel_index(room.argmax(), room.shape)],
            ha="center",
            va="center",
            fontsize=6.5,
            color=INK,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
            zorder=5,
        )


def _middles(axes: Any, latitude: FloatArray, longitude: FloatArray) -> FloatArray:
    centres = (edges[:-1] + np.diff(edges) / 2 for edges in (longitude, latitude))
    return project(axes.projection, *np.meshgrid(*centres))
