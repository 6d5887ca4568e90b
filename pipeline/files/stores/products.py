"""Zarr and netCDF products: dimensions, units, chunks and the parameters that made them."""

import dataclasses
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr
import zarr

CONVENTIONS = "CF-1.11"
TIME_ENCODING = {"units": "milliseconds since 1970-01-01", "dtype": "int64"}

ATTRIBUTES: dict[str, dict[str, str]] = {
    "colour": {"long_name": "false colour", "units": "1"},
    "valid": {"long_name": "every channel of the pixel was measured", "units": "1"},
    "latitude": {"standard_name": "latitude", "units": "degrees_north"},
    "longitude": {"standard_name": "longitude", "units": "degrees_east"},
    "angles": {"long_name": "angles of sun and view at every eighth pixel", "units": "degree"},
    "brightness_temperature": {
        "long_name": "window-channel brightness temperature",
        "standard_name": "toa_brightness_temperature",
        "units": "K",
    },
    "reflectance": {
        "long_name": "visible reflectance",
        "standard_name": "toa_bidirectional_reflectance",
        "units": "percent",
    },
    "time": {"long_name": "start time of the granule, UTC", "standard_name": "time"},
    "granule": {"long_name": "file name of the granule"},
    "platform": {"long_name": "satellite", "standard_name": "platform_name"},
    "scene": {"long_name": "position in the scenes of the product", "units": "1"},
    "tile_size": {"long_name": "edge of a tile in pixels", "units": "1"},
    "row": {"long_name": "row of the tile's first pixel", "units": "1"},
    "column": {"long_name": "column of the tile's first pixel", "units": "1"},
    "channel": {"long_name": "channel of the false colour"},
    "minimum": {"long_name": "percent or K that became colour 0"},
    "maximum": {"long_name": "percent or K that became colour 255"},
    "member": {"long_name": "role in the triplet"},
    "split": {"long_name": "part of the days the granule belongs to"},
}


def open_product(path: Path, group: str | None = None) -> xr.Dataset:
    """The product at `path`, read when used.

    Raises:
        FileNotFoundError: If there is none.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; run dvc repro {path}")
    if path.suffix == ".zarr":
        return xr.open_zarr(path, group=group, chunks=None)  # type: ignore[no-any-return]
    return xr.open_dataset(path, group=group, engine="netcdf4")


def write_product(dataset: xr.Dataset, path: Path, params: object) -> None:
    """Write `dataset` as Zarr v3 or netCDF-4, by the suffix, with `params` as an attribute."""
    path.parent.mkdir(parents=True, exist_ok=True)
    product = described(dataset, params)
    encoding: dict[str, dict[str, Any]] = {
        str(name): dict(TIME_ENCODING)
        for name in product.variables
        if product[name].dtype.kind == "M"
    }
    if path.suffix == ".zarr":
        product.to_zarr(path, zarr_format=3, consolidated=False, encoding=encoding)
        consolidate(path)
        return
    for name, variable in product.variables.items():
        if name in product.coords:
            encoding.setdefault(str(name), {})["_FillValue"] = None
        elif variable.dtype.kind in "fiu":
            encoding.setdefault(str(name), {}).update(zlib=True, complevel=4)
    product.to_netcdf(path, engine="netcdf4", encoding=encoding)


def add_to_product(dataset: xr.Dataset, path: Path) -> None:
    """Add the variables of `dataset` to a Zarr product."""
    added = described(dataset, None).assign_attrs(open_product(path).attrs)
    added.to_zarr(path, mode="a", consolidated=False)
    consolidate(path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON, metrics above all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def consolidate(path: Path) -> None:
    """Gather the metadata of a Zarr product in one place, for xarray to open it at once.

    What killed writers left of chunks, under the names zarr gives to unfinished ones, is removed.
    """
    for unfinished in path.rglob("*.partial"):
        unfinished.unlink()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(path)


def described(dataset: xr.Dataset, params: object) -> xr.Dataset:
    """`dataset` with attributes of known variables, and strings as every format stores them."""
    described = dataset.copy()
    for name in dataset.variables:
        variable = described[name]
        if variable.dtype.kind in "UT" or variable.dtype == object:
            described[name] = variable.astype(object)
        described[name].attrs = {**ATTRIBUTES.get(str(name), {}), **variable.attrs}
    if dataclasses.is_dataclass(params) and not isinstance(params, type):
        params = dataclasses.asdict(params)
    if params is not None:
        described.attrs["parameters"] = json.dumps(params, default=str)
    described.attrs["Conventions"] = CONVENTIONS
    return described
