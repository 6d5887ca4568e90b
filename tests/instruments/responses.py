"""Spectral responses of bands near 3.9 µm, and what they see of black bodies and of the sun.

The response of VIIRS M12 is that of Suomi-NPP as published by NOAA; that of FCI, which is not
public, its nominal pass-band. The others are rectangles with the mean and width of the published
responses, as the operators' coefficients from radiance to temperature tell them. Means are taken
by quadrature, without the coefficients that the product uses.
"""

from dataclasses import dataclass

import numpy as np

# ASTM E490-00a (2000), doi:10.1520/E0490-00AR19: W m⁻² µm⁻¹, every 0.02 µm from 3.4 µm on.
E490_UM = 3.4 + 0.02 * np.arange(51)
E490 = np.fromstring(
    """16.13 15.84 15.54 15.20 14.86 14.56 14.25 13.93 13.62 13.34 13.07 12.81 12.51 12.22 11.93
    11.62 11.45 11.08 10.96 10.78 10.57 10.38 10.19 9.983 9.782 9.599 9.427 9.233 9.032 8.857 8.669
    8.557 8.385 8.217 8.054 7.894 7.739 7.587 7.439 7.294 7.153 7.015 6.881 6.749 6.621 6.496 6.374
    6.254 6.138 6.024 5.912""",
    sep=" ",
)
# J. Xiong et al. / NOAA STAR, detector 1 of band M12, every third sample.
M12_UM = np.fromstring(
    """3.5067 3.5264 3.5462 3.5660 3.5858 3.6055 3.6254 3.6452 3.6649 3.6849 3.7046 3.7245 3.7443
    3.7640 3.7839 3.8036 3.8234 3.8432 3.8629""",
    sep=" ",
)
M12 = np.fromstring(
    """.0064 .0144 .0370 .0988 .2658 .6385 .8701 .9279 .9859 .9957 .9706 .9120 .8987 .8327 .6032
    .3025 .1277 .0573 .0268""",
    sep=" ",
)
RECTANGLES_UM = {
    "C07": (3.7876, 3.9991),
    "20": (3.6825, 3.8941),
    "B07": (3.7768, 3.9939),
    "ir_38": (3.6, 4.0),
    "Meteosat-8/IR_039": (3.6166, 4.2234),
    "Meteosat-9/IR_039": (3.6119, 4.2220),
    "Meteosat-10/IR_039": (3.6209, 4.2195),
    "Meteosat-11/IR_039": (3.6102, 4.2093),
}
FIRST, SECOND = 1.191042972e8, 14387.76877  # 2 h c² (W µm⁴ m⁻² sr⁻¹) and h c / k (µm K)
TEMPERATURES = np.linspace(150, 450, 3001)


@dataclass(frozen=True)
class Response:
    """Samples of a response, by wavelength; energies are weighted by it per wavenumber."""

    wavelengths: np.ndarray
    weights: np.ndarray

    def mean(self, per_um: np.ndarray) -> np.ndarray:
        """Mean of a spectrum (…, wavelength) per µm, per wavenumber, in units of 10⁻⁴ per cm⁻¹."""
        per_wavenumber = self.wavelengths**2 * per_um
        wavenumbers = 1e4 / self.wavelengths
        area = np.trapezoid(self.weights, wavenumbers)
        return np.asarray(np.trapezoid(self.weights * per_wavenumber, wavenumbers) / area)

    def of_black_body(self, temperature: np.ndarray) -> np.ndarray:
        """Of temperatures in K, any shape; interpolated in a table."""
        hot = TEMPERATURES[:, None]
        spectra = FIRST / self.wavelengths**5 / np.expm1(SECOND / (self.wavelengths * hot))
        return np.exp(np.interp(temperature, TEMPERATURES, np.log(self.mean(spectra))))

    def of_the_sun(self) -> float:
        """White Lambertian surface under the sun overhead, at one astronomical unit."""
        return float(self.mean(np.interp(self.wavelengths, E490_UM, E490)) / np.pi)

    def temperature(self, radiance: np.ndarray) -> np.ndarray:
        """Inverse of `of_black_body`, K."""
        table = np.log(self.of_black_body(TEMPERATURES))
        return np.interp(np.log(radiance), table, TEMPERATURES)

    def seen(
        self, reflectance: np.ndarray, temperature: np.ndarray, solar_zenith: np.ndarray
    ) -> np.ndarray:
        """Brightness temperature of a surface that emits and reflects, K.

        Args:
            reflectance: As a fraction.
            temperature: Of the surface, in K.
            solar_zenith: Degrees.
        """
        sun = self.of_the_sun() * np.maximum(np.cos(np.radians(solar_zenith)), 0)
        emitted = (1 - reflectance) * self.of_black_body(temperature)
        return self.temperature(emitted + reflectance * sun)


def response(band: str) -> Response:
    """That of "M12", or of a band of `RECTANGLES_UM`."""
    if band == "M12":
        wavelengths = np.linspace(M12_UM[0], M12_UM[-1], 801)
        return Response(wavelengths, np.interp(wavelengths, M12_UM, M12))
    wavelengths = np.linspace(*RECTANGLES_UM[band], 801)
    return Response(wavelengths, np.ones(801))


def white_radiance(wavelength_um: float) -> float:
    """Of a white Lambertian surface under a sun of 5772 K overhead, W m⁻² sr⁻¹ µm⁻¹."""
    sun = FIRST / wavelength_um**5 / np.expm1(SECOND / (wavelength_um * 5772.0))
    return float(sun * (6.957e8 / 1.495978707e11) ** 2)
