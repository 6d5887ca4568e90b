"""What the values of a band are in: percent of reflectance, kelvin, or what the user declares."""

import re
from typing import Any

import numpy as np
from cf_units import Unit  # type: ignore[import-untyped]

from pipeline.files.base.units import known_unit
from pipeline.files.granules.granule import FloatArray, UnusableGranuleError

PERCENT, KELVIN = "percent", "K"
EXPECTED = {
    **dict.fromkeys(("blue", "green", "red", "visible", "near_infrared"), PERCENT),
    **dict.fromkeys(("near_infrared_1_6um", "near_infrared_2_2um"), PERCENT),
    **dict.fromkeys(("shortwave_infrared", "water_vapour"), KELVIN),
    **dict.fromkeys(("infrared_window", "infrared_12um"), KELVIN),
}

# Radians and counts are without a dimension, too, and no reflectance.
PERCENTAGE = re.compile(r"[-+*^.\deE ]*(%|percent)", re.IGNORECASE)
# C alone is a coulomb there and F a farad, in which no temperature is; º is a Spanish ordinal.
DEGREES = re.compile(r"(deg(ree)?s?|[°º])?[ _.]*([CFK])(elsius|ahrenheit|elvins?)?", re.IGNORECASE)
SCALES = {"c": "degC", "f": "degF", "k": "K"}
NUMBER = re.compile(r"[-+*^.\deE ]*\d[-+*^.\deE ]*")


def in_known_units(
    values: FloatArray,
    *,
    wanted: str,
    name: str,
    stated: str | None,
    declared: str | None,
    key: str,
) -> tuple[FloatArray, str]:
    """Values of a band in percent or K, or in the declared units of another quantity; and which.

    Args:
        values: As the file has them.
        wanted: What the band serves as, such as `visible`.
        name: Of the band in the file.
        stated: Units in the file, in the words of UDUNITS-2; None or empty without.
        declared: Units in the parameters, of a band whose file states none, or of which another
            quantity than of its kind is meant.
        key: Of the parameters that declare units, for the sentence.

    Raises:
        UnusableGranuleError: If nothing tells the units, or those are not of the kind of band.
    """
    stated, declared = (text.strip() if text else None for text in (stated, declared))
    expected = EXPECTED.get(wanted)
    if expected == KELVIN:
        stated, declared = _temperature(stated), _temperature(declared)
    unit, target = known_unit(stated), known_unit(declared)
    if unit is None:
        if target is None:
            given = f"is in {stated}, which is no known unit" if stated else "has no units"
            raise _refused(f"its {name} {given}; give them in the file or by {name} in {key}")
        unit, stated = target, declared
    if target is not None and not unit.is_convertible(target):
        raise _refused(f"its {name} is in {stated}, not in {declared} as {key} has it")
    text = declared or stated or ""
    quantity = _quantity(text, target or unit, expected)
    of_other_kind = quantity is not None and quantity != expected
    if expected and (of_other_kind or (quantity is None and not declared)):
        raise _refused(
            f"its {name} is in {stated}, but {wanted} should be in {expected}; change ingest.bands"
            + ("" if of_other_kind else f", or declare {{{name}: {stated}}} in {key}")
        )
    converted = unit.convert(values, Unit(quantity or text))
    return np.asarray(converted, np.float32), quantity or text


def _temperature(text: str | None) -> str | None:
    """The name in UDUNITS-2 of a unit of temperature that is spelled otherwise."""
    found = DEGREES.fullmatch(text.strip()) if text else None
    return SCALES[found[3].lower()] if found else text


def _quantity(text: str, unit: Any, expected: str | None) -> str | None:
    """In what the band is stored if it is a reflectance or a temperature; a bare number may be."""
    if unit.is_convertible(KELVIN):
        return KELVIN
    is_share = PERCENTAGE.fullmatch(text) or (expected == PERCENT and NUMBER.fullmatch(text))
    return PERCENT if is_share else None


def _refused(detail: str) -> UnusableGranuleError:
    return UnusableGranuleError("other units", detail)
