"""One look for every figure."""

from pipeline.files.figures.colours import cluster_colours
from pipeline.files.figures.layers import map_grid, map_tiles
from pipeline.files.figures.maps import map_axes, map_panels
from pipeline.files.figures.plots import confusion, curves, intervals
from pipeline.files.figures.scatter import (
    pick_thumbnails,
    scatter_clusters,
    scatter_values,
    thumbnails,
)
from pipeline.files.figures.sheets import as_rgb, tile_sheet
from pipeline.files.figures.style import PAGE_WIDTH, new, save, style, text_colour

__all__ = [
    "PAGE_WIDTH",
    "as_rgb",
    "cluster_colours",
    "confusion",
    "curves",
    "intervals",
    "map_axes",
    "map_grid",
    "map_panels",
    "map_tiles",
    "new",
    "pick_thumbnails",
    "save",
    "scatter_clusters",
    "scatter_values",
    "style",
    "text_colour",
    "thumbnails",
    "tile_sheet",
]
