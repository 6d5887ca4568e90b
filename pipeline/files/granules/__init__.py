"""Granules: instruments' files become named bands with units, places, angles and a time."""

from pipeline.files.granules.finding import find_granules, without_description
from pipeline.files.granules.geotiff import GeotiffConventions
from pipeline.files.granules.granule import PLAIN_READERS, Granule, UnusableGranuleError
from pipeline.files.granules.naming import is_part_of_disk, resembled_readers
from pipeline.files.granules.netcdf import NetcdfConventions
from pipeline.files.granules.reading import read_granule

__all__ = [
    "PLAIN_READERS",
    "GeotiffConventions",
    "Granule",
    "NetcdfConventions",
    "UnusableGranuleError",
    "find_granules",
    "is_part_of_disk",
    "read_granule",
    "resembled_readers",
    "without_description",
]
