"""Where the sun stands."""

from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyorbital.astronomy import get_alt_az


def solar_angles(
    time: datetime, latitude: NDArray[Any], longitude: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Zenith angle and azimuth of the sun in degrees, at `time` in UTC.

    Args:
        time: Without a zone.
        latitude: Degrees north, any shape.
        longitude: Degrees east, same shape.
    """
    altitude, azimuth = get_alt_az(time, longitude, latitude)
    return 90 - np.degrees(altitude), np.degrees(azimuth)
