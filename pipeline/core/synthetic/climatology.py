"""Which morphology is likely where: a caricature of the oceans in the view of GOES-East.

Everything is sea. The four morphologies of equal histogram never become rare, so that every
sector has enough of them to judge an encoder by.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

MORPHOLOGIES = (
    "clear_sky",
    "closed_cells",
    "open_cells",
    "sugar",
    "gravel",
    "flowers",
    "fish",
    "cirrus",
    "deep_convection",
)
EQUAL_HISTOGRAM = ("closed_cells", "open_cells", "sugar", "gravel")
UNSEEN = "streets"  # never in a scene but where asked for, of their histogram too

# Latitude and longitude of the stratocumulus decks off Peru, Namibia, California and the
# Canaries: Klein and Hartmann (1993), doi:10.1175/1520-0442(1993)006<1587:TSCOLS>2.0.CO;2.
DECKS = ((-20.0, -80.0), (-15.0, 5.0), (27.0, -124.0), (24.0, -22.0))
# Mean latitude of the intertropical convergence zone over the Atlantic and the eastern Pacific.
CONVERGENCE_LATITUDE = 6.0

FLOOR = 0.35


def climatology(latitude: float, longitude: float) -> FloatArray:
    """Probability of each of MORPHOLOGIES at a place, shape (morphology,).

    Closed cells fill the decks of the subtropical east, open cells surround them; trade cumulus
    (sugar, gravel, flowers, fish: Rasp et al. 2020, doi:10.1175/BAMS-D-19-0324.1) lies west of
    them; deep convection and its cirrus near the convergence zone; cold-air outbreaks bring
    open and closed cells to the middle latitudes.

    Args:
        latitude: In degrees north.
        longitude: In degrees east.
    """
    deck = max(_near(latitude, north, 9) * _near(longitude, east, 13) for north, east in DECKS)
    rim = max(
        _near(latitude, north, 12) * _near(longitude, east + (-18), 14) for north, east in DECKS
    )
    tropics = _near(latitude, CONVERGENCE_LATITUDE, 6)
    trades = _near(abs(latitude), 17, 8) * (1 - deck)
    middle = 1 / (1 + np.exp(-(abs(latitude) - 36) / 3))
    weights = {
        "clear_sky": 0.3 + 0.3 * trades,
        "closed_cells": FLOOR + 2.2 * deck + 0.6 * middle,
        "open_cells": FLOOR + 0.9 * rim + 0.8 * middle,
        "sugar": FLOOR + 0.7 * trades,
        "gravel": FLOOR + 0.7 * trades,
        "flowers": 0.05 + 0.7 * trades,
        "fish": 0.05 + 0.7 * trades,
        "cirrus": 0.2 + 0.7 * tropics + 0.3 * middle,
        "deep_convection": 0.05 + 1.8 * tropics,
    }
    values = np.array([weights[morphology] for morphology in MORPHOLOGIES])
    return np.asarray(values / values.sum())


def _near(value: float, centre: float, width: float) -> float:
    """1 at the centre, falling off as a Gaussian of this width."""
    return float(np.exp(-0.5 * ((value - centre) / width) ** 2))
