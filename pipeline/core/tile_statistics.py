"""What surrounds an embedding: sun, view, time, surface and cloud of each tile."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.sphere import tile_centres
from pipeline.core.tile import IntArray, tile_means, tile_spreads
from pipeline.core.viewing import LATTICE_STEP, local_solar_time

FloatArray = NDArray[np.floating]
BoolArray = NDArray[np.bool_]

ATTRIBUTES = {
    "solar_zenith_angle": {"standard_name": "solar_zenith_angle", "units": "degree"},
    "view_zenith_angle": {"standard_name": "sensor_zenith_angle", "units": "degree"},
    "glint_angle": {
        "long_name": "angle between the satellite and the mirror image of the sun",
        "units": "degree",
    },
    "relative_azimuth": {
        "long_name": "angle between the azimuths of sun and satellite",
        "units": "degree",
    },
    "local_solar_time": {"long_name": "mean local solar time at the centre", "units": "hour"},
    "land_fraction": {"standard_name": "land_area_fraction", "units": "1"},
    "invalid_fraction": {"long_name": "share of invalid pixels, black in the tile", "units": "1"},
    "brightness_temperature": {
        "long_name": "mean window-channel brightness temperature",
        "standard_name": "toa_brightness_temperature",
        "units": "K",
    },
    "brightness_temperature_spread": {
        "long_name": "standard deviation of the window-channel brightness temperature",
        "units": "K",
    },
    "reflectance": {
        "long_name": "mean visible reflectance",
        "standard_name": "toa_bidirectional_reflectance",
        "units": "percent",
    },
    "reflectance_spread": {
        "long_name": "standard deviation of the visible reflectance",
        "units": "percent",
    },
}


@dataclass(frozen=True)
class CloudRule:
    """What pixel is cloud: bright, or cold where nothing visible was measured."""

    reflectance: float  # percent
    brightness_temperature: float  # K

    def __str__(self) -> str:
        """The rule in words."""
        return (
            f"visible reflectance of at least {self.reflectance} percent, or where there is none "
            f"a brightness temperature of at most {self.brightness_temperature} K"
        )

    def cold_fractions(
        self, temperature: FloatArray, places: IntArray, tile_size: int
    ) -> FloatArray:
        """Share of cold pixels among the measured ones of each tile."""
        cold = temperature <= self.brightness_temperature
        return tile_means(np.where(np.isfinite(temperature), cold, np.nan), places, tile_size)

    def fractions(
        self, fields: dict[str, FloatArray], places: IntArray, tile_size: int
    ) -> FloatArray:
        """Share of cloud among the measured pixels of each tile."""
        nothing = np.full(next(iter(fields.values())).shape, np.nan)
        reflectance = fields.get("reflectance", nothing)
        temperature = fields.get("brightness_temperature", nothing)
        bright, cold = (
            reflectance >= self.reflectance,
            temperature <= self.brightness_temperature,
        )
        cloudy = np.where(
            np.isfinite(reflectance), bright, np.where(np.isfinite(temperature), cold, np.nan)
        )
        return tile_means(cloudy, places, tile_size)


def describe_tiles(
    scene: xr.Dataset, land: BoolArray, places: IntArray, tile_size: int, cloud: CloudRule
) -> xr.Dataset:
    """Statistics of tiles, each (tile,), with units.

    Angles are means over the lattice points of a tile, NaN where nothing tells the view.

    Args:
        scene: One of the scenes product.
        land: Where there is land, shape (row, column).
        places: (row, column) of each tile, shape (tile, 2).
        tile_size: Edge of a tile in pixels.
        cloud: What is counted as cloud.
    """
    fields = {
        name: scene[name].values
        for name in ("brightness_temperature", "reflectance")
        if name in scene
    }
    found = {
        "land_fraction": tile_means(land.astype(np.float32), places, tile_size),
        "invalid_fraction": tile_means((~scene.valid.values).astype(np.float32), places, tile_size),
    }
    for name, field in fields.items():
        found[name] = tile_means(field, places, tile_size)
        found[f"{name}_spread"] = tile_spreads(field, places, tile_size)
    if "angles" in scene:
        means = _lattice_means(scene.angles.values, places, tile_size)
        found |= dict(zip(map(str, scene.angle.values), means, strict=True))
    _, longitude = tile_centres(scene.latitude.values, scene.longitude.values, places, tile_size)
    found["local_solar_time"] = local_solar_time(scene.time.values, longitude)
    described = xr.Dataset(
        {
            name: ("tile", values.astype(np.float32), ATTRIBUTES[name])
            for name, values in found.items()
        }
    )
    if fields:
        fraction = cloud.fractions(fields, places, tile_size)
        attributes = {"long_name": f"share of pixels with a {cloud}", "units": "1"}
        described["cloud_fraction"] = ("tile", fraction.astype(np.float32), attributes)
    if len(fields) == 2:
        fraction = cloud.cold_fractions(fields["brightness_temperature"], places, tile_size)
        about = f"share of pixels of at most {cloud.brightness_temperature} K, by day and night"
        attributes = {"long_name": about, "units": "1"}
        described["infrared_cloud_fraction"] = ("tile", fraction.astype(np.float32), attributes)
    return described


def _lattice_means(lattice: FloatArray, places: IntArray, tile_size: int) -> FloatArray:
    """Means of (…, lattice row, lattice column) over the points in each tile, shape (…, tile)."""
    means = []
    for row, column in places:
        points = lattice[..., _points(row, tile_size), _points(column, tile_size)]
        told = np.isfinite(points)
        with np.errstate(invalid="ignore"):  # none where nothing is told
            means.append(np.where(told, points, 0).sum((-2, -1)) / told.sum((-2, -1)))
    return np.stack(means, axis=-1)


def _points(first: int, tile_size: int) -> slice:
    """Lattice points in a tile along an edge; the one before it where a small one has none."""
    last = (first + tile_size - 1) // LATTICE_STEP
    return slice(min(-(-first // LATTICE_STEP), last), last + 1)
