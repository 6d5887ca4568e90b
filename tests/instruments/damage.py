"""Damaged copies of granules: what transfers, disks and careless rewriting do to files."""

import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from netCDF4 import Dataset
from pyhdf.SD import SD, SDC

ABSURD = (0.0, -1.0, 1e-6, 1e3, 1e30, np.inf, np.nan)  # factors of a scale factor
MOST_FLIPS = 8
SCALES = ("scale_factor", "reflectance_scales", "radiance_scales")
IMAGE_LENGTH_TAG, SHORT = 257, 3  # of TIFF

Change = Callable[[str], "tuple[str | None, Any]"]


def damage(file: Path, kind: str, rng: np.random.Generator) -> str:
    """Damage a file in place, and say how.

    Args:
        file: netCDF-4, HDF4 or GeoTIFF.
        kind: One of `KINDS`.
        rng: Chooses the bytes, the variable, the factor.
    """
    return KINDS[kind](file, rng)


def _truncate(file: Path, rng: np.random.Generator) -> str:
    length = int(rng.integers(1, file.stat().st_size))
    with file.open("r+b") as stream:
        stream.truncate(length)
    return f"{length} bytes left"


def _flip(file: Path, rng: np.random.Generator) -> str:
    content = bytearray(file.read_bytes())
    places = rng.integers(0, len(content), rng.integers(1, MOST_FLIPS + 1))
    bits = rng.integers(0, 8, len(places))
    for place, bit in zip(places, bits, strict=True):
        content[place] ^= 1 << bit
    file.write_bytes(content)
    return f"bits {bits.tolist()} of bytes {places.tolist()} flipped"


def _drop(file: Path, rng: np.random.Generator) -> str:
    name = str(rng.choice(_names(file)))
    rewrite(file, lambda each: (None if each == name else each, ...))
    return f"without {name}"


def _rename(file: Path, rng: np.random.Generator) -> str:
    name = str(rng.choice(_names(file)))
    rewrite(file, lambda each: (f"{each}_" if each == name else each, ...))
    return f"{name} renamed"


def _misshape(file: Path, rng: np.random.Generator) -> str:
    """A variable loses half of its last or first axis; a TIFF claims twice its rows."""
    if file.suffix == ".tif":
        _claim_more_rows(file)
        return "twice the rows claimed"
    name = str(rng.choice(_names(file, at_least=1)))
    axis = int(rng.integers(-1, 1))
    rewrite(file, lambda each: (each, axis if each == name else ...))
    return f"{name} halved along axis {axis}"


def _rescale(file: Path, rng: np.random.Generator) -> str:
    factor = float(rng.choice(ABSURD))
    match file.suffix:
        case ".tif":
            with rasterio.open(file, "r+") as image:
                image.scales = tuple(scale * factor for scale in image.scales)
        case ".hdf":
            return _rescale_hdf4(file, factor, rng)
        case _:
            with Dataset(file, "r+") as content:
                scaled = [each for each in _variables(content) if "scale_factor" in each.ncattrs()]
                chosen = scaled[rng.integers(len(scaled))]
                kind = np.asarray(chosen.scale_factor).dtype
                with np.errstate(over="ignore", invalid="ignore"):
                    chosen.scale_factor = (chosen.scale_factor * np.float64(factor)).astype(kind)
                return f"scale of {chosen.name} times {factor}"
    return f"scales times {factor}"


def _empty(file: Path, _: np.random.Generator) -> str:
    file.write_bytes(b"")
    return "empty"


def _make_directory(file: Path, _: np.random.Generator) -> str:
    file.unlink()
    file.mkdir()
    return "a directory"


def _leave_dangling(file: Path, _: np.random.Generator) -> str:
    file.unlink()
    file.symlink_to(file.with_name("gone"))
    return "a dangling link"


KINDS: dict[str, Callable[[Path, np.random.Generator], str]] = {
    "truncated": _truncate,
    "flipped": _flip,
    "dropped": _drop,
    "renamed": _rename,
    "misshapen": _misshape,
    "rescaled": _rescale,
    "empty": _empty,
    "directory": _make_directory,
    "dangling": _leave_dangling,
}


def _names(file: Path, at_least: int = 0) -> list[str]:
    """Variables or bands with so many dimensions."""
    match file.suffix:
        case ".tif":
            with rasterio.open(file) as image:
                return list(image.descriptions)
        case ".hdf":
            content = SD(str(file))
            names = list(content.datasets())
            content.end()
            return names
        case _:
            with Dataset(file) as content:
                return [each.name for each in _variables(content) if each.ndim >= at_least]


def rewrite(file: Path, change: Change) -> None:
    """The file anew; `change` gives a variable's name, None to drop it, and an axis to halve."""
    original = file.rename(file.with_name(f"original{file.suffix}"))
    match file.suffix:
        case ".tif":
            _copy_geotiff(original, file, change)
        case ".hdf":
            copy_hdf4(original, file, change)
        case _:
            with Dataset(original) as source, Dataset(file, "w") as target:
                _copy_group(source, target, change)
    original.unlink()


def _variables(group: Any) -> list[Any]:
    below = [each for child in group.groups.values() for each in _variables(child)]
    return [*group.variables.values(), *below]


def _copy_group(source: Any, target: Any, change: Change) -> None:
    target.setncatts({name: source.getncattr(name) for name in source.ncattrs()})
    for name, dimension in source.dimensions.items():
        target.createDimension(name, len(dimension))
    for name, variable in source.variables.items():
        variable.set_auto_maskandscale(False)
        new_name, axis = change(name)
        if new_name is None:
            continue
        values, dimensions = _halved(variable[...], axis), list(variable.dimensions)
        if axis is not ... and dimensions:
            dimensions[axis] = f"half_{dimensions[axis]}"
            if dimensions[axis] not in target.dimensions:
                target.createDimension(dimensions[axis], values.shape[axis])
        attributes = {key: variable.getncattr(key) for key in variable.ncattrs()}
        copy = target.createVariable(
            new_name,
            variable.dtype,
            dimensions,
            zlib=variable.filters()["zlib"],
            fill_value=attributes.pop("_FillValue", None),
        )
        copy.setncatts(attributes)
        copy.set_auto_maskandscale(False)
        copy[...] = values
    for name, group in source.groups.items():
        _copy_group(group, target.createGroup(name), change)


def copy_hdf4(source: Path, target: Path, change: Change = lambda name: (name, ...)) -> None:
    """A copy whose arrays are compressed, as those of MODIS are, with some of them changed.

    Source: "MODAPS uses a lossless compression method (GZIP) for compressing the SDSs".
    """
    old, new = SD(str(source)), SD(str(target), SDC.WRITE | SDC.CREATE | SDC.TRUNC)
    for name, (value, _, kind, _) in old.attributes(full=1).items():
        new.attr(name).set(kind, value)
    for name in old.datasets():
        new_name, axis = change(name)
        if new_name is None:
            continue
        array = old.select(name)
        values = _halved(array[:], axis)
        copy = new.create(new_name, array.info()[3], values.shape)
        copy.setcompress(SDC.COMP_DEFLATE, 5)
        for key, (value, _, kind, _) in array.attributes(full=1).items():
            copy.attr(key).set(kind, value)
        copy[:] = values
        copy.endaccess()
        array.endaccess()
    old.end()
    new.end()


def _rescale_hdf4(file: Path, factor: float, rng: np.random.Generator) -> str:
    content = SD(str(file), SDC.WRITE)
    scaled = [
        (name, key)
        for name in content.datasets()
        for key in content.select(name).attributes()
        if key in SCALES
    ]
    name, key = scaled[rng.integers(len(scaled))]
    array = content.select(name)
    value, _, kind, _ = array.attributes(full=1)[key]
    array.attr(key).set(kind, (np.asarray(value) * factor).tolist())
    array.endaccess()
    content.end()
    return f"{key} of {name} times {factor}"


def _copy_geotiff(source: Path, target: Path, change: Change) -> None:
    with rasterio.open(source) as old:
        kept = [index for index in old.indexes if change(old.descriptions[index - 1])[0]]
        profile = {**old.profile, "count": max(1, len(kept))}
        with rasterio.open(target, "w", **profile) as new:
            for place, index in enumerate(kept, start=1):
                new.write(old.read(index), place)
                new.set_band_description(place, change(old.descriptions[index - 1])[0])
            new.scales = tuple(old.scales[index - 1] for index in kept) or (1.0,)
            new.units = tuple(old.units[index - 1] for index in kept) or ("",)
            new.update_tags(**old.tags())


def _claim_more_rows(file: Path) -> None:
    """Doubles the tag ImageLength of a little-endian TIFF."""
    content = bytearray(file.read_bytes())
    (directory,) = struct.unpack_from("<I", content, 4)
    (n_tags,) = struct.unpack_from("<H", content, directory)
    for place in range(directory + 2, directory + 2 + 12 * n_tags, 12):
        tag, kind = struct.unpack_from("<HH", content, place)
        if tag == IMAGE_LENGTH_TAG:
            form = "<H" if kind == SHORT else "<I"
            struct.pack_into(
                form, content, place + 8, 2 * struct.unpack_from(form, content, place + 8)[0]
            )
    file.write_bytes(content)


def _halved(values: Any, axis: Any) -> Any:
    values = np.asarray(values)
    if axis is ... or not values.ndim:
        return values
    return values.take(range(values.shape[axis] // 2), axis)


def copy_tree(files: Sequence[Path], folder: Path) -> list[Path]:
    """Copies of files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copy(file, folder)) for file in files]
