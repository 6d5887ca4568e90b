import numpy as np
import pytest
import xarray as xr

from pipeline.core import factors


def _tiles(**variables: np.ndarray) -> xr.Dataset:
    n_tiles = 8
    times = np.datetime64("2020-01-01", "ns") + np.arange(n_tiles) * np.timedelta64(40, "D")
    plain = {"longitude": np.linspace(-179, 179, n_tiles), "latitude": np.arange(n_tiles) * 1.0}
    return xr.Dataset(
        {name: ("tile", values) for name, values in (plain | variables).items()},
        coords={"time": ("tile", times)},
    )


def test_what_comes_round_again_has_sine_and_cosine() -> None:
    kept, _ = factors.gather_factors(_tiles(local_solar_time=np.arange(8) * 3.0))
    assert kept["latitude"].shape == (8, 1)
    for name in ("longitude", "local_solar_time", "season"):
        np.testing.assert_allclose(np.square(kept[name]).sum(axis=1), 1)
    np.testing.assert_allclose(kept["local_solar_time"][2], [1, 0], atol=1e-12)  # 6 h
    np.testing.assert_allclose(kept["longitude"][0], kept["longitude"][-1] * [-1, 1], atol=1e-12)
    np.testing.assert_allclose(kept["season"][0], [0, 1], atol=1e-12)  # 1 January


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full(8, 3.0), "the same for all tiles"),
        (np.full(8, np.nan), "missing for 100% of the tiles"),
    ],
)
def test_factors_that_tell_nothing_are_left_out_with_the_reason(
    values: np.ndarray, reason: str
) -> None:
    kept, left_out = factors.gather_factors(_tiles(land_fraction=values))
    assert "land_fraction" not in kept
    assert left_out["land_fraction"] == reason
    assert left_out["brightness_temperature"] == "not measured"
    assert set(kept) | set(left_out) == set(factors.LABELS)


def test_missing_values_are_the_mean_and_told() -> None:
    kept, _ = factors.gather_factors(_tiles(reflectance=np.array([1.0, 3, 5, 7] + 4 * [np.nan])))
    np.testing.assert_array_equal(kept["reflectance"][:, 0], [1, 3, 5, 7, 4, 4, 4, 4])
    np.testing.assert_array_equal(kept["reflectance"][:, 1], [0, 0, 0, 0, 1, 1, 1, 1])


def test_a_record_of_a_few_days_has_no_season() -> None:
    tiles = _tiles()
    short = tiles.assign_coords(time=tiles.time[0] + (tiles.time - tiles.time[0]) / 10)
    kept, left_out = factors.gather_factors(short)
    assert "season" not in kept
    assert left_out["season"] == "the record is too short for it"
