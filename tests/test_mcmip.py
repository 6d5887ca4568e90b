import warnings
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from satpy.scene import Scene

from pipeline.files.mcmip import PIXEL_RAD, WAVELENGTHS_UM, sector_grid, write_mcmip

START = datetime(2020, 1, 10, 18)


def _bands(shape: tuple[int, int]) -> dict[str, np.ndarray]:
    share = np.linspace(0, 1, shape[0] * shape[1]).reshape(shape)
    return {
        name: share if number < 6 else 180 + 150 * share
        for number, name in enumerate(WAVELENGTHS_UM)
    }


def test_satpy_reads_what_was_written(tmp_path: Path) -> None:
    grid = sector_grid(latitude=-20, longitude=-86, n_pixels=40)
    bands = _bands(grid.latitude.shape)
    bands["C02"][3, 5] = np.nan
    path = write_mcmip(tmp_path, grid=grid, bands=bands, start_time=START, sector="M1")
    assert path.name.startswith("OR_ABI-L2-MCMIPM1-M6_G16_s20200101800000_e20200101800260_c")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scene = Scene(filenames=[str(path)], reader="abi_l2_nc")
        scene.load(list(bands))
    assert scene.start_time == START
    for name, values in bands.items():
        read = scene[name]
        reflective = int(name[1:]) <= 6
        half_step = 0.5 * (0.0002442 if reflective else 0.06146)
        found = read.values / 100 if reflective else read.values
        np.testing.assert_allclose(found, values, atol=1.01 * half_step + 1e-5)
        assert read.attrs["units"] == ("%" if reflective else "K")
        assert read.attrs["platform_name"] == "GOES-16"
    longitude, latitude = scene["C14"].attrs["area"].get_lonlats()
    pixel_degrees = 0.02
    np.testing.assert_allclose(latitude, grid.latitude, atol=0.01 * pixel_degrees)
    np.testing.assert_allclose(longitude, grid.longitude, atol=0.01 * pixel_degrees)


def test_a_sector_lies_on_the_fixed_grid_around_its_place() -> None:
    grid = sector_grid(latitude=17, longitude=-48, n_pixels=101)
    assert grid.latitude[50, 50] == pytest.approx(17, abs=0.03)
    assert grid.longitude[50, 50] == pytest.approx(-48, abs=0.03)
    np.testing.assert_allclose(np.diff(grid.x), PIXEL_RAD)
    np.testing.assert_allclose(np.diff(grid.y), -PIXEL_RAD)
    np.testing.assert_allclose(grid.x / PIXEL_RAD % 1, 0.5, atol=1e-6)


def test_one_input_gives_the_same_bytes(tmp_path: Path) -> None:
    grid = sector_grid(latitude=0, longitude=-75, n_pixels=10)
    paths = [
        write_mcmip(
            tmp_path / name,
            grid=grid,
            bands=_bands((10, 10)),
            start_time=START,
            sector="M2",
        )
        for name in ("first", "second")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert [path.name for path in (tmp_path / "first").iterdir()] == [paths[0].name]


def test_pixels_past_the_limb_are_missing() -> None:
    grid = sector_grid(latitude=70, longitude=-75, n_pixels=500)
    assert np.isnan(grid.latitude).any()
    assert np.isfinite(grid.latitude).any()
    np.testing.assert_array_equal(np.isnan(grid.latitude), np.isnan(grid.longitude))


def test_a_place_out_of_sight_is_named() -> None:
    with pytest.raises(ValueError, match=r"0, 100 is out of sight .*fetch\.synthetic\.sectors"):
        sector_grid(latitude=0, longitude=100, n_pixels=10)
