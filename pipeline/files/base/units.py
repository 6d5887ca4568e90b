"""Units as UDUNITS-2 names them."""

from typing import Any

from cf_units import Unit  # type: ignore[import-untyped]


def known_unit(text: str | None) -> Any:
    """The UDUNITS-2 unit of that name, or None if it is unknown."""
    try:
        unit = Unit(text or "")
    except ValueError:
        return None
    return None if unit.is_unknown() or unit.is_no_unit() else unit
