"""One look for every figure."""

from pipeline.files.base.palette import cluster_colours
from pipeline.files.figures.card_panels import ShareBars, ShareMap, Strip
from pipeline.files.figures.cards import Card, TileRow, cluster_card, thumbnail
from pipeline.files.figures.climatology import (
    anomaly_maps,
    frequency_maps,
    transition_matrix,
)
from pipeline.files.figures.comparison import ComparedRow, Interval, comparison
from pipeline.files.figures.composites import Dots, cluster_dots, quantity_label
from pipeline.files.figures.cycles import diurnal_cycle, seasonal_cycle, zonal_means
from pipeline.files.figures.dense import dense_map, granule_picture
from pipeline.files.figures.layers import map_grid, map_tiles
from pipeline.files.figures.maps import map_axes, map_panels
from pipeline.files.figures.marked import map_marked, scatter_placed
from pipeline.files.figures.plots import confusion, curves, heat_map, intervals
from pipeline.files.figures.reliability import Reliability, reliability_diagrams
from pipeline.files.figures.scatter import (
    pick_thumbnails,
    scatter_clusters,
    scatter_values,
    thumbnails,
)
from pipeline.files.figures.sheets import tile_sheet
from pipeline.files.figures.style import PAGE_WIDTH, new, save, style, text_colour
from pipeline.files.figures.trees import dendrogram, splits

__all__ = [
    "PAGE_WIDTH",
    "Card",
    "ComparedRow",
    "Dots",
    "Interval",
    "Reliability",
    "ShareBars",
    "ShareMap",
    "Strip",
    "TileRow",
    "anomaly_maps",
    "cluster_card",
    "cluster_colours",
    "cluster_dots",
    "comparison",
    "confusion",
    "curves",
    "dendrogram",
    "dense_map",
    "diurnal_cycle",
    "frequency_maps",
    "granule_picture",
    "heat_map",
    "intervals",
    "map_axes",
    "map_grid",
    "map_marked",
    "map_panels",
    "map_tiles",
    "new",
    "pick_thumbnails",
    "quantity_label",
    "reliability_diagrams",
    "save",
    "scatter_clusters",
    "scatter_placed",
    "scatter_values",
    "seasonal_cycle",
    "splits",
    "style",
    "text_colour",
    "thumbnail",
    "thumbnails",
    "tile_sheet",
    "transition_matrix",
    "zonal_means",
]
