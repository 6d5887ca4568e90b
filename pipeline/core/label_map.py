"""The map of labels of one scene."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.dense import NO_TILE, nearest_tiles

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]

NO_LABEL = -1
PLANE = ("row", "column")


def map_labels(
    scene: xr.Dataset,
    places: IntArray,
    probabilities: FloatArray,
    *,
    names: Sequence[str],
    tile_size: int,
    stride: int,
    min_probability: float,
    days: Sequence[str],
) -> xr.Dataset:
    """Label and probabilities of every pixel (row, column) that a tile speaks for.

    Args:
        scene: Of `without_padding`.
        places: First (row, column) of its tiles, shape (tile, 2).
        probabilities: Of each label, (tile, label).
        names: Label of each number.
        tile_size: Edge of a tile.
        stride: Distance between tiles.
        min_probability: Where the most probable label has less, none is given.
        days: Those that the classifier was fitted to.
    """
    shape = scene.valid.shape
    tiles = nearest_tiles(places, scene_shape=shape, tile_size=tile_size, stride=stride)
    seen = (tiles != NO_TILE) & scene.valid.values
    likely = np.where(probabilities.max(axis=1) >= min_probability, 1, 0)
    number = np.where(likely, probabilities.argmax(axis=1), NO_LABEL).astype(np.int16)
    label = np.where(seen, number[tiles], np.int16(NO_LABEL))
    spread = np.moveaxis(probabilities.astype(np.float32)[tiles], -1, 0)  # (label, row, column)
    trained_on = str(scene.time.values.astype("datetime64[D]")) in days
    product = xr.Dataset(
        {
            "label": (
                PLANE,
                label,
                {
                    "long_name": "number of the most probable label of the tile around the pixel",
                    "units": "1",
                    "_FillValue": np.int16(NO_LABEL),
                    "flag_values": np.arange(len(names), dtype=np.int16),
                    "flag_meanings": " ".join(name.replace(" ", "_") for name in names),
                },
            ),
            "probability": (
                ("kind", *PLANE),
                np.where(seen, spread, np.float32(np.nan)),
                {
                    "long_name": "probability of the label, calibrated on days not trained on, "
                    "were every tile of one of these labels",
                    "units": "1",
                },
            ),
        },
        coords={
            "kind": ("kind", list(names), {"long_name": "label"}),
            **{name: scene[name].variable for name in ("latitude", "longitude", "time", "granule")},
            **{
                name: (name, np.arange(length), {"long_name": f"{name} of the scene", "units": "1"})
                for name, length in zip(PLANE, shape, strict=True)
            },
        },
        attrs={
            "title": f"Labels around the pixels of {scene.granule.values}",
            "tile_size": tile_size,
            "stride": stride,
            "min_probability": min_probability,
            "day_in_training": "yes" if trained_on else "no",
            "platform": str(scene.platform.values),
        },
    )
    labelled = (label != NO_LABEL).sum() / max(seen.sum(), 1)
    product.attrs["comment"] = (
        f"{labelled:.0%} of the pixels that tiles speak for have a label of probability "
        f"{min_probability:.2f} and more; each has that of the tile whose centre is nearest"
    )
    return product
