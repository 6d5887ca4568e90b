"""Scenes: a granule's bands on a grid, with the sun, the view and what hides the picture.

Sun and view change slowly across a scene, so that a lattice of every eighth pixel tells them.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from pipeline.core.false_colour import Preset, compose
from pipeline.core.planck import SHORTWAVE_BANDS, ShortwaveBand, narrow_band
from pipeline.core.viewing import (
    LATTICE_STEP,
    geostationary_view,
    glint_angle,
    relative_azimuth,
    solar_angles,
    sun_distance,
)

ANGLES = ("solar_zenith_angle", "view_zenith_angle", "glint_angle", "relative_azimuth")

# Where the sun is lower, a reflectance is noise and scattered light divided by next to nothing.
MAX_SOLAR_ZENITH_OF_REFLECTANCE = 88.0  # degrees

HORIZON = 90.0  # degrees; a sun below it has no mirror image
PLANE = ("row", "column")
PHYSICAL = {"reflectance": "visible", "brightness_temperature": "infrared_window"}
SHORTWAVE = "shortwave_infrared"
DEFAULT_SHORTWAVE_UM = 3.9  # of a band that does not tell its wavelength
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class Angles:
    """Angles in degrees on the lattice of a scene, each (lattice row, lattice column).

    Those of the view are NaN where nothing tells them.
    """

    solar_zenith_angle: FloatArray
    view_zenith_angle: FloatArray
    glint_angle: FloatArray
    relative_azimuth: FloatArray

    def stacked(self) -> FloatArray:
        """All of them, shape (angle, lattice row, lattice column)."""
        return np.stack([getattr(self, name) for name in ANGLES]).astype(np.float32)


def scene_angles(granule: xr.Dataset) -> Angles:
    """Angles of sun and view, from the granule where it has them, else from its places and time.

    Args:
        granule: Variables (row, column), among them `latitude`, `longitude` and perhaps zenith
            angles and azimuths of sun and satellite, or `scan_seconds` since the attribute `time`;
            perhaps attributes `satellite_longitude`, `satellite_latitude` and `satellite_height`
            of one that stands still.
    """
    thin = granule.isel(row=slice(None, None, LATTICE_STEP), column=slice(None, None, LATTICE_STEP))
    places = thin.latitude.values, thin.longitude.values
    if "solar_zenith_angle" in thin:
        sun = thin.solar_zenith_angle.values, thin.solar_azimuth_angle.values
    else:
        time = granule.attrs["time"]
        if "scan_seconds" in thin:
            seconds = np.nan_to_num(thin.scan_seconds.values.astype(np.float64))
            time = time + (1e9 * seconds).astype("m8[ns]")
        sun = solar_angles(time, *places)
    if "satellite_zenith_angle" in thin:
        view = thin.satellite_zenith_angle.values, thin.satellite_azimuth_angle.values
    elif "satellite_longitude" in granule.attrs:
        view = geostationary_view(
            *places,
            satellite_latitude=granule.attrs["satellite_latitude"],
            satellite_longitude=granule.attrs["satellite_longitude"],
            satellite_height_m=granule.attrs["satellite_height"],
        )
    else:
        view = np.full(sun[0].shape, np.nan), np.full(sun[0].shape, np.nan)
    return Angles(sun[0], view[0], glint_angle(*sun, *view), relative_azimuth(sun[1], view[1]))


def at_pixels(lattice: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Values of the lattice (lattice row, lattice column) at every pixel of `shape`, float32.

    Bilinear; pixels beyond the last lattice row or column have its value, and a lattice point off
    the Earth that of the nearest one on it, so that pixels at the limb have an angle too.
    """
    missing = np.isnan(lattice)
    if missing.any() and not missing.all():
        nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
        lattice = lattice[tuple(nearest)]
    rows, columns = (
        _weights(length, n_points) for length, n_points in zip(shape, lattice.shape, strict=True)
    )
    return np.asarray(rows @ lattice.astype(np.float32) @ columns.T)


def _weights(n_pixels: int, n_points: int) -> FloatArray:
    """Shares of the lattice points in each pixel, (pixel, point)."""
    position = np.minimum(np.arange(n_pixels) / LATTICE_STEP, n_points - 1)
    apart = np.abs(position[:, None] - np.arange(n_points))
    return np.asarray(np.maximum(1 - apart, 0), np.float32)


def corrected_for_sun(granule: xr.Dataset, solar_zenith_angle: FloatArray) -> xr.Dataset:
    """`granule` with reflectances of a surface under an overhead sun, NaN where it is too low.

    Bands whose attribute `sun_corrected` is false are divided by the cosine of the solar zenith
    angle (row, column), in degrees.
    """
    with np.errstate(invalid="ignore"):
        high = solar_zenith_angle <= MAX_SOLAR_ZENITH_OF_REFLECTANCE
    cosine = np.cos(np.radians(np.where(high, solar_zenith_angle, np.nan)))
    return granule.assign(
        {
            name: (PLANE, band.values / cosine, band.attrs)
            for name, band in granule.data_vars.items()
            if not band.attrs.get("sun_corrected", True) and band.attrs["units"] == "percent"
        }
    )


def shortwave_band(granule: xr.Dataset) -> ShortwaveBand:
    """What the 3.9 µm band of `granule` sees: its instrument's, else one of its wavelength.

    Args:
        granule: Variable `shortwave_infrared`, with attributes `band` and `wavelength` (µm) where
            they are known; attribute `platform` where it is.
    """
    attributes = granule[SHORTWAVE].attrs
    name, platform = attributes.get("band"), granule.attrs.get("platform")
    known = SHORTWAVE_BANDS.get(f"{platform}/{name}") or SHORTWAVE_BANDS.get(str(name))
    return known or narrow_band(attributes.get("wavelength", DEFAULT_SHORTWAVE_UM))


def hidden_pixels(
    measured: BoolArray,
    striped: BoolArray,
    on_earth: BoolArray,
    angles: dict[str, FloatArray],
    *,
    max_solar_zenith: float,
    max_view_zenith: float,
    min_glint_angle: float,
) -> dict[str, BoolArray]:
    """Pixels that each reason takes away, (row, column), none of them twice.

    Args:
        measured: Where every channel was measured.
        striped: Where one was taken for a stripe, and so for not measured.
        on_earth: Where there is a place.
        angles: `solar_zenith_angle`, `view_zenith_angle` and `glint_angle` of each pixel in
            degrees; a NaN takes nothing away.
        max_solar_zenith: Degrees.
        max_view_zenith: Degrees.
        min_glint_angle: Degrees.
    """
    with np.errstate(invalid="ignore"):
        reasons = {
            "off the Earth": ~on_earth,
            "night": angles["solar_zenith_angle"] > max_solar_zenith,
            "view zenith": angles["view_zenith_angle"] > max_view_zenith,
            "glint": (angles["glint_angle"] < min_glint_angle)
            & ~(angles["solar_zenith_angle"] >= HORIZON),
            "stripes": ~measured & striped,
            "missing": ~measured,
        }
    left = np.ones(measured.shape, np.bool_)
    hidden = {}
    for reason, pixels in reasons.items():
        hidden[reason] = pixels & left
        left &= ~pixels
    return hidden


def compose_scene(
    granule: xr.Dataset, preset: Preset, *, max_view_zenith: float, min_glint_angle: float
) -> tuple[xr.Dataset, dict[str, int]]:
    """The false-colour scene of a granule, and how many pixels it lost for each reason.

    Args:
        granule: Bands (row, column) with `units`, `sun_corrected` and perhaps `wavelength` (µm)
            and `band` (the instrument's name for it), perhaps `striped` (1 where a band lost its
            stripes, else 0) and `land`, and what `scene_angles` needs.
        preset: Its channels must be there.
        max_view_zenith: Degrees; pixels beyond are invalid.
        min_glint_angle: Degrees; pixels of water nearer to the sun's mirror image are invalid,
            where the preset shows it.

    Returns:
        `colour` (channel, row, column), `valid`, places and physical variables (row, column),
        `angles` (angle, lattice_row, lattice_column).
    """
    shape = granule.sizes["row"], granule.sizes["column"]
    angles = scene_angles(granule)
    held = {  # by the files, for each pixel
        "solar_zenith_angle": granule.get("solar_zenith_angle"),
        "view_zenith_angle": granule.get("satellite_zenith_angle"),
        "glint_angle": None,
    }
    at = {
        name: at_pixels(getattr(angles, name), shape) if values is None else values.values
        for name, values in held.items()
    }
    if not preset.shows_glint:
        at["glint_angle"] = np.full(shape, np.nan)
    elif "land" in granule:
        at["glint_angle"] = np.where(granule.land, np.nan, at["glint_angle"])
    granule = corrected_for_sun(granule, at["solar_zenith_angle"])
    arrays = {str(name): variable.values for name, variable in granule.data_vars.items()}
    reflects = "solar_reflectance_3_9um" in preset.channels and SHORTWAVE in granule
    with np.errstate(invalid="ignore", divide="ignore"):
        colour, measured = compose(
            {
                **arrays,
                **at,
                **({"shortwave_band": shortwave_band(granule)} if reflects else {}),
                "sun_distance": sun_distance(granule.attrs["time"]),
            },
            preset,
        )
    hidden = hidden_pixels(
        measured,
        arrays["striped"] > 0 if "striped" in arrays else np.zeros(shape, np.bool_),
        np.isfinite(arrays["latitude"]),
        at,
        max_solar_zenith=preset.max_solar_zenith,
        max_view_zenith=max_view_zenith,
        min_glint_angle=min_glint_angle,
    )
    valid = ~np.any(list(hidden.values()), axis=0)
    scene = xr.Dataset(
        {
            "colour": (("channel", *PLANE), np.where(valid, colour, 0).astype(np.uint8)),
            "valid": (PLANE, valid),
            "latitude": (PLANE, arrays["latitude"]),
            "longitude": (PLANE, arrays["longitude"]),
            "angles": (("angle", "lattice_row", "lattice_column"), angles.stacked()),
            **{name: (PLANE, arrays[band]) for name, band in PHYSICAL.items() if band in arrays},
        },
        coords={"channel": list(preset.channels), "angle": list(ANGLES)},
        attrs=granule.attrs,
    )
    return scene, {reason: int(pixels.sum()) for reason, pixels in hidden.items()}
