"""False colour: bands become channels by a fixed physical stretch.

The limits are the same for every granule, so that a cloud has one colour wherever it is seen;
a stretch by a granule's own percentiles would give it another in each.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.planck import ShortwaveBand, solar_reflectance_3_9um

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class Preset:
    """A named recipe: any number of channels, and the values that become 0 and 255.

    A minimum above the maximum inverts the channel, so that cold clouds are bright.

    Attributes:
        physics: What its colours mean, in a sentence.
        channels: Bands, or channels derived from them.
        minimum: Value of each channel that becomes 0.
        maximum: Value of each channel that becomes 255.
        max_solar_zenith: Degrees; where the sun is lower the preset shows nothing. 180 is none.
    """

    physics: str
    channels: tuple[str, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    max_solar_zenith: float

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.minimum) == len(self.maximum) > 0:
            raise ValueError(
                f"a preset needs as many channels as minima and maxima, not {len(self.channels)}, "
                f"{len(self.minimum)} and {len(self.maximum)}; complete it in ingest.presets"
            )
        if any(low == high for low, high in zip(self.minimum, self.maximum, strict=True)):
            raise ValueError(
                f"a channel of {', '.join(self.channels)} has the same minimum and maximum; "
                "part them in ingest.presets"
            )

    @property
    def shows_glint(self) -> bool:
        """Whether any of its channels sees the sun mirrored in water."""
        return not EMITTED.issuperset(self.channels)


def green_from_neighbours(
    red: FloatArray, near_infrared: FloatArray, blue: FloatArray
) -> FloatArray:
    """Green reflectance in percent as an imager without a green band would see it.

    Source: Bah et al. (2018), doi:10.1029/2018EA000379.
    """
    return np.asarray(0.45 * red + 0.1 * near_infrared + 0.45 * blue)


def difference(first: FloatArray, second: FloatArray) -> FloatArray:
    """First minus second."""
    return first - second


# Channels too far in the infrared for sunlight to matter.
EMITTED = {"water_vapour", "infrared_window", "infrared_12um", "split_window_difference"}

# What derived channels need beside bands.
CIRCUMSTANCES = {"solar_zenith_angle", "shortwave_band", "sun_distance"}

# Channels computed where a granule has no such band: what they need, and how.
DERIVED: dict[str, tuple[tuple[str, ...], Callable[..., FloatArray]]] = {
    "green": (("red", "near_infrared", "blue"), green_from_neighbours),
    "solar_reflectance_3_9um": (
        (
            "shortwave_infrared",
            "infrared_window",
            "solar_zenith_angle",
            "shortwave_band",
            "sun_distance",
        ),
        solar_reflectance_3_9um,
    ),
    # Water droplets and thin ice absorb more at 12 µm than at 11 µm.
    "split_window_difference": (("infrared_12um", "infrared_window"), difference),
    # At night small droplets emit less at 3.9 µm than at 11 µm.
    "shortwave_difference": (("shortwave_infrared", "infrared_window"), difference),
}


def needed_bands(preset: Preset) -> set[str]:
    """Every band that can serve the channels of `preset`, derived ones included."""
    inputs = [DERIVED[channel][0] for channel in preset.channels if channel in DERIVED]
    return {*preset.channels, *(band for bands in inputs for band in bands)} - CIRCUMSTANCES


def missing_bands(preset: Preset, available: set[str]) -> list[str]:
    """Bands without which `preset` cannot be composed, in the order of its channels."""
    missing: list[str] = []
    for channel in preset.channels:
        if channel not in available:
            inputs = DERIVED[channel][0] if channel in DERIVED else (channel,)
            missing += [band for band in inputs if band not in available | CIRCUMSTANCES]
    return missing


def compose(
    bands: Mapping[str, FloatArray | float | ShortwaveBand], preset: Preset
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """False colour of a scene, and where every channel was measured.

    Args:
        bands: Shape (row, column) each, NaN where nothing was measured; reflectances in percent,
            brightness temperatures in K, `solar_zenith_angle` in degrees; also the
            `shortwave_band` and the `sun_distance` in astronomical units.
        preset: Channels and their limits, in the same units.

    Returns:
        Colour (channel, row, column) from 0 to 255, 0 where invalid; validity (row, column).
    """
    channels = np.stack([_channel(bands, name) for name in preset.channels])
    minimum, maximum = (
        np.reshape(np.asarray(limits, channels.dtype), (-1, 1, 1))
        for limits in (preset.minimum, preset.maximum)
    )
    valid = np.asarray(np.isfinite(channels).all(axis=0))
    shares = np.clip((channels - minimum) / (maximum - minimum), 0, 1)
    colour = np.where(valid, np.rint(255 * shares), 0).astype(np.uint8)
    return colour, valid


def _channel(bands: Mapping[str, FloatArray | float | ShortwaveBand], name: str) -> FloatArray:
    if name in bands:
        return np.asarray(bands[name])
    inputs, derive = DERIVED[name]
    return derive(*(bands[band] for band in inputs))
