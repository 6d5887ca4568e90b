"""Scenes of which maps are drawn, one of them with padding."""

from pathlib import Path

import numpy as np
import xarray as xr

from pipeline.files import stores

SHAPE = (24, 32)  # of a scene, of which the last eight columns are empty in "padded.nc"
NAMES = ["whole.nc", "padded.nc"]


def write_scenes(path: Path) -> xr.Dataset:
    rng = np.random.default_rng(0)
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    latitude, longitude = np.stack([20 - row / 10] * 2), np.stack([column / 10] * 2)
    latitude[1, :, 24:] = longitude[1, :, 24:] = np.nan
    colour = rng.integers(0, 256, (2, 3, *SHAPE), np.uint8)
    plane = ("scene", "row", "column")
    scenes = xr.Dataset(
        {
            "colour": (("scene", "channel", "row", "column"), colour),
            "latitude": (plane, latitude),
            "longitude": (plane, longitude),
        },
        coords={
            "granule": ("scene", NAMES),
            "platform": ("scene", ["P"] * 2),
            "time": ("scene", np.array(["2020-01-01T12:30", "2020-01-02T12:30"], "M8[ns]")),
            "channel": ["red", "green", "blue"],
        },
    )
    stores.write_product(scenes, path, None)
    return scenes


def places_of(scenes: xr.Dataset, number: int) -> dict[str, xr.Variable]:
    """Coordinates of a map of one scene, without padding."""
    scene = scenes.isel(scene=number, column=slice(24 if number else None))
    return {name: scene[name].variable for name in ("latitude", "longitude", "time", "granule")}
