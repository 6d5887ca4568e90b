import numpy as np
import pytest
import xarray as xr

from pipeline.core import probing
from pipeline.core.probing import read_quantity, why_unread
from pipeline.core.references import shuffle_pixels
from pipeline.core.representations import OWN, SHUFFLED

N_DAYS, PER_DAY = 40, 30
STRENGTHS = (1.0, 10.0, 100.0, 1000.0)


def _times(n_days: int = N_DAYS, per_day: int = PER_DAY) -> np.ndarray:
    day = np.repeat(np.arange(n_days), per_day)
    return np.datetime64("2020-01-01", "ns") + day * np.timedelta64(9, "D")


def _read(features: dict[str, np.ndarray], values: np.ndarray, times: np.ndarray) -> dict:
    return read_quantity(features, values, times, strengths=STRENGTHS, n_folds=5, seed=0)


def test_a_known_share_of_a_quantity_is_read_whatever_else_features_hold() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N_DAYS * PER_DAY, 64))
    wanted = features[:, :4].sum(axis=1) / 2  # of variance 1
    values = np.sqrt(0.7) * wanted + np.sqrt(0.3) * rng.normal(size=len(wanted))
    values[::7] = np.nan
    found = _read({OWN: features, SHUFFLED: features[:, 8:]}, values, _times())
    share, gain = found[OWN]
    assert share.share == pytest.approx(0.7, abs=0.05)
    assert share.low < 0.7 < share.high
    assert (gain.share, gain.low, gain.high) == (0, 0, 0)
    share, gain = found[SHUFFLED]
    assert share.share < 0.02
    assert gain.low > 0.5
    assert gain.share == pytest.approx(found[OWN][0].share - share.share)


def test_what_only_names_the_day_reads_nothing() -> None:
    rng = np.random.default_rng(1)
    times = _times()
    of_day = rng.normal(size=(N_DAYS, 16)).repeat(PER_DAY, axis=0)
    values = rng.normal(size=N_DAYS).repeat(PER_DAY) + 0.1 * rng.normal(size=len(times))
    found = _read({OWN: of_day}, values, times)
    assert found[OWN][0].share < 0.1


def test_intervals_of_the_gain_hold_zero_where_there_is_none() -> None:
    inside = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        times = _times(20, 12)
        truth = rng.normal(size=len(times)) + rng.normal(size=20).repeat(12)
        alike = {name: truth[:, None] + rng.normal(size=(len(times), 3)) for name in "ab"}
        _, gain = _read({OWN: alike["a"], SHUFFLED: alike["b"]}, truth, times)[SHUFFLED]
        inside.append(gain.low < 0 < gain.high)
    assert np.mean(inside) >= 0.85


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full(100, np.nan), "known for 0 tiles, fewer than 50"),
        (np.full(60, 1.0), "known on one day, so that nothing can be tried on another"),
        (np.full(100, 7.0), "the same for all tiles"),
        (np.arange(100.0), None),
    ],
)
def test_what_cannot_be_read_is_told(values: np.ndarray, reason: str | None) -> None:
    assert why_unread(values, np.arange(len(values)) // 60) == reason


def test_shuffled_tiles_keep_their_colours_and_lose_their_order() -> None:
    rng = np.random.default_rng(2)
    tiles = rng.integers(0, 255, (3, 2, 8, 8), dtype=np.uint8)
    shuffled = shuffle_pixels(tiles, seed=0)
    assert (shuffled != tiles).any(axis=(1, 2, 3)).all()
    for before, after in zip(tiles, shuffled, strict=True):
        pixels = (sorted(map(tuple, each.reshape(2, -1).T.tolist())) for each in (before, after))
        assert len(set(map(tuple, pixels))) == 1
    np.testing.assert_array_equal(shuffled, shuffle_pixels(tiles, seed=0))


def test_the_product_and_the_finding_tell_where_the_own_encoder_is_better() -> None:
    rng = np.random.default_rng(3)
    times = _times()
    features = rng.normal(size=(len(times), 8))
    known = {"scai": features[:, 0] + features[:, 1], "cop": features[:, 5].copy()}
    known["cop"][times > np.datetime64("2020-06-01")] = np.nan
    quantities = xr.Dataset(
        {
            "scai": ("tile", known["scai"], {"long_name": "aggregation"}),
            "cop": ("tile", known["cop"]),
        },
        coords={"time": ("tile", times)},
    )
    by_name = {OWN: features, SHUFFLED: features[:, 4:]}
    found = {name: _read(by_name, values, times) for name, values in known.items()}
    product = probing.assemble(found, quantities)
    assert product.explained.dims == ("representation", "quantity")
    assert product.explained.sel(representation=OWN).min() > 0.95
    assert product.explained.sel(representation=SHUFFLED, quantity="scai") < 0.05
    assert product.long_name.values.tolist() == ["aggregation", "cop"]
    assert product.n_tiles.values.tolist() == [len(times), np.isfinite(known["cop"]).sum()]
    assert product.n_days.values[0] == N_DAYS > product.n_days.values[1]
    assert probing.say(product) == (
        "of the variance of 2 quantities 1.00 is read from the own encoder in the mean, 0.50 from "
        "shuffled pixels; of 1 more than from each of these with 95 % confidence"
    )
    assert len(probing.tabulate(product)) == 4
    assert probing.summarise(product)[OWN]["scai"] > 0.95
