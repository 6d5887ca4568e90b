"""Places of projected coordinates."""

from typing import Any

from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from pipeline.files.granules.granule import FloatArray, UnusableGranuleError


def in_degrees(
    crs: Any, eastings: FloatArray, northings: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Longitude and latitude of coordinates in any reference system that pyproj accepts.

    Raises:
        UnusableGranuleError: If the reference system has no transformation to degrees.
    """
    own = CRS.from_user_input(crs)
    try:
        to_degrees = Transformer.from_crs(own, "EPSG:4326", always_xy=True)
    except ProjError as error:
        detail = (
            f"its coordinate reference system {own.name!r} leads to no latitudes and longitudes; "
            "give one such as EPSG:4326"
        )
        raise UnusableGranuleError("lacks its geolocation", detail) from error
    return to_degrees.transform(eastings, northings)
