import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.core import novelty
from pipeline.core.synthetic.textures import TEXTURES, ranked_texture

SIZE = 64


def _spectra(morphology: str, day: int) -> np.ndarray:
    """Logarithm of the power at each wavenumber of nine tiles, and how far it is in one direction.

    The latter tells streets from grains of the same wavelength.
    """
    rng = np.random.default_rng([day, sorted(TEXTURES).index(morphology)])
    field = ranked_texture(morphology, np.ones((3 * SIZE, 3 * SIZE), bool), rng=rng)
    tiles = field.reshape(3, SIZE, 3, SIZE).swapaxes(1, 2).reshape(-1, SIZE, SIZE)
    window = np.outer(np.hanning(SIZE), np.hanning(SIZE))
    power = np.abs(np.fft.fft2((tiles - tiles.mean((1, 2), keepdims=True)) * window)) ** 2
    waves = np.fft.fftfreq(SIZE, 1 / SIZE)
    wavenumber = np.minimum(np.hypot(waves[:, None], waves), 24).astype(int).ravel()
    angle = np.exp(2j * np.arctan2(waves[:, None], waves))
    rings = np.stack([np.bincount(wavenumber, each.ravel())[1:] for each in power])
    aligned = np.abs((power * angle).sum((1, 2))) / power.sum((1, 2))
    return np.column_stack([np.log(rings), 5 * aligned])


def test_hand_computed_scores() -> None:
    features = np.array([[0.0], [1.0], [3.0], [10.0]])
    days = np.array([0, 1, 2, 3])
    seen = novelty.measure_spacing(features, days, n_nearest=2)
    np.testing.assert_allclose(seen.spacing, [2.0, 1.5, 2.5, 8.0])
    scores = novelty.novelty(np.array([[2.0], [30.0]]), np.array([9, 9]), seen)
    np.testing.assert_allclose(scores, [1.0 / 2.0, 23.5 / 5.25])


def test_tiles_of_the_own_day_are_left_out() -> None:
    seen = novelty.measure_spacing(np.array([[0.0], [4.0], [5.0]]), np.arange(3), n_nearest=1)
    point = np.array([[0.0]])
    assert novelty.novelty(point, np.array([9]), seen)[0] == 0
    assert novelty.novelty(point, np.array([0]), seen)[0] == 4.0


def test_dense_and_sparse_tiles_are_measured_by_their_own_spacing() -> None:
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(0, 0.1, (500, 3)), rng.normal(20, 2, (500, 3))])
    seen = novelty.measure_spacing(features, rng.integers(0, 5, 1000), n_nearest=5)
    dense, sparse = rng.normal(0, 0.1, (200, 3)), rng.normal(20, 2, (200, 3))
    medians = [np.median(novelty.novelty(each, np.full(200, 9), seen)) for each in (dense, sparse)]
    np.testing.assert_allclose(medians, 1, atol=0.1)
    beside = novelty.novelty(np.full((1, 3), 1.0), np.array([9]), seen)  # between sparse ones: near
    assert beside[0] > 5


def test_blocks_do_not_change_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    features, days = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
    whole = novelty.novelty(features, days, novelty.measure_spacing(features, days, n_nearest=3))
    monkeypatch.setattr(novelty, "TILES_PER_BLOCK", 7)
    parts = novelty.novelty(features, days, novelty.measure_spacing(features, days, n_nearest=3))
    np.testing.assert_array_equal(whole, parts)


def test_copies_have_a_finite_score() -> None:
    seen = novelty.measure_spacing(np.zeros((4, 2)), np.arange(4), n_nearest=2)
    assert np.isfinite(novelty.novelty(np.array([[0.0, 0.0], [1, 1]]), np.full(2, 9), seen)).all()


def test_too_few_other_days_are_refused() -> None:
    with pytest.raises(ValueError, match=r"5 reference tiles leave 1 .* freeze\.n_nearest 2; low"):
        novelty.measure_spacing(np.zeros((5, 2)), np.array([0, 0, 0, 0, 1]), n_nearest=2)


def test_a_morphology_held_out_is_told_from_those_seen_on_other_days() -> None:
    known = sorted(set(TEXTURES) - {"streets"})
    n_days = 8
    features = np.concatenate([_spectra(name, day) for day in range(n_days) for name in known])
    days = np.repeat(np.arange(n_days), 9 * len(known))
    seen = novelty.measure_spacing(features, days, n_nearest=5)
    threshold = np.quantile(novelty.novelty(features, days, seen), 0.95)
    later = range(n_days, n_days + 3)
    familiar = np.concatenate([_spectra(name, day) for day in later for name in known])
    unseen = np.concatenate([_spectra("streets", day) for day in later])
    scores = [novelty.novelty(each, np.full(len(each), 99), seen) for each in (familiar, unseen)]
    truth = np.repeat([0, 1], [len(familiar), len(unseen)])
    assert roc_auc_score(truth, np.concatenate(scores)) > 0.98
    assert (scores[0] > threshold).mean() < 0.15
    assert (scores[1] > threshold).mean() > 0.9
