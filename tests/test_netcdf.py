"""Plain netCDF: level-2 products and model output."""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from instruments.finding import find_granules
from netCDF4 import Dataset, date2num, default_fillvals

from pipeline.core.sphere import great_circle_km
from pipeline.files import granules
from pipeline.files.granules import (
    NetcdfConventions,
    UnusableGranuleError,
    without_description,
)
from pipeline.files.mcmip import (
    GRID_LONGITUDE,
    SATELLITE_HEIGHT_M,
    SEMI_MAJOR_AXIS_M,
    SEMI_MINOR_AXIS_M,
    sector_grid,
)

REAL = Path(__file__).parents[2] / "shared/data/fields"
PLACES = ("latitude", "longitude")
UNITS = {"rlut": "W m-2", "clt": "%", "COD": "1"}
BANDS = {"infrared_window": ["rlut"], "visible": ["clt"], "optical_depth": ["COD"]}
RLUT = np.arange(2 * 3 * 4).reshape(2, 3, 4) + 200.0
LATITUDE, LONGITUDE = np.array([10.0, 0.0, -10.0]), np.array([0.0, 90.0, 180.0, 270.0])
TIMES = np.array(["2020-06-01T00:00", "2020-06-01T06:00"], "M8[ns]")
SWATH = [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]
CLOUD = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
SINCE = {"units": "hours since 2020-06-01"}
NORTH, EAST = {"units": "degrees_north"}, {"units": "degrees_east"}
INDICES: dict[str, Any] = {"y": (("y",), [0, 1], {}), "x": (("x",), [0, 1, 2], {})}
PLATE_CARREE = {"grid_mapping_name": "latitude_longitude", "semi_major_axis": 6378137.0}


def _read(path: Path, step: int = 0, bands: Any = BANDS, **conventions: Any) -> xr.Dataset:
    defaults = {
        "units": UNITS,
        "latitude": "latitude",
        "longitude": "longitude",
        "projection": "",
        "platform": "ICON",
    }
    return granules.read_granule(
        [path],
        "netcdf",
        bands,
        netcdf=NetcdfConventions(**{**defaults, **conventions}),
        step=step,
    )


def _model(**attributes: Any) -> xr.Dataset:
    """Output of a model on latitudes and longitudes, at two times."""
    return xr.Dataset(
        {"rlut": (("time", "latitude", "longitude"), RLUT, {"units": "W m-2"})},
        coords={"time": TIMES, "latitude": LATITUDE, "longitude": LONGITUDE},
        attrs=attributes,
    )


def _write(dataset: xr.Dataset, path: Path, **encoding: Any) -> Path:
    dataset.to_netcdf(path, engine="netcdf4", encoding=encoding)
    return path


def _write_layout(path: Path, layout: dict[str, Any], **attributes: str) -> Path:
    """Groups by path: their dimensions, and variables as (dimensions, values, attributes)."""
    with Dataset(path, "w") as file:
        file.setncatts(attributes)
        for place, (dimensions, variables) in layout.items():
            group = file.createGroup(place) if place else file
            for name, length in dimensions.items():
                group.createDimension(name, length)
            for name, (dims, values, attrs) in variables.items():
                kind = np.asarray(values).dtype
                group.createVariable(name, kind, dims).setncatts(attrs)
                group[name][:] = values
    return path


def _refused(read: Any, detail: str) -> str:
    """The reason of a rejection with this detail."""
    with pytest.raises(UnusableGranuleError, match=detail) as raised:
        read()
    return raised.value.reason


# --- times ---


def test_every_time_of_a_file_is_a_granule(tmp_path: Path) -> None:
    path = _write(_model(), tmp_path / "model.nc")
    found, others = find_granules([path])
    assert others == []
    assert [(granule.name, granule.step) for granule in found] == [
        ("model.nc@20200601T000000", 0),
        ("model.nc@20200601T060000", 1),
    ]
    assert [granule.start_time for granule in found] == list(TIMES.astype("M8[s]").tolist())
    for granule in found:
        read = _read(path, granule.step)
        np.testing.assert_array_equal(np.sort(read.infrared_window, axis=1), RLUT[granule.step])
        assert read.attrs == {"time": TIMES[granule.step], "platform": "ICON"}
        assert read.infrared_window.attrs == {"units": "W m-2", "sun_corrected": True}
        assert list(read.data_vars) == ["infrared_window", "latitude", "longitude"]


def test_the_longer_of_two_time_axes_counts(tmp_path: Path) -> None:
    run = np.array(["2020-05-31T12"], "M8[ns]")
    path = _write(_model().expand_dims(reference_time=run), tmp_path / "model.nc")
    found, _ = find_granules([path])
    assert [granule.start_time for granule in found] == list(TIMES.astype("M8[s]").tolist())
    for granule in found:
        read = _read(path, granule.step)
        np.testing.assert_array_equal(np.sort(read.infrared_window, axis=1), RLUT[granule.step])


def test_two_axes_of_several_times_are_refused(tmp_path: Path) -> None:
    runs = np.array(["2020-05-31T00", "2020-05-31T12"], "M8[ns]")
    path = _write(_model().expand_dims(reference_time=runs), tmp_path / "model.nc")
    with pytest.raises(UnusableGranuleError, match="are axes of several times each; keep one"):
        _read(path, 0)


@pytest.mark.parametrize("with_bystander", [False, True])
def test_times_may_lie_along_any_dimension_but_those_of_places(
    with_bystander: bool, tmp_path: Path
) -> None:
    field = np.moveaxis(RLUT, 0, 2)
    lines = TIMES[[0, 0, 1]]
    model = xr.Dataset(
        {"rlut": (("latitude", "longitude", "nt"), field, {"units": "W m-2"})},
        coords={"latitude": LATITUDE, "longitude": LONGITUDE},
    ).assign(t_obs=("nt", TIMES), t_line=("latitude", lines))
    if with_bystander:
        model["weights"] = (("a", "b", "nt", "c"), np.zeros((2, 2, 2, 2)))
    path = _write(model, tmp_path / "a.nc")
    found, _ = find_granules([path])
    assert [granule.start_time for granule in found] == list(TIMES.astype("M8[s]").tolist())
    for granule in found:
        read = _read(path, granule.step)
        assert read.attrs["time"] == TIMES[granule.step]
        np.testing.assert_array_equal(np.sort(read.infrared_window, axis=1), RLUT[granule.step])


SCAN: dict[str, Any] = {
    "latitude": (("line", "pixel"), SWATH[0], NORTH),
    "longitude": (("line", "pixel"), SWATH[1], EAST),
    "clt": (("line", "pixel"), CLOUD, {"units": "%"}),
}


@pytest.mark.parametrize(
    "times",
    [
        {"time": (("line",), [6.0, 7.0], SINCE)},
        {"t": (("line",), [6.0, 7.0], {**SINCE, "standard_name": "time"})},
        {"line": (("line",), [6.0, 7.0], SINCE)},
        {"time": (("scan",), [6.0, 7.0], SINCE), "bounds": (("scan", "edge"), np.eye(2), {})},
        {
            "time": (("line",), [6.0, 7.0], SINCE),
            "radiances": (("line", "pixel", "channel"), np.zeros((2, 3, 4)), {}),
        },
        {"time": (("line", "pixel"), CLOUD, SINCE)},
    ],
    ids=["name", "standard name", "coordinate", "scans", "channels", "pixels"],
)
@pytest.mark.parametrize("place", ["", "geolocation"])
def test_times_of_lines_are_not_those_of_granules(
    times: dict[str, Any], place: str, tmp_path: Path
) -> None:
    dimensions = {"line": 2, "pixel": 3, "scan": 2, "edge": 2, "channel": 4}
    layout = {"": (dimensions, times), place: (dimensions if not place else {}, {**SCAN, **times})}
    told = {"time_coverage_start": "2020-06-01T06:00:00Z"}
    path = _write_layout(tmp_path / "a.nc", layout, **told)
    [granule], _ = find_granules([path])
    names = {name: f"{place}/{name}".strip("/") for name in SCAN}
    places = {name: names[name] for name in PLACES}
    read = _read(path, granule.step, {"visible": [names["clt"]]}, **places)
    assert np.datetime64(granule.start_time) == read.attrs["time"] == TIMES[1]
    np.testing.assert_array_equal(read.visible, CLOUD)
    bare = partial(_read, _write_layout(tmp_path / "b.nc", layout), 0, {"visible": [names["clt"]]})
    detail = "it has no time of a whole field, since its .* lies along .*; give it the attribute"
    assert _refused(partial(bare, **places), detail) == "unreadable"


@pytest.mark.parametrize(
    "others",
    [
        {
            "latitude": (("n", "latitude", "longitude"), [SWATH[0]] * 2, NORTH),
            "longitude": (("n", "latitude", "longitude"), [SWATH[1]] * 2, EAST),
        },
        {
            "latitude": (("n", "latitude"), [[1.0, 0.0]] * 2, NORTH),
            "longitude": (("n", "longitude"), [[0.0, 1.0, 2.0]] * 2, EAST),
        },
        {"satellite_latitude": (("n",), [0.0, 0.0], NORTH)},
        {"sst": (("n", "latitude", "longitude"), [CLOUD] * 2, {"units": "degrees_C"})},
    ],
    ids=["moving swath", "moving grid", "satellite", "degrees of temperature"],
)
def test_times_along_a_dimension_of_places_that_move_are_those_of_granules(
    others: dict[str, Any], tmp_path: Path
) -> None:
    variables = {
        "latitude": (("latitude",), [1.0, 0.0], NORTH),
        "longitude": (("longitude",), [0.0, 1.0, 2.0], EAST),
        "clt": (("n", "latitude", "longitude"), [CLOUD, CLOUD + 1], {"units": "%"}),
        "t_obs": (("n",), [0.0, 6.0], SINCE),
        **others,
    }
    layout = {"": ({"n": 2, "latitude": 2, "longitude": 3}, variables)}
    path = _write_layout(tmp_path / "a.nc", layout)
    found, _ = find_granules([path])
    assert [granule.start_time for granule in found] == list(TIMES.astype("M8[s]").tolist())
    np.testing.assert_array_equal(_read(path, 1).visible, CLOUD + 1)


@pytest.mark.parametrize(("rows", "columns"), [("latitude", "longitude"), ("row", "column")])
def test_times_of_rows_do_not_deny_those_of_fields(rows: str, columns: str, tmp_path: Path) -> None:
    variables = {
        "latitude": ((rows,), [1.0, 0.0], {}),
        "longitude": ((columns,), [0.0, 1.0, 2.0], {}),
        "lat": (("n",), [5.0, 6.0], NORTH),  # of a ship, say
        "lon": (("n",), [5.0, 6.0], EAST),
        "clt": (("n", rows, columns), [CLOUD, CLOUD + 1], {"units": "%"}),
        "t_obs": (("n",), [0.0, 6.0], SINCE),
        "t_row": ((rows,), [7.0, 8.0], SINCE),
    }
    path = _write_layout(tmp_path / "a.nc", {"": ({"n": 2, rows: 2, columns: 3}, variables)})
    found, _ = find_granules([path])
    assert [granule.start_time for granule in found] == list(TIMES.astype("M8[s]").tolist())
    np.testing.assert_array_equal(_read(path, 1).visible, CLOUD + 1)


def test_finding_times_decodes_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = set()
    decode = xr.conventions.decode_cf_variable

    def spy(name: str, *args: Any, **options: Any) -> Any:
        decoded.add(name)
        return decode(name, *args, **options)

    monkeypatch.setattr(xr.conventions, "decode_cf_variable", spy)
    assert len(find_granules([_write(_model(), tmp_path / "a.nc")])[0]) == 2
    assert decoded == {"time"}


def test_axes_of_variables_that_no_one_asked_for_are_of_no_concern(tmp_path: Path) -> None:
    runs = np.array(["2020-05-31T00", "2020-05-31T12"], "M8[ns]")
    model = _model().assign(other=("reference_time", [1.0, 2.0]))
    path = _write(model.assign_coords(reference_time=runs), tmp_path / "model.nc")
    assert len(find_granules([path])[0]) == 2
    assert _read(path, 1).attrs["time"] == TIMES[1]


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ({"rlut": "2020-06-01T06:00:00Z", "latitude": "2019-01-01T00:00:00Z"}, TIMES[1]),
        ({"": "2020-06-01T06:00:00Z", "rlut": "2020-06-01T06:10:00Z"}, TIMES[1]),
        ({"rlut": "2020-06-01T06:00:00Z", "other": "2020-06-03T06:00:00Z"}, TIMES[1]),
    ],
    ids=["of places", "of file and band", "of another band"],
)
def test_a_start_is_that_of_the_file_or_the_band(
    starts: dict[str, str], expected: np.datetime64, tmp_path: Path
) -> None:
    model = _model().isel(time=1, drop=True)
    model["other"] = model.rlut.copy()
    for name, start in starts.items():
        (model[name] if name else model).attrs["start_time"] = start
    assert _read(_write(model, tmp_path / "a.nc")).attrs["time"] == expected


def test_starts_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    model = _model(start_time="2020-06-01T06:00:00Z").isel(time=1, drop=True)
    model.rlut.attrs["start_time"] = "2020-06-02T06:00:00Z"
    path = _write(model, tmp_path / "a.nc")
    detail = "start_time of its file is 2020-06-01 06:00:00, of its rlut 2020-06-02 06:00:00; corr"
    assert _refused(partial(_read, path), detail) == "other time"
    [granule], _ = find_granules([path])
    assert granule.start_time is None


def test_times_that_look_alike_have_names_of_their_own(tmp_path: Path) -> None:
    times = TIMES[[0, 0]] + np.array([0, 400], "m8[ms]")
    for number, pair in enumerate((TIMES[[0, 0]], times, TIMES)):
        path = _write(_model().assign_coords(time=pair), tmp_path / f"{number}.nc")
        found, _ = find_granules([path])
        assert len({granule.name for granule in found}) == 2
        assert [granule.step for granule in found] == [0, 1]


def test_times_that_fetch_could_not_list_are_not_guessed(tmp_path: Path) -> None:
    path = _write(_model(), tmp_path / "model.nc")
    [granule] = without_description(path)
    with pytest.raises(UnusableGranuleError, match="it has 2 times, which could not be listed"):
        _read(path, granule.step)
    with pytest.raises(UnusableGranuleError, match="it has 2 times, which could not be listed"):
        _read(path, 2)
    one = _write(_model().isel(time=[1]), tmp_path / "one.nc")
    assert _read(one, without_description(one)[0].step).attrs["time"] == TIMES[1]


def test_a_file_of_one_time_keeps_its_name(tmp_path: Path) -> None:
    path = _write(_model(platform="MSG").isel(time=[1]), tmp_path / "one.nc")
    [granule], _ = find_granules([path])
    assert (granule.name, granule.start_time) == ("one.nc", datetime(2020, 6, 1, 6))
    assert _read(path).attrs["platform"] == "MSG"


def test_the_time_axis_goes_before_other_times(tmp_path: Path) -> None:
    model = _model(time_coverage_start="2020-05-31T00:00:00Z")
    started = xr.Dataset({"forecast_reference_time": TIMES[0] - np.timedelta64(1, "D")})
    path = _write(started.merge(model, combine_attrs="override"), tmp_path / "a.nc")
    assert len(find_granules([path])[0]) == 2


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2020-06-01T12:30:17.2Z", "2020-06-01T12:30:17.200"),
        ("2020-06-01T12:30:17", "2020-06-01T12:30:17"),
        ("2020-06-01T12:30:17+02:00", "2020-06-01T10:30:17"),
    ],
)
def test_without_a_variable_the_time_is_the_start_of_the_coverage(
    start: str, expected: str, tmp_path: Path
) -> None:
    product = _model(time_coverage_start=start).isel(time=1, drop=True)
    path = _write(product, tmp_path / "a.nc")
    assert _read(path).attrs["time"] == np.datetime64(expected)


FORECAST = {"standard_name": "forecast_reference_time"}


@pytest.mark.parametrize(
    "others",
    [
        {"forecast_reference_time": ((), TIMES[0] - np.timedelta64(6, "h"), FORECAST)},
        {"a": ((), TIMES[0], FORECAST)},
        {"processing_time": ((), np.datetime64("2024-01-01", "ns"))},
        {"valid_time": ((), TIMES[1], {"standard_name": "time"}), "time": ((), TIMES[0], FORECAST)},
        {"valid_time": ((), TIMES[1]), "created": ((), TIMES[0])},
        {"t": ((), TIMES[1], {"axis": "T"}), "valid_time": ((), TIMES[0])},
    ],
)
def test_the_time_is_what_cf_says_and_not_what_comes_first(
    others: dict[str, Any], tmp_path: Path
) -> None:
    model = _model().isel(time=1)
    if len(others) > 1:
        model = model.drop_vars("time")
    path = _write(xr.Dataset(others).merge(model), tmp_path / "a.nc")
    [granule], _ = find_granules([path])
    assert np.datetime64(granule.start_time) == TIMES[1]
    assert _read(path).attrs["time"] == TIMES[1]


def test_steps_of_a_forecast_are_told_by_their_valid_time(tmp_path: Path) -> None:
    """As cfgrib writes them."""
    model = _model().rename(time="step").assign_coords(step=[0.0, 6.0])
    coordinates = {
        "time": ((), TIMES[0], FORECAST),
        "valid_time": ("step", TIMES, {"standard_name": "time"}),
    }
    path = _write(model.assign_coords(coordinates), tmp_path / "a.nc")
    found, _ = find_granules([path])
    assert [granule.name for granule in found] == ["a.nc@20200601T000000", "a.nc@20200601T060000"]
    for granule in found:
        read = _read(path, granule.step)
        assert read.attrs["time"] == TIMES[granule.step]
        np.testing.assert_array_equal(np.sort(read.infrared_window, axis=1), RLUT[granule.step])


def test_two_times_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    times = {"start": ((), TIMES[0]), "stop": ((), TIMES[1])}
    path = _write(_model().isel(time=1, drop=True).assign_coords(times), tmp_path / "a.nc")
    detail = "start and stop tell different times; give one of them the standard_name time"
    assert _refused(partial(_read, path), detail) == "unreadable"
    same = {"start": ((), TIMES[1]), "stop": ((), TIMES[1])}
    path = _write(_model().isel(time=1, drop=True).assign_coords(same), tmp_path / "b.nc")
    assert _read(path).attrs["time"] == TIMES[1]


def test_a_coverage_of_another_time_is_refused(tmp_path: Path) -> None:
    """As in files that were split from one and kept its attributes."""
    stale = _model(time_coverage_start="2020-06-01T00:00:00Z").isel(time=1)
    path = _write(stale, tmp_path / "a.nc")
    detail = "its time is 2020-06-01 06:00:00, but its attribute time_coverage_start 2020-06-01 00"
    assert _refused(partial(_read, path), detail) == "other time"
    near = _model(time_coverage_start="2020-06-01T05:45:00Z").isel(time=1)
    assert _read(_write(near, tmp_path / "b.nc")).attrs["time"] == TIMES[1]
    stale.attrs["time_coverage_end"] = "2020-06-02T00:00:00Z"  # a mean over the day
    assert _read(_write(stale, tmp_path / "c.nc")).attrs["time"] == TIMES[1]


@pytest.mark.parametrize(
    ("coverage", "is_covered"),
    [
        ({"time_coverage_start": "2020-06-01"}, True),
        ({"time_coverage_start": "20200601", "time_coverage_end": "20200601"}, True),
        ({"time_coverage_start": "2020-05-29", "time_coverage_end": "2020-05-31"}, False),
    ],
)
def test_dates_of_a_coverage_are_whole_days(
    coverage: dict[str, str], is_covered: bool, tmp_path: Path
) -> None:
    path = _write(_model(**coverage).isel(time=1), tmp_path / "a.nc")
    if is_covered:
        assert _read(path).attrs["time"] == TIMES[1]
    else:
        assert _refused(partial(_read, path), "its time is 2020-06-01 06") == "other time"


@pytest.mark.parametrize("name", ["time_coverage_start", "start_time"])
def test_a_date_alone_is_no_time(name: str, tmp_path: Path) -> None:
    path = _write(_model(**{name: "2020-06-01"}).isel(time=0, drop=True), tmp_path / "a.nc")
    [granule], _ = find_granules([path])
    assert granule.start_time is None
    detail = f"its attribute {name} 2020-06-01 has no time of day; add it"
    assert _refused(partial(_read, path), detail) == "unreadable"


def test_a_file_without_a_time_is_refused(tmp_path: Path) -> None:
    path = _write(_model().isel(time=0, drop=True), tmp_path / "a.nc")
    [granule], _ = find_granules([path])
    assert granule.start_time is None
    assert _refused(partial(_read, path), "it has no time") == "unreadable"


def _with_calendar(path: Path, calendar: str, times: list[float], units: str) -> Path:
    model = _model().isel(time=[0] * len(times)).drop_vars("time")
    _write(model, path)
    with Dataset(path, "a") as file:
        variable = file.createVariable("time", "f8", ("time",))
        variable.setncatts({"units": units, "calendar": calendar})
        variable[:] = times
    return path


def test_a_day_of_another_calendar_is_the_day_of_its_name(tmp_path: Path) -> None:
    """365 days a year: the first of March is the day after 28 February in 2020 as well."""
    path = _with_calendar(tmp_path / "a.nc", "noleap", [58, 59.25], "days since 2020-01-01")
    found, _ = find_granules([path])
    assert [granule.start_time for granule in found] == [
        datetime(2020, 2, 28),
        datetime(2020, 3, 1, 6),
    ]
    assert found[1].name == "a.nc@20200301T060000"
    assert _read(path, 1).attrs["time"] == np.datetime64("2020-03-01T06:00")
    np.testing.assert_array_equal(np.sort(_read(path, 1).infrared_window, axis=1), RLUT[0])


@pytest.mark.parametrize(
    ("calendar", "day", "since", "detail"),
    [
        ("360_day", 59, "2020-01-01", "time 2020-02-30 00:00:00 is no day outside of its calendar"),
        ("noleap", 0, "0001-01-01", "its time 0001-01-01 00:00:00 is not in the years 1678 to"),
        ("standard", 0, "3000-01-01", "its time 3000-01-01 00:00:00 is not in the years 1678 to"),
    ],
)
def test_a_day_that_products_cannot_hold_is_refused(
    calendar: str, day: int, since: str, detail: str, tmp_path: Path
) -> None:
    path = _with_calendar(tmp_path / "a.nc", calendar, [day], f"days since {since}")
    [granule], _ = find_granules([path])
    assert granule.start_time is None
    assert _refused(partial(_read, path), detail) == "unreadable"


def test_a_missing_time_costs_its_own_step(tmp_path: Path) -> None:
    model = _model().assign_coords(time=[TIMES[0], np.datetime64("NaT", "ns")])
    path = _write(model, tmp_path / "a.nc")
    found, _ = find_granules([path])
    assert {granule.name: granule.step for granule in found} == {
        "a.nc@20200601T000000": 0,
        "a.nc-1": 1,
    }
    assert _read(path, 0).attrs["time"] == TIMES[0]
    assert _refused(partial(_read, path, 1), "its time is missing") == "unreadable"


def test_days_that_are_none_cost_their_own_steps(tmp_path: Path) -> None:
    path = _with_calendar(
        tmp_path / "a.nc", "360_day", [57, 58, 59, 60], "days since 2019-01-01"
    )  # 28, 29, 30 February and 1 March
    found, _ = find_granules([path])
    days = {granule.step: granule.start_time for granule in found}
    assert days == {0: datetime(2019, 2, 28), 1: None, 2: None, 3: datetime(2019, 3, 1)}
    assert _read(path, 3).attrs["time"] == np.datetime64("2019-03-01")
    detail = "2019-02-30 00:00:00 is no day outside of its calendar 360_day"
    assert _refused(partial(_read, path, 2), detail) == "unreadable"


def test_a_bystander_that_cannot_be_decoded_costs_nothing(tmp_path: Path) -> None:
    path = _write(_model(), tmp_path / "a.nc")
    with Dataset(path, "a") as file:
        for name, units in (("age", "months since 1850-01-01"), ("odd", "days since yesterday")):
            file.createVariable(name, "f8", ("time",)).units = units
            file[name][:] = [1.5, 2.5]
        image = file.createVariable("qc", "i2", ("latitude", "longitude"))
        image.setncatts({"units": "K", "scale_factor": 0.0, "valid_range": [np.nan, np.nan]})
    assert len(find_granules([path])[0]) == 2
    np.testing.assert_array_equal(np.sort(_read(path, 1).infrared_window, axis=1), RLUT[1])


# --- places ---


@pytest.mark.parametrize("first", [-200.0, 350.0, 500.0])
def test_longitudes_may_go_beyond_those_once_around(first: float, tmp_path: Path) -> None:
    longitude = first + np.arange(4) * 5.0
    path = _write(_model().assign_coords(longitude=longitude), tmp_path / "a.nc")
    read = _read(path)
    np.testing.assert_allclose(read.longitude[0], (longitude + 180) % 360 - 180)
    np.testing.assert_array_equal(read.infrared_window, RLUT[0])


def test_longitudes_run_from_west_to_east(tmp_path: Path) -> None:
    read = _read(_write(_model(), tmp_path / "a.nc"))
    np.testing.assert_array_equal(read.longitude[0], [0, 90, -180, -90])
    np.testing.assert_array_equal(read.latitude[:, 0], LATITUDE)
    np.testing.assert_array_equal(read.infrared_window, RLUT[0])


@pytest.mark.parametrize("rows", [slice(None), slice(None, None, -1)])
@pytest.mark.parametrize("columns", [slice(None), slice(None, None, -1)])
@pytest.mark.parametrize("order", [("latitude", "longitude"), ("longitude", "latitude")])
def test_north_is_up_and_east_to_the_right(
    rows: slice, columns: slice, order: tuple[str, str], tmp_path: Path
) -> None:
    turned = _model().isel(latitude=rows, longitude=columns).transpose("time", *order)
    read = _read(_write(turned, tmp_path / "a.nc"), step=1)
    np.testing.assert_array_equal(read.infrared_window, RLUT[1])
    np.testing.assert_array_equal(read.latitude[:, 0], LATITUDE)
    np.testing.assert_array_equal(read.longitude[0], [0, 90, -180, -90])


def test_a_swath_is_turned_and_never_mirrored(tmp_path: Path) -> None:
    """Rows of an ascending pass begin in the south, and columns in the east."""
    row, column = np.mgrid[:5, :7]
    latitude, longitude = 10.0 - row - 0.1 * column, 178.0 + column - 0.1 * row
    plane = ("nscan", "npixel")
    north_up = xr.Dataset(
        {"clt": (plane, 10.0 * row + column, {"units": "%"})},
        coords={"lat": (plane, latitude), "lon": (plane, longitude), "t": TIMES[0]},
    )
    north_up["lat"][4, 6] = np.nan
    for name, swath in {
        "descending.nc": north_up,
        "ascending.nc": north_up.isel(nscan=slice(None, None, -1), npixel=slice(None, None, -1)),
    }.items():
        read = _read(_write(swath, tmp_path / name), latitude="lat", longitude="lon")
        np.testing.assert_array_equal(read.visible, north_up.clt)
        np.testing.assert_allclose(read.latitude, north_up.lat, rtol=1e-6)
        assert read.longitude.min() >= -180
        assert read.longitude.max() < 180
        assert read.longitude[0, 0] == 178
        assert np.isnan(read.longitude[4, 6])


def test_places_may_move_with_time(tmp_path: Path) -> None:
    model = _model()
    plane = model.latitude.broadcast_like(model.longitude).transpose("latitude", "longitude")
    moving = model.drop_vars(["latitude", "longitude"]).assign_coords(
        lat=(("time", "latitude", "longitude"), np.stack([plane, plane + 1])),
        lon=(("time", "latitude", "longitude"), np.broadcast_to(LONGITUDE, (2, 3, 4))),
    )
    path = _write(moving, tmp_path / "a.nc")
    read = _read(path, 1, latitude="lat", longitude="lon")
    np.testing.assert_array_equal(read.latitude[:, 0], LATITUDE + 1)


def _abi_cod(
    path: Path,
    *,
    rows: slice = slice(None),
    latitude: float = 15,
    units: str = "rad",
    rad: float = 1.0,
    dimensions: tuple[str, str] = ("y", "x"),
) -> tuple[Any, ...]:
    """A file laid out as ABI's cloud optical depth: scanning angles and a grid mapping."""
    grid = sector_grid(latitude=latitude, longitude=-55, n_pixels=40)
    depth = np.arange(1600.0).reshape(40, 40) / 100
    start = datetime(2025, 3, 20, 17, 0, 17)
    epoch = "seconds since 2000-01-01 12:00:00"
    with Dataset(path, "w") as file:
        file.setncatts({"time_coverage_start": "2025-03-20T17:00:17.3Z", "platform_ID": "G19"})
        time = file.createVariable("t", "f8", ())
        time.setncatts({"units": epoch, "standard_name": "time"})
        time[...] = date2num(start, epoch)
        for name, angles in (("y", grid.y[rows]), ("x", grid.x)):
            file.createDimension(name, 40)
            variable = file.createVariable(name, "i2", (name,))
            step = float(angles[1] - angles[0])
            variable.setncatts(
                {
                    "scale_factor": np.float32(step / rad),
                    "add_offset": np.float32(angles[0] / rad),
                    "units": units,
                    "standard_name": f"projection_{name}_coordinate",
                }
            )
            variable.set_auto_maskandscale(False)
            variable[:] = np.arange(40)
        file.createVariable("goes_imager_projection", "i4").setncatts(
            {
                "grid_mapping_name": "geostationary",
                "perspective_point_height": SATELLITE_HEIGHT_M,
                "semi_major_axis": SEMI_MAJOR_AXIS_M,
                "semi_minor_axis": SEMI_MINOR_AXIS_M,
                "latitude_of_projection_origin": 0.0,
                "longitude_of_projection_origin": GRID_LONGITUDE,
                "sweep_angle_axis": "x",
            }
        )
        image = file.createVariable("COD", "i2", dimensions, fill_value=-1)
        image.setncatts({"units": "1", "scale_factor": np.float32(0.0025), "_Unsigned": "true"})
        image[:] = depth[rows] if dimensions[0] == "y" else depth[rows].T
    return grid, depth


@pytest.mark.parametrize("dimensions", [("y", "x"), ("x", "y")])
@pytest.mark.parametrize(
    ("units", "rad"),
    [("microradian", 1e-6), ("microradians", 1e-6), ("mrad", 1e-3), ("degree", np.pi / 180)],
)
def test_scanning_angles_may_be_in_any_unit_and_order(
    units: str, rad: float, dimensions: tuple[str, str], tmp_path: Path
) -> None:
    grid, depth = _abi_cod(tmp_path / "a.nc", units=units, rad=rad, dimensions=dimensions)
    read = _read(tmp_path / "a.nc", projection="goes_imager_projection")
    found = read.latitude.values.astype(float), read.longitude.values.astype(float)
    assert great_circle_km(*found, grid.latitude, grid.longitude).max() < 0.1
    np.testing.assert_allclose(read.optical_depth, depth, atol=0.0013)


@pytest.mark.parametrize("units", ["counts", "K", "pixel"])
def test_projection_coordinates_of_no_length_or_angle_are_refused(
    units: str, tmp_path: Path
) -> None:
    _abi_cod(tmp_path / "a.nc", units=units)
    read = partial(_read, tmp_path / "a.nc", projection="goes_imager_projection")
    assert _refused(read, f"its y is in {units}, of which the projection") == "other units"


@pytest.mark.parametrize("turned", [False, True])
def test_a_rotated_pole_is_turned_back(turned: bool, tmp_path: Path) -> None:
    """At the origin of the grid of COSMO over Europe, pole 40 N 170 W, lies 50 N 10 E."""
    mapping = {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": 40.0,
        "grid_north_pole_longitude": -170.0,
    }
    axes = ("rlat", "rlon")
    file = xr.Dataset(
        {"clt": (axes, [[1.0, 2.0], [3.0, 4.0]], {"units": "1"}), "pole": ((), 0, mapping)},
        coords={
            "rlat": ("rlat", [0.0, 1.0], {"standard_name": "grid_latitude", "units": "degrees"}),
            "rlon": ("rlon", [0.0, 1.0], {"standard_name": "grid_longitude", "units": "degrees"}),
            "time": TIMES[0],
        },
    )
    file = file.transpose(*axes[::-1]) if turned else file
    read = _read(_write(file, tmp_path / "a.nc"), projection="pole", units={})
    assert read.latitude.values[1, 0] == pytest.approx(50, abs=1e-4)
    assert read.longitude.values[1, 0] == pytest.approx(10, abs=1e-4)
    assert read.latitude.values[0, 0] == pytest.approx(51, abs=1e-4)
    np.testing.assert_allclose(read.visible, [[300, 400], [100, 200]])


@pytest.mark.parametrize("rows", [slice(None), slice(None, None, -1)])
def test_scanning_angles_become_places(rows: slice, tmp_path: Path) -> None:
    grid, depth = _abi_cod(tmp_path / "a.nc", rows=rows)
    read = _read(tmp_path / "a.nc", projection="goes_imager_projection", platform="GOES-19")
    found = read.latitude.values.astype(float), read.longitude.values.astype(float)
    assert great_circle_km(*found, grid.latitude, grid.longitude).max() < 0.02
    np.testing.assert_allclose(read.optical_depth, depth, atol=0.0013)
    assert read.attrs["time"] == np.datetime64("2025-03-20T17:00:17")
    assert read.attrs["platform"] == "GOES-19"


@pytest.mark.parametrize("rows", [slice(None), slice(None, None, -1)])
def test_the_limb_does_not_hide_where_north_is(rows: slice, tmp_path: Path) -> None:
    """The northernmost row lies off the Earth as a whole."""
    grid, depth = _abi_cod(tmp_path / "a.nc", rows=rows, latitude=78.5)
    assert np.isnan(grid.latitude[0]).all()
    assert np.isfinite(grid.latitude[-1]).any()
    read = _read(tmp_path / "a.nc", projection="goes_imager_projection")
    np.testing.assert_array_equal(np.isnan(read.latitude), np.isnan(grid.latitude))
    np.testing.assert_allclose(read.optical_depth, depth, atol=0.0013)


@pytest.mark.parametrize(
    ("units", "metres"),
    [
        ("m", 1),
        ("km", 1000),
        ("kilometer", 1000),
        ("kilometres", 1000),
        ("1000 m", 1000),
        ("hm", 100),
        ("international_foot", 0.3048),
    ],
)
def test_a_code_names_the_projection(units: str, metres: int, tmp_path: Path) -> None:
    equator_m = 40_075_016.686  # of the sphere that web maps use
    product = xr.Dataset(
        {"clt": (("y", "x"), [[1.0, 2.0], [3.0, 4.0]], {"units": "%"})},
        coords={
            "y": ("y", np.array([0.0, equator_m / 8]) / metres, {"units": units}),
            "x": ("x", np.array([-equator_m / 4, 0.0]) / metres, {"units": units}),
            "time": TIMES[0],
        },
    )
    read = _read(_write(product, tmp_path / "a.nc"), projection="EPSG:3857")
    north = np.degrees(np.arctan(np.sinh(np.pi / 4)))
    np.testing.assert_allclose(read.latitude[:, 0], [north, 0], atol=1e-5)
    np.testing.assert_allclose(read.longitude[0], [-90, 0], atol=1e-5)
    np.testing.assert_array_equal(read.visible, [[3, 4], [1, 2]])


@pytest.mark.skipif(not REAL.exists(), reason=f"the real fields in {REAL} are not here")
def test_a_real_stereographic_grid_lies_where_its_own_places_are() -> None:
    path, bands = REAL / "toa_brightness_stereographic.nc", {"infrared_window": ["data"]}
    read = _read(path, bands=bands, projection="stereographic")
    own = _read(path, bands=bands, latitude="lat", longitude="lon")
    places = [each[name].values.astype(float) for each in (read, own) for name in PLACES]
    assert great_circle_km(*places).max() < 1
    for each in (read, own):
        assert each.attrs == {"time": np.datetime64("2016-05-16T12:00"), "platform": "MSG"}
        assert each.infrared_window.shape == (160, 256)
        assert float(each.infrared_window.min()) == pytest.approx(212.546, abs=0.001)
        assert float(each.infrared_window.max()) == pytest.approx(329.122, abs=0.001)


# --- groups ---


@pytest.mark.parametrize("at_root", [True, False])
def test_groups_are_read_by_path(at_root: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    with Dataset(path, "w") as file:
        places, data = file.createGroup("geolocation_data"), file.createGroup("observations/cloud")
        for holder in [file] if at_root else [places, data]:
            holder.createDimension("row", 2)
            holder.createDimension("column", 3)
        data.createDimension("class", 3)
        places.createDimension("class", 5)  # of another length
        places.createVariable("quality", "f4", ("class",))
        for name, values in (("lat", [[1.0] * 3, [0.0] * 3]), ("lon", [[0.0, 1.0, 2.0]] * 2)):
            places.createVariable(name, "f8", ("row", "column"))[:] = values
        data.createVariable("clt", "i2", ("row", "column")).setncatts(
            {"units": "%", "scale_factor": 0.5}
        )
        data["clt"][:] = [[1, 2, 3], [4, 5, 6]]
        time = places.createVariable("time", "f8", ())
        time.units, time[:] = "hours since 2020-06-01", 6
    names = {f"{name}itude": f"geolocation_data/{name[:3]}" for name in ("lat", "long")}
    bands = {"visible": ["observations/cloud/clt"]}
    read = _read(path, bands=bands, **names)
    np.testing.assert_array_equal(read.visible, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(read.latitude[:, 0], [1, 0])
    assert read.attrs["time"] == TIMES[1]
    detail = "it has no lat and no lon but geolocation_data/lat and geolocation_data/lon; name"
    read_without = partial(_read, path, bands=bands, latitude="lat", longitude="lon")
    assert _refused(read_without, detail) == "lacks its geolocation"


LAYOUTS: dict[str, tuple[dict[str, Any], dict[str, str], str, dict[str, str]]] = {
    "Sentinel-5P": (  # a group defines dimensions that the groups in it use
        {
            "PRODUCT": (
                {"time": 1, "scanline": 2, "ground_pixel": 3},
                {
                    "time": (("time",), [6.0], SINCE),
                    "scanline": (("scanline",), [0.0, 1.0], {}),
                    "ground_pixel": (("ground_pixel",), [0.0, 1.0, 2.0], {}),
                    "latitude": (("time", "scanline", "ground_pixel"), [SWATH[0]], {}),
                    "longitude": (("time", "scanline", "ground_pixel"), [SWATH[1]], {}),
                    "delta_time": (("time", "scanline"), [[0.0, 1.0]], SINCE),
                },
            ),
            "PRODUCT/SUPPORT_DATA/INPUT_DATA": (
                {},
                {"clt": (("time", "scanline", "ground_pixel"), [CLOUD], {"units": "%"})},
            ),
        },
        {},
        "PRODUCT/SUPPORT_DATA/INPUT_DATA/clt",
        {"latitude": "PRODUCT/latitude", "longitude": "PRODUCT/longitude"},
    ),
    "NASA's level 1": (  # the root defines them, and scans have times of their own
        {
            "": ({"lines": 2, "pixels": 3, "scans": 2}, {}),
            "scan_line_attributes": ({}, {"scan_start": (("scans",), [5.0, 6.0], SINCE)}),
            "geolocation_data": (
                {},
                {
                    "latitude": (("lines", "pixels"), SWATH[0], {}),
                    "longitude": (("lines", "pixels"), SWATH[1], {}),
                },
            ),
            "observation_data": ({}, {"clt": (("lines", "pixels"), CLOUD, {"units": "%"})}),
        },
        {"time_coverage_start": "2020-06-01T06:00:00Z"},
        "observation_data/clt",
        {name: f"geolocation_data/{name}" for name in PLACES},
    ),
    "FCI": (  # innermost groups with dimensions, coordinates and projections of their own
        {
            "data": (
                {},
                {
                    "crs": ((), 0, PLATE_CARREE),
                },
            ),
            **{
                f"data/{name}/measured": (
                    {"y": 2, "x": 3},
                    {
                        "y": (("y",), [north + 1.0, north], {"units": "degrees_north"}),
                        "x": (("x",), [0.0, 1.0, 2.0], {"units": "degrees_east"}),
                        "clt": (
                            ("y", "x"),
                            CLOUD + north,
                            {"units": "%", "grid_mapping": "crs"},
                        ),
                    },
                )
                for name, north in (("other", 40.0), ("vis_06", 0.0))
            },
        },
        {"time_coverage_start": "2020-06-01T06:00:00Z"},
        "data/vis_06/measured/clt",
        {},
    ),
    "TEMPO": (  # coordinates at the root, and a time of every line
        {
            "": (
                {"mirror_step": 2, "xtrack": 3, "corner": 4},
                {
                    "mirror_step": (("mirror_step",), [0, 1], {}),
                    "xtrack": (("xtrack",), [0, 1, 2], {}),
                },
            ),
            "geolocation": (
                {},
                {
                    "latitude": (("mirror_step", "xtrack"), SWATH[0], NORTH),
                    "longitude": (("mirror_step", "xtrack"), SWATH[1], EAST),
                    "latitude_bounds": (
                        ("mirror_step", "xtrack", "corner"),
                        np.zeros((2, 3, 4)),
                        NORTH,
                    ),
                    "time": (("mirror_step",), [6.0, 7.0], {**SINCE, "standard_name": "time"}),
                },
            ),
            "product": ({}, {"clt": (("mirror_step", "xtrack"), CLOUD, {"units": "%"})}),
        },
        {"time_coverage_start": "2020-06-01T06:00:00Z"},
        "product/clt",
        {name: f"geolocation/{name}" for name in PLACES},
    ),
    "GEMS": (  # groups with dimensions and no coordinates, and times of every pixel
        {
            "Geolocation Fields": (
                {"image": 2, "spatial": 3},
                {
                    "Latitude": (("image", "spatial"), SWATH[0], {}),
                    "Longitude": (("image", "spatial"), SWATH[1], {}),
                    "Time": (("image", "spatial"), CLOUD, SINCE),
                },
            ),
            "Data Fields": (
                {"image": 2, "spatial": 3},
                {"clt": (("image", "spatial"), CLOUD, {"units": "%"})},
            ),
        },
        {"time_coverage_start": "2020-06-01T06:00:00Z"},
        "Data Fields/clt",
        {name: f"Geolocation Fields/{name.title()}" for name in PLACES},
    ),
    "repeated coordinates": (  # as groups written one by one from xarray have them
        {
            "geolocation": (
                {"y": 2, "x": 3},
                {
                    **INDICES,
                    "latitude": (("y", "x"), SWATH[0], NORTH),
                    "longitude": (("y", "x"), SWATH[1], EAST),
                },
            ),
            "product": (
                {"y": 2, "x": 3},
                {**INDICES, "clt": (("y", "x"), CLOUD, {"units": "%"})},
            ),
        },
        {"time_coverage_start": "2020-06-01T06:00:00Z"},
        "product/clt",
        {name: f"geolocation/{name}" for name in PLACES},
    ),
    "columns before rows": (  # coordinates inside of the group that defines the dimensions
        {
            "data": ({"y": 2, "x": 3}, {"crs": ((), 0, PLATE_CARREE)}),
            "data/measured": (
                {},
                {
                    "y": (("y",), [1.0, 0.0], {}),
                    "x": (("x",), [0.0, 1.0, 2.0], {}),
                    "clt": (("x", "y"), CLOUD.T, {"units": "%", "grid_mapping": "crs"}),
                },
            ),
        },
        {"time_coverage_start": "2020-06-01T06:00:00Z"},
        "data/measured/clt",
        {},
    ),
    "a variable of a dimension's name": (
        {
            "": (
                {"time": 1, "latitude": 2, "longitude": 3, "scan": 2},
                {
                    "time": (("time",), [6.0], SINCE),
                    "latitude": (("latitude",), [1.0, 0.0], NORTH),
                    "longitude": (("longitude",), [0.0, 1.0, 2.0], EAST),
                    "scan": ((), 7, {}),
                    "offsets": (("scan",), [0.0, 1.0], {}),
                },
            ),
            "product": (
                {},
                {
                    "time": ((), 9.0, SINCE),
                    "clt": (("time", "latitude", "longitude"), [CLOUD], {"units": "%"}),
                },
            ),
        },
        {},
        "product/clt",
        {},
    ),
    "sibling groups": (  # as written by one program after the other; places have coordinates
        {
            "grid": (
                {"latitude": 2, "longitude": 3},
                {
                    "latitude": (("latitude",), [1.0, 0.0], {}),
                    "longitude": (("longitude",), [0.0, 1.0, 2.0], {}),
                },
            ),
            "a": (
                {"latitude": 2, "longitude": 3},
                {
                    "clt": (("latitude", "longitude"), CLOUD, {"units": "%"}),
                    "made": ((), 6.0, SINCE),
                },
            ),
            "b": ({}, {"made": ((), 9.0, SINCE)}),  # a time of no concern
        },
        {},
        "a/clt",
        {name: f"grid/{name}" for name in PLACES},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_groups_see_what_is_defined_around_them(layout: str, tmp_path: Path) -> None:
    groups, attributes, band, places = LAYOUTS[layout]
    path = _write_layout(tmp_path / "a.nc", groups, **attributes)
    read = _read(path, bands={"visible": [band]}, **places)
    np.testing.assert_array_equal(read.visible, CLOUD)
    np.testing.assert_array_equal(read.latitude, SWATH[0])
    np.testing.assert_array_equal(read.longitude, SWATH[1])
    assert read.attrs["time"] == TIMES[1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_times_of_groups_are_listed(layout: str, tmp_path: Path) -> None:
    groups, attributes, _, _ = LAYOUTS[layout]
    [granule], _ = find_granules([_write_layout(tmp_path / "a.nc", groups, **attributes)])
    assert np.datetime64(granule.start_time) == TIMES[1]


def test_a_time_at_the_root_goes_before_those_of_groups(tmp_path: Path) -> None:
    groups = {
        "": ({}, {"time": ((), 6.0, SINCE)}),
        "made": ({"time": 2}, {"time": (("time",), [1.0, 2.0], SINCE)}),
        **{place: LAYOUTS["sibling groups"][0][place] for place in ("grid", "a")},
    }
    path = _write_layout(tmp_path / "a.nc", groups)
    [granule], _ = find_granules([path])
    read = _read(path, bands={"visible": ["a/clt"]}, **LAYOUTS["sibling groups"][3])
    assert np.datetime64(granule.start_time) == read.attrs["time"] == TIMES[1]


@pytest.mark.parametrize("attributes", [{"time_coverage_start": ""}, {"start_time": ""}])
def test_attributes_go_before_the_times_of_groups_of_no_concern(
    attributes: dict[str, str], tmp_path: Path
) -> None:
    groups = dict(LAYOUTS["repeated coordinates"][0])
    groups["calibration"] = ({}, {"time": ((), 99.0, SINCE)})
    told = dict.fromkeys(attributes, "2020-06-01T06:00:00Z")
    path = _write_layout(tmp_path / "a.nc", groups, **told)
    read = _read(path, bands={"visible": ["product/clt"]}, **LAYOUTS["repeated coordinates"][3])
    [granule], _ = find_granules([path])
    assert np.datetime64(granule.start_time) == read.attrs["time"] == TIMES[1]


def test_times_of_the_bands_are_listed_and_not_those_of_other_groups(tmp_path: Path) -> None:
    groups = {
        "grid": LAYOUTS["sibling groups"][0]["grid"],
        "a": (
            {"n": 2, "latitude": 2, "longitude": 3},
            {
                "t_obs": (("n",), [0.0, 6.0], SINCE),
                "clt": (("n", "latitude", "longitude"), [CLOUD, CLOUD + 1], {"units": "%"}),
            },
        ),
        "a/inner": ({}, {"time": ((), 96.0, SINCE)}),
        "calibration": ({"n": 3}, {"time": (("n",), [97.0, 98.0, 99.0], SINCE)}),
    }
    path = _write_layout(tmp_path / "a.nc", groups)
    found, _ = find_granules([path])
    assert [granule.start_time for granule in found] == list(TIMES.astype("M8[s]").tolist())
    bands, places = {"visible": ["a/clt"]}, LAYOUTS["sibling groups"][3]
    np.testing.assert_array_equal(_read(path, 1, bands, **places).visible, CLOUD + 1)


def test_of_the_groups_around_a_band_the_nearest_tells_its_time(tmp_path: Path) -> None:
    plane = LAYOUTS["sibling groups"][0]["a"][1]["clt"]
    groups = {
        "a": ({}, {"time": ((), 9.0, SINCE)}),
        "a/b": ({"latitude": 2, "longitude": 3}, {"clt": plane, "time": ((), 6.0, SINCE)}),
        "grid": LAYOUTS["sibling groups"][0]["grid"],
    }
    path = _write_layout(tmp_path / "a.nc", groups)
    read = _read(path, bands={"visible": ["a/b/clt"]}, **LAYOUTS["sibling groups"][3])
    [granule], _ = find_granules([path])
    assert np.datetime64(granule.start_time) == read.attrs["time"] == TIMES[1]


def test_groups_of_other_coordinates_lie_elsewhere(tmp_path: Path) -> None:
    groups = dict(LAYOUTS["repeated coordinates"][0])
    dimensions, variables = groups["product"]
    groups["product"] = (dimensions, {**variables, "x": (("x",), [5, 6, 7], {})})
    path = _write_layout(tmp_path / "a.nc", groups, time_coverage_start="2020-06-01T06:00:00Z")
    places = LAYOUTS["repeated coordinates"][3]
    read = partial(_read, path, bands={"visible": ["product/clt"]}, **places)
    detail = "its product/clt lies along geolocation/y, product/x, its places along geolocation/y, "
    assert _refused(read, detail) == "unreadable"


# --- versions ---


def test_of_two_versions_the_newer_comes_first(tmp_path: Path) -> None:
    days = {"a.nc": "2020-07-01", "b.nc": "2021-03-01T10:00:00Z", "c.nc": "long ago"}
    for name, day in days.items():
        _write(_model(date_created=day).isel(time=0), tmp_path / name)
    found, _ = find_granules(tmp_path.iterdir())
    assert [granule.name for granule in found] == ["b.nc", "a.nc", "c.nc"]


# --- missing values ---


def _stored(path: Path, counts: list[int], kind: str = "i2", **attributes: Any) -> xr.DataArray:
    """What is read of cloud cover stored as counts."""
    with Dataset(path, "w") as file:
        file.time_coverage_start = "2020-06-01T00:00:00Z"
        for name, places in (("latitude", [1.0, 0.0]), ("longitude", [0.0, 1.0, 2.0])):
            file.createDimension(name, len(places))
            file.createVariable(name, "f8", (name,))[:] = places
        fill = attributes.pop("_FillValue", None)
        band = file.createVariable("clt", kind, ("latitude", "longitude"), fill_value=fill)
        band.set_auto_maskandscale(False)
        band.setncatts({"units": "%", **attributes})
        band[:] = np.array(counts).reshape(2, 3)
    return _read(path, bands={"visible": ["clt"]}).visible.values.ravel()


@pytest.mark.parametrize(
    ("counts", "attributes", "expected"),
    [
        (
            [0, 5, 10, -999, 101, 100],
            {"valid_range": np.int16([0, 100])},
            [0, 5, 10, None, None, 100],
        ),
        ([0, 5, 10, -999, -1, 100], {"valid_min": np.int16(0)}, [0, 5, 10, None, None, 100]),
        ([0, 5, 10, 999, 101, 100], {"valid_max": np.int16(100)}, [0, 5, 10, None, None, 100]),
        ([0, 5, 10, -32767, 100, 99], {}, [0, 5, 10, None, 100, 99]),  # never written
        (
            [0, 5, 10, -32767, 100, 99],
            {"missing_value": np.int16(99)},
            [0, 5, 10, -32767, 100, None],
        ),
        (
            [0, 500, 1000, -32767, 10000, 9900],
            {"scale_factor": np.float32(0.01)},
            [0, 5, 10, None, 100, 99],
        ),
        (  # never written, of a scale and an offset in single precision
            [0, 5000, 10000, -32767, -32766, 9900],
            {"scale_factor": np.float32(0.01), "add_offset": np.float32(273.15)},
            [273.15, 323.15, 373.15, None, -54.51, 372.15],
        ),
        (  # the fill value of netCDF itself, which the range has
            [0, 5, 10, -32767, -32768, 100],
            {"valid_range": np.int16([-32767, 100])},
            [0, 5, 10, -32767, None, 100],
        ),
        (  # likewise, packed
            [0, 500, 1000, -32767, -32768, 10000],
            {"scale_factor": np.float32(0.01), "valid_range": np.int16([-32767, 10000])},
            [0, 5, 10, -327.67, None, 100],
        ),
        (  # a limit on one side says nothing of it
            [0, 5, 10, -32767, 101, 100],
            {"valid_max": np.int16(100)},
            [0, 5, 10, None, None, 100],
        ),
        (  # packed, the limits in counts
            [0, 500, 1000, 12000, -32000, 10000],
            {"scale_factor": np.float32(0.01), "valid_range": np.int16([0, 10000])},
            [0, 5, 10, None, None, 100],
        ),
        (  # packed, the limits in percent
            [0, 500, 1000, 12000, -32000, 10000],
            {"scale_factor": np.float32(0.01), "valid_range": np.float32([0, 100])},
            [0, 5, 10, None, None, 100],
        ),
        (  # counts that fall, from 100 %
            [10000, 9500, 9000, -1, 12000, 0],
            {"scale_factor": -0.01, "add_offset": 100.0, "valid_min": np.int16(0)},
            [0, 5, 10, None, -20, 100],
        ),
        (  # unsigned counts beyond 32767
            [0, 500, 1000, -1, -2, -32768],
            {"scale_factor": 0.002, "_Unsigned": "true", "valid_range": np.int16([0, -32767])},
            [0, 1, 2, None, None, 65.536],
        ),
        (
            [0, 5, 10, -999, -888, 100],
            {"_FillValue": -999, "missing_value": np.int16(-888)},
            [0, 5, 10, None, None, 100],
        ),
        (
            [0, 5, 10, -999, -888, -777],
            {"_FillValue": -999, "missing_value": np.int16([-888, -777])},
            [0, 5, 10, None, None, None],
        ),
        (  # numbers that were written as words
            [0, 500, 1000, 12000, -888, 10000],
            {"scale_factor": "0.01", "valid_range": "0, 11000", "missing_value": "-888 "},
            [0, 5, 10, None, None, 100],
        ),
        (
            [0, 5, 10, -1, 101, 100],
            {"valid_min": "0", "valid_max": "1e2"},
            [0, 5, 10, None, None, 100],
        ),
    ],
)
def test_values_that_are_not_valid_are_missing(
    counts: list[int], attributes: dict[str, Any], expected: list[Any], tmp_path: Path
) -> None:
    found = _stored(tmp_path / "a.nc", counts, **attributes)
    np.testing.assert_allclose(found, np.array(expected, float), atol=1e-4)


def test_a_band_of_words_is_refused(tmp_path: Path) -> None:
    words = xr.full_like(_model().rlut, "cloud", dtype=object)
    path = _write(_model().assign(quality=words), tmp_path / "a.nc")  # words beside the band
    np.testing.assert_array_equal(np.sort(_read(path, 1).infrared_window, axis=1), RLUT[1])
    path = _write(_model().assign(rlut=words), tmp_path / "b.nc")
    assert _refused(partial(_read, path), "its rlut holds no numbers; take another") == "unreadable"


@pytest.mark.parametrize(
    ("units", "expected"), [(1, 25), (np.float32(1), 25), (0.01, 0.25), ("% ", 0.25), (["%"], 0.25)]
)
def test_units_are_read_in_whatever_type_they_are(
    tmp_path: Path, units: Any, expected: float
) -> None:
    path = _write(_model().isel(time=0).rename(rlut="clt") * 0 + 0.25, tmp_path / "a.nc")
    with Dataset(path, "a") as file:
        variable = file["clt"]
        setting = variable.setncattr_string if isinstance(units, list) else variable.setncattr
        setting("units", units)
    np.testing.assert_allclose(_read(path, bands={"visible": ["clt"]}).visible, expected)


def test_words_may_be_padded(tmp_path: Path) -> None:
    _abi_cod(path := tmp_path / "a.nc")
    bands = {"optical_depth": ["COD"]}
    with Dataset(path, "a") as file:
        file["COD"].grid_mapping = "goes_imager_projection"
    sound = _read(path, bands=bands)
    with Dataset(path, "a") as file:
        for variable in file.variables.values():
            for name in variable.ncattrs():
                if isinstance(word := variable.getncattr(name), str):
                    variable.setncattr(name, f" {word}\0 ")
    xr.testing.assert_identical(_read(path, bands=bands), sound)


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        (
            "scale_factor",
            "a tenth",
            "cannot be decoded: its scale_factor is 'a tenth', which is no",
        ),
        ("scale_factor", [0.1, 0.2], "cannot be decoded: its scale_factor is '.0.1 0.2.', which"),
        ("add_offset", np.nan, "cannot be decoded: its add_offset is 'nan', which is no number"),
        ("valid_range", 100, "the valid_range of clt is '100', which should be two numbers"),
        ("valid_range", ["0", "100"], "the valid_range of clt is .* which should be two numbers"),
        ("valid_max", "much", "the valid_max of clt is 'much', which should be a number"),
    ],
)
def test_numbers_that_are_none_are_named(
    tmp_path: Path, name: str, value: Any, detail: str
) -> None:
    attributes = {"scale_factor": 0.01, name: value}
    counts = [0, 5, 10, 20, 30, 100]
    assert (
        _refused(lambda: _stored(tmp_path / "a.nc", counts, **attributes), detail) == "unreadable"
    )


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("f4", {}),
        ("f4", {"valid_min": np.float32(0)}),
        ("f8", {"scale_factor": 2.0}),
        ("u2", {}),
        ("u2", {"scale_factor": np.float32(0.01)}),
        ("i2", {"_Unsigned": "true", "scale_factor": np.float32(0.002)}),
        ("i4", {"scale_factor": np.float32(0.001), "add_offset": np.float32(273.15)}),
        ("u4", {"add_offset": 1.0}),
        ("i8", {}),
    ],
)
def test_what_was_never_written_is_missing_in_every_type(
    kind: str, attributes: dict[str, Any], tmp_path: Path
) -> None:
    counts = [0, 5, 10, default_fillvals[kind], 1, 100]
    found = _stored(tmp_path / "a.nc", counts, kind, **attributes)
    np.testing.assert_array_equal(np.isnan(found), [False, False, False, True, False, False])


@pytest.mark.parametrize("kind", ["i1", "u1"])
def test_every_value_of_bytes_may_be_one(kind: str, tmp_path: Path) -> None:
    counts = [0, 5, 10, default_fillvals[kind], 1, 100]
    np.testing.assert_array_equal(_stored(tmp_path / "a.nc", counts, kind), counts)


# --- refusals ---


def test_places_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = _write(_model(), tmp_path / "a.nc")
    read = partial(_read, path, latitude="lat", longitude="lon")
    assert _refused(read, "it has no lat and no lon; name them") == "lacks its geolocation"
    read = partial(_read, path, projection="crs")
    detail = "crs is neither a grid mapping of it nor the code of a projection"
    assert _refused(read, detail) == "unreadable"
    bare = _write(_model().drop_vars("latitude"), tmp_path / "b.nc")
    read = partial(_read, bare, projection="EPSG:4326")
    assert _refused(read, "it has no latitude, of which") == "lacks its geolocation"


def test_a_projected_band_has_two_axes(tmp_path: Path) -> None:
    levels = _model().expand_dims(level=[1.0, 2.0])
    read = partial(_read, _write(levels, tmp_path / "a.nc"), projection="EPSG:4326")
    detail = "its rlut lies along level, latitude, longitude, not along two"
    assert _refused(read, detail) == "unreadable"


def test_bands_and_places_share_two_axes(tmp_path: Path) -> None:
    model = _model()
    model["rlut"] = model.rlut.expand_dims(height=[1.0, 2.0], axis=1)
    path = _write(model, tmp_path / "levels.nc")
    detail = "its rlut lies along height, latitude, longitude, its places along latitude, longitude"
    assert _refused(partial(_read, path), detail) == "unreadable"
    cells = xr.Dataset(
        {"rlut": ("cell", RLUT[0, 0], {"units": "W m-2"})},
        coords={
            "latitude": ("cell", np.zeros(4)),
            "longitude": ("cell", LONGITUDE),
            "time": TIMES[0],
        },
    )
    path = _write(cells, tmp_path / "cells.nc")
    detail = "its rlut lies along cell, its places along cell, not the same two"
    assert _refused(partial(_read, path), detail) == "unreadable"


def test_other_units_are_refused(tmp_path: Path) -> None:
    path = _write(_model(), tmp_path / "a.nc")
    read = partial(_read, path, units={"rlut": "K"})
    assert _refused(read, "its rlut is in W m-2, not in K") == "other units"
    read = partial(_read, path, units={})
    detail = (
        r"its rlut is in W m-2, but infrared_window should be in K; change ingest\.bands, "
        r"or declare \{rlut: W m-2\} in ingest\.netcdf\.units"
    )
    assert _refused(read, detail) == "other units"
    bare = _model()
    del bare.rlut.attrs["units"]
    assert _read(_write(bare, tmp_path / "b.nc")).infrared_window.attrs["units"] == "W m-2"


def test_a_band_in_units_of_time_is_no_time(tmp_path: Path) -> None:
    model = _model()
    model.rlut.attrs["units"] = "hours"
    read = _read(_write(model, tmp_path / "a.nc"), units={"rlut": "hours"})
    np.testing.assert_array_equal(read.infrared_window, RLUT[0])


def test_a_file_without_the_variables_is_refused(tmp_path: Path) -> None:
    path = _write(_model(), tmp_path / "a.nc")
    read = partial(_read, path, bands={"visible": ["clt", "C02"]})
    assert _refused(read, r"it has no band for visible; ingest\.bands names") == "lacks a band"


@pytest.mark.parametrize("length", [100, 4000])
def test_a_truncated_file_has_its_reason(length: int, tmp_path: Path) -> None:
    path = _write(_model(), tmp_path / "a.nc")
    path.write_bytes(path.read_bytes()[:length])
    [granule], _ = find_granules([path])
    assert (granule.name, granule.start_time) == ("a.nc", None)
    assert _refused(partial(_read, path), ".") == "damaged or truncated"
