"""Faults of a granule: lines and pixels that hold no picture of the Earth."""

import numpy as np
from numpy.typing import NDArray

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]

SMALLEST_SPAN = 1e-3  # percent or K, of a whole granule; a count is 0.02 and more
FEWEST_PIXELS = 16  # of a line; so few, at the limb say, tell nothing about the line as a whole
SMALLEST_DIFFERENCE = 0.01  # of the standard deviation; less, as in a drawn scene, is no noise
DEAD_SHARE = 0.25  # half of the pixels of a dead line stick out of noise, nearly all elsewhere

# What a calibrated band can be; beyond it lie fill values and broken calibrations.
PLAUSIBLE = {
    # Noise around zero is negative. Bright cloud towards the sun exceeds a white Lambertian
    # surface (100 %), and dividing by the cosine of a low sun exaggerates it further.
    "percent": (-10.0, 250.0),
    # The coldest cloud top on record had 162 K (Proud and Bachmeier 2021,
    # doi:10.1029/2020GL092261), and noise makes it colder at 3.9 µm, where fires exceed 400 K.
    "K": (120.0, 450.0),
}

# Over cloud of this temperature and warmer, 3.9 µm is far above the noise of any imager.
WARMEST_BELOW_NOISE = 250.0  # K, at 10.8 µm

# Of one pixel out of both its neighbours. Fires exceed them at 3.9 µm, in few pixels of a granule.
LARGEST_SPIKES = {"percent": 100.0, "K": 60.0}


COLUMNS_JUDGED = 64  # of a line, enough for the median that tells a stripe


def band_faults(
    values: FloatArray,
    on_earth: BoolArray,
    *,
    units: str,
    stripe_threshold: float,
    plateau_pixels: int,
) -> tuple[dict[str, float], BoolArray]:
    """Share of each kind of fault in a band, of 1, and its striped lines (row,).

    Args:
        values: Shape (row, column); what is not finite was not measured.
        on_earth: Pixels that see the Earth, same shape.
        units: "percent", "K" or others, of which less is known.
        stripe_threshold: See `striped_lines`.
        plateau_pixels: See `saturated_pixels`; only reflectances are looked at, since the warmest
            sea can be a plateau too.
    """
    step = max(1, values.shape[1] // COLUMNS_JUDGED)
    striped = striped_lines(values[:, ::step], threshold=stripe_threshold)
    saturated = 0.0
    if units == "percent":
        saturated = float(saturated_pixels(values, fewest=plateau_pixels)[on_earth].mean())
    return {
        "missing lines": float(missing_lines(values, on_earth).mean()),
        "stripes": float(striped.mean()),
        "saturated": saturated,
        "implausible values": implausible_share(values, units=units),
        "static": static_share(values, units=units),
    }, striped


def without_noise_floor(shortwave: FloatArray, window: FloatArray | None) -> FloatArray:
    """Temperatures near 3.9 µm with the coldest that the band can tell where it saw only noise.

    A cloud top of 200 K emits less there than the noise of an imager, so that its radiance is
    around zero and a temperature of it none, or one that no cloud has, such as the -2.97 K of
    SEVIRI. The coldest that the band can tell is the lowest plausible value of the granule.

    Args:
        shortwave: K, shape (row, column); 0 where a radiance was zero or less.
        window: K near 10.8 µm, same shape, where the granule has it.
    """
    is_cold = True if window is None else ~(window > WARMEST_BELOW_NOISE)
    plausible = shortwave >= PLAUSIBLE["K"][0]
    if not plausible.any():
        return shortwave
    below = np.isfinite(shortwave) & ~plausible & is_cold
    return np.where(below, shortwave[plausible].min(), shortwave)


def missing_lines(values: FloatArray, on_earth: BoolArray) -> BoolArray:
    """Rows on the Earth in which nothing was measured although it was in others, shape (row,).

    A band that measured nothing at all, as visible ones at night, has no missing line.

    Args:
        values: Shape (row, column); what is not finite was not measured.
        on_earth: Pixels that see the Earth, same shape.
    """
    measured = (np.isfinite(values) & on_earth).any(axis=1)
    return np.asarray(on_earth.any(axis=1) & ~measured & measured.any())


def striped_lines(values: FloatArray, *, threshold: float) -> BoolArray:
    """Rows that stick out of both the row above and the row below, shape (row,).

    A row is striped where the median pixel is above both its neighbours, or below both, by more
    than `threshold` times what adjoining rows differ by. That is the larger of the median absolute
    difference between pixels that adjoin across rows anywhere, and of that between the two
    neighbouring rows themselves. A shore, a cloud edge and a pattern repeated every few rows
    separate a row from one neighbour or in half of its pixels, and so are no stripe. A row of one
    value between rows of many, from a dead detector, counts too if it sticks out at either side;
    look for it before the values are divided by the cosine of the solar zenith angle.

    Rows without a measurement are passed over; the first and last of the others cannot be judged,
    nor can rows with fewer than 16 measured pixels.

    Args:
        values: Shape (row, column), in any unit; what is not finite is missing.
        threshold: Noise alone gives a row offset by k of its standard deviations about k - 0.5.
    """
    finite = np.isfinite(values)
    striped = np.zeros(len(values), np.bool_)
    rows = np.flatnonzero(finite.any(axis=1))
    field = np.where(finite, values, np.nan)[rows]
    adjoining = np.abs(np.diff(field, axis=0))
    if np.isnan(adjoining).all():
        return striped
    above, here, below = field[:-2], field[1:-1], field[2:]
    typical = np.maximum(
        np.nanmedian(adjoining), SMALLEST_DIFFERENCE * np.nanstd(field, dtype=np.float64)
    )
    typical = np.fmax(typical, _row_medians(np.abs(above - below)))  # NaN where too few
    protrusion = _shared_part(here - above, here - below)
    stands_out = np.abs(_row_medians(protrusion)) > threshold * typical
    striped[rows[1:-1]] = stands_out | _dead_lines(field, protrusion)
    return striped


def saturated_pixels(values: FloatArray, *, fewest: int) -> BoolArray:
    """Pixels clipped at the top of the range, shape (row, column).

    They hold the largest value if at least `fewest` pixels have exactly that one, and are none
    otherwise, nor where all measured pixels are equal, as at night.

    Args:
        values: Shape (row, column); what is not finite is missing.
        fewest: Pixels in a plateau.
    """
    finite = np.isfinite(values)
    largest = np.max(values, initial=-np.inf, where=finite)
    plateau: BoolArray = finite & (values == largest)
    clipped = plateau.sum() >= fewest and not (plateau == finite).all()
    return plateau if clipped else np.zeros_like(plateau)


def implausible_share(values: FloatArray, *, units: str) -> float:
    """Share of the measured pixels outside what `units` can be; 0 where nothing was measured.

    Args:
        values: Any shape; what is not finite is missing.
        units: "percent" (of reflectance) or "K" (of brightness temperature); others have no bounds.

    >>> implausible_share(np.array([-999.0, 20.0, 300.0, np.nan]), units="percent")
    0.6666666666666666
    """
    measured = values[np.isfinite(values)]
    if units not in PLAUSIBLE or not measured.size:
        return 0.0
    lowest, highest = PLAUSIBLE[units]
    return float(((measured < lowest) | (measured > highest)).mean())


def is_flat(values: FloatArray) -> bool:
    """Whether all measured pixels are as good as equal, as where counts are scaled by nothing.

    Args:
        values: Any shape, in percent or K; what is not finite is missing.

    >>> is_flat(np.array([[250.0, 250.0], [np.nan, 250.0]]))
    True
    """
    measured = values[np.isfinite(values)]
    return bool(measured.size) and bool(np.ptp(measured) < SMALLEST_SPAN)


def static_share(values: FloatArray, *, units: str) -> float:
    """Share of the pixels that stick out of both neighbours in their row as no scene does.

    So do most pixels of a garbled file, whose values are random though each is plausible.

    Args:
        values: Shape (row, column); what is not finite sticks out of nothing.
        units: "percent" (of reflectance) or "K" (of brightness temperature); others have no bounds.

    >>> static_share(np.array([[250.0, 330.0, 251.0, 252.0]]), units="K")
    0.25
    """
    if units not in LARGEST_SPIKES or not values.size:
        return 0.0
    step = np.diff(values, axis=1)
    protrusion = _shared_part(step[:, :-1], -step[:, 1:])
    return float((np.abs(protrusion) > LARGEST_SPIKES[units]).sum() / values.size)


def _shared_part(first: FloatArray, second: FloatArray) -> FloatArray:
    """The smaller of two differences where both have the same sign, 0 elsewhere."""
    upwards = np.maximum(np.minimum(first, second), 0)
    downwards = np.minimum(np.maximum(first, second), 0)
    return upwards + downwards


def _dead_lines(field: FloatArray, protrusion: FloatArray) -> BoolArray:
    """Rows of one value between rows of several, shape (row - 2,): without first and last."""
    flat = np.nanmin(field, axis=1) == np.nanmax(field, axis=1)
    compared = (~np.isnan(protrusion)).sum(axis=1)
    protruding = (np.abs(protrusion) > 0).sum(axis=1) > DEAD_SHARE * compared
    enough = compared >= FEWEST_PIXELS
    return np.asarray(flat[1:-1] & ~flat[:-2] & ~flat[2:] & protruding & enough)


def _row_medians(values: FloatArray) -> FloatArray:
    """Median of each row, NaN where it has fewer than `FEWEST_PIXELS`."""
    n_measured = (~np.isnan(values)).sum(axis=1)
    ordered = np.sort(values, axis=1)  # NaN last
    row = np.arange(len(values))
    medians = (ordered[row, (n_measured - 1) // 2] + ordered[row, n_measured // 2]) / 2
    return np.where(n_measured >= FEWEST_PIXELS, medians, np.nan)
