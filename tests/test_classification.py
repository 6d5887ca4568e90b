from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import timm
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_products import small_encoder

from pipeline.core import pretrained
from pipeline.core.classification import (
    calibration,
    classifiers,
    confused,
    finetune,
    probe,
    scores,
    table,
)
from pipeline.core.classification.folds import check_days, draw_folds
from pipeline.core.device import compute_device
from pipeline.core.encoder import Encoder, create_encoder, pool_tiles
from pipeline.core.label_network import LabelNetwork

WEIGHTS = Path(__file__).parents[2] / "shared/data/weights"
CPU = torch.device("cpu")
FINE_TUNING = finetune.FineTuning(
    n_epochs=8,
    batch_size=16,
    learning_rate=2e-3,
    layer_decay=0.9,
    head_learning_rate=3e-3,
    weight_decay=0.01,
    warm_up_share=0.1,
    label_smoothing=0.1,
    averaging=0.9,
    validation_share=0.3,
    patience=3,
    orientations=4,
)


def _draw_labels(n_tiles: int, n_days: int, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Every label on every day, so that folds exist."""
    days = np.arange(n_tiles) % n_days
    return np.arange(n_tiles) // n_days % n_labels, days


def _draw_stripes(n_tiles: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Narrow or wide stripes of equal histogram, in either direction."""
    labels = rng.integers(0, 2, n_tiles)
    tiles = np.empty((n_tiles, 3, 16, 16), np.uint8)
    for tile, label in enumerate(labels):
        width = (2, 4)[label]
        stripes = (np.arange(16) + rng.integers(2 * width)) // width % 2
        pattern = np.tile(stripes, (16, 1))
        tiles[tile] = 60 + 100 * (pattern.T if rng.integers(2) else pattern)
    noise = rng.integers(0, 40, tiles.shape)
    return (tiles + noise).astype(np.uint8), labels


@given(
    n_days=st.integers(3, 9),
    n_labels=st.integers(2, 4),
    n_folds=st.integers(2, 3),
    n_repeats=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_folds_keep_days_together_and_test_every_tile_once(
    n_days: int, n_labels: int, n_folds: int, n_repeats: int, seed: int
) -> None:
    labels, days = _draw_labels(8 * n_days, n_days, n_labels)
    folds = draw_folds(labels, days, n_folds=n_folds, n_repeats=n_repeats, seed=seed)
    assert folds.shape == (n_repeats, n_folds, len(labels))
    np.testing.assert_array_equal(folds.sum(axis=1), 1)
    for tested in folds.reshape(-1, len(labels)):
        assert tested.any()
        assert not set(days[tested]) & set(days[~tested])
        assert set(labels[~tested]) == set(labels)


def test_folds_depend_on_the_seed_alone() -> None:
    labels, days = _draw_labels(120, 12, 4)
    draws = [
        draw_folds(labels, days, n_folds=3, n_repeats=2, seed=seed).argmax(axis=1)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    assert (draws[0][0] != draws[0][1]).any()


def test_days_which_cannot_be_spread_are_refused() -> None:
    # Label 1 is on one day only: the fold which tests that day has none to train on.
    labels, days = np.array([0, 1, 0, 0, 1, 0]), np.array([0, 0, 1, 1, 0, 2])
    with pytest.raises(ValueError, match=r"3 labelled days cannot be spread over 2 folds"):
        draw_folds(labels, days, n_folds=2, n_repeats=1, seed=1)


def test_one_label_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 2 labels, the 3 usable tiles have 'fish'; ch"):
        check_days(np.zeros(3, int), np.arange(3), names=["fish", "sugar"], n_folds=2)


def test_a_label_on_too_few_days_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'sugar' lies on 2 day\(s\), fewer than the 3 folds; lo"):
        check_days(
            np.array([0, 0, 0, 1, 1, 1]),
            np.array([0, 1, 2, 0, 1, 1]),
            names=["fish", "sugar"],
            n_folds=3,
        )


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_scores_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = np.array(pairs).T
    confusions = scores.count_confusions(truth, predicted, 4)
    np.testing.assert_array_equal(
        confusions, metrics.confusion_matrix(truth, predicted, labels=range(4))
    )
    averaged = {"labels": np.unique(truth), "average": "macro", "zero_division": 0}
    expected = [
        metrics.accuracy_score(truth, predicted),
        np.mean([(predicted[truth == label] == label).mean() for label in np.unique(truth)]),
        metrics.precision_score(truth, predicted, **averaged),
        metrics.recall_score(truth, predicted, **averaged),
        metrics.f1_score(truth, predicted, **averaged),
    ]
    np.testing.assert_allclose(scores.score(confusions), expected, atol=1e-12)


def test_interval_by_hand() -> None:
    # Variance 0.01, (1/4 + 1/2) of it has the root 0.0866; t of 3 degrees of freedom is 3.1824.
    # Of three folds, half as many tiles are tested as trained on.
    folds = np.array([[0.6, 0.6, 0.8, 0.8], [0.5, 0.5, 0.5, 0.5]])
    folds[0] = 0.7 + 0.1 * np.sqrt(0.75) * np.array([-1, -1, 1, 1])
    low, high = scores.find_interval(folds, n_folds=3)
    np.testing.assert_allclose(low, [0.7 - 3.18245 * 0.0866025, 0.5], atol=1e-5)
    np.testing.assert_allclose(high, [0.7 + 3.18245 * 0.0866025, 0.5], atol=1e-5)


def test_pixel_statistics_by_hand() -> None:
    tiles = np.zeros((1, 2, 2, 2), np.uint8)
    tiles[0, 0] = [[0, 10], [20, 30]]
    features = probe.pixel_statistics(tiles).reshape(7, 2)
    expected = [15, np.sqrt(125), 1.5, 7.5, 15, 22.5, 28.5]
    np.testing.assert_allclose(features[:, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(features[:, 1], 0)


@pytest.mark.parametrize(("n_features", "best"), [(1, 0.01), (400, 100.0)])
def test_probe_regularises_many_noisy_features_more(n_features: int, best: float) -> None:
    rng = np.random.default_rng(1)
    labels, days = rng.integers(0, 2, 240), np.arange(240) % 6
    features = rng.normal(size=(240, n_features)) + 2 * labels[:, None] / np.sqrt(n_features)
    train, test = np.flatnonzero(days < 4), np.flatnonzero(days >= 4)
    chosen, fixed = (
        probe.probabilities_from_features(
            features, labels, days, train, test, n_labels=2, strengths=strengths
        ).argmax(axis=1)
        for strengths in ((0.01, 100.0), (best,))
    )
    np.testing.assert_array_equal(chosen, fixed)
    assert (chosen == labels[test]).mean() > 0.65


def test_probe_copes_with_one_training_day_and_an_unseen_label() -> None:
    features, labels = np.array([[0.0], [0.1], [1.0], [1.1], [2.0]]), np.array([0, 0, 1, 1, 2])
    told = probe.probabilities_from_features(
        features,
        labels,
        np.zeros(5, int),
        np.arange(4),
        np.array([0, 3]),
        n_labels=3,
        strengths=(10.0, 0.1),
    )
    np.testing.assert_array_equal(told.argmax(axis=1), [0, 1])
    np.testing.assert_array_equal(told[:, 2], 0)


def test_probe_computes_as_the_library() -> None:
    rng = np.random.default_rng(8)
    for n_labels in (2, 3):
        labels, days = rng.integers(0, n_labels, 90), np.arange(90) % 5
        features = rng.normal(size=(90, 4)) + labels[:, None]
        fitted = probe.fit_probe(features, labels, days, n_labels=n_labels, strengths=[1.0])
        library = make_pipeline(StandardScaler(), LogisticRegression(tol=probe.TOLERANCE))
        expected = library.fit(features, labels).predict_proba(features)
        uncalibrated = replace(fitted, temperature=1.0)
        np.testing.assert_allclose(uncalibrated.probabilities(features), expected, atol=1e-6)


def test_probabilities_come_true_as_often_as_they_say() -> None:
    """Many noisy features and few tiles make scores too sure; days not trained on tell."""
    rng = np.random.default_rng(9)
    labels, days = rng.integers(0, 2, 2400), np.arange(2400) % 12
    features = rng.normal(size=(2400, 60)) + 0.12 * (2 * labels[:, None] - 1)
    train, test = np.flatnonzero(days < 4), np.flatnonzero(days >= 4)
    fitted = probe.fit_probe(
        features[train], labels[train], days[train], n_labels=2, strengths=[0.01]
    )
    assert fitted.temperature > 1.2
    errors = [
        calibration.score_probabilities(each.probabilities(features[test]), labels[test])
        for each in (fitted, replace(fitted, temperature=1.0))
    ]
    assert (errors[0] < errors[1]).all()
    found = [
        calibration.calibration_error(
            each.probabilities(features[test])[None], labels[test], days[test], seed=0
        )
        for each in (fitted, replace(fitted, temperature=1.0))
    ]
    assert found[0].error < 0.06 < found[1].error
    assert found[1].error > found[1].null


@pytest.mark.parametrize(("gap", "found_beyond"), [(0.0, 0.05), (0.1, 0.5)])
def test_the_calibration_error_is_that_of_many_tiles_though_there_are_few(
    gap: float, found_beyond: float
) -> None:
    """Of 120 tiles in six folds, where means of folds say 0.12 and 0.16."""
    errors, by_fold, beyond, covered = [], [], [], []
    days = np.arange(120) % 12
    for seed in range(100):
        rng = np.random.default_rng(seed)
        confidence = rng.uniform(0.6, 0.9, 120)
        told = np.stack([confidence, 1 - confidence], axis=1)
        labels = (rng.random(120) > confidence - gap).astype(np.int64)
        found = calibration.calibration_error(told[None], labels, days, seed=seed)
        assert found.low <= found.error <= found.high
        errors.append(found.error)
        beyond.append(found.error > found.null)
        covered.append(found.low <= gap <= found.high)
        for fold in range(6):
            tested = days % 6 == fold
            mean, right, n_tiles = calibration.reliability(told[tested], labels[tested])
            by_fold.append(np.nansum(np.abs(mean - right) * n_tiles) / tested.sum())
    assert np.mean(by_fold) > max(0.11, 1.5 * gap)
    assert np.median(errors) == pytest.approx(gap, abs=0.03)
    assert np.mean(beyond) == pytest.approx(found_beyond, abs=0.06)
    assert np.mean(covered) > 0.9


def test_temperature_is_the_one_scores_were_multiplied_by() -> None:
    rng = np.random.default_rng(10)
    scores = rng.normal(size=(20000, 3))
    probable = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = (rng.random((20000, 1)) > probable.cumsum(axis=1)).sum(axis=1)
    assert calibration.fit_temperature(3 * scores, labels) == pytest.approx(3, rel=0.05)
    assert calibration.fit_temperature(scores[:0], labels[:0]) == 1


def test_reliability_by_hand() -> None:
    told = np.array([[0.95, 0.05], [0.91, 0.09], [0.45, 0.55], [0.0, 1.0]])
    confidence, right, n_tiles = calibration.reliability(told, np.array([0, 1, 0, 1]))
    assert n_tiles.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 3]
    np.testing.assert_allclose(confidence[[5, 9]], [0.55, (0.95 + 0.91 + 1) / 3])
    np.testing.assert_allclose(right[[5, 9]], [0, 2 / 3])
    assert np.isnan(right[0])


def test_confused_tiles_are_those_told_wrong_with_most_certainty() -> None:
    told = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9]])
    pairs = confused.find_confused(told, np.array([1, 1, 1, 0, 1]), n_examples=2)
    assert [(pair.given, pair.told, pair.n_tiles) for pair in pairs] == [(1, 0, 3), (0, 1, 1)]
    assert [pair.tiles.tolist() for pair in pairs] == [[0, 2], [3]]


def test_majority_is_that_of_the_training_tiles() -> None:
    shares = probe.majority_shares(
        np.array([0, 0, 0, 1, 1]), np.array([2, 3, 4]), np.array([0, 1]), n_labels=2
    )
    np.testing.assert_allclose(shares, [[1 / 3, 2 / 3]] * 2)


def test_fine_tuning_learns_textures_and_leaves_its_start_alone() -> None:
    tiles, labels = _draw_stripes(160, np.random.default_rng(2))
    encoder = small_encoder(3, seed=1)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    train, test = np.arange(112), np.arange(112, 160)
    predicted = [
        finetune.probabilities_by_fine_tuning(
            encoder,
            tiles,
            labels,
            np.arange(160) // 10,
            train,
            test,
            settings=FINE_TUNING,
            seed=1,
            device=CPU,
        )
        for _ in range(2)
    ]
    assert (predicted[0].argmax(axis=1) == labels[test]).mean() > 0.9
    np.testing.assert_array_equal(predicted[0], predicted[1])
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_fine_tuning_computes_on_the_device_there_is() -> None:
    tiles, labels = _draw_stripes(24, np.random.default_rng(3))
    encoder = small_encoder(3, seed=1)
    told = finetune.probabilities_by_fine_tuning(
        encoder.to(compute_device()),
        tiles,
        labels,
        np.arange(24) // 4,
        np.arange(17),  # one more than a batch
        np.arange(17, 24),
        settings=replace(FINE_TUNING, n_epochs=1),
        seed=1,
        device=compute_device(),
    )
    assert told.shape == (7, 2)
    np.testing.assert_allclose(told.sum(axis=1), 1, rtol=1e-5)


def test_fine_tuning_starts_from_logistic_regression() -> None:
    tiles, labels = _draw_stripes(60, np.random.default_rng(4))
    days = np.arange(60) // 6
    encoder = small_encoder(3, seed=1)
    network = LabelNetwork(encoder, n_labels=3)  # the last of which is never seen
    finetune._start_from_probe(network, tiles, labels, days, CPU)
    features = pool_tiles(encoder, tiles, device=CPU)
    expected = probe.fit_probe(features, labels, days, n_labels=3, strengths=finetune.STRENGTHS)
    found = finetune._scores(network, tiles, CPU, n_orientations=1).numpy()
    np.testing.assert_allclose(found[:, :2], expected.scores(features)[:, :2], atol=0.05)
    np.testing.assert_allclose(found[:, 2], finetune.UNKNOWN)


def test_earlier_layers_learn_more_slowly() -> None:
    tiles, labels = _draw_stripes(40, np.random.default_rng(5))
    start = small_encoder(3, seed=1)
    moved = {}
    for decay in (1.0, 0.5):
        settings = replace(FINE_TUNING, n_epochs=1, layer_decay=decay, averaging=0.0)
        network = finetune.fine_tune(
            start,
            tiles,
            labels,
            np.zeros(40, int),  # of one day, so that none is set aside
            n_labels=2,
            settings=settings,
            seed=0,
            device=CPU,
        )
        after = dict(network.encoder.named_parameters())
        steps = {
            name: (after[name] - value).abs().mean() for name, value in start.named_parameters()
        }
        first, last = (f"backbone.network.{name}.weight" for name in ("conv1.0", "layer3.0.conv1"))
        moved[decay] = steps[first] / steps[last]
    assert moved[0.5] < 0.5 * moved[1.0]


@pytest.mark.parametrize("rate", [1e-3, 10.0])
def test_fine_tuning_keeps_what_days_set_aside_find_best(
    rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rate that ruins the network that is the classifier it started from."""
    tiles, labels = _draw_stripes(80, np.random.default_rng(6))
    days = np.arange(80) // 8
    losses: list[float] = []
    measure = finetune._loss

    def remember(*args: Any) -> float:
        losses.append(measure(*args))
        return losses[-1]

    monkeypatch.setattr(finetune, "_loss", remember)
    if rate < 1:
        monkeypatch.setattr(finetune, "_start_from_probe", Mock())  # a head that knows nothing
    settings = replace(
        FINE_TUNING, learning_rate=rate, head_learning_rate=rate, n_epochs=6, patience=2
    )
    network = finetune.fine_tune(
        small_encoder(3, seed=1),
        tiles,
        labels,
        days,
        n_labels=2,
        settings=settings,
        seed=0,
        device=CPU,
    )
    aside = finetune._set_aside(labels, days, settings.validation_share, 0)
    assert len(np.unique(days[aside])) == 3
    assert not set(days[aside]) & set(days[~aside])
    assert measure(network, tiles[aside], labels[aside], CPU) == pytest.approx(min(losses))
    if rate == 10.0:
        assert len(losses) == 3  # of the start, and of two epochs that were no better
        assert min(losses) == losses[0]
    else:
        assert min(losses) < losses[0]


def test_probabilities_are_of_the_mean_score_of_orientations_over_the_temperature() -> None:
    tiles, _ = _draw_stripes(5, np.random.default_rng(7))
    network = LabelNetwork(small_encoder(3, seed=1), n_labels=2)
    torch.nn.init.normal_(network.head.weight)
    network.temperature.fill_(3.0)
    turned = [np.rot90(tiles, turns, (2, 3)).copy() for turns in range(4)]
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        scores = [network.eval()(torch.from_numpy(each)) for each in turned]
    expected = (torch.stack(scores).mean(dim=0) / 3).softmax(dim=1)
    found = finetune.predict_probabilities(network, tiles, CPU, n_orientations=4)
    np.testing.assert_allclose(found, expected, atol=0.02)  # bfloat16, where there is any


@pytest.mark.parametrize("n_channels", [1, 2, 3, 4])
def test_pretrained_answers_as_its_source_on_grey_tiles(n_channels: int) -> None:
    """A grey tile is the same picture in any number of channels, but for the normalisation."""
    torch.manual_seed(4)
    source = timm.create_model("test_resnet", num_classes=0).eval()
    weights = {
        name: value
        for name, value in source.state_dict().items()
        if not name.startswith("layer4") and "num_batches" not in name
    }
    weights["fc.weight"] = torch.zeros(1)
    encoder = _pretrained(weights, n_channels=n_channels)
    grey = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    adapted = encoder.eval().pool(grey.expand(-1, n_channels, -1, -1))
    mean = deviation = torch.full((3, 1, 1), 127.5)  # as timm says of this network
    encoder3 = _pretrained(weights, n_channels=3)
    np.testing.assert_allclose(encoder3.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(encoder3.deviation, deviation, rtol=1e-6)
    x = (grey.expand(-1, 3, -1, -1) - mean) / deviation
    for part in ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3"):
        x = getattr(source, part)(x)
    expected = x.mean((2, 3))
    if n_channels == 3:
        torch.testing.assert_close(adapted, expected, rtol=1e-4, atol=1e-4)
    correlation = np.corrcoef(adapted.detach().ravel(), expected.detach().ravel())[0, 1]
    assert correlation > 0.98


def _pretrained(
    weights: dict[str, torch.Tensor], *, backbone: str = "test_resnet", n_channels: int = 3
) -> Encoder:
    encoder = create_encoder(
        backbone=backbone, layers=["layer3"], pooling="mean", n_channels=n_channels, seed=0
    )
    pretrained.start_from(encoder, weights)
    return encoder


def test_weights_of_another_network_are_refused() -> None:
    weights = timm.create_model("test_resnet", num_classes=0).state_dict()
    with pytest.raises(
        ValueError, match=r"the weights lack conv1\.weight of this backbone; give wei"
    ):
        _pretrained(weights, backbone="resnet18")
    weights = timm.create_model("resnet18", num_classes=0).state_dict()
    weights["layer2.0.conv1.weight"] = torch.zeros(1)
    with pytest.raises(
        ValueError, match=r"the weights misshape layer2\.0\.conv1\.weight of this b"
    ):
        _pretrained(weights, backbone="resnet18")


@pytest.mark.parametrize(
    ("backbone", "layer", "file"),
    [
        ("resnet18", "layer3", "resnet18_imagenet_to_layer3"),
        ("tf_efficientnet_lite0", "blocks.4", "efficientnet_lite0_imagenet_fp16"),
    ],
)
def test_real_weights_are_taken_up(backbone: str, layer: str, file: str) -> None:
    path = WEIGHTS / f"{file}.safetensors"
    if not path.exists():
        pytest.skip(f"no {path.name} beside the repository")
    weights = load_file(path)
    encoder = create_encoder(
        backbone=backbone, layers=[layer], pooling="mean", n_channels=3, seed=0
    )
    pretrained.start_from(encoder, weights)
    for name, value in encoder.backbone.network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, weights[name].float())
    tiles = np.random.default_rng(5).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8)
    features = pool_tiles(encoder, tiles, device=CPU)
    assert features.shape == (2, encoder.width)
    assert np.isfinite(features).all()


def _tabulate(probabilities: np.ndarray, folds: np.ndarray, labels: np.ndarray) -> xr.Dataset:
    rows = [
        classifiers.Classifier(name, name, True, "", None)
        for name in ("reference", "better", "missing")
    ]
    return table.tabulate(
        probabilities,
        folds,
        labels,
        names=["fish", "sugar"],
        classifiers=rows,
        reference="reference",
        is_training_day=np.array([True, True, False, False]),
        days=np.arange(4),
        seed=0,
    )


def test_table_by_hand() -> None:
    labels = np.array([0, 1, 0, 1])
    folds = np.array([[[1, 1, 0, 0], [0, 0, 1, 1]]], bool)
    first, second, none = [0.6, 0.4], [0.2, 0.8], [np.nan, np.nan]
    told = [[[first] * 4], [[first, second, first, first]], [[none] * 4]]
    product = _tabulate(np.array(told), folds, labels)
    np.testing.assert_array_equal(
        product.predicted[:, 0], [[0, 0, 0, 0], [0, 1, 0, 0], [-1, -1, -1, -1]]
    )
    np.testing.assert_allclose(
        product.calibration_mean.sel(calibration_metric="brier_score"),
        [(0.32 + 0.72) / 2, (0.32 + 0.08 + 0.32 + 0.72) / 4, np.nan],
    )
    np.testing.assert_array_equal(product.bin_tiles.sum("bin"), [4, 4, 0])
    np.testing.assert_allclose(product.bin_accuracy[1, [6, 8]], [2 / 3, 1])
    accuracy = product.score.sel(metric="balanced_accuracy").values
    np.testing.assert_allclose(accuracy, [[0.5, 0.5], [1, 0.5], [np.nan, np.nan]])
    np.testing.assert_allclose(product["mean"].sel(metric="balanced_accuracy"), [0.5, 0.75, np.nan])
    np.testing.assert_allclose(
        product.difference.sel(metric="balanced_accuracy"), [0, 0.25, np.nan]
    )
    np.testing.assert_array_equal(product.confusion[1], [[2, 0], [1, 1]])
    np.testing.assert_array_equal(product.confusion[2], 0)
    np.testing.assert_allclose(
        product.balanced_accuracy_by_day, [[0.5, 0.5], [1, 0.5], [np.nan, np.nan]]
    )
    np.testing.assert_array_equal(product.tested_in_fold, [[0, 0, 1, 1]])
    # As many tiles tested as trained on: (1/2 + 1) of the variance 0.125; t of 1 degree is 12.706.
    reach = 12.7062 * np.sqrt(1.5 * 0.125)
    found = product.sel(classifier="better", metric="balanced_accuracy")
    np.testing.assert_allclose(found.difference_low, 0.25 - reach, atol=1e-4)
    np.testing.assert_allclose([found.low, found.high], [0, 1])
    assert all(product[name].attrs["units"] == "1" for name in product.data_vars)


def test_networks_are_compared_frozen_and_unfrozen() -> None:
    tiles, labels = _draw_stripes(8, np.random.default_rng(6))
    starts = [
        classifiers.Start("own", small_encoder(3, seed=1)),
        classifiers.Start("gone", None, "why"),
    ]
    rows = classifiers.list_classifiers(
        starts,
        tiles,
        labels,
        np.arange(8),
        strengths=[1.0],
        fine_tune=finetune.probabilities_by_fine_tuning,
        device=CPU,
    )
    notes = {row.name: row.note for row in rows}
    assert notes == {
        "commonest label": "",
        "pixel statistics": "",
        "own frozen": "",
        "own unfrozen": "",
        "gone frozen": "why",
        "gone unfrozen": "why",
    }
    assert all((row.predict is None) == bool(row.note) for row in rows)
