"""Stage distil is stage train by another name: a student learns from a teacher."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_products import describe, small_encoder
from test_train import PARAMS, SIZE, _changed, _textures, _write_triplets

from pipeline import train
from pipeline.core.classification.finetune import FineTuning, fine_tune, predict_probabilities
from pipeline.core.encoder import embed_tiles, rebuild_encoder
from pipeline.core.label_network import LabelNetwork
from pipeline.files import encoders

CPU = torch.device("cpu")
STUDENT = _changed(PARAMS, loss="distillation", teacher_weight=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Triplets of two textures, and a teacher that knows them apart."""
    folder = tmp_path_factory.mktemp("distil")
    textures = _textures(np.random.default_rng(0))
    _write_triplets(folder / "triplets.zarr", textures, with_tiles=True)
    encoder = small_encoder(1, seed=0)
    teacher = fine_tune(
        encoder,
        *_labelled(textures["validation"]),
        np.arange(3 * len(textures["validation"])) % 4,
        n_labels=2,
        settings=FineTuning(6, 16, 2e-3, 0.9, 3e-3, 0.01, 0.1, 0.1, 0.9, 0.0, 3, 4),
        seed=0,
        device=CPU,
    )
    tiles, labels = _labelled(textures["test"])
    assert (predict_probabilities(teacher, tiles, CPU).argmax(axis=1) == labels).mean() > 0.95
    _write_teacher(folder / "teacher", teacher, n_channels=1)
    return folder


def _labelled(triplets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tiles, and whether each has checks, whose rows are alike in the mean, and not stripes."""
    tiles = triplets.reshape(-1, *triplets.shape[2:])
    return tiles, (tiles.mean(axis=(1, 3)).std(axis=1) < 20).astype(np.int64)


def _write_teacher(path: Path, teacher: LabelNetwork, *, n_channels: int) -> None:
    description = describe(
        teacher.encoder, channels=["visible"] * n_channels, labels=["stripes", "checks"]
    )
    state = teacher.state_dict()
    encoders.write_encoder(path, teacher.encoder.state_dict(), description)
    head = {name: value for name, value in state.items() if not name.startswith("encoder.")}
    encoders.write_head(path, head)


def _run(params: train.TrainParams, folder: Path, out: Path) -> tuple[dict[str, Any], Path]:
    train.run(
        params,
        folder / "triplets.zarr",
        folder / "scenes.zarr",
        folder / "rejected.csv",
        out / "student",
        out / "curves",
        out / "distil.json",
        out / "student.safetensors",
    )
    return encoders.read_encoder(out / "student")


def test_a_student_learns_what_its_teacher_tells(folder: Path, tmp_path: Path) -> None:
    params = _changed(STUDENT, teacher=str(folder / "teacher"))
    weights, description = _run(params, folder, tmp_path)
    student = rebuild_encoder(weights, description)
    tiles, labels = _labelled(_textures(np.random.default_rng(0))["test"])
    embeddings = embed_tiles(student, tiles, device=CPU)
    centroids = np.stack([embeddings[labels == label].mean(axis=0) for label in (0, 1)])
    told = (embeddings @ centroids.T).argmax(axis=1)
    assert (told == labels).mean() > 0.95


def test_a_student_stops_when_the_embedding_has_collapsed(folder: Path, tmp_path: Path) -> None:
    blank = {
        name: np.full((40, 3, 1, SIZE, SIZE), 90, np.uint8)
        for name in ("train", "validation", "test")
    }
    _write_triplets(tmp_path / "triplets.zarr", blank, with_tiles=True)
    params = _changed(STUDENT, teacher=str(folder / "teacher"))
    with pytest.raises(ValueError, match=r"the embedding collapsed: its spread is"):
        _run(params, tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("teacher", "error", "message"),
    [
        ("none", ValueError, r"train\.objective\.teacher is none; name the folder that stage fine"),
        ("encoder", FileNotFoundError, r"encoder holds no teacher; run stage finetune"),
        ("other", ValueError, r"other knows tiles of 2 channels, the triplets have 1; run stage"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(
    folder: Path, tmp_path: Path, teacher: str, error: type[Exception], message: str
) -> None:
    encoder = small_encoder(2, seed=0)
    network = LabelNetwork(encoder, n_labels=2)
    _write_teacher(tmp_path / "other", network, n_channels=2)
    _write_teacher(tmp_path / "encoder", network, n_channels=2)
    (tmp_path / "encoder" / encoders.HEAD).unlink()
    named = teacher if teacher == "none" else str(tmp_path / teacher)
    with pytest.raises(error, match=message):
        _run(replace(_changed(STUDENT, teacher=named)), folder, tmp_path)
