"""What satpy itself writes, CF netCDF and GeoTIFF, is read back."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from instruments.finding import find_granules
from pyresample import create_area_def
from satpy.scene import Scene

from pipeline.core.sphere import great_circle_km
from pipeline.files.granules import (
    GeotiffConventions,
    NetcdfConventions,
    granule,
    read_granule,
)

START = datetime(2020, 9, 6, 0, 15)
CONVENTIONS = NetcdfConventions({}, "latitude", "longitude", "", "")
BANDS = {"infrared_window": ["IR_108"], "shortwave_infrared": ["IR_039"]}
RAMP = np.linspace(0, 1, 30 * 40).reshape(30, 40)
FIELDS = {"IR_039": 250 + 60 * RAMP, "IR_108": 220 + 80 * RAMP}

pytestmark = pytest.mark.filterwarnings("ignore")  # of satpy's writers


def _scene(fields: dict[str, np.ndarray], **attributes: Any) -> Scene:
    area = create_area_def(
        "seviri",
        {"proj": "geos", "lon_0": 0.0, "h": 35785831.0, "a": 6378169.0, "b": 6356583.8},
        shape=(30, 40),
        resolution=3000,
        center=(-400000, -900000),
        units="m",
    )
    x, y = area.get_proj_vectors()
    lines = np.datetime64(START, "ns") + np.arange(30) * np.timedelta64(1, "s")
    scene = Scene()
    for name, field in fields.items():
        scene[name] = xr.DataArray(
            field.astype(np.float32),
            dims=("y", "x"),
            coords={"y": y, "x": x, "acq_time": ("y", lines)},
            attrs={
                **{"name": name, "units": "K", "area": area, "start_time": START},
                **{"platform_name": "Meteosat-11", "sensor": "seviri", "modifiers": ()},
                **attributes,
            },
        )
    return scene


def _found(folder: Path) -> Any:
    [found], others = find_granules(folder.iterdir())
    assert others == []
    assert found.start_time == START
    return found


def _assert_places(read: xr.Dataset, scene: Scene) -> None:
    longitude, latitude = scene["IR_108"].attrs["area"].get_lonlats()
    found = (read[name].values.astype(float) for name in ("latitude", "longitude"))
    assert great_circle_km(*found, latitude, longitude).max() < 0.1


@pytest.mark.parametrize("with_places", [True, False])
def test_cf_is_read_by_the_attributes_of_its_variables(with_places: bool, tmp_path: Path) -> None:
    scene = _scene(FIELDS)
    scene.save_datasets(writer="cf", filename=str(tmp_path / "a.nc"), include_lonlats=with_places)
    found = _found(tmp_path)
    read = read_granule(found.files, found.reader, BANDS, netcdf=CONVENTIONS)
    for wanted, [name] in BANDS.items():
        np.testing.assert_allclose(read[wanted], FIELDS[name], atol=1e-3)
        assert read[wanted].attrs["units"] == "K"
    assert read.attrs["time"] == np.datetime64(START)
    assert read.attrs["platform"] == "Meteosat-11"
    _assert_places(read, scene)


@pytest.mark.parametrize("modifiers", [(), ("sunz_corrected",)])
def test_cf_says_whether_a_reflectance_is_corrected_for_the_sun(
    modifiers: tuple[str, ...], tmp_path: Path
) -> None:
    scene = _scene({"VIS006": 100 * RAMP}, units="%", modifiers=modifiers)
    scene.save_datasets(writer="cf", filename=str(tmp_path / "a.nc"))
    found = _found(tmp_path)
    read = read_granule(found.files, found.reader, {"visible": ["VIS006"]}, netcdf=CONVENTIONS)
    assert read.visible.attrs["sun_corrected"] is bool(modifiers)
    np.testing.assert_allclose(read.visible, 100 * RAMP, atol=1e-3)


def test_geotiffs_of_a_scene_are_one_granule(tmp_path: Path) -> None:
    scene = _scene(FIELDS)
    scene.save_datasets(writer="geotiff", base_dir=str(tmp_path), enhance=False, dtype=np.float32)
    assert len(list(tmp_path.iterdir())) == 2
    found = _found(tmp_path)
    assert found.name == "IR_039_20200906_001500.tif"
    conventions = GeotiffConventions(dict.fromkeys(FIELDS, "K"))
    read = read_granule(found.files, found.reader, BANDS, netcdf=CONVENTIONS, geotiff=conventions)
    for wanted, [name] in BANDS.items():
        np.testing.assert_allclose(read[wanted], FIELDS[name], atol=1e-3)
    assert read.attrs["time"] == np.datetime64(START)
    _assert_places(read, scene)
    with pytest.raises(granule.UnusableGranuleError, match=r"its IR_108 has no units; give them"):
        read_granule(found.files, found.reader, {"window": ["IR_108"]}, netcdf=CONVENTIONS)


def test_counts_of_a_geotiff_are_scaled_by_its_tags(tmp_path: Path) -> None:
    scene = _scene({"IR_108": FIELDS["IR_108"]})
    scene.save_datasets(
        writer="geotiff", base_dir=str(tmp_path), scale_offset_tags=("scale", "offset")
    )
    found = _found(tmp_path)
    conventions = GeotiffConventions({"IR_108": "K"})
    read = read_granule(
        found.files, found.reader, {"window": ["IR_108"]}, netcdf=CONVENTIONS, geotiff=conventions
    )
    errors = np.abs(read.window - FIELDS["IR_108"])
    assert (errors < 0.2).mean() > 0.99  # satpy cuts off 0.5 % of either end
    assert errors.max() < 0.5


def test_a_colour_picture_has_its_colours_as_bands(tmp_path: Path) -> None:
    scene = _scene({"IR_108": RAMP})
    colours = xr.concat([scene["IR_108"] * share for share in (1.0, 0.5, 0.25)], dim="bands")
    scene["true_colour"] = colours.assign_coords(bands=["R", "G", "B"]).transpose("bands", "y", "x")
    scene["true_colour"].attrs = {**scene["IR_108"].attrs, "name": "true_colour", "mode": "RGB"}
    scene.save_dataset("true_colour", writer="geotiff", base_dir=str(tmp_path), enhance=False,
                       dtype=np.uint8, fill_value=0)  # fmt: skip
    found = _found(tmp_path)
    bands = {name: [name] for name in ("red", "green", "blue")}
    read = read_granule(found.files, found.reader, bands, netcdf=CONVENTIONS)
    assert float(read.red.max()) <= 100
    assert read.red.attrs["units"] == "percent"


def test_pictures_of_two_regions_at_one_time_are_two_granules(
    tmp_path: Path, write_geotiff: Any
) -> None:
    for region in ("atlantic", "pacific"):
        write_geotiff(tmp_path / f"{region}_20200906_001500.tif", {"visible": RAMP})
    found, _ = find_granules(tmp_path.iterdir())
    assert len(found) == 2
