"""Level-2 variables of the user, such as the optical thickness of clouds, pixel by pixel."""

from dataclasses import dataclass
from typing import Annotated

import xarray as xr
from pydantic import Field, NonNegativeFloat

from pipeline.files.base.sidecars import list_data
from pipeline.files.granules.granule import Granule
from pipeline.files.granules.netcdf import NetcdfConventions, describe_netcdf
from pipeline.files.granules.reading import read_granule

KEY = "composite.level2"


@dataclass(frozen=True)
class Level2Variable:
    """An entry of the list of level-2 variables in params.yaml; places as in `ingest.netcdf`."""

    name: Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_]*$")]  # in the products
    files: str  # a path or a glob
    variable: str  # in the files, in groups by path
    units: dict[str, str]  # of the variable, where it states none that are known
    latitude: str
    longitude: str
    projection: str
    max_hours: NonNegativeFloat  # from a tile to a granule


def list_level2(wanted: Level2Variable) -> list[Granule]:
    """The granules in the files, by time; those of no known time are left to `read_level2`.

    Raises:
        FileNotFoundError: If no file matches.
    """
    paths = list_data(wanted.files, of=f"{wanted.name} in {KEY}")
    granules = [granule for path in paths for granule in describe_netcdf(path)]
    return sorted(granules, key=lambda each: (str(each.start_time), each.name))


def read_level2(granule: Granule, wanted: Level2Variable) -> xr.Dataset:
    """The variable, under its name in the products, with `latitude` and `longitude` (row, column).

    Raises:
        UnusableGranuleError: If it cannot be read.
    """
    conventions = NetcdfConventions(
        wanted.units, wanted.latitude, wanted.longitude, wanted.projection, ""
    )
    return read_granule(
        granule.files,
        granule.reader,
        {wanted.name: [wanted.variable]},
        netcdf=conventions,
        step=granule.step,
        key=KEY,
    )
