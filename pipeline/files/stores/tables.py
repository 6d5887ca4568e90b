"""Long products written block by block, so that memory holds one block."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import xarray as xr

from pipeline.files.stores.products import TIME_ENCODING, consolidate, described

BLOCK = 8192  # rows, and the length of a chunk


def write_blocks(parts: Iterable[xr.Dataset], path: Path, params: object, *, dimension: str) -> int:
    """Append the parts along `dimension` to a Zarr product; return their joint length.

    Args:
        parts: Datasets of the same variables, of any length; attributes, and variables
            without `dimension`, are those of the first.
        path: The product, which must not exist.
        params: What made it.
        dimension: Along which they follow each other.
    """
    length = 0
    for block in _regular(parts, dimension):
        along = block.drop_vars(
            [name for name, each in block.variables.items() if dimension not in each.dims]
        )
        if length:
            along.to_zarr(path, append_dim=dimension, consolidated=False)
        else:
            fixed = described(block.drop_dims(dimension), params)
            encoding = _encoding(along, dimension)
            described(along, None).to_zarr(
                path, zarr_format=3, consolidated=False, encoding=encoding
            )
        length += block.sizes[dimension]
    if length:
        fixed.to_zarr(path, mode="a", consolidated=False)  # last, since appending loses coordinates
        consolidate(path)
    return length


def _encoding(block: xr.Dataset, dimension: str) -> dict[str, dict[str, Any]]:
    lengths = {**block.sizes, dimension: BLOCK}
    return {
        str(name): {
            "chunks": tuple(lengths[each] for each in variable.dims),
            **(TIME_ENCODING if variable.dtype.kind == "M" else {}),
        }
        for name, variable in block.variables.items()
    }


def _regular(parts: Iterable[xr.Dataset], dimension: str) -> Iterator[xr.Dataset]:
    """The same rows in blocks of one length, the last one shorter."""
    held: list[xr.Dataset] = []
    n_held = 0
    for part in parts:
        held.append(part)
        n_held += part.sizes[dimension]
        while n_held >= BLOCK:
            joined = _join(held, dimension)
            yield joined.isel({dimension: slice(BLOCK)})
            held = [joined.isel({dimension: slice(BLOCK, None)})]
            n_held -= BLOCK
    if n_held:
        yield _join(held, dimension)


def _join(parts: list[xr.Dataset], dimension: str) -> xr.Dataset:
    return xr.concat(
        parts,
        dimension,
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
