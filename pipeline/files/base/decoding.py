"""Decode netCDF variables in spite of malformed attributes and undecodable other variables."""

import re
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

NUMBERS = {"scale_factor", "add_offset", "missing_value", "valid_min", "valid_max", "valid_range"}
WORDS = {
    *("units", "standard_name", "long_name", "axis", "calendar", "coordinates"),
    *("grid_mapping", "grid_mapping_name", "platform", "platform_name", "modifiers"),
    *("time_coverage_start", "time_coverage_end", "start_time", "date_created"),
}


def tidied(attributes: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Attributes in the types that CF prescribes: text without padding, numbers not as text.

    >>> tidied({"units": 1, "scale_factor": "0.01", "valid_range": "0, 100 "})
    {'units': '1', 'scale_factor': 0.01, 'valid_range': array([  0, 100])}
    """
    return {
        name: _as_numbers(value) if name in NUMBERS else _as_words(value, is_word=name in WORDS)
        for name, value in attributes.items()
    }


def stated_numbers(
    attributes: Mapping[Hashable, Any], name: str, n_numbers: int = 1
) -> NDArray[Any] | None:
    """Values of an attribute, shape (number,); None if it is absent or not that many numbers."""
    found = np.atleast_1d(attributes.get(name, ()))
    return found if found.shape == (n_numbers,) and found.dtype.kind in "iuf" else None


def decoded(raw: xr.Dataset) -> xr.Dataset:
    """`raw` without the variables that cannot be decoded, such as times in months."""
    odd = [name for name in raw.variables if undecodable(raw, name)]
    return xr.decode_cf(raw.drop_vars(odd), decode_timedelta=False)


def undecodable(raw: xr.Dataset, name: Hashable) -> str:
    """Why the variable cannot be decoded; empty if it can."""
    variable = raw.variables[name]
    for attribute in ("scale_factor", "add_offset"):
        if attribute not in variable.attrs:
            continue
        factor = stated_numbers(variable.attrs, attribute)
        if factor is None or not np.isfinite(factor).all():
            return f"its {attribute} is '{variable.attrs[attribute]}', which is no number"
    try:
        xr.conventions.decode_cf_variable(name, variable, decode_timedelta=False)
    except Exception as error:  # by whatever it is that its attributes say
        return str(error) or type(error).__name__
    return ""


def _as_words(value: Any, *, is_word: bool) -> Any:
    if isinstance(value, str):
        return value.strip("\0 \t\r\n")
    if not is_word:
        return value
    return ", ".join(str(each).strip() for each in np.atleast_1d(value))


def _as_numbers(value: Any) -> Any:
    """The number or numbers in a text; the value itself if it is something else."""
    if not isinstance(value, str):
        return value
    try:
        numbers = np.array([_number(each) for each in re.split(r"[,\s]+", value.strip())])
    except ValueError:
        return value
    return numbers if len(numbers) > 1 else numbers[0].item()


def _number(text: str) -> float:
    try:
        return int(text)  # counts, where floats are values
    except ValueError:
        return float(text)
