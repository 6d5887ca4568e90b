"""Values that CF-1.11, section 2.5.1, calls missing though no fill value is stated."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from netCDF4 import default_fillvals

PACKING = ("scale_factor", "add_offset", "_Unsigned")
NEVER_WRITTEN = {kind: default_fillvals[kind] for kind in ("f4", "f8", "i2", "i4", "i8")}


def within_valid_range(variable: xr.DataArray) -> xr.DataArray:
    """`variable`, NaN where it lies outside its valid_range, valid_min or valid_max.

    Of packed values these are in counts, unless they are of another type than the counts. Where no
    fill value is stated, that of netCDF itself stands for what was never written.
    """
    scale = abs(float(variable.encoding.get("scale_factor", 1.0)))
    is_packed = not {"scale_factor", "add_offset"}.isdisjoint(variable.encoding)
    slack = scale / 2 if is_packed else 0.0  # since unpacking rounds
    limits, never_written = [*_limits(variable)], _never_written(variable)
    is_valid = limits and all(low <= never_written <= high for low, high in limits)
    if not is_valid:
        variable = variable.where(variable != never_written)
    for lowest, highest in limits:
        variable = variable.where((variable >= lowest - slack) & (variable <= highest + slack))
    return variable


def _never_written(variable: xr.DataArray) -> Any:
    """The value that netCDF's own fill value became as it was decoded, NaN where there is none."""
    encoding = variable.encoding
    stored = np.dtype(encoding.get("dtype", variable.dtype))
    fill = NEVER_WRITTEN.get(stored.str[1:])
    if fill is None or {"_FillValue", "missing_value"} & {*encoding, *variable.attrs}:
        return np.nan
    packing = {name: encoding[name] for name in PACKING if name in encoding}
    packed = xr.Variable("fill", np.array([fill], stored), packing)
    [value] = xr.conventions.decode_cf_variable("fill", packed).values.astype(variable.dtype)
    return value


def _limits(variable: xr.DataArray) -> Iterator[tuple[float, float]]:
    attributes = variable.attrs
    if "valid_range" in attributes:
        lowest, highest = _unpacked(variable, np.atleast_1d(attributes["valid_range"]))
        yield lowest, highest
    for name, is_lowest in (("valid_min", True), ("valid_max", False)):
        if name in attributes:
            counts = np.atleast_1d(attributes[name])
            [limit] = _unpacked(variable, counts)
            falling = float(variable.encoding.get("scale_factor", 1.0)) < 0
            yield (limit, np.inf) if is_lowest != falling else (-np.inf, limit)


def _unpacked(variable: xr.DataArray, limits: np.ndarray) -> list[float]:
    """Limits in the values of the variable, in ascending order."""
    encoding = variable.encoding
    kind = np.dtype(encoding.get("dtype", variable.dtype))
    if kind.kind in "iu" and limits.dtype.kind in "iu":
        if encoding.get("_Unsigned") == "true":
            limits = limits.astype(kind).view(f"u{kind.itemsize}")
        limits = limits * float(encoding.get("scale_factor", 1.0)) + float(
            encoding.get("add_offset", 0.0)
        )
    return sorted(map(float, limits))
