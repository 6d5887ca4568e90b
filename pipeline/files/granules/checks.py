"""What no sound granule has: absurd scales, torn places, stretched pixels."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from netCDF4 import Dataset
from numpy.typing import NDArray
from pyhdf.SD import SD  # type: ignore[import-untyped]

from pipeline.files.base.decoding import stated_numbers, tidied
from pipeline.files.granules.granule import (
    NETCDF_SUFFIXES,
    FloatArray,
    UnusableGranuleError,
)

SMALLEST_SPAN, LARGEST_SPAN = 1e-3, 1e7  # of all counts, in any unit of bands and angles
HDF4_SCALES = ("scale_factor", "reflectance_scales", "radiance_scales")
HDF4_COUNTS = 32767
N_COUNTS = 65536  # of 16 bits
TABLE = "_brightness_temperature_lut"  # of VIIRS, as long; satpy looks up past a short end
FURTHEST_STEPS = 10.0  # from both neighbours; mountains at the edge of a swath move pixels by fewer
FURTHEST_EAST = 540.0  # degrees, as on grids from 350 to 370 or once around from 180
PIXEL_TOLERANCE = 0.01  # ABI's pixels of 56 µrad are 2004 m
SQUARE_TOLERANCE = 1e-4


def refuse_absurd_scales(files: Iterable[Path]) -> None:
    """Raise `UnusableGranuleError` if all counts of a band or angle would become one value.

    Args:
        files: netCDF-4 and HDF4 files are looked at.
    """
    for file in files:
        for name, scale, n_counts in _scales(file):
            refuse_absurd_scale(name, scale, n_counts)


def scale_of(kind: Any, attributes: Mapping[Any, Any]) -> tuple[float, float] | None:
    """Scale and number of the counts of a netCDF variable, None if it is not stored as counts."""
    kind, scale = np.dtype(kind), stated_numbers(attributes, "scale_factor")
    if kind.kind not in "iu" or scale is None:
        return None
    limits = stated_numbers(attributes, "valid_range", 2)
    if limits is not None and np.isfinite(limits).all():
        return scale.item(), float(abs(np.diff(limits.astype(float))[0]))
    return scale.item(), float(np.iinfo(kind).max) - np.iinfo(kind).min


def refuse_absurd_scale(name: str, scale: float, n_counts: float) -> None:
    """Likewise, of one band or angle."""
    # Values in counts of 32 bits and more, as 300 K in steps of 0.01 K, are far from filling them.
    shortest = abs(scale) * min(n_counts, N_COUNTS)
    if not (abs(scale) * n_counts >= SMALLEST_SPAN and shortest <= LARGEST_SPAN):
        detail = f"{n_counts:g} counts of {name} are scaled by {scale:g}"
        raise UnusableGranuleError("absurd scale", detail)


def refuse_torn_places(latitude: FloatArray, longitude: FloatArray) -> None:
    """Raise `UnusableGranuleError` if a place is none, or far from both of its neighbours.

    Args:
        latitude: Degrees, shape (row, column); what is not finite is no place.
        longitude: Likewise.
    """
    with np.errstate(invalid="ignore"):
        faulty = (np.abs(latitude) > 90) | (np.abs(longitude) > FURTHEST_EAST)
        faulty &= np.isfinite(latitude) & np.isfinite(longitude)
        torn = faulty | _far_from_neighbours(latitude, longitude)
        torn |= _far_from_neighbours(latitude.T, longitude.T).T
    if torn.any():
        row, column = np.argwhere(torn)[0]
        detail = (
            f"{torn.sum()} of its places do not join the others, the first of them "
            f"{latitude[row, column]:g}, {longitude[row, column]:g}"
        )
        raise UnusableGranuleError("implausible places", detail)


def refuse_stretched_areas(areas: Sequence[tuple[Any, float | None]]) -> None:
    """Raise `UnusableGranuleError` if areas have other pixels than the imager, or differ.

    Args:
        areas: Those of pyresample, of bands on a fixed grid, each with its resolution in m, at
            least nominally.
    """
    for area, resolution in areas:
        width, height = area.pixel_size_x, area.pixel_size_y  # both negative where south is up
        expected = resolution or abs(width)
        square = abs(width - height) <= SQUARE_TOLERANCE * expected
        if not square or abs(abs(width) - expected) > PIXEL_TOLERANCE * expected:
            detail = f"its pixels are {width:.0f} m x {height:.0f} m, not {expected:.0f} m wide"
            raise UnusableGranuleError("implausible places", detail)
    extents = np.array([area.area_extent for area, _ in areas])
    if np.ptp(extents, axis=0).max() > max(abs(area.pixel_size_x) for area, _ in areas) / 2:
        raise UnusableGranuleError("implausible places", "its bands lie in different places")


def _scales(file: Path) -> Iterator[tuple[str, float, float]]:
    """Name, scale and number of counts of each image that is stored as counts."""
    if file.suffix.lower() == ".hdf":
        content = SD(str(file))
        try:
            for name in content.datasets():
                attributes = content.select(name).attributes()
                for key in HDF4_SCALES:
                    for scale in np.atleast_1d(attributes.get(key, [])):
                        yield name, float(scale), HDF4_COUNTS
        finally:
            content.end()
    elif file.suffix.lower() in NETCDF_SUFFIXES:
        with Dataset(file) as content:
            yield from _netcdf_scales(content)


def _netcdf_scales(group: Any) -> Iterator[tuple[str, float, float]]:
    for name, variable in group.variables.items():
        if name.endswith(TABLE) and variable.size < N_COUNTS:
            raise UnusableGranuleError(
                "damaged or truncated", f"{name} has {variable.size} of {N_COUNTS} values"
            )
        if variable.ndim < 2:
            continue
        attributes = tidied({key: variable.getncattr(key) for key in variable.ncattrs()})
        if found := scale_of(variable.dtype, attributes):
            yield name, *found
    for child in group.groups.values():
        yield from _netcdf_scales(child)


def _far_from_neighbours(latitude: FloatArray, longitude: FloatArray) -> NDArray[np.bool_]:
    """Places away, on the same side, from the ones before and after in their row."""
    far = np.zeros(latitude.shape, np.bool_)
    north = np.diff(latitude, axis=1)
    east = (np.diff(longitude, axis=1) + 180) % 360 - 180
    east *= np.cos(np.radians(latitude[:, 1:]))
    lengths = np.hypot(north, east)
    if not np.isfinite(lengths).any():
        return far
    limit = FURTHEST_STEPS * np.median(lengths[np.isfinite(lengths)])
    for step in (north, east):
        from_before, from_after = step[:, :-1], -step[:, 1:]
        nearer = np.minimum(np.abs(from_before), np.abs(from_after))
        far[:, 1:-1] |= (np.sign(from_before) == np.sign(from_after)) & (nearer > limit)
    return far
