"""Granules: instruments' files become named bands with units, places, angles and a time."""

from pipeline.files.granules.finding import find_granules, without_description
from pipeline.files.granules.geotiff import GeotiffConventions
from pipeline.files.granules.granule import PLAIN_READERS, Granule, UnusableGranuleError
from pipeline.files.granules.level2 import Level2Variable, list_level2, read_level2
from pipeline.files.granules.naming import is_part_of_disk, resembled_readers
from pipeline.files.granules.netcdf import NetcdfConventions
from pipeline.files.granules.reading import read_granule

__all__ = [
    "PLAIN_READERS",
    "GeotiffConventions",
    "Granule",
    "Level2Variable",
    "NetcdfConventions",
    "UnusableGranuleError",
    "find_granules",
    "is_part_of_disk",
    "list_level2",
    "read_granule",
    "read_level2",
    "resembled_readers",
    "without_description",
]
