from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from netCDF4 import Dataset

from pipeline.composite import CompositeParams, sample_gridded
from pipeline.core.axis import closest_cells, closest_points
from pipeline.files.gridded import GriddedVariable, open_gridded
from pipeline.files.stage import parse_params

DAY = np.datetime64("2020-01-10T00", "ns")
ERA5 = {
    "valid_time": {"standard_name": "time", "long_name": "time"},
    "latitude": {"standard_name": "latitude", "units": "degrees_north"},
    "longitude": {"standard_name": "longitude", "units": "degrees_east"},
}

Write = Callable[..., GriddedVariable]


def _hours(*hours: float) -> np.ndarray:
    return DAY + (np.array(hours) * 3600).astype("timedelta64[s]")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a field (time, latitude, longitude) and return the entry of params.yaml for it."""

    def write(field: xr.DataArray, name: str = "era5.nc", **changes: Any) -> GriddedVariable:
        field.to_dataset(name="sst").to_netcdf(tmp_path / name)
        entry = {"name": "sst", "files": str(tmp_path / "*.nc"), "variable": "sst"}
        return GriddedVariable(**{**entry, "select": {}, "max_hours": 3.0, **changes})

    return write


def _era5(hours: np.ndarray | None = None) -> xr.DataArray:
    """Values 100 time + 10 row + column on a globe of 45 and 90 degrees, from north to south."""
    times = _hours(0, 6) if hours is None else hours
    step, row, column = np.indices((len(times), 5, 4))
    return xr.DataArray(
        (100 * step + 10 * row + column).astype(np.float32),
        dims=("valid_time", "latitude", "longitude"),
        coords={
            "valid_time": ("valid_time", times, ERA5["valid_time"]),
            "latitude": ("latitude", np.arange(90.0, -91, -45), ERA5["latitude"]),
            "longitude": ("longitude", np.arange(0.0, 360, 90), ERA5["longitude"]),
            "number": 0,
            "expver": ("valid_time", ["0001"] * len(times)),
        },
        attrs={"units": "K", "long_name": "sea surface temperature"},
    )


def _tiles(*places: tuple[float, float, float]) -> xr.Dataset:
    """Tiles at (hour, latitude, longitude)."""
    hour, latitude, longitude = np.array(places).T
    return xr.Dataset(
        coords={
            "time": ("tile", _hours(*hour)),
            "latitude": ("tile", latitude.astype(np.float32)),
            "longitude": ("tile", longitude.astype(np.float32)),
        }
    )


def test_points_are_the_closest_in_space_and_time(write: Write) -> None:
    tiles = _tiles(
        (0.5, 80, 10),  # 0: first time, first row, first column
        (5.0, 20, 100),  # second time, third row (0), second column (90)
        (5.0, -30, -80),  # fourth row (-45), last column (270)
        (0.0, 0, -20),  # across Greenwich
        (0.0, 0, 179),
        (0.0, 0, -179),  # across the date line
        (0.0, -90, 359),
    )

    found = sample_gridded(write(_era5()), tiles)

    np.testing.assert_array_equal(found, [0, 121, 133, 20, 22, 22, 40])
    assert found.dtype == np.float32
    assert found.attrs["units"] == "K"
    assert found.attrs["long_name"] == "sea surface temperature"
    assert found.attrs["missing_tiles"] == "none"


def test_times_too_far_away_are_missing_and_said_so(write: Write) -> None:
    tiles = _tiles((3.0, 90, 0), (2.9, 90, 0), (9.1, 90, 0), (9.0, 90, 0), (-100, 90, 0))

    found = sample_gridded(write(_era5()), tiles)

    np.testing.assert_array_equal(found, [0, 0, np.nan, 100, np.nan])  # of equals the earlier
    assert found.attrs["missing_tiles"] == "2 more than 3 hours from any time"
    none = sample_gridded(write(_era5(), max_hours=0.0), _tiles((1.0, 0, 0)))
    assert none.attrs["missing_tiles"] == "1 more than 0 hours from any time"


def test_longitudes_may_go_from_minus_180_and_latitudes_up(write: Write) -> None:
    turned = _era5().assign_coords(longitude=[0.0, 90.0, -180.0, -90.0]).sortby("longitude")
    turned = turned.isel(latitude=slice(None, None, -1))
    turned.longitude.attrs, turned.latitude.attrs = ERA5["longitude"], {"units": "degree_N"}
    tiles = _tiles((0, 80, 10), (0, 20, 100), (0, -30, 280), (0, 0, 181), (0, 0, 179))

    found = sample_gridded(write(turned), tiles)

    np.testing.assert_array_equal(found, [0, 21, 33, 22, 22])


def test_places_outside_a_regional_grid_and_gaps_are_missing(write: Write) -> None:
    region = _era5().isel(latitude=slice(1, 3), longitude=slice(0, 2))  # 45, 0; 0, 90
    region[0, 0, 0] = np.nan
    tiles = _tiles((0, 67, 0), (0, 68, 0), (0, 0, 135), (0, 0, 136), (0, 0, -46), (0, 40, 10))

    found = sample_gridded(write(region), tiles)

    np.testing.assert_array_equal(found, [np.nan, np.nan, 21, np.nan, np.nan, np.nan])
    assert found.attrs["missing_tiles"] == "3 outside the grid, 2 missing in the files"


def test_files_beside_grids_and_unfinished_downloads_are_left_out(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("era5.nc.md5", "era5.nc.aux.xml", "later.nc.part", "last.nc", "last.nc.aria2"):
        (tmp_path / name).write_bytes(b"half")
    grid = open_gridded(write(_era5(), files=str(tmp_path / "*")))
    np.testing.assert_array_equal(grid.values, _era5().values)
    assert "downloads of 2 files of sst in composite.gridded did not end" in caplog.text


def test_files_are_joined_by_their_coordinates(write: Write) -> None:
    write(_era5(_hours(48)) + 7, name="a_later.nc")
    wanted = write(_era5(_hours(0, 6)), name="b_earlier.nc")

    found = sample_gridded(wanted, _tiles((47, 90, 90), (6, 90, 90)))

    np.testing.assert_array_equal(found, [8, 101])


def test_one_time_a_file_and_packed_values_are_read(write: Write) -> None:
    for hour in (0, 6):
        field = _era5(_hours(hour)).isel(valid_time=0).rename(valid_time="time") + hour
        field.encoding = {"dtype": "int16", "scale_factor": 0.5, "_FillValue": -1}
        wanted = write(field, name=f"{hour}.nc")

    found = sample_gridded(wanted, _tiles((1, 0, 0), (5, 0, 0)))

    np.testing.assert_array_equal(found, [20, 26])


def test_the_time_is_what_cf_says(write: Write) -> None:
    """As written by cfgrib: the forecast reference time is ignored, valid_time gives the steps."""
    steps = _era5().swap_dims(valid_time="step").assign_coords(step=[0, 6])
    run = xr.Variable((), DAY, {"standard_name": "forecast_reference_time"})
    field = steps.drop_vars("expver").assign_coords(time=run)
    found = sample_gridded(write(field), _tiles((0, 0, 0), (6, 0, 0)))
    np.testing.assert_array_equal(found, [20, 120])


def test_times_may_lie_along_a_dimension_of_any_name(write: Write) -> None:
    field = _era5().drop_vars("expver").swap_dims(valid_time="nt")
    field = field.rename(valid_time="t_obs")
    field.t_obs.attrs.clear()
    found = sample_gridded(write(field), _tiles((0, 0, 0), (6, 0, 0)))
    np.testing.assert_array_equal(found, [20, 120])


def test_a_run_is_selected_by_its_time(write: Write) -> None:
    runs = xr.DataArray(
        _hours(-12, 0), dims="run", attrs={"standard_name": "forecast_reference_time"}
    )
    field = _era5().expand_dims(run=runs) + xr.DataArray([0, 1000], dims="run")
    found = sample_gridded(write(field, select={"run": "2020-01-10T00:00"}), _tiles((0, 0, 0)))
    np.testing.assert_array_equal(found, [1020])


def test_two_times_that_differ_are_refused(write: Write) -> None:
    field = _era5().isel(valid_time=0, drop=True)
    wanted = write(field.assign_coords(start=_hours(0)[0], stop=_hours(1)[0]))
    with pytest.raises(ValueError, match="start and stop tell different times; give one of them"):
        open_gridded(wanted)


def test_values_that_are_not_valid_are_missing(write: Write) -> None:
    field = _era5()
    field.attrs |= {"valid_min": np.float32(0), "valid_max": np.float32(105)}
    found = sample_gridded(write(field), _tiles((0, 0, 0), (6, 90, 0), (6, 0, 0)))
    np.testing.assert_array_equal(found, [20, 100, np.nan])


def test_a_bystander_that_cannot_be_decoded_costs_nothing(write: Write, tmp_path: Path) -> None:
    wanted = write(_era5())
    with Dataset(tmp_path / "era5.nc", "a") as file:
        for name, units in (("age", "months since 1850-01-01"), ("odd", "days since yesterday")):
            file.createVariable(name, "f8", ("valid_time",)).units = units
            file[name][:] = [1.5, 2.5]
    assert open_gridded(wanted).values.ravel()[:2].tolist() == [0, 1]


def test_attributes_are_read_in_whatever_type_they_are(write: Write, tmp_path: Path) -> None:
    wanted = write(_era5())
    with Dataset(tmp_path / "era5.nc", "a") as file:
        file["sst"].setncatts(
            {"scale_factor": "0.5", "missing_value": "3", "valid_range": "0.5, 55"}
        )
        file["latitude"].setncatts({"standard_name": "latitude ", "units": "degrees_north\0"})
    values = open_gridded(wanted).values.ravel()
    np.testing.assert_array_equal(values[:5], [np.nan, 0.5, 1, np.nan, 5])
    np.testing.assert_array_equal(values[[20, 24, 25]], [50, 55, np.nan])


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        (
            "scale_factor",
            "half",
            "sst in .* cannot be decoded: its scale_factor is 'half', which is",
        ),
        ("valid_range", "some", "the valid_range of sst is 'some', which should be two numbers"),
    ],
)
def test_numbers_that_are_none_are_named(
    write: Write, tmp_path: Path, name: str, value: str, detail: str
) -> None:
    wanted = write(_era5())
    with Dataset(tmp_path / "era5.nc", "a") as file:
        file["sst"].setncattr(name, value)
    with pytest.raises(ValueError, match=detail):
        open_gridded(wanted)


def test_files_in_other_units_are_converted_to_those_of_the_first(write: Write) -> None:
    write(_era5(_hours(0)), "a.nc")
    celsius = (_era5(_hours(24)) - 273.15).assign_attrs(units="degC")
    field = open_gridded(write(celsius, "b.nc"))
    assert field.units == "K"
    np.testing.assert_allclose(field.values[1], field.values[0], atol=1e-3)


@pytest.mark.parametrize("units", [{}, {"units": "m"}, {"units": "warmth"}])
def test_files_whose_units_do_not_fit_are_refused(write: Write, units: dict[str, str]) -> None:
    write(_era5(_hours(0)), "a.nc")
    other = write(_era5(_hours(24)).drop_attrs(deep=False).assign_attrs(units), "b.nc")
    said = units.get("units", "none")
    with pytest.raises(ValueError, match=rf"sst is in K in \S+a\.nc, but in {said} in \S+b\.nc"):
        open_gridded(other)


def test_files_that_hold_a_time_twice_are_refused(write: Write) -> None:
    """As preliminary and final months of a reanalysis do, or a download that was repeated."""
    write(_era5(_hours(0, 6)), "a.nc")
    other = write(_era5(_hours(6, 12)), "b.nc")
    message = r"a\.nc and \S+b\.nc both hold sst at \d{4}-\d\d-\d\dT06:00; leave one of them out"
    with pytest.raises(ValueError, match=message):
        open_gridded(other)


def test_a_field_without_time_is_the_same_for_all_tiles(write: Write) -> None:
    field = _era5().isel(valid_time=0, drop=True)

    found = sample_gridded(write(field), _tiles((0, 0, 0), (1000, 0, 90)))

    np.testing.assert_array_equal(found, [20, 21])


def test_a_level_is_selected(write: Write) -> None:
    level = xr.DataArray([500.0, 850.0], dims="level", attrs={"units": "hPa"})
    field = _era5().expand_dims(level=level) + level

    found = sample_gridded(write(field, select={"level": 850}), _tiles((0, 0, 0)))

    np.testing.assert_array_equal(found, [870])


@pytest.mark.parametrize(
    ("change", "changes", "sentence"),
    [
        (
            lambda field: field.expand_dims(level=[500, 850]),
            {},
            r"dimension level of 500, 850; choose one of these by select: \{level: …\} of sst",
        ),
        (
            lambda field: field.expand_dims(level=[500, 850]),
            {"select": {"level": 700}},
            r"choose one of these by select",
        ),
        (
            lambda field: field,
            {"variable": "t2m"},
            r"has no variable t2m, but sst; change variable",
        ),
        (
            lambda field: field.rename(latitude="y").drop_vars("y"),
            {},
            r"has no latitude of one dimension, but \(time, y, longitude\)",
        ),
        (
            lambda field: field.assign_coords(
                valid_time=xr.date_range("2020-01-01", periods=2, calendar="noleap")
            ),
            {},
            r"times of .* are of the calendar noleap",
        ),
    ],
)
def test_fields_on_other_axes_are_refused(
    change: Callable[[xr.DataArray], xr.DataArray],
    changes: dict[str, Any],
    sentence: str,
    write: Write,
) -> None:
    wanted = write(change(_era5()), **changes)

    with pytest.raises(ValueError, match=sentence):
        open_gridded(wanted)


def test_files_that_are_none_or_do_not_fit_are_refused(write: Write, tmp_path: Path) -> None:
    wanted = write(_era5())
    with pytest.raises(FileNotFoundError, match=r"change files of sst in composite\.gridded"):
        open_gridded(GriddedVariable("sst", str(tmp_path / "*.grib"), "sst", {}, 3.0))
    write(_era5(_hours(12)).isel(latitude=slice(2)), name="smaller.nc")
    with pytest.raises(ValueError, match="cannot be read as one grid in netCDF"):
        open_gridded(wanted)
    (tmp_path / "smaller.nc").write_text("no netCDF")
    with pytest.raises(ValueError, match="cannot be read as one grid in netCDF"):
        open_gridded(wanted)


def test_entries_of_params_are_checked(params: dict[str, Any]) -> None:
    entry = {"name": "sst", "files": "*.nc", "variable": "sst", "select": {}, "max_hours": 3.0}
    section = {**params["composite"], "gridded": [entry]}
    assert parse_params("composite", section, CompositeParams).gridded[0].max_hours == 3
    section["gridded"] = [{**entry, "name": "sea surface"}]
    with pytest.raises(ValueError, match=r"composite\.gridded\.0\.name"):
        parse_params("composite", section, CompositeParams)


def test_closest_points_wrap_around_a_period() -> None:
    points = np.array([350.0, 10.0, 180.0])

    index, distance = closest_points(points, np.array([-15.0, 359.0, 1.0, 725.0]), period=360.0)

    np.testing.assert_array_equal(index, [0, 0, 1, 1])
    np.testing.assert_allclose(distance, [5, 9, 9, 5])
    index, distance = closest_points(points, np.array([-15.0, 355.0]))
    np.testing.assert_array_equal(index, [1, 0])
    np.testing.assert_allclose(distance, [25, 5])


def test_cells_agree_with_a_search_through_all_points() -> None:
    rng = np.random.default_rng(0)
    latitudes, longitudes = rng.permutation(np.arange(-89.5, 90)), np.arange(-180, 180, 2.5)
    latitude, longitude = rng.uniform(-90, 90, 500), rng.uniform(-360, 720, 500)

    row, column, inside = closest_cells(latitudes, longitudes, latitude, longitude)

    np.testing.assert_array_equal(row, np.abs(latitudes - latitude[:, None]).argmin(1))
    apart = np.abs((longitudes - longitude[:, None] + 180) % 360 - 180)
    np.testing.assert_array_equal(column, apart.argmin(1))
    assert inside.all()


def test_a_region_across_the_date_line_ends_where_it_ends() -> None:
    longitudes = np.concatenate([np.arange(-180.0, -169), np.arange(170.0, 180)])
    places = np.array([179.6, -171.4, 160.0, 0.0, 90.0])
    _, column, inside = closest_cells(np.arange(-5.0, 6), longitudes, np.zeros(5), places)
    np.testing.assert_array_equal(inside, [True, True, False, False, False])
    np.testing.assert_array_equal(longitudes[column[:2]], [-180, -171])
