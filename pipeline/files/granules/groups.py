"""netCDF files with groups as if they had none: variables and dimensions named by their paths."""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr
from xarray.backends import NetCDF4DataStore

from pipeline.files.base.decoding import tidied


class _Dimension(NamedTuple):
    """As a group defines it, by its path."""

    group: str
    name: str
    length: int


def open_groups(path: Path) -> xr.Dataset:
    """The file as it is stored, its attributes those of the root.

    A dimension is named as the variable that holds its coordinates. Those of one name and length
    are one if their coordinates are identical, or where only one of them has coordinates.
    """
    root = NetCDF4DataStore.open(path)  # type: ignore[no-untyped-call]
    variables = {}
    for group in _groups(root.ds):
        store = root if group.parent is None else root.get_child_store(group.path)
        for name, variable in store.get_variables().items():
            variable.dims = [
                _Dimension(each.group().path, each.name, each.size)
                for each in group[name].get_dims()
            ]
            variable.attrs = tidied(variable.attrs)
            variables[path_in(group.path, name)] = variable
    names = _dimension_names(variables)
    for variable in variables.values():
        variable.dims = [names[each] for each in variable.dims]
    opened = xr.Dataset(variables, attrs=tidied(root.get_attrs()))
    opened.set_close(root.close)
    return opened


def path_in(group: str, name: Hashable) -> str:
    """Path of what a group holds, without a slash at its beginning."""
    return f"{group}/{name}".strip("/")


def groups_around(name: str) -> Iterator[str]:
    """Paths of the groups that a variable is in, the innermost first, the root last.

    >>> list(groups_around("a/b/time"))
    ['a/b', 'a', '']
    """
    while name:
        name = name.rpartition("/")[0]
        yield name


def _groups(group: Any) -> Iterator[Any]:
    yield group
    for each in group.groups.values():
        yield from _groups(each)


def _dimension_names(variables: Mapping[str, Any]) -> dict[Hashable, str]:
    """New names of the dimensions of all `variables`."""
    coordinates = _coordinates(variables)
    alike: dict[tuple[str, int], list[_Dimension]] = defaultdict(list)
    for each in dict.fromkeys(chain.from_iterable(each.dims for each in variables.values())):
        alike[each.name, each.length].append(each)
    names: dict[Hashable, str] = {}
    for dimensions in alike.values():
        with_coordinates = [each for each in dimensions if each in coordinates]
        for each in with_coordinates:
            own = coordinates[each]
            names[each] = next(
                coordinates[other]
                for other in with_coordinates
                if other == each or _is_identical(variables[coordinates[other]], variables[own])
            )
        different = {names[each] for each in with_coordinates}
        bare = [each for each in dimensions if each not in coordinates]
        for each in bare:
            shared = different if len(different) == 1 else {_free_name(bare[0], variables)}
            [names[each]] = shared
    return names


def _coordinates(variables: Mapping[str, Any]) -> dict[_Dimension, str]:
    """By dimension, the variable of its name in its group, else the only one in a group inside."""
    found = defaultdict(list)
    for path, variable in variables.items():
        if variable.ndim == 1 and path.rpartition("/")[2] == variable.dims[0].name:
            found[variable.dims[0]].append(path)
    return {
        each: paths[0]
        for each, paths in found.items()
        if len(paths) == 1 or paths[0] == path_in(each.group, each.name)
    }


def _is_identical(one: xr.Variable, other: xr.Variable) -> bool:
    """In values and attributes."""
    first, second = (xr.DataArray(each.values, attrs=each.attrs) for each in (one, other))
    return first.identical(second)


def _free_name(dimension: _Dimension, variables: Mapping[str, Any]) -> str:
    """The path of a dimension, which no variable has that is not its coordinates."""
    path = path_in(dimension.group, dimension.name)
    return f"{path} (dimension)" if path in variables else path
