import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from pipeline.core.quality import (
    band_faults,
    implausible_share,
    is_flat,
    missing_lines,
    saturated_pixels,
    striped_lines,
    without_noise_floor,
)

SHAPE = (90, 71)
ROW, COLUMN = np.mgrid[: SHAPE[0], : SHAPE[1]]
NOISE = np.random.default_rng(3).normal(size=SHAPE)
PERIODS = (1, 2, 3, 4, 5, 7)
SCENES = {
    "noise": NOISE,
    "equal everywhere": np.zeros(SHAPE),
    "gradient": ROW + 2.0 * COLUMN,
    "smooth": gaussian_filter(NOISE, 6),
    "smooth and noisy": 50 * gaussian_filter(NOISE, 6) + NOISE,
    "hills": np.sin(ROW / 7) * np.cos(COLUMN / 9),
    "saddle with one flat row": (ROW - 20.0) * (COLUMN - 20.0),
    "band of cloud along the rows": np.exp(-(((ROW - 30) / 10) ** 2) / 2),
    "fields of cloud over a dark sea": np.maximum(gaussian_filter(NOISE, 2), 0),
    "blobs without noise": (gaussian_filter(NOISE, 3) > 0.05) * 1.0,
    "cloud edge along a row": 60.0 * (ROW < 40) + NOISE,
    "cloud edge along a row, without noise": 60.0 * (ROW < 40),
    "cloud edge across": 60.0 * (COLUMN < 40) + NOISE,
    "slanting cloud edge": 60.0 * (ROW + COLUMN < 80) + NOISE,
    "slanting cloud edge, without noise": 60.0 * (ROW + COLUMN < 80),
    **{f"checkers of {p}": 1.0 * ((ROW // p + COLUMN // p) % 2) for p in PERIODS},
    **{f"noisy checkers of {p}": 20.0 * ((ROW // p + COLUMN // p) % 2) + NOISE for p in PERIODS},
    **{f"bars of {p} rows": 1.0 * (ROW // p % 2) for p in PERIODS},
    **{f"waves of {p} rows": np.sin(2 * np.pi * ROW / (p + 0.3)) for p in PERIODS[1:]},
}


def rows(striped: np.ndarray) -> list[int]:
    return np.flatnonzero(striped).tolist()


def test_below_the_noise_floor_is_the_coldest_that_the_band_can_tell() -> None:
    shortwave = np.array([[0, -2.97, -2.97, 205.2], [230, 290, np.nan, 119]])
    window = np.array([[200, 195, 280, 214], [230, 288, 200, np.nan]])
    expected = np.array([[205.2, 205.2, -2.97, 205.2], [230, 290, np.nan, 205.2]])
    np.testing.assert_array_equal(without_noise_floor(shortwave, window), expected)
    expected[0, 2] = 205.2  # nothing tells that it is warm
    np.testing.assert_array_equal(without_noise_floor(shortwave, None), expected)
    nothing = np.full((2, 2), -2.97)
    np.testing.assert_array_equal(without_noise_floor(nothing, None), nothing)


@pytest.mark.parametrize(
    ("values", "flat"),
    [([0.0, 0.0], True), ([np.nan, -4.2], True), ([0.0, 4e-9], True), ([250.0, 250.02], False)],
)
def test_counts_scaled_by_nothing_are_flat(values: list[float], flat: bool) -> None:
    assert is_flat(np.float32([values])) == flat


def test_what_was_not_measured_is_not_flat() -> None:
    assert not is_flat(np.full((2, 2), np.nan))


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("threshold", [3.0, 5.0])
def test_a_natural_scene_has_no_stripe(name: str, threshold: float) -> None:
    assert rows(striped_lines(SCENES[name], threshold=threshold)) == []
    assert rows(striped_lines(SCENES[name].astype(np.float32), threshold=threshold)) == []


@given(st.integers(0, 10_000), st.floats(0.5, 15), st.floats(-2, 2))
def test_no_random_field_has_a_stripe(seed: int, scale: float, cloud: float) -> None:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), scale)
    field /= field.std()
    assert rows(striped_lines(field, threshold=3)) == []
    assert rows(striped_lines(np.maximum(field, cloud), threshold=3)) == []


@pytest.mark.parametrize(
    "name", ["noise", "smooth and noisy", "cloud edge across", "slanting cloud edge"]
)
@pytest.mark.parametrize("offset", [-6.0, 6.0])
def test_a_row_off_by_a_few_times_the_noise_is_a_stripe(name: str, offset: float) -> None:
    field = SCENES[name].copy()
    field[[20, 31, 50]] += offset
    assert rows(striped_lines(field, threshold=3)) == [20, 31, 50]
    assert rows(striped_lines(field, threshold=8)) == []


def test_a_stripe_does_not_blame_its_neighbours() -> None:
    field = NOISE.copy()
    field[40] += 1000
    assert rows(striped_lines(field, threshold=3)) == [40]


@pytest.mark.parametrize("name", ["noise", "smooth and noisy", "smooth"])
@pytest.mark.parametrize("value", [-9.0, 0.0, 0.01, 40.0])
def test_a_dead_detector_draws_a_stripe(name: str, value: float) -> None:
    field = SCENES[name].copy()
    field[10:80:10] = value
    assert rows(striped_lines(field, threshold=5)) == list(range(10, 80, 10))


def test_missing_rows_and_pixels_hide_no_stripe() -> None:
    field = NOISE.copy()
    field[[20, 40]] += 8
    field[60] = 0
    field[[0, 1, 19, 41, 42, 70, 89]] = np.nan
    field[:, :15] = np.nan
    field[5::7, 20::3] = np.inf
    assert rows(striped_lines(field, threshold=3)) == [20, 40, 60]


def test_rows_with_few_pixels_are_not_judged() -> None:
    field = NOISE.copy()
    field[30] += 100
    field[30, 10:] = np.nan
    assert rows(striped_lines(field, threshold=3)) == []
    assert rows(striped_lines(NOISE[:, :10], threshold=0.1)) == []


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_too_few_rows_have_no_stripe(n_rows: int) -> None:
    assert striped_lines(NOISE[:n_rows], threshold=1).tolist() == [False] * n_rows
    missing = np.full((5, 20), np.nan)
    missing[:n_rows] = 1
    assert rows(striped_lines(missing, threshold=1)) == []


@given(
    st.integers(0, 1000),
    st.integers(-20, 20),
    st.booleans(),
    st.integers(-1000, 1000),
    st.lists(st.integers(1, SHAPE[0] - 2), max_size=4),
)
def test_scale_and_offset_do_not_count(
    seed: int, exponent: int, inverted: bool, offset: int, striped: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    field = rng.integers(0, 100, SHAPE).astype(np.float64)
    field[striped] += 150
    scale = (-1 if inverted else 1) * 2.0**exponent
    expected = rows(striped_lines(field, threshold=2.6180339))
    assert rows(striped_lines(scale * (field + offset), threshold=2.6180339)) == expected


def test_missing_lines_by_hand() -> None:
    values = np.array([[1, np.nan], [np.nan, np.nan], [np.nan, 2], [np.inf, np.nan]])
    on_earth = np.ones((4, 2), bool)
    assert missing_lines(values, on_earth).tolist() == [False, True, False, True]
    on_earth[1] = False
    on_earth[2, 1] = False  # what was measured there is not of the Earth
    assert missing_lines(values, on_earth).tolist() == [False, False, True, True]
    assert not missing_lines(np.full((4, 2), np.nan), on_earth).any()
    assert missing_lines(values[:0], on_earth[:0]).shape == (0,)


def test_saturated_pixels_are_a_plateau_at_the_top() -> None:
    values = np.array([[1.0, 5.0, np.nan], [5.0, 1.0, 1.0], [np.inf, 4.9, 5.0]], np.float32)
    expected = [[False, True, False], [True, False, False], [False, False, True]]
    np.testing.assert_array_equal(saturated_pixels(values, fewest=3), expected)
    assert not saturated_pixels(values, fewest=4).any()


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_scene_of_one_value_is_not_saturated(value: float) -> None:
    field = np.full((4, 5), value)
    field[0, 0] = np.nan
    assert not saturated_pixels(field, fewest=1).any()


@given(st.integers(0, 1000), st.integers(1, 40))
def test_noise_clipped_at_the_top_is_saturated_there(seed: int, n_clipped: int) -> None:
    noise = np.random.default_rng(seed).permutation(100.0 * np.arange(200)).reshape(10, 20)
    top = np.sort(noise, axis=None)[-n_clipped]
    found = saturated_pixels(np.minimum(noise, top), fewest=5)
    np.testing.assert_array_equal(found, (noise >= top) & (n_clipped >= 5))


def test_implausible_share_by_hand() -> None:
    reflectances = np.array([[-11.0, -9.0, 0.0], [250.0, 251.0, np.nan]])
    assert implausible_share(reflectances, units="percent") == pytest.approx(2 / 5)
    temperatures = np.array([0.0, 119.0, 160.0, 300.0, 440.0, 451.0, np.inf, -np.inf])
    assert implausible_share(temperatures, units="K") == pytest.approx(3 / 6)
    assert implausible_share(np.full(3, np.nan), units="K") == 0


def test_other_units_have_no_bounds() -> None:
    assert implausible_share(np.array([[1e9]]), units="W m-2") == 0


def test_faults_of_a_band_are_counted_by_kind() -> None:
    rng = np.random.default_rng(0)
    values = 30 + rng.normal(0, 0.3, (40, 64))
    values[5:9] = np.nan
    values[20] += 50
    values[30:32, :32] = 400
    values[30:32, 1:32:2] = 20
    shares, striped = band_faults(
        values, np.ones(values.shape, bool), units="percent", stripe_threshold=6, plateau_pixels=32
    )
    assert shares["missing lines"] == 0.1
    assert shares["stripes"] == 1 / 40
    assert shares["saturated"] == 32 / values.size
    assert shares["implausible values"] == pytest.approx(32 / (36 * 64))
    assert shares["static"] == pytest.approx(60 / values.size, abs=3 / values.size)
    np.testing.assert_array_equal(np.flatnonzero(striped), [20])
    warm, _ = band_faults(
        np.minimum(values, 30) + 250,
        np.ones(values.shape, bool),
        units="K",
        stripe_threshold=6,
        plateau_pixels=32,
    )
    assert warm["saturated"] == 0
