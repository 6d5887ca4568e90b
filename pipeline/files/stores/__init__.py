"""Zarr and netCDF products: dimensions, units, chunks and the parameters that made them."""

from pipeline.files.stores.joining import (
    PLACES,
    find_tiles,
    identify_tiles,
    open_joined,
    tile_places,
)
from pipeline.files.stores.products import (
    add_to_product,
    consolidate,
    open_product,
    write_json,
    write_product,
)
from pipeline.files.stores.scenes import ScenePart, SceneStore, channel_limits, write_part
from pipeline.files.stores.tables import write_blocks
from pipeline.files.stores.tiles import cut_embedded_tiles, cut_tiles
from pipeline.files.stores.triplets import (
    N_READERS,
    TRIPLETS_PER_CHUNK,
    TripletTiles,
    create_triplets,
    write_tiles,
)

__all__ = [
    "N_READERS",
    "PLACES",
    "TRIPLETS_PER_CHUNK",
    "ScenePart",
    "SceneStore",
    "TripletTiles",
    "add_to_product",
    "channel_limits",
    "consolidate",
    "create_triplets",
    "cut_embedded_tiles",
    "cut_tiles",
    "find_tiles",
    "identify_tiles",
    "open_joined",
    "open_product",
    "tile_places",
    "write_blocks",
    "write_json",
    "write_part",
    "write_product",
    "write_tiles",
]
