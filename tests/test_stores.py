import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline.files import stores


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


def _scene(rows: int, columns: int, fill: int, name: str) -> xr.Dataset:
    plane = ("row", "column")
    return xr.Dataset(
        {
            "colour": (("channel", *plane), np.full((2, rows, columns), fill, np.uint8)),
            "valid": (plane, np.ones((rows, columns), bool)),
            "latitude": (plane, np.full((rows, columns), fill, np.float32)),
        },
        coords={"channel": ["a", "b"]},
        attrs={"granule": name, "platform": "P", "time": np.datetime64("2020-01-01", "ns")},
    )


def test_scenes_of_any_shape_share_one_product(tmp_path: Path) -> None:
    writer = stores.SceneWriter(tmp_path / "scenes.zarr")
    writer.append(_scene(3, 700, 1, "one"))
    writer.append(_scene(5, 4, 2, "two"))
    writer.close(ToyParams(1), {"preset": "toy"})
    scenes = stores.open_product(tmp_path / "scenes.zarr")
    assert dict(scenes.sizes) == {"scene": 2, "channel": 2, "row": 5, "column": 700}
    assert scenes.valid.sum(("row", "column")).values.tolist() == [2100, 20]
    assert (scenes.colour[0, :, :3].values == 1).all()
    assert (scenes.colour[1, :, :5, :4].values == 2).all()
    assert (scenes.colour[1, :, :, 4:].values == 0).all()
    assert np.isnan(scenes.latitude[1, :, 4:].values).all()
    assert list(scenes.granule.values) == ["one", "two"]
    assert scenes.attrs["preset"] == "toy"


def test_cut_tiles_whatever_their_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (3, 2, 20, 30), dtype=np.uint8)
    dataset = xr.Dataset({"colour": (("scene", "channel", "row", "column"), colour)})
    stores.write_product(dataset, tmp_path / "scenes.zarr", None)
    scene, row, column = np.array([2, 0, 2]), np.array([5, 0, 16]), np.array([26, 3, 0])
    tiles = stores.cut_tiles(stores.open_product(tmp_path / "scenes.zarr"), scene, row, column, 4)
    for tile, s, r, c in zip(tiles, scene, row, column, strict=True):
        np.testing.assert_array_equal(tile, colour[s, :, r : r + 4, c : c + 4])
