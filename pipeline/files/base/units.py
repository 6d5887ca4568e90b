"""Units by the names of UDUNITS-2."""

from typing import Any

from cf_units import Unit  # type: ignore[import-untyped]


def known_unit(text: str | None) -> Any:
    """The unit of that name in UDUNITS-2, None where there is none."""
    try:
        unit = Unit(text or "")
    except ValueError:
        return None
    return None if unit.is_unknown() or unit.is_no_unit() else unit
