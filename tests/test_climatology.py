"""Climatologies of random and of planted tiles."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import cf, climatology, grid, periods
from pipeline.core.climatology import ENOUGH, NO_TILES, TOO_FEW_DAYS, TOO_FEW_TILES

START = np.datetime64("2020-01-01", "ns")
N_CLUSTERS = 4
LATITUDES = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0]))
LONGITUDES = st.one_of(st.floats(-540, 540), st.sampled_from([-180.0, 180.0, 360.0, 540.0]))
TILES = st.lists(
    st.tuples(
        st.integers(0, N_CLUSTERS - 1),
        LATITUDES,
        LONGITUDES,
        st.integers(0, 800 * 86400),
        st.floats(0, 24),
    ),
    min_size=1,
    max_size=40,
)
GRIDS = {
    "latitude_longitude": grid.latitude_longitude_grid(15.0, key=""),
    "equal_area": grid.equal_area_grid(1500.0),
}
AXES = ("record", "month", "season", "local_solar_time")


def make_tiles(
    cluster: np.ndarray, times: np.ndarray, *, fewest_tiles: int = 1, fewest_days: int = 2
) -> climatology.Tiles:
    day = (times.astype("M8[D]") - START.astype("M8[D]")).astype(int)
    return climatology.Tiles(cluster, day, N_CLUSTERS, fewest_tiles, fewest_days)


def divide(axis: str, times: np.ndarray, local_solar_time: np.ndarray) -> periods.Periods:
    if axis == "local_solar_time":
        return periods.hours_of_day(local_solar_time, bin_hours=6.0, key="")
    by_time = {
        "record": periods.whole_record,
        "month": periods.months,
        "season": periods.seasons,
    }
    return by_time[axis](times)


def make_product(
    tiles: list[tuple[int, float, float, int, float]], grid_name: str, axis: str, **fewest: int
) -> xr.Dataset:
    cluster, latitude, longitude, seconds, hours = (
        np.array(each) for each in zip(*tiles, strict=True)
    )
    times = START + seconds.astype("m8[s]")
    return climatology.grid_frequencies(
        make_tiles(cluster, times, **fewest),
        grid.find_cells(GRIDS[grid_name], latitude, longitude),
        divide(axis, times, hours),
        periods.whole_record(times),
        dimension="local_solar_time" if axis == "local_solar_time" else "time",
    )


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("grid_name", GRIDS)
@settings(max_examples=25, deadline=None)
@given(tiles=TILES)
def test_no_tile_is_lost(
    tiles: list[tuple[int, float, float, int, float]], grid_name: str, axis: str
) -> None:
    product = make_product(tiles, grid_name, axis)
    per_cluster = product["count"].sum(set(product["count"].dims) - {"cluster"})
    numbers = [cluster for cluster, *_ in tiles]
    assert per_cluster.values.tolist() == np.bincount(numbers, minlength=N_CLUSTERS).tolist()
    assert int(product.n_tiles.sum()) == int(product.zonal_n_tiles.sum()) == len(tiles)
    assert (product["count"].sum("cluster") == product.n_tiles).all()


@given(tiles=TILES, axis=st.sampled_from(AXES))
def test_frequencies_of_a_cell_sum_to_one_and_anomalies_to_zero(
    tiles: list[tuple[int, float, float, int, float]], axis: str
) -> None:
    product = make_product(tiles, "equal_area", axis)
    filled = product.n_tiles.values > 0
    sums = product.frequency.sum("cluster").values
    np.testing.assert_allclose(sums[filled], 1, rtol=1e-6)
    compared = product.anomaly.notnull().any("cluster").values
    np.testing.assert_allclose(product.anomaly.sum("cluster").values[compared], 0, atol=1e-6)
    assert product.frequency.isnull().all("cluster").values[~filled].all()
    # Against the rest of the record, in which the period has no part.
    count, n_tiles = product["count"].astype(float), product.n_tiles.astype(float)
    dimension = product.n_tiles.dims[0]
    n_rest = n_tiles.sum(dimension) - n_tiles
    rest = (count.sum(dimension) - count) / n_rest.where(n_rest > 0)
    expected = product.frequency - rest
    np.testing.assert_allclose(
        product.anomaly, expected.transpose(*product.anomaly.dims), atol=1e-6
    )
    has_error = product.standard_error.notnull().any("cluster")
    assert (product.n_days.values[has_error.values] > 1).all()
    assert (product.anomaly_standard_error.isnull() | has_error).all()


def test_flags_tell_why_a_cell_is_not_to_be_trusted() -> None:
    day = 86400
    tiles = [(0, 5.0, 5.0, n * day, 0.0) for n in range(4)]  # on enough days
    tiles += [(0, 5.0, 20.0, n, 0.0) for n in range(4)]  # on one day
    tiles += [(1, 5.0, 35.0, n * day, 0.0) for n in range(2)]  # twice
    tiles += [(1, 5.0, 65.0, 0, 0.0)]  # and once; nothing was seen between the two
    product = make_product(tiles, "latitude_longitude", "record", fewest_tiles=3, fewest_days=3)
    assert product.sampling.values[0, 0].tolist() == [
        ENOUGH,
        TOO_FEW_DAYS,
        TOO_FEW_TILES,
        NO_TILES,
        TOO_FEW_TILES,
    ]
    assert product.sampling.attrs["flag_meanings"].split() == [
        "enough",
        "too_few_days",
        "too_few_tiles",
        "no_tiles",
    ]
    # Each cell has the same weight, however many tiles it holds, unless they are too few.
    assert product.zonal_frequency.values[0, :2, 0].tolist() == [1.0, 0.0]
    assert product.zonal_n_tiles.values.tolist() == [[8]]
    assert product.zonal_sampling.values.tolist() == [[ENOUGH]]


def test_a_planted_diurnal_cycle_is_recovered() -> None:
    rng = np.random.default_rng(4)
    n_days, n_places, amplitude, peak = 60, 30, 0.15, 15.0
    day, hour, place = (axis.ravel() for axis in np.indices((n_days, 24, n_places)))
    weather = np.repeat(rng.normal(0, 0.08, n_days), 24 * n_places)  # of each day
    chance = 0.3 + weather + amplitude * np.cos(2 * np.pi * (hour + 0.5 - peak) / 24)
    cluster = (rng.random(len(day)) < chance).astype(int)
    times = START + day.astype("m8[D]") + hour.astype("m8[h]")
    cells = grid.find_cells(GRIDS["equal_area"], place % 5 * 10.0, place * 2.0)
    cycle = climatology.average_cycle(
        make_tiles(cluster, times),
        cells,
        periods.hours_of_day(hour + 0.5, bin_hours=1.0, key=""),
        periods.whole_record(times),
        dimension="local_solar_time",
    )
    angle = 2 * np.pi * cycle.local_solar_time.values / 24
    waves = np.stack([np.cos(angle), np.sin(angle)]) / 12
    first = waves @ cycle.frequency.values[:, 1]
    # Errors of the hours are taken as independent; the weather they share moves the mean alone.
    error = np.sqrt(waves**2 @ cycle.standard_error.values[:, 1] ** 2).max()
    assert np.hypot(*first) == pytest.approx(amplitude, abs=2.5 * error)
    found_peak = np.arctan2(first[1], first[0]) * 24 / (2 * np.pi) % 24
    assert found_peak == pytest.approx(peak, abs=2.5 * error / amplitude * 24 / (2 * np.pi))
    assert error < 0.01
    deviation = np.abs(
        cycle.frequency[:, 1] - (0.3 + amplitude * np.cos(angle - 2 * np.pi * peak / 24))
    )
    assert (deviation < 3.5 * cycle.standard_error[:, 1]).all()
    assert (cycle.n_days == n_days).all()


def test_a_cycle_is_weighted_by_area_and_tells_places_from_periods() -> None:
    # Cluster 1 lives in the north, always; the north is seen at night, the south by day.
    latitude = np.array([60.0] * 6 + [0.0] * 30)
    hours = np.array([2.0] * 3 + [14.0] * 3 + [14.0] * 30)
    cluster = np.array([1] * 6 + [0] * 30)
    times = START + np.arange(36).astype("m8[D]")
    cells = grid.find_cells(GRIDS["latitude_longitude"], latitude, np.zeros(36))
    cycle = climatology.average_cycle(
        make_tiles(cluster, times),
        cells,
        periods.hours_of_day(hours, bin_hours=12.0, key=""),
        periods.whole_record(times),
        dimension="local_solar_time",
    )
    north, south = cells.area[-1, 0], cells.area[0, 0]
    np.testing.assert_allclose(cycle.frequency[:, 1], [1, north / (north + south)], rtol=1e-9)
    np.testing.assert_allclose(cycle.record_frequency, cycle.frequency, rtol=1e-9)
    np.testing.assert_allclose(cycle.area, [north, north + south], rtol=1e-9)


def test_calendar_months_are_a_cf_climatology() -> None:
    times = START + np.array([40, 5, 400, 800]).astype("m8[D]")
    found = climatology.average_cycle(
        make_tiles(np.array([0, 1, 1, 2]), times),
        grid.find_cells(GRIDS["equal_area"], np.zeros(4), np.zeros(4)),
        periods.months_of_year(times),
        periods.whole_record(times),
        dimension="time",
    )
    cycle = cf.as_climatology(found)
    assert cycle.time.dt.month.values.tolist() == [1, 2, 3]
    assert cycle.time.attrs["climatology"] == "climatology_bounds"
    assert "bounds" not in cycle.time.attrs
    assert cycle.frequency.attrs["cell_methods"].endswith("within years time: mean over years")
    bounds = cycle.climatology_bounds.values.astype("M8[D]").astype(str).tolist()
    assert bounds[1] == ["2020-02-01", "2021-03-01"]
    np.testing.assert_allclose(cycle.frequency[:, :3], [[0, 1, 0], [0.5, 0.5, 0], [0, 0, 1]])


def test_tables_that_outgrow_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(climatology, "MOST_VALUES", 10)
    tiles = [(0, 5.0, longitude, 0, 0.0) for longitude in (5.0, 50.0)]
    with pytest.raises(
        ValueError, match=r"1 periods of 4 cells and 4 clusters are 16 values, more"
    ):
        make_product(tiles, "latitude_longitude", "record")


def test_every_variable_is_described() -> None:
    product = make_product([(0, 5.0, 5.0, 0, 0.0)], "equal_area", "month")
    bounds = set(cf.BOUNDS.values())
    for name in set(product.variables) - bounds:
        assert "long_name" in product[name].attrs, name
    assert product.frequency.dims == ("time", "cluster", "latitude", "longitude")
    assert product.frequency.attrs["grid_mapping"] == "crs"
    assert product.crs.attrs["grid_mapping_name"] == "latitude_longitude"
