"""Values that CF-1.11, section 2.5.1, calls missing though no fill value is stated."""

from typing import Any

import numpy as np
import xarray as xr
from netCDF4 import default_fillvals

from pipeline.files.base.decoding import stated_numbers

PACKING = ("scale_factor", "add_offset", "_Unsigned")
BYTES = {"S1", "i1", "u1"}  # of which every value may be one


def within_valid_range(variable: xr.DataArray) -> xr.DataArray:
    """`variable`, NaN where it lies outside its valid_range, valid_min or valid_max.

    Of packed values these are in counts, unless they are of another type than the counts. Where no
    fill value is stated, that of netCDF itself stands for what was never written, unless it lies
    between two limits.

    Raises:
        ValueError: If valid_range is not two numbers, or valid_min or valid_max not one.
    """
    (lowest, highest), never_written = _limits(variable), _never_written(variable)
    are_finite = np.isfinite([lowest, highest])
    if not (are_finite.all() and lowest <= never_written <= highest):
        variable = variable.where(variable != never_written)
    if are_finite.any():
        variable = variable.where((variable >= lowest) & (variable <= highest))
    return variable


def _never_written(variable: xr.DataArray) -> Any:
    """NetCDF's default fill value as it was decoded, NaN if the variable has none."""
    encoding = variable.encoding
    stored = np.dtype(encoding.get("dtype", variable.dtype))
    fill = None if stored.str[1:] in BYTES else default_fillvals.get(stored.str[1:])
    if fill is None or {"_FillValue", "missing_value"} & {*encoding, *variable.attrs}:
        return np.nan
    packing = {name: encoding[name] for name in PACKING if name in encoding}
    packed = xr.Variable("fill", np.array([fill], stored), packing)
    [value] = xr.conventions.decode_cf_variable("fill", packed).values.astype(variable.dtype)
    return value


def _limits(variable: xr.DataArray) -> tuple[float, float]:
    """The lowest and the highest valid value, infinite where none is stated."""
    attributes, encoding = variable.attrs, variable.encoding
    scale = float(encoding.get("scale_factor", 1.0))
    is_packed = not {"scale_factor", "add_offset"}.isdisjoint(encoding)
    slack = abs(scale) / 2 if is_packed else 0.0  # since unpacking rounds
    lowest, highest = -np.inf, np.inf
    if "valid_range" in attributes:
        lowest, highest = _unpacked(variable, "valid_range", n_numbers=2)
    for name, is_lowest in (("valid_min", True), ("valid_max", False)):
        if name in attributes:
            [limit] = _unpacked(variable, name, n_numbers=1)
            if is_lowest == (scale > 0):
                lowest = max(lowest, limit)
            else:
                highest = min(highest, limit)
    return lowest - slack, highest + slack


def _unpacked(variable: xr.DataArray, name: str, *, n_numbers: int) -> list[float]:
    """Limits that an attribute states, in the values of the variable and in ascending order."""
    limits = stated_numbers(variable.attrs, name, n_numbers)
    if limits is None:
        wanted = "two numbers" if n_numbers > 1 else "a number"
        raise ValueError(
            f"the {name} of {variable.name} is '{variable.attrs[name]}', which should be {wanted}; "
            "correct it or leave it out"
        )
    encoding = variable.encoding
    kind = np.dtype(encoding.get("dtype", variable.dtype))
    if kind.kind in "iu" and limits.dtype.kind in "iu":
        if encoding.get("_Unsigned") == "true":
            limits = limits.astype(kind).view(f"u{kind.itemsize}")
        limits = limits * float(encoding.get("scale_factor", 1.0)) + float(
            encoding.get("add_offset", 0.0)
        )
    return sorted(map(float, limits))
