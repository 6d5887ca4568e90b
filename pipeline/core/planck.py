"""Thermal and reflected radiances, and the solar reflectance hidden in the 3.9 µm channel.

In daylight the radiance L at 3.9 µm is emitted by the cloud and reflected from the sun,

    L = (1 - r) B(T) + r S cos(θ),    S = B(T_sun) (R_sun / d)²,

with B Planck's function, T the brightness temperature at 11 µm, θ the solar zenith angle and r
the reflectance and d the distance of the sun. S is a radiance: a white Lambertian surface under
the irradiance E = π B(T_sun) (R_sun / d)² reflects E / π = S, so π cancels.

Source: Setvák and Doswell (1991), doi:10.1175/1520-0493(1991)119<0841:TACCTR>2.0.CO;2.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

# Planck's function with the wavelength in µm; exact SI values of h, c and k.
FIRST_RADIATION_CONSTANT = 1.191042972e8  # 2 h c², W µm⁴ m⁻² sr⁻¹
SECOND_RADIATION_CONSTANT = 14387.76877  # h c / k, µm K

# Nominal solar values of the International Astronomical Union (2015, resolution B3),
# doi:10.3847/0004-6256/152/2/41, and its astronomical unit (2012, resolution B2).
SUN_TEMPERATURE = 5772.0  # K
SUN_RADIUS = 6.957e8  # m
ASTRONOMICAL_UNIT = 1.495978707e11  # m

SHORTWAVE_INFRARED_UM = 3.9


def radiance(wavelength_um: float, temperature: FloatArray) -> FloatArray:
    """Radiance of a black body, W m⁻² sr⁻¹ µm⁻¹.

    Args:
        wavelength_um: In micrometres.
        temperature: In kelvin, any shape.

    >>> radiance(3.9, np.array([300.0])).round(3)
    array([0.603])
    """
    exponent = SECOND_RADIATION_CONSTANT / (wavelength_um * temperature)
    return np.asarray(FIRST_RADIATION_CONSTANT / wavelength_um**5 / np.expm1(exponent))


def brightness_temperature(wavelength_um: float, radiance: FloatArray) -> FloatArray:
    """Temperature of the black body with this radiance, K.

    Args:
        wavelength_um: In micrometres.
        radiance: Positive, W m⁻² sr⁻¹ µm⁻¹, any shape.
    """
    ratio = FIRST_RADIATION_CONSTANT / wavelength_um**5 / radiance
    return np.asarray(SECOND_RADIATION_CONSTANT / wavelength_um / np.log1p(ratio))


def solar_radiance(
    wavelength_um: float, solar_zenith_angle: FloatArray, sun_distance: float = 1.0
) -> FloatArray:
    """Radiance of a white Lambertian surface in the sun, W m⁻² sr⁻¹ µm⁻¹; 0 at night.

    Args:
        wavelength_um: In micrometres.
        solar_zenith_angle: In degrees, any shape.
        sun_distance: In astronomical units.
    """
    sun = radiance(wavelength_um, np.asarray(SUN_TEMPERATURE))
    overhead = float(sun) * (SUN_RADIUS / (sun_distance * ASTRONOMICAL_UNIT)) ** 2
    return np.asarray(overhead * np.maximum(np.cos(np.deg2rad(solar_zenith_angle)), 0))


def brightness_temperature_3_9um(
    reflectance_3_9um: FloatArray,
    brightness_temperature_11um: FloatArray,
    solar_zenith_angle: FloatArray,
    sun_distance: float = 1.0,
) -> FloatArray:
    """Brightness temperature at 3.9 µm of a surface which emits and reflects, K.

    Args:
        reflectance_3_9um: In percent.
        brightness_temperature_11um: In kelvin, same shape.
        solar_zenith_angle: In degrees, same shape.
        sun_distance: In astronomical units.
    """
    reflectance = reflectance_3_9um / 100
    emitted = radiance(SHORTWAVE_INFRARED_UM, brightness_temperature_11um)
    reflected = solar_radiance(SHORTWAVE_INFRARED_UM, solar_zenith_angle, sun_distance)
    return brightness_temperature(
        SHORTWAVE_INFRARED_UM, (1 - reflectance) * emitted + reflectance * reflected
    )


def solar_reflectance_3_9um(
    brightness_temperature_3_9um: FloatArray,
    brightness_temperature_11um: FloatArray,
    solar_zenith_angle: FloatArray,
    wavelength_um: float = SHORTWAVE_INFRARED_UM,
    sun_distance: float = 1.0,
) -> FloatArray:
    """Solar reflectance near 3.9 µm, percent; the inverse of `brightness_temperature_3_9um`.

    NaN where the sun is so low that the surface emits more than a white one would reflect (a
    solar zenith angle of about 80° over a warm sea); noise grows on the way there. Not clipped.

    Args:
        brightness_temperature_3_9um: In kelvin.
        brightness_temperature_11um: In kelvin, same shape.
        solar_zenith_angle: In degrees, same shape.
        wavelength_um: Of the imager's own band, from 3.7 (VIIRS M12) to 4 micrometres.
        sun_distance: In astronomical units; from January to July its square grows by 7 %.
    """
    emitted = radiance(wavelength_um, brightness_temperature_11um)
    measured = radiance(wavelength_um, brightness_temperature_3_9um)
    contrast = solar_radiance(wavelength_um, solar_zenith_angle, sun_distance) - emitted
    safe = np.where(contrast > 0, contrast, np.nan)
    return np.asarray(100 * (measured - emitted) / safe)
