"""GeoTIFFs, which a geographic information system shows where they belong."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

SOFTWARE = "tile2vec-clouds"


def write_geotiff(
    path: Path,
    bands: NDArray[np.generic],
    descriptions: Sequence[str],
    *,
    crs: str,
    transform: Sequence[float],
    tags: Mapping[str, str],
    missing: float | None = None,
    colours: NDArray[np.floating] | None = None,
    seen: NDArray[np.bool_] | None = None,
) -> None:
    """Write bands (band, row, column) with what they are.

    Args:
        path: File to write.
        bands: Of any type GeoTIFF knows.
        descriptions: One for each band.
        crs: What the places are in.
        transform: Column step, 0, west edge, 0, row step, north edge.
        tags: Of the file.
        missing: Value that stands for none.
        colours: Of the values 0, 1, … of the only band, shape (value, 4), 0 … 1.
        seen: Where the bands have values, instead of `missing`, shape (row, column).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": bands.shape[0],
        "height": bands.shape[1],
        "width": bands.shape[2],
        "dtype": bands.dtype,
        "crs": crs,
        "transform": rasterio.Affine(*transform),
        "nodata": missing,
        "compress": "deflate",
        "photometric": "RGB" if seen is not None else "minisblack",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
    }
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **profile) as file,
    ):
        file.update_tags(TIFFTAG_SOFTWARE=SOFTWARE, **tags)
        for number, description in enumerate(descriptions, start=1):
            file.set_band_description(number, description)
        if colours is not None:
            levels = (colours * 255).round().astype(int)
            file.write_colormap(
                1, {value: tuple(level) for value, level in enumerate(levels.tolist())}
            )
        file.write(bands)
        if seen is not None:
            file.write_mask(seen)
