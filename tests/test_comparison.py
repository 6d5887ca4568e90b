import numpy as np
import pytest
from scipy import stats

from pipeline.core.comparison import baselines, folds, measures, pairs, table

N_DAYS = 24
RNG = np.random.default_rng(0)
DAYS = np.repeat(np.arange(N_DAYS), 8)
LABELS = np.tile(np.arange(4), 2 * N_DAYS)
NAMES = ["fish", "flower", "gravel", "sugar"]
TRAIN_DAYS = DAYS < 12
TEST_DAYS = DAYS >= 16  # 12 to 15 are of the third split
CLEAR = np.eye(4)[LABELS] * 10 + RNG.normal(size=(len(LABELS), 4))
NOISE = RNG.normal(size=(len(LABELS), 4))


def _folds(n_folds: int = 4, n_repeats: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return folds.draw_tested_folds(
        LABELS,
        DAYS,
        TEST_DAYS,
        TRAIN_DAYS,
        names=NAMES,
        n_folds=n_folds,
        n_repeats=n_repeats,
        seed=1,
    )


def test_folds_test_each_tile_of_the_tested_days_once_a_repeat() -> None:
    train, test = _folds()
    assert train.shape == test.shape == (8, len(LABELS))
    np.testing.assert_array_equal(test[:4].sum(axis=0), TEST_DAYS)
    assert not (train & test).any()
    assert not train[:, (DAYS >= 12) & (DAYS < 16)].any()
    assert train[:, TRAIN_DAYS].all()
    for fitted, tested in zip(train, test, strict=True):
        assert not set(DAYS[fitted]) & set(DAYS[tested])


def test_days_on_both_sides_and_labels_on_few_days_are_refused() -> None:
    with pytest.raises(ValueError, match=r"8 days are fitted on and tested; keep them apart"):
        folds.draw_tested_folds(
            LABELS, DAYS, TEST_DAYS, TEST_DAYS, names=NAMES, n_folds=2, n_repeats=1, seed=0
        )
    with pytest.raises(ValueError, match=r"label 'fish' lies on 8 day\(s\), fewer than the 9 fol"):
        _folds(n_folds=9)


def test_few_labels_come_from_many_days() -> None:
    drawn = folds.draw_per_label(LABELS, DAYS, N_DAYS, np.random.default_rng(0))
    assert drawn is not None
    for label in range(4):
        assert len(set(DAYS[drawn[LABELS[drawn] == label]])) == N_DAYS
    assert folds.draw_per_label(LABELS, DAYS, 2 * N_DAYS + 1, np.random.default_rng(0)) is None


def test_probe_and_nearest_tell_clear_features_and_no_others() -> None:
    train, test = _folds()
    for features, low, high in ((CLEAR, 0.99, 1.0), (NOISE, 0.05, 0.45)):
        probed = measures.probe(features, LABELS, DAYS, train, test, strengths=[10.0])
        near = measures.precision(features, LABELS, train, test, n_nearest=5)
        for found in (probed, near):
            assert found.shape == (8,)
            assert low <= found.mean() <= high


def test_label_efficiency_rises_and_is_missing_where_labels_are_too_few() -> None:
    train, test = _folds()
    features = CLEAR + 4 * NOISE
    found = measures.label_efficiency(
        features, LABELS, DAYS, train, test, counts=[2, 20, 99], strengths=[10.0], seed=0
    )
    assert found.shape == (3, 8)
    assert found[1].mean() > found[0].mean()
    assert np.isnan(found[2]).all()


def test_clusters_that_are_the_labels_agree_wholly_and_noise_by_chance() -> None:
    train, test = _folds()
    clear = measures.cluster_agreement(CLEAR, LABELS, train, test, k=4, seed=0)
    np.testing.assert_allclose(clear, 1)
    rand, information = measures.cluster_agreement(NOISE, LABELS, train, test, k=4, seed=0)
    assert abs(rand.mean()) < 0.1
    assert information.mean() < 0.4


def test_invariance_is_one_for_the_same_and_zero_for_any_other_tile() -> None:
    _, test = _folds()
    same = np.repeat(NOISE[:, None], 7, axis=1)
    np.testing.assert_allclose(measures.turning_invariance(NOISE, same, test), 1)
    rng = np.random.default_rng(3)
    others = np.stack([NOISE[rng.permutation(len(NOISE))] for _ in range(7)], axis=1)
    assert measures.turning_invariance(NOISE, others, test).mean() == pytest.approx(0, abs=0.15)


def test_a_shortcut_is_found_where_it_is() -> None:
    train, test = _folds()
    brightness = NOISE @ [1.0, -2.0, 0.5, 0.0]
    assert measures.shortcut(NOISE, brightness, train, test).min() > 0.99
    assert measures.shortcut(CLEAR, RNG.normal(size=len(DAYS)), train, test).max() < 0.3


def test_holm_by_hand() -> None:
    found = pairs.holm(np.array([0.02, np.nan, 0.001, 0.5, 0.02]))
    np.testing.assert_allclose(found, [0.06, np.nan, 0.004, 0.5, 0.06])


def test_pairs_are_the_corrected_t_test_on_shared_folds() -> None:
    scores = np.array(
        [
            [0.7, 0.8, 0.75, 0.9, 0.72],
            [0.6, 0.75, 0.7, np.nan, 0.7],
            [0.5, 0.5, np.nan, 0.5, np.nan],
        ]
    )
    difference, low, high, chance = pairs.compare_pairs(scores[:, None], n_folds=5)
    of_folds = np.array([0.1, 0.05, 0.05, 0.02])
    error = np.sqrt((1 / 4 + 0.25) * of_folds.var(ddof=1))
    reach = stats.t.ppf(0.975, 3) * error
    assert difference[0, 1] == pytest.approx(of_folds.mean())
    assert low[0, 1] == pytest.approx(of_folds.mean() - reach)
    assert high[0, 1] == pytest.approx(of_folds.mean() + reach)
    np.testing.assert_allclose(difference, -difference.T)
    np.testing.assert_allclose(low, -high.T)
    each = 2 * stats.t.sf(of_folds.mean() / error, 3)
    assert chance[0, 1] == chance[1, 0] >= each
    assert np.isnan(np.diag(chance)).all()


def test_rows_that_are_the_same_differ_by_nothing() -> None:
    *_, chance = pairs.compare_pairs(np.full((2, 3, 5), 0.7), n_folds=5)
    assert chance[0, 1] == 1


def _paired_worlds(n_worlds: int, rng: np.random.Generator) -> np.ndarray:
    """Scores of two equally good feature sets on the same folds, one less the other, (world, fold).

    There are 442 tiles that every fold is fitted on and 440 tested tiles, on 118 days each, of four
    labels. Features are the label, an effect of the day and noise; classes are told by their means.
    """
    day = np.concatenate([np.arange(442) % 118 + 118, np.arange(440) % 118])
    is_tested = np.arange(len(day)) >= 442
    label = rng.integers(4, size=len(day))
    train, test = folds.draw_tested_folds(
        label, day, is_tested, ~is_tested, names=NAMES, n_folds=5, n_repeats=10, seed=1
    )
    of_label = np.eye(4)[label]
    fitted = train.astype(float)  # (fold, tile)
    counts = (fitted @ of_label)[:, :, None]  # (fold, label, 1)
    tested = test[:, :, None] * of_label  # (fold, tile, label)

    def score() -> np.ndarray:
        features = 0.8 * of_label + 0.7 * rng.normal(size=(236, 4))[day]
        features += rng.normal(size=features.shape)
        joint = (of_label[:, :, None] * features[:, None]).reshape(len(day), -1)
        means = (fitted @ joint).reshape(-1, 4, 4) / counts  # (fold, label, feature)
        distance = np.square(means).sum(axis=2)[:, None] - 2 * features @ means.transpose(0, 2, 1)
        hits = distance.argmin(axis=2) == label
        return ((tested * hits[:, :, None]).sum(axis=1) / tested.sum(axis=1)).mean(axis=1)

    return np.stack([score() - score() for _ in range(n_worlds)])


@pytest.mark.slow("many")
def test_intervals_hold_the_truth_where_folds_share_tiles_of_other_days() -> None:
    """The ratio of all tested to all training tiles, 88 / 794, gives 0.84 to 0.88 here."""
    differences = _paired_worlds(400, np.random.default_rng(3))
    found = [pairs.estimate(each[None], n_folds=5) for each in differences]
    coverage = np.mean([each.low <= 0 <= each.high for each in found])
    assert 0.95 <= coverage <= 0.985
    by_chance = np.mean([each.chance < 0.05 for each in found])
    assert by_chance == pytest.approx(1 - coverage)
    ratio = (1 / 50 + 88 / 794) / (1 / 50 + 1 / 4)
    narrow = [abs(each.mean) <= np.sqrt(ratio) * (each.high - each.low) / 2 for each in found]
    assert np.mean(narrow) < 0.9


def test_intervals_hold_the_truth_where_training_varies() -> None:
    """Two rows whose trainings scatter by as much as folds do, 400 worlds."""
    rng = np.random.default_rng(0)
    n_worlds, held = 400, {"one seed": 0, "four seeds": 0}
    for _ in range(n_worlds):
        of_fold = 0.02 * rng.normal(size=5)
        rows = [
            of_fold + 0.03 * rng.normal(size=(4, 1)) + 0.02 * rng.normal(size=(4, 5))
            for _ in range(2)
        ]
        for name, n_seeds in (("one seed", 1), ("four seeds", 4)):
            found = pairs.estimate(*(row[:n_seeds] for row in rows), n_folds=5)
            held[name] += found.low <= 0 <= found.high
    assert held["four seeds"] / n_worlds > 0.94
    assert held["one seed"] / n_worlds < 0.75


def _row(name: str, probe: float, unfrozen: bool) -> table.Row:
    spread = np.array([-0.02, 0.0, 0.02, 0.0])
    values = {table.PROBE: (probe + spread)[None], table.SHORTCUT: np.full((1, 4), 0.3)}
    if unfrozen:
        values[table.UNFROZEN] = np.array([[0.8, 0.82, np.nan, np.nan]])
    return table.Row(name, values, np.full((2, 1, 4), probe), 3.14, 1000, name == "a")


def test_the_table_holds_means_intervals_and_pairs() -> None:
    rows = [_row("a", 0.7, True), _row("b", 0.6, False)]
    found = table.tabulate(rows, counts=[5, 10], n_folds=5)
    of_a = found.sel(row="a")
    assert float(of_a["mean"].sel(measure=table.PROBE)) == pytest.approx(0.7)
    assert float(of_a["mean"].sel(measure=table.UNFROZEN)) == pytest.approx(0.81)
    assert np.isnan(found["mean"].sel(row="b", measure=table.UNFROZEN))
    pair = found.sel(measure=table.PROBE, row="a", other_row="b")
    assert float(pair.difference) == pytest.approx(0.1)
    assert float(pair.chance) == 0  # the same on every fold
    assert pair.efficiency_difference.values == pytest.approx([0.1, 0.1])
    assert float(found.difference.sel(measure=table.SHORTCUT, row="a", other_row="b")) == 0
    assert {found[name].attrs["units"] for name in found.data_vars} == {"1"}
    assert found.minutes.attrs["units"] == "min"
    assert all("long_name" in variable.attrs for variable in found.variables.values())
    flat = table.flatten(found)
    assert flat.loc["b", "linear probe"] == 0.6
    assert flat.tuned.tolist() == ["yes", "no"]
    assert flat.loc["a", "minutes of training"] == 3.1
    assert flat.loc["a", "linear probe low"] < 0.7 < flat.loc["a", "linear probe high"]


def test_pixels_are_averaged() -> None:
    tiles = np.zeros((1, 1, 64, 64), np.uint8)
    tiles[0, 0, 0, 0] = 100
    shrunk = baselines.shrunk_pixels(tiles)
    assert shrunk.shape == (1, 32 * 32)
    assert shrunk[0, 0] == 25
    assert shrunk[0, 1:].sum() == 0
