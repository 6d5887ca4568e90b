"""Scenes: a granule's bands on a grid, with the sun, the view and what hides the picture.

Sun and view change slowly across a scene, so that a lattice of every eighth pixel tells them.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from pipeline.core.swath import local_grid, nearest_pixels, take
from pipeline.core.viewing import (
    LATTICE_STEP,
    geostationary_view,
    glint_angle,
    relative_azimuth,
    solar_angles,
)

ANGLES = ("solar_zenith_angle", "view_zenith_angle", "glint_angle", "relative_azimuth")

# Where the sun is lower, a reflectance is noise and scattered light divided by next to nothing.
MAX_SOLAR_ZENITH_OF_REFLECTANCE = 88.0  # degrees

PLANE = ("row", "column")
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


def on_equal_area_grid(
    granule: xr.Dataset, *, resolution_km: float, radius_km: float
) -> xr.Dataset:
    """`granule` on a local equal-area grid, each pixel from the nearest measured one.

    Args:
        granule: Variables (row, column), `latitude` and `longitude` among them.
        resolution_km: Edge of a pixel of the grid.
        radius_km: Pixels of the grid without a measured one so near are empty.

    Raises:
        ValueError: If the grid is too large.
    """
    places = granule.latitude.values, granule.longitude.values
    grid = local_grid(*places, resolution_km=resolution_km)
    indices = nearest_pixels(*places, grid, radius_km=radius_km)
    measured = _measured(granule)
    if not measured.all():  # the rows that VIIRS deletes on board lie among those of other scans
        latitude = np.where(measured, places[0], np.nan)
        nearest = nearest_pixels(latitude, places[1], grid, radius_km=radius_km)
        indices = np.where(nearest >= 0, nearest, indices)
    gridded = xr.Dataset(
        {
            name: (PLANE, take(variable.values, indices), variable.attrs)
            for name, variable in granule.data_vars.items()
        },
        attrs=granule.attrs,
    )
    seen = indices >= 0
    gridded["latitude"] = (PLANE, np.where(seen, grid.latitude, np.nan).astype(np.float32))
    gridded["longitude"] = (PLANE, np.where(seen, grid.longitude, np.nan).astype(np.float32))
    return gridded


def _measured(granule: xr.Dataset) -> BoolArray:
    """Where any band was measured; bands are the variables with units."""
    bands = [each.values for each in granule.data_vars.values() if "units" in each.attrs]
    return np.asarray(np.logical_or.reduce([np.isfinite(band) for band in bands]))


def scene_angles(granule: xr.Dataset) -> Angles:
    """Angles of sun and view, from the granule where it has them, else from its places and time.

    Args:
        granule: Variables (row, column), among them `latitude`, `longitude` and perhaps zenith
            angles and azimuths of sun and satellite; attributes `time` and perhaps
            `satellite_longitude`, `satellite_latitude` and `satellite_height` of one that stands
            still.
    """
    thin = granule.isel(row=slice(None, None, LATTICE_STEP), column=slice(None, None, LATTICE_STEP))
    places = thin.latitude.values, thin.longitude.values
    if "solar_zenith_angle" in thin:
        sun = thin.solar_zenith_angle.values, thin.solar_azimuth_angle.values
    else:
        sun = solar_angles(granule.attrs["time"], *places)
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


def hidden_pixels(
    measured: BoolArray,
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
            "glint": angles["glint_angle"] < min_glint_angle,
            "missing": ~measured,
        }
    left = np.ones(measured.shape, np.bool_)
    hidden = {}
    for reason, pixels in reasons.items():
        hidden[reason] = pixels & left
        left &= ~pixels
    return hidden
