"""What the bands of ABI measure over given clouds: one simple, monotone model for all pixels.

Reflectance comes from a two-stream albedo of the optical thickness, brightness temperature from
Planck's function, grey clouds and one absorbing layer of air. Constants without a source are
round numbers in the range that ABI observes.
"""

import numpy as np

from pipeline.core.planck import (
    SHORTWAVE_BANDS,
    brightness_temperature,
    radiance,
    shortwave_temperature,
)
from pipeline.core.synthetic.layers import FloatArray, Layers

ASYMMETRY = 0.85  # of scattering by cloud droplets in the visible

# Reflectance of clear sea and air, and of endlessly thick liquid and ice cloud.
REFLECTIVE = {
    "C01": (0.090, 0.95, 0.96),
    "C02": (0.045, 0.94, 0.95),
    "C03": (0.025, 0.93, 0.94),
    "C04": (0.002, 0.01, 0.60),
    "C05": (0.012, 0.75, 0.32),
    "C06": (0.008, 0.50, 0.22),
}
REFLECTANCE_3_9UM = (2.0, 18.0, 3.0)  # percent

# Wavelength (µm), transmission of the air from sea level to space, temperature of the air that
# absorbs (K), and its change with a unit of upper-tropospheric moisture (K).
EMISSIVE = {
    "C08": (6.185, 0.001, 238.0, -6.0),
    "C09": (6.95, 0.02, 247.0, -6.0),
    "C10": (7.34, 0.10, 256.0, -4.0),
    "C11": (8.50, 0.82, 282.0, 0.0),
    "C12": (9.61, 0.45, 252.0, 0.0),
    "C13": (10.35, 0.93, 283.0, 0.0),
    "C14": (11.20, 0.90, 283.0, 0.0),
    "C15": (12.30, 0.82, 282.0, 0.0),
    "C16": (13.30, 0.45, 264.0, 0.0),
}
BANDS = tuple(f"C{number:02d}" for number in range(1, 17))

PLATEAU_LATITUDE = 35.0
PLATEAU_TEMPERATURE = 298.0  # K, of the sea
COLDEST_AIR = 200.0  # K, above which no air absorbs


def sea_temperature(latitude: FloatArray) -> FloatArray:
    """Temperature of the sea: one value up to 35°, 0.8 K less per degree beyond, K."""
    beyond = np.maximum(np.abs(latitude) - PLATEAU_LATITUDE, 0)
    return np.asarray(np.maximum(PLATEAU_TEMPERATURE - 0.8 * beyond, 272), dtype=np.float32)


def observe(
    layers: Layers,
    *,
    latitude: FloatArray,
    solar_zenith_angle: FloatArray,
    sun_distance: float = 1.0,
) -> dict[str, FloatArray]:
    """Reflectance factor (C01 to C06) and brightness temperature in K (C07 to C16), by band.

    The reflectance factor is not divided by the cosine of the solar zenith angle; 0 at night.

    Args:
        layers: Clouds over the sea, each of shape (row, column).
        latitude: In degrees north, shape (row, column).
        solar_zenith_angle: In degrees, shape (row, column).
        sun_distance: In astronomical units; reflectance factors are corrected for it.
    """
    sunlight = np.maximum(np.cos(np.deg2rad(solar_zenith_angle)), 0)
    thickness = low_cloud_thickness(layers.low_cloud)
    bands = {
        band: sunlight * _over(layers, thickness, *constants)
        for band, constants in REFLECTIVE.items()
    }
    bands |= _temperatures(layers, thickness, sea_temperature(latitude))
    sea, liquid, ice = REFLECTANCE_3_9UM
    reflectance = sea + (liquid - sea) * (1 - np.exp(-thickness / 3))
    reflectance += (ice - reflectance) * (1 - np.exp(-layers.ice_thickness / 2))
    bands["C07"] = shortwave_temperature(
        reflectance, bands["C14"], solar_zenith_angle, SHORTWAVE_BANDS["C07"], sun_distance
    )
    return {band: bands[band].astype(np.float32) for band in BANDS}


def low_cloud_thickness(low_cloud: FloatArray) -> FloatArray:
    """Optical thickness of low cloud by its development, 0 to 20."""
    return np.asarray(20 * low_cloud**2.6)


def low_cloud_top(low_cloud: FloatArray, sea: FloatArray) -> FloatArray:
    """Temperature of the top of low cloud by its development: 6 to 15 K below the sea's, K."""
    return np.asarray(sea - 6 - 9 * low_cloud)


def _over(
    layers: Layers, thickness: FloatArray, clear: float, liquid: float, ice: float
) -> FloatArray:
    below = clear + layers.glint
    below = below + (liquid - below) * _albedo(thickness)
    return np.asarray(below + (ice - below) * _albedo(layers.ice_thickness))


def _albedo(thickness: FloatArray) -> FloatArray:
    """Albedo of a cloud that absorbs nothing; two-stream, of any thickness."""
    scaled = (1 - ASYMMETRY) * thickness
    return np.asarray(scaled / (2 + scaled))


def _temperatures(layers: Layers, thickness: FloatArray, sea: FloatArray) -> dict[str, FloatArray]:
    top = low_cloud_top(layers.low_cloud, sea)
    low_cover = 1 - np.exp(-thickness / 2)
    ice_cover = 1 - np.exp(-layers.ice_thickness / 2)
    # Part of the air's mass above sea, low cloud and ice cloud.
    depths = [_air_above(surface, sea) for surface in (sea, top, layers.ice_top)]
    bands = {}
    for band, (wavelength, transmission, air, change) in EMISSIVE.items():
        air_temperature = air + change * layers.moisture
        from_sea, from_top, from_ice = (
            _upward(wavelength, surface, air_temperature, transmission**depth)
            for surface, depth in zip((sea, top, layers.ice_top), depths, strict=True)
        )
        total = from_sea + low_cover * (from_top - from_sea)
        total = total + ice_cover * (from_ice - total)
        bands[band] = brightness_temperature(wavelength, total)
    return bands


def _air_above(surface: FloatArray, sea: FloatArray) -> FloatArray:
    """1 above the sea, falling fast with the temperature of a cloud's top."""
    height = np.clip((surface - COLDEST_AIR) / (sea - COLDEST_AIR), 0, 1)
    return np.asarray(height**3)


def _upward(
    wavelength: float, surface: FloatArray, air: FloatArray, seen: FloatArray
) -> FloatArray:
    """Radiance to space of a black surface below air that lets this part of it through."""
    above = radiance(wavelength, np.minimum(air, surface))
    return np.asarray(above + seen * (radiance(wavelength, surface) - above))
