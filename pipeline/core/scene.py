"""Scenes: a granule's bands on a grid, with the sun, the view and what hides the picture."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.swath import local_grid, nearest_pixels, take
from pipeline.core.viewing import geostationary_view, glint_angle, relative_azimuth

# Where the sun is lower, a reflectance is noise and scattered light divided by next to nothing.
MAX_SOLAR_ZENITH_OF_REFLECTANCE = 88.0  # degrees

PLANE = ("row", "column")
BoolArray = NDArray[np.bool_]


def on_equal_area_grid(granule: xr.Dataset, *, resolution_km: float, radius_km: float) -> xr.Dataset:
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


def with_view(granule: xr.Dataset) -> xr.Dataset:
    """`granule` with `view_zenith_angle`, `glint_angle` and `relative_azimuth` in degrees.

    Taken from the satellite angles in the granule, else from where its satellite stands; without
    either, they are left out.
    """
    if "satellite_zenith_angle" in granule:
        view = granule.satellite_zenith_angle.values, granule.satellite_azimuth_angle.values
    elif "satellite_longitude" in granule.attrs:
        view = geostationary_view(
            granule.latitude.values,
            granule.longitude.values,
            satellite_latitude=granule.attrs["satellite_latitude"],
            satellite_longitude=granule.attrs["satellite_longitude"],
            satellite_height_m=granule.attrs["satellite_height"],
        )
    else:
        return granule
    zenith, azimuth = (angle.astype(np.float32) for angle in view)
    sun = granule.solar_zenith_angle.values, granule.solar_azimuth_angle.values
    return granule.assign(
        view_zenith_angle=(PLANE, zenith),
        glint_angle=(PLANE, glint_angle(*sun, zenith, azimuth)),
        relative_azimuth=(PLANE, relative_azimuth(sun[1], azimuth)),
    )


def corrected_for_sun(granule: xr.Dataset) -> xr.Dataset:
    """`granule` with reflectances of a surface under an overhead sun, NaN where it is too low.

    Bands whose attribute `sun_corrected` is false are divided by the cosine of the solar zenith
    angle of each pixel.
    """
    zenith = granule.solar_zenith_angle.values
    with np.errstate(invalid="ignore"):
        high = zenith <= MAX_SOLAR_ZENITH_OF_REFLECTANCE
    factor = np.divide(
        1, np.cos(np.radians(zenith)), out=np.full_like(zenith, np.nan), where=high
    )
    return granule.assign(
        {
            name: (PLANE, band.values * factor, band.attrs)
            for name, band in granule.data_vars.items()
            if not band.attrs.get("sun_corrected", True) and band.attrs["units"] == "percent"
        }
    )


def hidden_pixels(
    granule: xr.Dataset,
    measured: BoolArray,
    *,
    max_solar_zenith: float,
    max_view_zenith: float,
    min_glint_angle: float,
) -> dict[str, BoolArray]:
    """Pixels that each reason takes away, (row, column), none of them twice.

    Args:
        granule: Result of `with_view`; a reason that needs an angle it lacks takes nothing.
        measured: Where every channel was measured.
        max_solar_zenith: Degrees.
        max_view_zenith: Degrees.
        min_glint_angle: Degrees.
    """
    angles = {
        name: granule[name].values if name in granule else np.zeros(measured.shape)
        for name in ("solar_zenith_angle", "view_zenith_angle")
    }
    with np.errstate(invalid="ignore"):
        reasons = {
            "off the Earth": ~np.isfinite(granule.latitude.values),
            "night": angles["solar_zenith_angle"] > max_solar_zenith,
            "view zenith": angles["view_zenith_angle"] > max_view_zenith,
            "glint": granule.glint_angle.values < min_glint_angle
            if "glint_angle" in granule
            else np.zeros(measured.shape, np.bool_),
            "missing": ~measured,
        }
    left = np.ones(measured.shape, np.bool_)
    hidden = {}
    for reason, pixels in reasons.items():
        hidden[reason] = pixels & left
        left &= ~pixels
    return hidden
