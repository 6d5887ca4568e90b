"""Thermal and reflected radiances, and the solar reflectance hidden in the 3.9 µm channel.

In daylight the radiance L at 3.9 µm is emitted by the cloud and reflected from the sun,

    L = (1 - r) B(T) + r S cos(θ) / d²,    S = E / π,

with B the radiance of a black body, T the brightness temperature at 11 µm, θ the solar zenith
angle, r the reflectance, d the distance of the sun in astronomical units and E the solar
irradiance at one; a white Lambertian surface reflects E / π. B and E are means over the spectral
response of the imager's band.

Source: Setvák and Doswell (1991), doi:10.1175/1520-0493(1991)119<0841:TACCTR>2.0.CO;2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

# Planck's function with the wavelength in µm; exact SI values of h, c and k.
FIRST_RADIATION_CONSTANT = 1.191042972e8  # 2 h c², W µm⁴ m⁻² sr⁻¹
SECOND_RADIATION_CONSTANT = 14387.76877  # h c / k, µm K

# Solar irradiance at one astronomical unit, W m⁻² µm⁻¹, at these wavelengths in µm.
# Source: ASTM E490-00a (2000), doi:10.1520/E0490-00AR19.
SOLAR_SPECTRUM_UM = (3.5, 3.6, 3.7, 3.8, 3.9, 4.0, 4.1, 4.2)
SOLAR_SPECTRUM = (14.56, 13.07, 11.62, 10.57, 9.599, 8.669, 7.894, 7.153)


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


@dataclass(frozen=True)
class ShortwaveBand:
    """What a band near 3.9 µm sees of black bodies and of the sun, over its spectral response.

    Radiances are means per wavenumber over the response, given per µm at the effective
    wavenumber. That of a black body is Planck's function there at offset + slope × temperature.

    Attributes:
        wavenumber: Effective, cm⁻¹.
        slope: Of the temperature.
        offset: In kelvin.
        solar_irradiance: At one astronomical unit, W m⁻² µm⁻¹.
    """

    wavenumber: float
    slope: float
    offset: float
    solar_irradiance: float

    def radiance(self, temperature: FloatArray) -> FloatArray:
        """Radiance of a black body, W m⁻² sr⁻¹ µm⁻¹; the temperature is in kelvin."""
        return radiance(1e4 / self.wavenumber, self.offset + self.slope * temperature)

    def brightness_temperature(self, radiance: FloatArray) -> FloatArray:
        """Temperature of the black body with this radiance (W m⁻² sr⁻¹ µm⁻¹), K."""
        effective = brightness_temperature(1e4 / self.wavenumber, radiance)
        return np.asarray((effective - self.offset) / self.slope)

    def solar_radiance(
        self, solar_zenith_angle: FloatArray, sun_distance: float = 1.0
    ) -> FloatArray:
        """Radiance of a white Lambertian surface in the sun, W m⁻² sr⁻¹ µm⁻¹; 0 at night.

        Args:
            solar_zenith_angle: In degrees, any shape.
            sun_distance: In astronomical units.
        """
        overhead = self.solar_irradiance / np.pi / sun_distance**2
        return np.asarray(overhead * np.maximum(np.cos(np.deg2rad(solar_zenith_angle)), 0))


# By the names that satpy gives to bands, or platform/band where satellites differ. Wavenumbers,
# slopes and offsets are those by which radiances become temperatures: of ABI planck_fk2, planck_bc2
# and planck_bc1 in files of GOES-16; of MODIS and SEVIRI those that satpy applies (SEVIRI's are
# EUM/OPS-MSG/TEN/08/0024); of AHI those of JMA's files of Himawari-8, as listed by ORAC (McGarragh
# et al. 2018, doi:10.5194/amt-11-3397-2018). Those of VIIRS are fitted to the response of M12 on
# Suomi-NPP, those of FCI, whose response is not public, to its nominal pass-band from 3.6 to 4.0 µm
# (Holmlund et al. 2021, doi:10.1175/BAMS-D-19-0304.1). The irradiance is the mean of E490 over that
# response, or over the rectangular one that has these coefficients.
SHORTWAVE_BANDS: Mapping[str, ShortwaveBand] = {
    "C07": ShortwaveBand(2570.370, 0.99939, 0.43361, 9.681),
    "M12": ShortwaveBand(2708.931, 0.999258, 0.54686, 11.801),
    "20": ShortwaveBand(2641.775, 0.9993411, 0.4770532, 10.711),
    "B07": ShortwaveBand(2575.767, 0.999339, 0.46466, 9.759),
    "ir_38": ShortwaveBand(2638.889, 0.997743, 1.65792, 10.694),
    "Meteosat-8/IR_039": ShortwaveBand(2567.330, 0.9956, 3.4100, 9.619),
    "Meteosat-9/IR_039": ShortwaveBand(2568.832, 0.9954, 3.4380, 9.646),
    "Meteosat-10/IR_039": ShortwaveBand(2547.771, 0.9915, 2.9002, 9.469),
    "Meteosat-11/IR_039": ShortwaveBand(2555.280, 0.9916, 2.9438, 9.574),
}


def narrow_band(wavelength_um: float) -> ShortwaveBand:
    """A band of a single wavelength, for imagers that are not among `SHORTWAVE_BANDS`.

    Raises:
        ValueError: If the wavelength, in micrometres, is below 3.5 or above 4.2.
    """
    first, last = SOLAR_SPECTRUM_UM[0], SOLAR_SPECTRUM_UM[-1]
    if not first <= wavelength_um <= last:
        raise ValueError(
            f"a solar reflectance is found from a band between {first} and {last} µm, not at "
            f"{wavelength_um:g} µm; change ingest.bands"
        )
    irradiance = np.exp(np.interp(wavelength_um, SOLAR_SPECTRUM_UM, np.log(SOLAR_SPECTRUM)))
    return ShortwaveBand(1e4 / wavelength_um, 1.0, 0.0, float(irradiance))


def shortwave_temperature(
    reflectance: FloatArray,
    brightness_temperature_11um: FloatArray,
    solar_zenith_angle: FloatArray,
    band: ShortwaveBand,
    sun_distance: float = 1.0,
) -> FloatArray:
    """Brightness temperature near 3.9 µm of a surface which emits and reflects, K.

    Args:
        reflectance: Near 3.9 µm, in percent.
        brightness_temperature_11um: In kelvin, same shape.
        solar_zenith_angle: In degrees, same shape.
        band: What sees it.
        sun_distance: In astronomical units.
    """
    emitted = band.radiance(brightness_temperature_11um)
    reflected = band.solar_radiance(solar_zenith_angle, sun_distance)
    return band.brightness_temperature(emitted + reflectance / 100 * (reflected - emitted))


def solar_reflectance_3_9um(
    brightness_temperature_3_9um: FloatArray,
    brightness_temperature_11um: FloatArray,
    solar_zenith_angle: FloatArray,
    band: ShortwaveBand,
    sun_distance: float = 1.0,
) -> FloatArray:
    """Solar reflectance near 3.9 µm, percent; the inverse of `shortwave_temperature`.

    NaN where the sun is so low that the surface emits more than a white one would reflect (a
    solar zenith angle of about 80° over a warm sea); noise grows on the way there. Not clipped.

    Args:
        brightness_temperature_3_9um: In kelvin.
        brightness_temperature_11um: In kelvin, same shape.
        solar_zenith_angle: In degrees, same shape.
        band: That of the first temperature.
        sun_distance: In astronomical units; from January to July its square grows by 7 %.
    """
    emitted = band.radiance(brightness_temperature_11um)
    measured = band.radiance(brightness_temperature_3_9um)
    contrast = band.solar_radiance(solar_zenith_angle, sun_distance) - emitted
    safe = np.where(contrast > 0, contrast, np.nan)
    return np.asarray(100 * (measured - emitted) / safe)
