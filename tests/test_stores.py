import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline.files import stores
from pipeline.files.stores import tables


@dataclass(frozen=True)
class ToyParams:
    size: int


def _dataset() -> xr.Dataset:
    return xr.Dataset(
        {"reflectance": ("scene", [1.5, np.nan])},
        coords={
            "granule": ("scene", ["a.tif", "b.tif"]),
            "time": ("scene", np.array(["2020-01-01T12:00:00.800", "2020-01-02"], "M8[ns]")),
        },
        attrs={"title": "Toy"},
    )


@pytest.mark.parametrize("name", ["toy.zarr", "toy.nc"])
def test_product_keeps_values_units_and_params(tmp_path: Path, name: str) -> None:
    stores.write_product(_dataset(), tmp_path / name, ToyParams(3))
    product = stores.open_product(tmp_path / name).load()
    np.testing.assert_array_equal(product.reflectance, [1.5, np.nan])
    np.testing.assert_array_equal(product.time, _dataset().time)
    assert list(product.granule.values) == ["a.tif", "b.tif"]
    assert product.reflectance.attrs["units"] == "percent"
    assert json.loads(product.attrs["parameters"]) == {"size": 3}
    assert product.attrs["Conventions"] == "CF-1.11"


def test_zarr_opens_in_xarray_without_a_warning(tmp_path: Path) -> None:
    stores.write_product(_dataset(), tmp_path / "toy.zarr", ToyParams(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert xr.open_zarr(tmp_path / "toy.zarr").sizes == {"scene": 2}


def test_missing_product_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"toy\.zarr does not exist; run dvc repro"):
        stores.open_product(tmp_path / "toy.zarr")


# --- scenes ---

PLANE = ("row", "column")


def _scene(rows: int, columns: int, fill: int, name: str) -> xr.Dataset:
    lattice = (-(-rows // 8), -(-columns // 8))
    return xr.Dataset(
        {
            "colour": (("channel", *PLANE), np.full((2, rows, columns), fill, np.uint8)),
            "valid": (PLANE, np.ones((rows, columns), bool)),
            "latitude": (PLANE, np.full((rows, columns), fill, np.float32)),
            "angles": (
                ("angle", "lattice_row", "lattice_column"),
                np.full((3, *lattice), fill, np.float32),
            ),
        },
        coords={"channel": ["a", "b"], "angle": ["sun", "view", "glint"]},
        attrs={"granule": name, "platform": "P", "time": np.datetime64("2020-01-01", "ns")},
    )


def _store(folder: Path, *scenes: xr.Dataset) -> xr.Dataset:
    """The product of scenes, each of them written as a part first."""
    parts = [
        stores.write_part(folder / "parts" / str(number), scene)
        for number, scene in enumerate(scenes)
    ]
    store = stores.SceneStore(folder / "scenes.zarr")
    for part in parts:
        store.take_up(part)
    store.close(ToyParams(1), {"preset": "toy"})
    assert not any((folder / "parts").iterdir())
    return stores.open_product(folder / "scenes.zarr")


@pytest.mark.parametrize("order", [1, -1])
def test_scenes_of_any_shape_share_one_product(order: int, tmp_path: Path) -> None:
    given = [_scene(3, 700, 1, "one"), _scene(5, 4, 2, "two"), _scene(600, 30, 3, "three")][::order]
    scenes = _store(tmp_path, *given)
    assert dict(scenes.sizes) == {
        "scene": 3,
        "channel": 2,
        "angle": 3,
        "row": 600,
        "column": 700,
        "lattice_row": 75,
        "lattice_column": 88,
    }
    for number, scene in enumerate(given):
        for name, variable in scene.data_vars.items():
            found = scenes[name][number]
            assert found.dtype == variable.dtype
            missing = np.nan if variable.dtype.kind == "f" else 0
            ends = [(0, scenes.sizes[d] - variable.sizes[d]) for d in variable.dims]
            padded = np.pad(variable.values, ends, constant_values=missing)
            np.testing.assert_array_equal(found.values, padded, err_msg=str(name))
    assert list(scenes.granule.values) == [scene.attrs["granule"] for scene in given]
    assert list(scenes.channel.values) == ["a", "b"]
    assert list(scenes.angle.values) == ["sun", "view", "glint"]
    assert scenes.attrs["preset"] == "toy"
    assert json.loads(scenes.attrs["parameters"]) == {"size": 1}
    assert scenes.angles.attrs["units"] == "degree"


def test_a_variable_may_be_absent_from_some_scenes(tmp_path: Path) -> None:
    """A night without reflectances between two days, or before them."""
    plane = np.full((6, 7), 5.0, np.float32)
    day = _scene(6, 7, 1, "day").assign(reflectance=(PLANE, plane))
    dawn = _scene(9, 3, 2, "dawn").assign(reflectance=(PLANE, np.full((9, 3), 7.0, np.float32)))
    scenes = _store(tmp_path, _scene(4, 4, 3, "night"), day, _scene(8, 8, 4, "moon"), dawn)
    found = scenes.reflectance.values
    assert found.shape == (4, 9, 8)
    assert np.isnan(found[[0, 2]]).all()
    np.testing.assert_array_equal(found[1, :6, :7], plane)
    assert (found[3, :9, :3] == 7).all()
    assert np.isfinite(found).sum() == plane.size + 27
    assert (scenes.latitude[2, :8, :8].values == 4).all()


def test_chunks_of_nothing_but_fill_are_read_as_fill(tmp_path: Path) -> None:
    black = _scene(600, 600, 0, "black")
    black["valid"][:] = False
    black["latitude"][:] = np.nan
    first = black.copy(deep=True)
    first["colour"][:, 513:515, 2] = 9
    scenes = _store(tmp_path, black, first, _scene(2, 2, 5, "small"), black)
    colour = scenes.colour.values
    assert colour[[0, 3]].sum() == 0
    np.testing.assert_array_equal(colour[1], first.colour)
    assert colour[2].sum() == 2 * 2 * 2 * 5
    assert scenes.valid.values.sum() == 4
    assert np.isfinite(scenes.latitude.values).sum() == 4


def test_scenes_larger_than_a_shard_are_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wide = _scene(40, 2600, 0, "wide")
    wide["colour"][:] = rng.integers(0, 256, wide.colour.shape, np.uint8)
    scenes = _store(tmp_path, _scene(10, 10, 1, "small"), wide)
    np.testing.assert_array_equal(scenes.colour[1], wide.colour)
    files = [path for path in (tmp_path / "scenes.zarr/colour/c").rglob("*") if path.is_file()]
    assert len(files) == 3


def test_the_time_of_a_scene_keeps_its_milliseconds(tmp_path: Path) -> None:
    scene = _scene(3, 3, 1, "one")
    scene.attrs["time"] = np.datetime64("2017-07-12T18:11:26.800", "ns")
    scenes = _store(tmp_path, scene, _scene(2, 2, 1, "two"))
    assert scenes.time.values[0] == scene.attrs["time"]
    assert scenes.time.values[1] == np.datetime64("2020-01-01")


def test_a_part_replaces_one_that_was_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "part"
    stores.write_part(
        path,
        _scene(700, 700, 9, "old").assign(reflectance=(PLANE, np.ones((700, 700), np.float32))),
    )
    part = stores.write_part(path, _scene(3, 3, 1, "new"))
    assert not (path / "reflectance").exists()
    assert part.granule == "new"
    assert part.sizes["row"] == 3
    assert "reflectance" not in part.variables


# --- tables ---


def _table(first: int, length: int) -> xr.Dataset:
    """Rows `first` onwards of a long table, with a variable of its own for the whole."""
    tile = np.arange(first, first + length)
    day = np.datetime64("2020-01-01T00:00:00.250", "ns")
    return xr.Dataset(
        {
            "embedding": (("tile", "dimension"), np.stack([tile, -tile], 1).astype(np.float32)),
            "reflectance": ("tile", tile / 7, {"units": "percent"}),
        },
        coords={
            "scene": ("tile", tile.astype(np.int32)),
            "time": ("tile", day + tile.astype("timedelta64[s]")),
            "split": ("tile", np.array([f"part {n % 3}" for n in tile], dtype=object)),
            "granule": ("granule_number", np.array(["a.nc", "b.nc"], dtype=object)),
        },
        attrs={"tile_size": 16},
    )


@pytest.mark.parametrize(
    "lengths",
    [
        [5],
        [tables.BLOCK],
        [tables.BLOCK, 1],
        [tables.BLOCK - 1, 1, 1],
        [3] * 4000,
        [2 * tables.BLOCK + 17, 4, tables.BLOCK],
        [0, 7, 0, 9],
    ],
    ids=["small", "block", "block + 1", "around", "many", "large", "empty"],
)
def test_blocks_are_one_concatenation(lengths: list[int], tmp_path: Path) -> None:
    starts = np.cumsum([0, *lengths])
    parts = (_table(start, length) for start, length in zip(starts, lengths, strict=False))
    path = tmp_path / "table.zarr"
    assert stores.write_blocks(parts, path, ToyParams(4), dimension="tile") == starts[-1]
    found = stores.open_product(path).load()
    expected = _table(0, starts[-1])
    for name, variable in expected.variables.items():
        np.testing.assert_array_equal(found[name].values, variable.values, err_msg=str(name))
        assert found[name].dims == variable.dims
        assert name in found.coords or name in expected.data_vars
    assert found.time.dtype == "M8[ns]"
    assert found.reflectance.attrs["long_name"] == "visible reflectance"
    assert found.attrs["tile_size"] == 16
    assert json.loads(found.attrs["parameters"]) == {"size": 4}
    chunks = {name: found[name].encoding["chunks"] for name in ("embedding", "time")}
    assert chunks == {"embedding": (tables.BLOCK, 2), "time": (tables.BLOCK,)}


def test_blocks_open_without_a_warning(tmp_path: Path) -> None:
    parts = [_table(0, 5), _table(5, tables.BLOCK)]
    stores.write_blocks(parts, tmp_path / "table.zarr", None, dimension="tile")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert xr.open_zarr(tmp_path / "table.zarr").sizes["tile"] == tables.BLOCK + 5


def test_without_rows_there_is_no_product(tmp_path: Path) -> None:
    path = tmp_path / "table.zarr"
    assert stores.write_blocks([], path, None, dimension="tile") == 0
    assert not path.exists()


@pytest.mark.parametrize("chunk", [512, 8])
def test_cut_tiles_whatever_their_order_and_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    for edge in ("row", "column"):
        monkeypatch.setitem(stores.scenes.CHUNKS, edge, chunk)
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (3, 2, 20, 30), dtype=np.uint8)
    dataset = xr.Dataset({"colour": (("scene", "channel", "row", "column"), colour)})
    stores.write_product(dataset, tmp_path / "scenes.zarr", None)
    scene = np.array([2, 0, 2, 2, 0, 2])
    row, column = np.array([5, 0, 16, 5, 0, 6]), np.array([26, 3, 0, 26, 7, 25])
    tiles = stores.cut_tiles(stores.open_product(tmp_path / "scenes.zarr"), scene, row, column, 4)
    for tile, s, r, c in zip(tiles, scene, row, column, strict=True):
        np.testing.assert_array_equal(tile, colour[s, :, r : r + 4, c : c + 4])
