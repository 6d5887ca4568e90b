"""Factors that clusters may stand for instead of morphology: brightness, place, time and view."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

COLOUR = {
    "brightness_temperature": "mean temperature",
    "brightness_temperature_spread": "spread of temperature",
    "reflectance": "mean reflectance",
    "reflectance_spread": "spread of reflectance",
    "cloud_fraction": "cloud fraction",
}
PLACE_AND_TIME = {
    "latitude": "latitude",
    "longitude": "longitude",
    "solar_zenith_angle": "solar zenith angle",
    "view_zenith_angle": "view zenith angle",
    "local_solar_time": "local solar time",
    "season": "season",
    "land_fraction": "land fraction",
}
LABELS = COLOUR | PLACE_AND_TIME
PERIODS = {"longitude": 360.0, "local_solar_time": 24.0, "season": 365.2425}
MOST_MISSING = 0.9  # of the tiles; a factor that misses more is left out
SHORTEST_RECORD = np.timedelta64(60, "D")  # that has seasons; in less a day's number is its weather


def gather_factors(tiles: xr.Dataset) -> tuple[dict[str, FloatArray], dict[str, str]]:
    """Columns (tile, column) of each factor, and the reason for each one that is left out.

    What comes round again – longitude, local solar time, season – has two columns, sine and
    cosine. A missing value, as of reflectance at night, is taken as the mean, and one column more
    tells where that is.

    Args:
        tiles: A part of the embeddings product.
    """
    day_of_year = (tiles.time - tiles.time.astype("datetime64[Y]")) / np.timedelta64(1, "D")
    tiles = tiles.assign(season=day_of_year)
    kept: dict[str, FloatArray] = {}
    left_out: dict[str, str] = {}
    for name in LABELS:
        if name not in tiles:
            left_out[name] = "not measured"
            continue
        if name == "season" and np.ptp(tiles.time.values) < SHORTEST_RECORD:
            left_out[name] = "the record is too short for it"
            continue
        values = tiles[name].values.astype(np.float64)
        missing = ~np.isfinite(values)
        if missing.mean() > MOST_MISSING:
            left_out[name] = f"missing for {missing.mean():.0%} of the tiles"
            continue
        if name in PERIODS:
            turn = 2 * np.pi * values / PERIODS[name]
            columns = np.column_stack([np.sin(turn), np.cos(turn)])
        else:
            columns = values[:, None]
        columns = np.where(missing[:, None], np.nanmean(columns, axis=0), columns)
        if missing.any():
            columns = np.column_stack([columns, missing])
        if np.ptp(columns, axis=0).max() <= 1e-6 * max(1.0, np.abs(columns).max()):
            left_out[name] = "the same for all tiles"
            continue
        kept[name] = columns
    return kept, left_out
