from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from instruments.swath import swath_places
from netCDF4 import Dataset

from pipeline.files.granules.checks import (
    refuse_absurd_scale,
    refuse_absurd_scales,
    refuse_stretched_areas,
    refuse_torn_places,
)
from pipeline.files.granules.granule import UnusableGranuleError


@dataclass
class _Area:
    """As much of an area as is looked at."""

    pixel_size_x: float
    pixel_size_y: float
    area_extent: tuple[float, float, float, float] = (0.0, 0.0, 1000.0, 1000.0)


def _bow_tie(latitude: float, longitude: float) -> tuple[np.ndarray, np.ndarray]:
    """Scans of ten rows, of which the next one repeats four, as at the edge of a swath."""
    places = swath_places(
        latitude=latitude, longitude=longitude, n_rows=60, n_columns=50, resolution_km=1
    )
    rows = np.concatenate([first + np.arange(10) for first in range(0, 50, 6)])
    tied = [degrees[rows].astype(np.float32) for degrees in places]
    tied[0][15:17], tied[1][15:17] = np.nan, np.nan
    return tied[0], tied[1]


@given(latitude=st.floats(-89.9, 89.9), longitude=st.floats(-180, 180))
def test_swaths_hold_together_anywhere(latitude: float, longitude: float) -> None:
    refuse_torn_places(*_bow_tie(latitude, longitude))


@pytest.mark.parametrize(("row", "column", "wrong"), [(20, 20, 11.0), (0, 7, -60.5), (30, 1, 2e30)])
def test_a_place_far_from_its_neighbours_is_refused(row: int, column: int, wrong: float) -> None:
    latitude, longitude = _bow_tie(10.0, -60.0)
    degrees = longitude if wrong < 0 else latitude
    degrees[row, column] = wrong
    with pytest.raises(UnusableGranuleError, match="1 of its places do not join the others"):
        refuse_torn_places(latitude, longitude)


def test_scales_within_reason_pass() -> None:
    of_16_bits = ((0.0002442, 4095), (2e-5, 65527), (1.6e-6, 32767), (-0.01, 4095))
    for scale, n_counts in (*of_16_bits, (0.01, 2**32), (1e-9, 2**32), (0.01, 2.0**64)):
        refuse_absurd_scale("band", scale, n_counts)


@pytest.mark.parametrize("scale", [0.0, 1e-8, -1e-8, 1e9, np.inf, np.nan])
def test_absurd_scales_are_refused(scale: float, tmp_path: Path) -> None:
    with Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("y", 4)
        group = file.createGroup("observations")
        group.createVariable("scan", "i2", ("y",)).scale_factor = scale  # no image
        group.createVariable("band", "i2", ("y", "y")).scale_factor = 0.01
    refuse_absurd_scales([tmp_path / "a.nc"])
    with Dataset(tmp_path / "a.nc", "r+") as file:
        file["observations/band"].scale_factor = scale
    with pytest.raises(UnusableGranuleError, match="counts of band are scaled by"):
        refuse_absurd_scales([tmp_path / "a.nc"])


def test_a_short_table_of_temperatures_is_refused(tmp_path: Path) -> None:
    with Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("count", 100)
        file.createVariable("M15_brightness_temperature_lut", "f4", ("count",))
    with pytest.raises(UnusableGranuleError, match="has 100 of 65536 values"):
        refuse_absurd_scales([tmp_path / "a.nc"])


def test_areas_of_square_pixels_of_the_imager_pass() -> None:
    refuse_stretched_areas([(_Area(2004.017, 2004.017), 2000), (_Area(501.004, 501.004), 500)])
    refuse_stretched_areas([(_Area(3000.4, 3000.4), None)])
    refuse_stretched_areas([(_Area(-3000.4, -3000.4), 3000)])  # south is up, west to the right


@pytest.mark.parametrize("size", [(2004.0, 2001.0), (2040.0, 2040.0), (2004.0, -2004.0)])
def test_areas_of_other_pixels_are_refused(size: tuple[float, float]) -> None:
    with pytest.raises(UnusableGranuleError, match=r"its pixels are 20\d\d m x .*, not 2000"):
        refuse_stretched_areas([(_Area(*size), 2000)])


def test_bands_of_different_places_are_refused() -> None:
    elsewhere = _Area(500.0, 500.0, (2000.0, 0.0, 3000.0, 1000.0))
    with pytest.raises(UnusableGranuleError, match="its bands lie in different places"):
        refuse_stretched_areas([(_Area(1000.0, 1000.0), 1000), (elsewhere, 500)])
