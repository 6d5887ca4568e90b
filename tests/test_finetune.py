import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import GRID, TILE_SIZE
from small_products import write_untrained

from pipeline import finetune
from pipeline.core.classification.finetune import FineTuning, predict_probabilities
from pipeline.core.classification.share import draw_share
from pipeline.core.encoder import embed_tiles, rebuild_encoder
from pipeline.core.label_network import rebuild_label_network
from pipeline.files import encoders, stores

DAYS = ["2020-01-10", "2020-01-11", "2020-01-12", "2020-01-13"]
PARAMS = finetune.FinetuneParams(
    labels="set by the fixture",
    max_invalid_share=0.0,
    label_share=1.0,
    fine_tuning=FineTuning(
        n_epochs=6,
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
    ),
    seed=1,
)


@pytest.fixture
def paths(toy_scenes: Path, toy_textures: np.ndarray, tmp_path: Path) -> dict[str, Path]:
    """Arguments of `run`; every tile is labelled by its texture."""
    scenes = stores.open_product(toy_scenes).load()
    shape = (scenes.sizes["scene"], *scenes.colour.shape[2:])
    valid = (("scene", "row", "column"), np.ones(shape, bool))
    stores.write_product(scenes.assign(valid=valid).drop_encoding(), tmp_path / "scenes.zarr", None)
    place = np.arange(len(toy_textures)) % GRID**2
    pd.DataFrame(
        {
            "granule": [f"granule_{tile // GRID**2}.nc" for tile in range(len(toy_textures))],
            "row": place // GRID * TILE_SIZE,
            "column": place % GRID * TILE_SIZE,
            "tile_size": TILE_SIZE,
            "label": np.array(["stripes", "checks", "discs", "slopes"])[toy_textures],
        }
    ).to_csv(tmp_path / "labels.csv", index=False)
    (tmp_path / "rejected.csv").write_text("granule,reason,detail\n")
    write_untrained(
        tmp_path / "encoder",
        channels=scenes.channel.values.tolist(),
        n_dimensions=8,
        seed=3,
        tile_size=TILE_SIZE,
        days={"train": DAYS[:2], "validation": DAYS[2:3], "test": DAYS[3:]},
    )
    names = {"scenes": "scenes.zarr", "rejected": "rejected.csv", "encoder": "encoder"}
    outs = {"teacher": "teacher", "metrics": "finetune.json"}
    return {name: tmp_path / file for name, file in {**names, **outs}.items()}


def _run(paths: dict[str, Path], **changes: Any) -> dict[str, Any]:
    labels = str(paths["scenes"].parent / "labels.csv")
    finetune.run(replace(PARAMS, labels=labels, **changes), **paths)
    results: dict[str, Any] = json.loads(paths["metrics"].read_text())
    return results


def test_a_teacher_tells_the_textures_of_test_days(paths: dict[str, Path]) -> None:
    results = _run(paths)
    assert results["n_labels"] == 3 * 2 * GRID**2
    assert results["n_tested"] == 2 * GRID**2
    assert results["balanced_accuracy"] > 0.9
    weights, description = encoders.read_encoder(paths["teacher"])
    assert description["labels"] == ["checks", "discs", "slopes", "stripes"]
    assert description["label_days"] == DAYS[:3]
    teacher = rebuild_label_network(weights, encoders.read_head(paths["teacher"]), description)
    scenes = stores.open_product(paths["scenes"])
    tiles = scenes.colour.isel(scene=-1).values[None, :, :TILE_SIZE, :TILE_SIZE]
    predicted = predict_probabilities(teacher, tiles, torch.device("cpu")).argmax(axis=1)
    frame = pd.read_csv(paths["scenes"].parent / "labels.csv")
    assert description["labels"][predicted[0]] == frame.label[len(frame) - GRID**2]
    embedded = embed_tiles(rebuild_encoder(weights, description), tiles, device=torch.device("cpu"))
    assert embedded.shape == (1, 8)


def test_a_share_of_the_labels_is_a_part_of_a_larger_share() -> None:
    labels = np.repeat([0, 1, 2], [200, 50, 3])
    drawn = {share: draw_share(labels, share=share, seed=4) for share in (0.01, 0.1, 1.0)}
    assert np.bincount(labels[drawn[0.01]]).tolist() == [2, 1, 1]
    assert np.bincount(labels[drawn[0.1]]).tolist() == [20, 5, 1]
    assert set(drawn[0.01]) < set(drawn[0.1]) < set(drawn[1.0])
    np.testing.assert_array_equal(drawn[1.0], np.arange(253))


def test_few_labels_are_used_where_few_are_asked_for(paths: dict[str, Path]) -> None:
    results = _run(paths, label_share=0.1)
    assert 4 <= results["n_labels"] <= 12


def test_without_labels_on_test_days_the_teacher_is_not_judged(
    paths: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    weights, description = encoders.read_encoder(paths["encoder"])
    days = {**description["days"], "test": []}
    encoders.write_encoder(paths["encoder"], weights, {**description, "days": days})
    assert set(_run(paths)) == {"n_labels", "n_tested"}
    assert "the teacher is not judged" in caplog.text
