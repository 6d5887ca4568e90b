import json
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import timm
import torch
import xarray as xr
from safetensors.torch import save_file
from small_products import write_untrained

from pipeline import classify
from pipeline.core.classification.finetune import FineTuning
from pipeline.core.classification.probe import Probe
from pipeline.core.encoder import pool_tiles, rebuild_encoder
from pipeline.files import classifiers, encoders, stores

TILE_SIZE = 16
GRID = 4  # tiles along the edge of a toy scene
DAYS = ["2020-01-10", "2020-01-11", "2020-01-12", "2020-01-13"]
PARAMS = classify.ClassifyParams(
    labels="set by the fixture",
    max_invalid_share=0.0,
    imagenet_weights="none",
    n_folds=2,
    n_repeats=2,
    regularisation=(1.0, 100.0),
    fine_tuning=FineTuning(
        n_epochs=1,
        batch_size=16,
        learning_rate=1e-3,
        layer_decay=0.9,
        head_learning_rate=3e-3,
        weight_decay=0.01,
        warm_up_share=0.1,
        label_smoothing=0.1,
        averaging=0.9,
        validation_share=0.3,
        patience=3,
        orientations=4,
    ),
    seed=1,
)
OWN_ROWS = ["own frozen", "own unfrozen"]


@pytest.fixture(scope="module")
def label_table(toy_textures: np.ndarray) -> pd.DataFrame:
    """Every toy tile, labelled by its texture."""
    place = np.arange(len(toy_textures)) % GRID**2
    return pd.DataFrame(
        {
            "granule": [f"granule_{tile // GRID**2}.nc" for tile in range(len(toy_textures))],
            "row": place // GRID * TILE_SIZE,
            "column": place % GRID * TILE_SIZE,
            "tile_size": TILE_SIZE,
            "label": np.array(["stripes", "checks", "discs", "slopes"])[toy_textures],
        }
    )


@pytest.fixture(scope="module")
def inputs(toy_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Scenes whose second one lacks a pixel, and an untrained encoder."""
    folder = tmp_path_factory.mktemp("inputs")
    dataset = stores.open_product(toy_scenes).load()
    valid = np.ones((dataset.sizes["scene"], *dataset.colour.shape[2:]), bool)
    valid[1, 20, 40] = False
    dataset = dataset.assign(valid=(("scene", "row", "column"), valid)).drop_encoding()
    stores.write_product(dataset, folder / "scenes.zarr", None)
    write_untrained(
        folder / "encoder",
        channels=dataset.channel.values.tolist(),
        n_dimensions=8,
        seed=3,
        tile_size=TILE_SIZE,
        days={"train": DAYS[:2], "validation": DAYS[2:3], "test": []},
    )
    (folder / "rejected.csv").write_text("granule,reason,detail\n")
    return {
        "scenes": folder / "scenes.zarr",
        "rejected": folder / "rejected.csv",
        "encoder": folder / "encoder",
    }


ENDS = ("mean", "low", "high")


@pytest.fixture
def paths(inputs: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Arguments of `run`."""
    outputs = {"classifier": tmp_path / "classifier", "metrics": tmp_path / "classify.json"}
    return {**inputs, **outputs}


@pytest.fixture(scope="module")
def product_paths(
    inputs: dict[str, Path], label_table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Arguments of a run that has ended."""
    folder = tmp_path_factory.mktemp("product")
    paths = {**inputs, "classifier": folder / "classifier", "metrics": folder / "classify.json"}
    _run(label_table, paths)
    return paths


@pytest.fixture
def product(product_paths: dict[str, Path]) -> xr.Dataset:
    return stores.open_product(product_paths["classifier"] / "scores.nc").load()


def _run(table: pd.DataFrame, paths: dict[str, Path], **changes: Any) -> xr.Dataset:
    labels = paths["metrics"].parent / "labels.csv"
    table.to_csv(labels, index=False)
    classify.run(replace(PARAMS, labels=str(labels), **changes), **paths)
    return stores.open_product(paths["classifier"] / "scores.nc").load()


def test_product_says_what_was_compared_on_which_tiles(
    product: xr.Dataset, label_table: pd.DataFrame
) -> None:
    n_tiles = len(label_table) - 1
    assert product.attrs["n_incomplete_tiles"] == 1
    assert product.attrs["n_tiles"] == product.sizes["tile"] == n_tiles
    assert product.attrs["n_tiles_on_training_days"] == n_tiles // 2
    assert set(product.split.values[product.time.dt.day.values == 13]) == {"unseen"}
    assert json.loads(product.attrs["parameters"])["n_repeats"] == 2
    assert {product[name].attrs["units"] for name in product.data_vars} == {"1"}
    rows = product.classifier.values.tolist()
    assert rows[:2] == ["commonest label", "pixel statistics"]
    assert [row for row in rows if row.startswith("own")] == OWN_ROWS
    assert len(rows) == 2 + 3 * 2
    absent = product.note.values != ""
    assert {row.split()[0] for row in product.classifier.values[absent]} == {"ImageNet"}
    assert "classify.imagenet_weights is none" in product.note.values[absent][0]
    np.testing.assert_array_equal(np.isnan(product["mean"]).all("metric"), absent)
    np.testing.assert_array_equal(product.confusion[~absent].sum(axis=(1, 2)), 2 * n_tiles)


def test_scores_rest_on_days_not_trained_on(product: xr.Dataset) -> None:
    days = product.time.values.astype("datetime64[D]")
    for folds in product.tested_in_fold.values:
        for day in np.unique(days):
            assert len(set(folds[days == day])) == 1
    first = product.tested_in_fold.values[0] == 0
    hits = product.predicted.isel(repeat=0).values == np.searchsorted(
        product.true_label.values, product.label.values
    )
    scored = product.note.values == ""
    np.testing.assert_allclose(
        product.score.sel(metric="accuracy").isel(fold=0)[scored],
        hits[scored][:, first].mean(axis=1),
        atol=1e-12,
    )
    # Toy textures differ in colour, so that pixel statistics tell them apart.
    best = product["mean"].sel(classifier="pixel statistics", metric="balanced_accuracy")
    chance = product["mean"].sel(classifier="commonest label", metric="balanced_accuracy")
    assert best > 0.95
    np.testing.assert_allclose(chance, 0.25, atol=1e-12)


def test_table_and_metrics_agree_with_the_product(
    product: xr.Dataset, product_paths: dict[str, Path]
) -> None:
    table = pd.read_csv(product_paths["classifier"] / "scores.csv", index_col="classifier")
    assert table.index.tolist() == product.classifier.values.tolist()
    for statistic, column in (("mean", "macro_f1"), ("low", "macro_f1_low")):
        np.testing.assert_allclose(
            table[column], product[statistic].sel(metric="macro_f1"), atol=5e-5
        )
    metrics = json.loads(product_paths["metrics"].read_text())
    assert metrics["n_incomplete_tiles"] == 1
    accuracies = metrics["balanced_accuracy"]
    assert not any("ImageNet" in name for name in accuracies)
    expected = product["mean"].sel(classifier="own frozen", metric="balanced_accuracy")
    assert accuracies["own_frozen"] == pytest.approx(float(expected), abs=5e-5)


def test_labels_have_scores_of_their_own(
    product: xr.Dataset, product_paths: dict[str, Path]
) -> None:
    row = product.sel(classifier="own frozen")
    for fold, confused in enumerate(_confusions(row)):
        recall = confused.diagonal() / confused.sum(axis=1)
        precision = confused.diagonal() / np.maximum(confused.sum(axis=0), 1)
        found = row.label_score.isel(fold=fold)
        np.testing.assert_allclose(found.sel(label_metric="recall"), recall)
        np.testing.assert_allclose(found.sel(label_metric="precision"), precision)
        harmonic = 2 / (1 / np.maximum(recall, 1e-9) + 1 / np.maximum(precision, 1e-9))
        np.testing.assert_allclose(found.sel(label_metric="f1"), harmonic, atol=1e-8)
    np.testing.assert_allclose(row.label_mean, row.label_score.mean("fold"))
    table = pd.read_csv(product_paths["classifier"] / "labels.csv", index_col=[0, 1])
    line = table.loc[("own frozen", "checks")]
    assert line.recall_low <= line.recall <= line.recall_high
    expected = row.label_mean.sel(label_metric="recall", true_label="checks")
    assert line.recall == pytest.approx(float(expected), abs=1e-4)


def _confusions(row: xr.Dataset) -> list[np.ndarray]:
    """Confusion matrix of each fold of all repeats."""
    names = row.true_label.values.tolist()
    truth = np.array([names.index(label) for label in row.label.values])
    found = []
    for predicted, tested_in in zip(row.predicted.values, row.tested_in_fold.values, strict=True):
        for fold in range(tested_in.max() + 1):
            confused = np.zeros((len(names), len(names)), int)
            np.add.at(confused, (truth[tested_in == fold], predicted[tested_in == fold]), 1)
            found.append(confused)
    return found


def test_one_seed_gives_one_product_whatever_the_number_of_workers(
    product: xr.Dataset,
    label_table: pd.DataFrame,
    paths: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "3")
    again = _run(label_table, paths)
    for name in ("score", "predicted", "tested_in_fold"):
        xr.testing.assert_equal(product[name], again[name])


def test_a_local_file_of_weights_is_a_row(
    label_table: pd.DataFrame, paths: dict[str, Path]
) -> None:
    weights = timm.create_model("test_resnet", num_classes=0).state_dict()
    file = paths["metrics"].parent / "weights.safetensors"
    save_file({name: value for name, value in weights.items() if "layer4" not in name}, file)
    product = _run(label_table, paths, imagenet_weights=str(file), n_repeats=1)
    means = product["mean"].sel(metric="accuracy").to_series()
    assert means.notna().all()
    assert {"ImageNet frozen", "ImageNet unfrozen"} <= set(means.index)


def test_an_encoder_as_training_found_it_is_a_row_of_its_own(
    label_table: pd.DataFrame, paths: dict[str, Path], tmp_path: Path
) -> None:
    weights, description = encoders.read_encoder(paths["encoder"])
    encoders.write_encoder(tmp_path / "encoder", weights, description, weights)
    product = _run(label_table, {**paths, "encoder": tmp_path / "encoder"}, n_repeats=1)
    means = product["mean"].sel(metric="accuracy")
    found, own = (means.sel(classifier=f"{name} frozen") for name in ("before training", "own"))
    assert found.item() == own.item()  # the same weights here


def test_what_volunteers_score_is_told_beside_the_table(
    label_table: pd.DataFrame, paths: dict[str, Path]
) -> None:
    ends = {
        end: {"balanced_accuracy": value} for end, value in zip(ENDS, (0.7, 0.6, 0.8), strict=True)
    }
    agreement = paths["metrics"].parent / "agreement.json"
    agreement.write_text(json.dumps(ends))
    product = _run(label_table, paths, n_repeats=1)
    assert product.attrs["ceiling"] == (
        "volunteers reach a balanced accuracy of 0.70 (0.60 to 0.80) against one another"
    )


def _no_connection(*_: object, **__: object) -> None:
    raise urllib.error.URLError("no route to host")


def test_weights_which_cannot_be_had_are_noted_in_the_table(
    label_table: pd.DataFrame, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(urllib.request, "urlopen", _no_connection)
    product = _run(label_table, paths, imagenet_weights="timm", n_repeats=1)
    row = product.sel(classifier="ImageNet unfrozen")
    assert str(row.note.values) == "weights not available: <urlopen error no route to host>"
    assert np.isnan(row["mean"]).all()


def test_the_classifier_that_is_kept_tells_labels(
    product_paths: dict[str, Path], product: xr.Dataset
) -> None:
    arrays, about = classifiers.read_classifier(product_paths["classifier"])
    assert about["labels"] == product.true_label.values.tolist()
    assert about["encoder"] == encoders.digest(product_paths["encoder"])
    assert sum(about["n_tiles"]) == product.sizes["tile"]
    kept = product.sel(classifier="own frozen")
    for metric in ("accuracy", "macro_f1"):
        mean = float(kept["mean"].sel(metric=metric))
        assert about["results"][metric] == pytest.approx(mean, abs=1e-4)
    brier = float(kept.calibration_mean.sel(calibration_metric="brier_score"))
    assert about["results"]["brier_score"] == pytest.approx(brier, abs=1e-4)
    weights, description = encoders.read_encoder(product_paths["encoder"])
    scenes = stores.open_product(product_paths["scenes"])
    scene_of = {name: number for number, name in enumerate(scenes.granule.values.tolist())}
    tiles = stores.cut_tiles(
        scenes,
        np.array([scene_of[name] for name in product.granule.values.tolist()]),
        product.row.values,
        product.column.values,
        TILE_SIZE,
    )
    features = pool_tiles(rebuild_encoder(weights, description), tiles, device=torch.device("cpu"))
    probe = Probe(**arrays, temperature=about["temperature"])
    told = probe.probabilities(features)
    truth = np.searchsorted(product.true_label.values.astype(str), product.label.values.astype(str))
    assert (told.argmax(axis=1) == truth).mean() > 0.95
    np.testing.assert_allclose(told.sum(axis=1), 1)


def test_probabilities_are_those_of_the_predictions(product: xr.Dataset) -> None:
    scored = product.note.values == ""
    told = product.probability.values
    np.testing.assert_allclose(told[scored].sum(axis=-1), 1, atol=1e-5)
    assert np.isnan(told[~scored]).all()
    np.testing.assert_array_equal(told[scored].argmax(axis=-1), product.predicted[scored])


def test_incomplete_tiles_alone_are_refused(
    label_table: pd.DataFrame, paths: dict[str, Path]
) -> None:
    incomplete = label_table[
        (label_table.granule == "granule_1.nc")
        & (label_table.row == 16)
        & (label_table.column == 32)
    ]
    with pytest.raises(
        ValueError, match=r"every tile of .* more than 0% invalid .* best 0\.4%; ra"
    ):
        _run(incomplete, paths)


def test_an_allowed_share_of_invalid_pixels_keeps_the_tile(
    label_table: pd.DataFrame, paths: dict[str, Path]
) -> None:
    product = _run(label_table, paths, max_invalid_share=0.01, n_repeats=1)
    assert product.attrs["n_incomplete_tiles"] == 0
    assert product.sizes["tile"] == len(label_table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "checks"}, r"at least 2 labels, the 127 usable tiles have 'checks'"),
        ({"granule": "gone.nc"}, r"names 1 granule\(s\) that are not among .* first 'gone\.nc'"),
    ],
)
def test_a_table_of_no_use_leaves_nothing_behind(
    label_table: pd.DataFrame, paths: dict[str, Path], change: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _run(label_table.assign(**change), paths)
    assert not paths["classifier"].exists()


def test_more_folds_than_days_are_refused(
    label_table: pd.DataFrame, paths: dict[str, Path]
) -> None:
    with pytest.raises(
        ValueError, match=r"label 'checks' lies on 4 day\(s\), fewer than the 5 fol"
    ):
        _run(label_table, paths, n_folds=5)


def test_an_encoder_of_other_channels_is_refused(
    label_table: pd.DataFrame, paths: dict[str, Path]
) -> None:
    weights, description = encoders.read_encoder(paths["encoder"])
    encoder = paths["metrics"].parent / "encoder"
    encoders.write_encoder(encoder, weights, {**description, "channels": ["visible", "infrared"]})
    with pytest.raises(ValueError, match=r"trained on channels visible, infrared, the scenes have"):
        _run(label_table, {**paths, "encoder": encoder})
