"""Products of tiles side by side: a tile is known by its granule, row, column and size."""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipeline.files.stores.products import open_product

PLACES = ("granule", "scene", "row", "column")  # that make up the identity of a tile


def open_joined(path: Path, tiles: xr.Dataset) -> xr.Dataset:
    """The product of tiles at `path`, with those of `tiles` in their order.

    Args:
        path: Of a product with the variables of `identify_tiles`.
        tiles: Of another product, which may have left out some.

    Raises:
        FileNotFoundError: If there is no product.
        ValueError: If it does not tell its tiles, is of those of another size, or lacks one.
    """
    product, index = find_tiles(path, tiles)
    if (absent := np.flatnonzero(index < 0)).size:
        granule, row, column = identify_tiles(tiles)[absent[0]]
        raise ValueError(
            f"{path} is of other tiles: it lacks {absent.size} of {len(index)}, such as row "
            f"{row}, column {column} of {granule}; make it of the same embeddings with dvc repro"
        )
    if not np.array_equal(index, np.arange(product.sizes["tile"])):
        product = product.isel(tile=index)
    return product.drop_dims("scene", errors="ignore").assign_coords(tile_places(tiles))


def find_tiles(path: Path, tiles: xr.Dataset) -> tuple[xr.Dataset, NDArray[np.intp]]:
    """The product at `path`, and the place of each of `tiles` in it, -1 where it has it not.

    Raises:
        FileNotFoundError: If there is no product.
        ValueError: If it does not tell its tiles, or is of those of another size.
    """
    product = open_product(path)
    if lacking := [name for name in PLACES if name not in product.variables]:
        raise ValueError(
            f"{path} does not tell which tiles it is of (it has no {', '.join(lacking)}); make it "
            "again with dvc repro"
        )
    sizes = [_tile_size(each) for each in (product, tiles)]
    if None not in sizes and sizes[0] != sizes[1]:
        raise ValueError(
            f"{path} is of tiles of {sizes[0]} pixels, not of {sizes[1]}; make it of the same "
            "embeddings with dvc repro"
        )
    return product, identify_tiles(product).get_indexer(identify_tiles(tiles))


def tile_places(tiles: xr.Dataset) -> dict[str, xr.Variable]:
    """Coordinates that tell which tiles a product is of."""
    size = _tile_size(tiles)
    return {
        **{name: tiles[name].variable for name in PLACES},
        **({} if size is None else {"tile_size": xr.Variable((), size)}),
    }


def identify_tiles(tiles: xr.Dataset) -> pd.MultiIndex:
    """Granule, row and column of every tile, as no two of one size have them."""
    granules = tiles.granule.values.astype(object)[tiles.scene.values]
    return pd.MultiIndex.from_arrays(
        [granules, tiles.row.values, tiles.column.values], names=["granule", "row", "column"]
    )


def _tile_size(tiles: xr.Dataset) -> int | None:
    """In pixels, by the coordinate, else the attribute of products that hold more than places."""
    found = tiles.variables.get("tile_size", tiles.attrs.get("tile_size"))
    return None if found is None else int(found)
