import dataclasses
import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import timm
import torch
import xarray as xr
import yaml
from fault_points import SECONDS, FaultPoint, run_stage
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim.swa_utils import AveragedModel

from pipeline import train
from pipeline.core import engine
from pipeline.core.augmentation import Augmentations
from pipeline.core.encoder import pool_tiles, rebuild_encoder
from pipeline.core.objective.choice import HeadShape, Loss, Views
from pipeline.core.training_params import (
    EmbeddingParams,
    ObjectiveParams,
    ShortcutParams,
    TrainParams,
)
from pipeline.core.triplet import SPLITS
from pipeline.files import encoders, stage, stores

ROOT = Path(__file__).parents[1]
PARAMS = TrainParams(
    backbone="test_resnet",
    init="none",
    embedding=EmbeddingParams(
        layers=("layer1", "layer2", "layer3"), pooling="mean_deviation", n_scales=1, n_dimensions=8
    ),
    head=HeadShape(n_layers=1, n_hidden=16, n_dimensions=8),
    views="neighbour",
    loss="triplet",
    objective=ObjectiveParams(
        distance="euclidean",
        margin=1.0,
        negatives="distant",
        guard_hours=0.0,
        guard_km=0.0,
        temperature=0.2,
        redundancy_weight=0.01,
        momentum=0.9,
        queue_length=32,
        n_prototypes=8,
        n_crops=0,
        labels="none",
        teacher="none",
        teacher_weight=1.0,
        local_weight=0.0,
        retain_weight=0.0,
        l2_penalty=0.0,
    ),
    augmentations=Augmentations(
        flip=0.5,
        quarter_turn=1.0,
        rotation=0.0,
        smallest_crop=1.0,
        largest_crop=1.0,
        view_size=1.0,
        brightness=0.0,
        contrast=0.0,
        temperature=0.0,
        hue=0.0,
        grey=0.0,
        blur=0.0,
        sobel=0.0,
        cut_out=0.0,
    ),
    shortcuts=ShortcutParams(standardise=False, equalised_share=0.0),
    n_epochs=3,
    averaging=0.9,
    min_effective_rank=1.1,
    min_participation_ratio=0.0,
    min_spread=0.001,
    batch_size=16,
    micro_batches=1,
    n_mixed=64,
    learning_rate=0.001,
    head_learning_rate=0.001,
    weight_decay=0.0001,
    max_gradient_norm=0.0,
    warm_up_share=0.1,
    seed=0,
)
SIZE = 32
GRANULES = ["a", "b", "c"]
LOSS_TOLERANCE = 1e-3  # between one process and two, which differ by rounding
N_TRIPLETS = {"train": 161, "validation": 48, "test": 48}  # 161 is not a number of whole batches
FEW = {"train": 40, "validation": 16, "test": 16}
TWO_CHANNELS = ("visible", "infrared_window")
LOSSES = [name for part in get_args(Loss) for name in (get_args(part) or (part,))]
PRETEXTS = ("rotation", "relative_position", "colour")


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stripes and checks of equal histograms: near tiles share their texture, distant do not.

    The folder holds scenes.zarr, a scene a split with one triplet in each strip of rows, and of
    these the triplets tiles.zarr and places.zarr.
    """
    folder = tmp_path_factory.mktemp("train")
    tiles = _textures(np.random.default_rng(0))
    longest = max(N_TRIPLETS.values()) * SIZE
    colour = np.zeros((3, 1, longest, 3 * SIZE), np.uint8)
    for number, name in enumerate(SPLITS):
        strips = tiles[name].transpose(2, 0, 3, 1, 4).reshape(1, -1, 3 * SIZE)
        colour[number, :, : strips.shape[1]] = strips
    dimensions = ("scene", "channel", "row", "column")
    scenes = xr.Dataset({"colour": (dimensions, colour)}, {"granule": ("scene", GRANULES)})
    stores.write_product(scenes, folder / "scenes.zarr", None)
    (folder / "rejected.csv").write_text("granule,reason,detail\n")
    for holds in ("tiles", "places"):
        _write_triplets(folder / f"{holds}.zarr", tiles, with_tiles=holds == "tiles")
    return folder


def _textures(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Tiles (triplet, member, channel, row, column) of each split."""
    row, column = np.mgrid[:SIZE, :SIZE]
    textures = np.stack([(row // 4) % 2, (row // 4 + column // 4) % 2]) * 120 + 60
    tiles = {}
    for name, count in N_TRIPLETS.items():
        texture = rng.integers(0, 2, count)
        kinds = np.stack([texture, texture, 1 - texture], axis=1)
        noise = rng.integers(-20, 20, (count, 3, 1, SIZE, SIZE))
        tiles[name] = (textures[kinds][:, :, None] + noise).astype(np.uint8)
    return tiles


def _write_triplets(
    path: Path,
    tiles: dict[str, np.ndarray],
    *,
    with_tiles: bool,
    channels: Sequence[str] = ("visible",),
    maximum: float = 100.0,
    first_column: int = 0,
    apart: int = SIZE,
) -> None:
    days = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[ns]")
    root = xr.Dataset(
        coords={
            "granule": ("scene", GRANULES),
            "time": ("scene", days),
            "split": ("scene", list(SPLITS)),
            "channel": list(channels),
            "minimum": ("channel", [0.0] * len(channels)),
            "maximum": ("channel", [maximum] * len(channels)),
        },
        attrs={"tile_size": SIZE},
    )
    stores.write_product(root, path, PARAMS)
    for number, name in enumerate(SPLITS):
        dimensions = ("triplet", "member")
        shape = (len(tiles[name]), 3)
        row = np.arange(len(tiles[name]))[:, None] * SIZE
        members = xr.Dataset(
            {
                "scene": (dimensions, np.full(shape, number)),
                "first_row": (dimensions, np.broadcast_to(row, shape).astype(np.int32)),
                "first_column": (
                    dimensions,
                    np.broadcast_to(first_column + np.arange(3) * apart, shape).astype(np.int32),
                ),
                "latitude": (dimensions, np.zeros(shape, np.float32)),
                "longitude": (dimensions, np.zeros(shape, np.float32)),
                "time": (dimensions, np.full(shape, days[number])),
            }
        )
        stores.create_triplets(
            path,
            name,
            members,
            PARAMS,
            channels=list(channels),
            tile_size=SIZE,
            with_tiles=with_tiles,
        )
        if with_tiles:
            stores.write_tiles(path, name, 0, tiles[name])
    stores.consolidate(path)


def _write_two_channels(path: Path) -> None:
    """The textures, and in a second channel another of them, so that tiles have a colour."""
    tiles = {
        name: np.concatenate([each, each[:, ::-1]], axis=2)[: FEW[name] * 2]
        for name, each in _textures(np.random.default_rng(0)).items()
    }
    _write_triplets(path, tiles, with_tiles=True, channels=TWO_CHANNELS)


def _of_loss(loss: Loss) -> TrainParams:
    """Small parameters of a loss: tiles lie as a pretext task wants it."""
    params = _changed(PARAMS, loss=loss, n_layers=2)
    if loss in ("rotation", "relative_position"):
        return _changed(params, flip=0.0, quarter_turn=0.0)
    return params


@pytest.fixture
def run(products: Path, tmp_path: Path) -> Callable[..., Path]:
    def run(params: TrainParams = PARAMS, name: str = "run", triplets: str = "tiles.zarr") -> Path:
        folder = tmp_path / name
        train.run(
            params,
            products / triplets,
            products / "scenes.zarr",
            products / "rejected.csv",
            folder / "encoder",
            folder / "curves",
            folder / "train.json",
            folder / "checkpoint.safetensors",
        )
        return folder

    return run


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return encoders.read_encoder(folder / "encoder")[0]


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def _changed(params: TrainParams, **changes: Any) -> TrainParams:
    """`params` with changes of its own fields, or of those of its sections.

    The temperature is that of the objective; that of the augmentations is `kelvin` here.
    """
    if "kelvin" in changes:
        altered = replace(params.augmentations, temperature=changes.pop("kelvin"))
        params = replace(params, augmentations=altered)
    for section in ("objective", "head", "shortcuts", "augmentations"):
        known = {field.name for field in dataclasses.fields(getattr(params, section))}
        inner = {name: changes.pop(name) for name in list(changes) if name in known}
        changes[section] = replace(getattr(params, section), **inner)
    return replace(params, **changes)


def test_training_tells_textures_apart_on_unseen_days(run: Callable[..., Path]) -> None:
    folder = run()
    results = json.loads((folder / "train.json").read_text())
    assert results["test"]["triplet_accuracy"] > 0.95
    assert results["test"]["loss"] < results["untrained"]["loss"]
    assert results["validation"]["spread"] > 0.01
    assert 1 <= results["validation"]["effective_rank"] <= PARAMS.embedding.n_dimensions
    weights, description = encoders.read_encoder(folder / "encoder")
    assert all(torch.isfinite(value).all() for value in weights.values())
    assert description["days"]["validation"] == ["2020-01-02"]
    assert description["channels"] == ["visible"]


def test_curves_are_for_dvc_and_for_tensorboard(run: Callable[..., Path]) -> None:
    folder = run(replace(PARAMS, n_epochs=2))
    lines = (folder / "curves/plots/metrics/validation_triplet_accuracy.tsv").read_text()
    _, *rows = (line.split("\t")[-2:] for line in lines.splitlines())
    assert [int(step) for step, _ in rows] == [0, 1, 2]
    board = EventAccumulator(str(folder / "curves/tensorboard"))
    board.Reload()
    events = board.Scalars("validation_triplet_accuracy")
    assert [event.step for event in events] == [0, 1, 2]
    np.testing.assert_allclose([event.value for event in events], [float(v) for _, v in rows])
    assert [event.step for event in board.Scalars("train_loss")] == [1, 2]


def test_one_seed_gives_the_same_encoder(run: Callable[..., Path]) -> None:
    short = replace(PARAMS, n_epochs=1)
    first = _weights(run(short, "first"))
    other = _weights(run(replace(short, seed=1), "other"))
    assert _same(first, _weights(run(short, "second")))
    name = "backbone.network.layer3.0.conv1.weight"
    assert not torch.equal(first[name], other[name])


def test_places_give_the_same_encoder_as_tiles(run: Callable[..., Path]) -> None:
    short = replace(PARAMS, n_epochs=1)
    tiles = _weights(run(short, "tiles", "tiles.zarr"))
    assert _same(tiles, _weights(run(short, "places", "places.zarr")))


def _project(folder: Path, products: Path, params: TrainParams) -> Path:
    """A folder in which `python -m pipeline.train` runs."""
    folder.mkdir()
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / "params.yaml").write_text(yaml.safe_dump({"train": dataclasses.asdict(params)}))
    (folder / "data").mkdir()
    (folder / "data/triplets.zarr").symlink_to(products / "tiles.zarr")
    (folder / "data/scenes.zarr").symlink_to(products / "scenes.zarr")
    (folder / "data/rejected.csv").symlink_to(products / "rejected.csv")
    return folder


def _train(folder: Path, fault: FaultPoint | None = None, code: int = 0) -> str:
    """What the stage says in a process of its own."""
    found, said = run_stage(train.run, TrainParams, folder, fault)
    assert found == code, said
    return said


@pytest.fixture(scope="module")
def whole(products: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never killed, by itself."""
    folder = _project(tmp_path_factory.mktemp("whole") / "project", products, PARAMS)
    _train(folder)
    return folder


def test_a_resumed_run_ends_the_same_with_all_that_has_a_state(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lanes have statistics of their own, jitter and mining draw and choose anew each epoch."""
    shortcuts = {"brightness": 0.2, "equalised_share": 0.5}
    params = _changed(PARAMS, micro_batches=2, negatives="semi_hard", margin=0.3, **shortcuts)
    _check_resumption(run, monkeypatch, params, "places.zarr")


# What keeps a state beside the encoder's, or draws: heads, followers, queue, prototypes, crops.
@pytest.mark.slow("matrix")
@pytest.mark.parametrize("loss", ["nt_xent", "byol", "moco", "swav", "rotation", "colour"])
def test_a_resumed_run_of_every_kind_of_loss_ends_the_same(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loss: Loss
) -> None:
    _write_two_channels(tmp_path / "two.zarr")
    params = replace(_of_loss(loss), n_epochs=2, micro_batches=2)
    _check_resumption(run, monkeypatch, params, str(tmp_path / "two.zarr"))


def _check_resumption(
    run: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    params: TrainParams,
    triplets: str,
) -> None:
    expected = _weights(run(params, "whole", triplets))
    write = encoders.write_checkpoint

    def write_and_die(*arguments: Any) -> None:
        write(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(encoders, "write_checkpoint", write_and_die)
    with pytest.raises(KeyboardInterrupt):
        run(params, "killed", triplets)
    monkeypatch.undo()
    assert _same(expected, _weights(run(params, "killed", triplets)))


@pytest.mark.slow("kill")
def test_a_run_whose_products_cannot_be_put_in_place_goes_on(
    products: Path, whole: Path, tmp_path: Path
) -> None:
    folder = _project(tmp_path / "killed", products, PARAMS)
    (folder / "data/curves").symlink_to("nowhere")  # which no folder can replace
    assert "Not a directory" in _train(folder, code=1)
    assert encoders.read_state(folder / "data/checkpoint.safetensors")["epoch"] == PARAMS.n_epochs
    (folder / "data/curves").unlink()
    assert f"resuming after epoch {PARAMS.n_epochs}" in _train(folder)
    assert _same(_weights(whole / "data"), _weights(folder / "data"))
    assert not (folder / "data/checkpoint.safetensors").exists()


PUT_CHECKPOINT = FaultPoint("pathlib.Path.replace", of="*/checkpoint.safetensors", call=2)
PUT_ENCODER = FaultPoint("pathlib.Path.replace", of="data/encoder", is_done=True)


@pytest.mark.slow("kill")
@pytest.mark.parametrize(
    ("fault", "kept"),
    [
        pytest.param(FaultPoint("pipeline.train._judge", call=2), 0, id="without a checkpoint"),
        pytest.param(PUT_CHECKPOINT, 1, id="between two checkpoints"),
        pytest.param(
            FaultPoint("pipeline.core.views.ViewMaker.make", call=25), 2, id="in mid epoch"
        ),
        pytest.param(PUT_ENCODER, 3, id="with one of its products"),
    ],
)
def test_a_killed_run_resumes_and_ends_the_same(
    products: Path, whole: Path, tmp_path: Path, fault: FaultPoint, kept: int
) -> None:
    folder = _project(tmp_path / "killed", products, PARAMS)
    checkpoint = folder / "data/checkpoint.safetensors"
    _train(folder, fault, code=-signal.SIGKILL)
    assert (folder / "data/encoder").exists() == (kept == PARAMS.n_epochs)
    assert (encoders.read_state(checkpoint)["epoch"] if checkpoint.exists() else 0) == kept
    output = _train(folder)
    assert (f"resuming after epoch {kept}" in output) == (kept > 0)
    assert _same(_weights(whole / "data"), _weights(folder / "data"))
    losses = "data/curves/plots/metrics/validation_loss.tsv"
    numbers = [
        [line.split("\t")[1:] for line in (ended / losses).read_text().splitlines()]
        for ended in (whole, folder)
    ]
    assert numbers[0] == numbers[1]
    assert not checkpoint.exists()


def test_a_checkpoint_of_another_run_is_not_taken_up(run: Callable[..., Path]) -> None:
    short = replace(PARAMS, n_epochs=1)
    expected = _weights(run(short, "clean"))
    run(_changed(short, margin=2.0), "reused")
    assert _same(expected, _weights(run(short, "reused")))


@pytest.mark.parametrize("changes", [{"maximum": 50.0}, {"first_column": 1}])
def test_a_checkpoint_of_other_triplets_is_not_taken_up(
    run: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
) -> None:
    caplog.set_level("INFO", logger="pipeline")
    short = replace(PARAMS, n_epochs=1)
    tiles = _textures(np.random.default_rng(0))
    _write_triplets(tmp_path / "other.zarr", tiles, with_tiles=True, **changes)
    run(short, "reused", str(tmp_path / "other.zarr"))
    run(short, "reused")
    assert "is of another run; starting anew" in caplog.text


def test_a_run_goes_on_with_other_limits_of_progress(
    run: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="pipeline")
    first = run(replace(PARAMS, n_epochs=1), "resumed")
    run(replace(PARAMS, n_epochs=1, min_spread=0.0, min_effective_rank=0.0), "resumed")
    assert "resuming after epoch 1" in caplog.text
    assert len(json.loads((first / "train.json").read_text())) == len(SPLITS)


@pytest.mark.slow("many")
def test_two_processes_have_the_losses_of_one(products: Path, tmp_path: Path) -> None:
    """Of 161 triplets, which neither two lanes nor batches of 16 divide."""
    params = replace(PARAMS, micro_batches=2, learning_rate=0.0001)
    alone = _project(tmp_path / "alone", products, params)
    together = _project(tmp_path / "together", products, params)
    _train(alone)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    result = subprocess.run(
        [*torchrun, "--nproc-per-node", "2", "--no-python", sys.executable, "-m", "pipeline.train"],
        cwd=together,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("after epoch 3") == 1  # one of them speaks and writes
    for name in ("train_loss", "validation_loss", "validation_spread"):
        losses = [
            [line.split("\t")[-1] for line in path.read_text().splitlines()[1:]]
            for folder in (alone, together)
            for path in [folder / f"data/curves/plots/metrics/{name}.tsv"]
        ]
        one, two = np.array(losses, float)
        np.testing.assert_allclose(two, one, rtol=LOSS_TOLERANCE)
        assert len(one) == PARAMS.n_epochs + (name != "train_loss")


def test_processes_that_cannot_share_a_batch_are_told_so(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    train_epoch = train.train_epoch

    def train_as_one_of_two(*arguments: Any) -> float:
        monkeypatch.setattr(engine, "n_processes", lambda: 2)
        return train_epoch(*arguments)

    monkeypatch.setattr(train, "train_epoch", train_as_one_of_two)
    message = (
        "2 processes cannot share the 3 micro-batches of a batch; let train.micro_batches be 2 or "
        "a multiple of it"
    )
    with pytest.raises(ValueError, match=message):
        run(replace(PARAMS, micro_batches=3))


@pytest.mark.slow("kill")
def test_a_full_disk_leaves_the_last_good_checkpoint(
    products: Path, whole: Path, tmp_path: Path
) -> None:
    folder = _project(tmp_path / "full", products, PARAMS)
    checkpoint = folder / "data/checkpoint.safetensors"
    # At the second, the system refuses to write more than half of a checkpoint into a file.
    least = (whole / "data/encoder" / encoders.WEIGHTS).stat().st_size
    act = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (least // 2, resource.RLIM_INFINITY))
    full = FaultPoint("pipeline.files.encoders.write_checkpoint", act, call=2)
    output = _train(folder, full, code=1)
    assert "train: the checkpoint of epoch 2 could not be written to" in output
    assert "that of epoch 1 is kept; free some space and start again" in output
    assert encoders.read_state(checkpoint)["epoch"] == 1
    assert [path.name for path in checkpoint.parent.glob("checkpoint*")] == [checkpoint.name]
    _train(folder)
    assert _same(_weights(whole / "data"), _weights(folder / "data"))


def test_the_mean_of_the_weights_is_kept(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fraction of the mean that stays after n steps is min(0.5, (1 + n) / (10 + n))."""
    name = "network.layer3.0.conv1.weight"
    seen: list[torch.Tensor] = []
    update = AveragedModel.update_parameters

    def remember(self: AveragedModel, encoder: Any) -> None:
        seen.append(encoder.backbone.get_parameter(name).detach().clone())
        update(self, encoder)

    monkeypatch.setattr(AveragedModel, "update_parameters", remember)
    found = _weights(run(replace(PARAMS, n_epochs=2, averaging=0.5)))
    expected = seen[0]
    for n_steps, weights in enumerate(seen[1:], 1):
        share = min(0.5, (1 + n_steps) / (10 + n_steps))
        expected = share * expected + (1 - share) * weights
    assert len(seen) == 2 * 11
    torch.testing.assert_close(found[f"backbone.{name}"], expected)
    assert not torch.allclose(expected, seen[-1], atol=1e-6)
    seen.clear()
    last = _weights(run(replace(PARAMS, n_epochs=2, averaging=0.0), "last"))
    torch.testing.assert_close(last[f"backbone.{name}"], seen[-1])


def test_collapse_ends_a_run_with_a_sentence(run: Callable[..., Path], tmp_path: Path) -> None:
    blank = {
        name: np.full((count, 3, 1, SIZE, SIZE), 90, np.uint8) for name, count in N_TRIPLETS.items()
    }
    _write_triplets(tmp_path / "blank.zarr", blank, with_tiles=True)
    message = r"the embedding collapsed: its spread is .*, below 0\.001; lower train\.learning_rate"
    with pytest.raises(ValueError, match=message):
        run(triplets=str(tmp_path / "blank.zarr"))


@pytest.mark.slow("matrix")
@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "distillation"])
def test_every_loss_stops_when_the_embedding_has_collapsed(
    run: Callable[..., Path], tmp_path: Path, loss: Loss
) -> None:
    blank = {name: np.full((count, 3, 2, SIZE, SIZE), 90, np.uint8) for name, count in FEW.items()}
    _write_triplets(tmp_path / "blank.zarr", blank, with_tiles=True, channels=TWO_CHANNELS)
    with pytest.raises(ValueError, match=r"the embedding collapsed: its spread is"):
        run(_of_loss(loss), triplets=str(tmp_path / "blank.zarr"))


VIEWS = get_args(Views)
OF_VIEWS = [loss for loss in LOSSES if loss not in (*PRETEXTS, "distillation")]
IN_TURN = set(zip(OF_VIEWS, itertools.cycle(VIEWS), strict=False))


@pytest.mark.parametrize(
    ("loss", "views"),
    [
        pytest.param(*pair, marks=() if pair in IN_TURN else pytest.mark.slow("matrix"))
        for pair in itertools.product(OF_VIEWS, VIEWS)
    ],
)
def test_every_loss_tells_textures_apart_with_every_kind_of_views(
    run: Callable[..., Path], loss: Loss, views: Views
) -> None:
    params = replace(_of_loss(loss), views=views)
    results = json.loads((run(params) / "train.json").read_text())
    assert results["test"]["epoch"] == params.n_epochs
    assert results["test"]["triplet_accuracy"] > 0.95


@pytest.mark.parametrize("loss", PRETEXTS)
def test_every_pretext_task_is_learnt(run: Callable[..., Path], tmp_path: Path, loss: Loss) -> None:
    _write_two_channels(tmp_path / "two.zarr")
    folder = run(replace(_of_loss(loss)), triplets=str(tmp_path / "two.zarr"))
    lines = (folder / "curves/plots/metrics/train_loss.tsv").read_text().splitlines()
    losses = [float(line.split("\t")[-1]) for line in lines[1:]]
    assert losses[-1] < losses[0] - 0.05


def test_relative_position_is_refused_where_neighbours_share_pixels(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    tiles = _textures(np.random.default_rng(0))
    _write_triplets(tmp_path / "near.zarr", tiles, with_tiles=True, apart=SIZE - 1)
    with pytest.raises(
        ValueError, match=rf"{len(tiles['train'])} of {len(tiles['train'])} neighbours share pixels"
    ):
        run(_of_loss("relative_position"), triplets=str(tmp_path / "near.zarr"))


def test_labels_take_part_where_there_are_some(
    run: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Anchors lie at multiples of a tile in the first columns of the first scene."""
    caplog.set_level("INFO", logger="pipeline")
    lines = [f"a,{SIZE * row},0,{SIZE},{'xy'[row % 2]}" for row in range(80)]
    lines.append(f"a,{SIZE * 100 + SIZE // 2},0,{SIZE},x")  # half of two anchors
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["granule,row,column,tile_size,label", *lines]))
    params = replace(_of_loss("supcon"), n_epochs=1)
    with_labels = _weights(run(_changed(params, labels=str(labels)), "with"))
    assert "82 of 161 anchors have a label" in caplog.text
    assert not _same(with_labels, _weights(run(params, "without")))


def test_a_checkpoint_of_other_labels_or_given_weights_is_not_taken_up(
    run: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="pipeline")
    labels, given = tmp_path / "labels.csv", tmp_path / "given.safetensors"
    torch.manual_seed(0)
    weights = timm.create_model("test_resnet", num_classes=0, in_chans=1).state_dict()
    params = _changed(_of_loss("supcon"), n_epochs=1, labels=str(labels), init=str(given))
    params = replace(params, min_spread=0.0, min_effective_rank=0.0)
    for label, shift in (("x", 0.0), ("y", 0.0), ("y", 0.1)):
        lines = [
            "granule,row,column,tile_size,label",
            f"a,0,0,{SIZE},x",
            f"a,{SIZE},0,{SIZE},{label}",
        ]
        labels.write_text("\n".join(lines))
        save_file({name: value + shift for name, value in weights.items()}, given)
        run(params, "reused")
    assert caplog.text.count("is of another run; starting anew") == 2


def test_training_starts_from_given_weights(run: Callable[..., Path], tmp_path: Path) -> None:
    weights = timm.create_model("test_resnet", num_classes=0, in_chans=1).state_dict()
    weights = {name: value + 0.01 for name, value in weights.items() if "layer4" not in name}
    save_file(weights, tmp_path / "given.safetensors")
    params = replace(PARAMS, init=str(tmp_path / "given.safetensors"), n_epochs=1)
    still = replace(params, learning_rate=1e-12, weight_decay=0.0)
    folder = run(still)
    found = _weights(folder)
    weights = {name: value for name, value in weights.items() if "num_batches" not in name}
    # Statistics of batch normalisation stay those that were given, too.
    for name, value in weights.items():
        kept = found[f"backbone.network.{name}"]
        torch.testing.assert_close(kept, value, rtol=1e-5, atol=1e-6)
    initial = encoders.read_initial(folder / "encoder")
    assert initial is not None
    for name in ("conv1.0.weight", "layer3.0.conv1.weight", "bn1.running_mean"):
        assert torch.equal(initial[f"backbone.network.{name}"], weights[name])
    torch.testing.assert_close(initial["axes"], found["axes"], rtol=1e-3, atol=1e-3)
    assert encoders.read_initial(run(replace(PARAMS, n_epochs=1), "fresh") / "encoder") is None
    with pytest.raises(FileNotFoundError, match=r"weights none\.st do not exist; set train\.init"):
        run(replace(PARAMS, init="none.st"), "other")


def test_the_embedding_is_fitted_to_training_tiles(
    run: Callable[..., Path], products: Path
) -> None:
    weights, description = encoders.read_encoder(run(replace(PARAMS, n_epochs=1)) / "encoder")
    assert description["layers"] == ["layer1", "layer2", "layer3"]
    assert (description["n_dimensions"], description["n_views"]) == (8, 3)
    members = stores.TripletTiles(products / "tiles.zarr", "train", products / "scenes.zarr")
    tiles = np.empty(members.shape, np.uint8)
    members.read(np.array([[0, len(tiles)]]), tiles)
    tiles = tiles.reshape(-1, *tiles.shape[2:])
    np.testing.assert_allclose(weights["mean"].item(), tiles.mean(), rtol=1e-5)
    np.testing.assert_allclose(weights["deviation"].item(), tiles.std(), rtol=1e-5)
    rebuilt = rebuild_encoder(weights, description)
    features = torch.from_numpy(pool_tiles(rebuilt, tiles, device=torch.device("cpu")))
    with torch.inference_mode():
        vectors = rebuilt.embed_features(features, unit_length=False)
    assert vectors.shape == (len(tiles), 8)
    covariance = torch.cov(vectors.T)
    spread = covariance.diagonal()
    assert (spread.diff() <= 0).all()
    assert spread[0] > 2 * spread[-1]  # not whitened
    torch.testing.assert_close(vectors.mean(dim=0), torch.zeros(8), rtol=0, atol=1e-3)
    torch.testing.assert_close(covariance, spread.diag(), rtol=0, atol=1e-3 * float(spread[0]))


def test_views_that_cannot_differ_are_refused(run: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"smallest_crop 1\.0 is more than largest_crop 0\.5; low"):
        run(_changed(PARAMS, largest_crop=0.5))
    params = _changed(_of_loss("nt_xent"), flip=0.0, quarter_turn=0.0)
    with pytest.raises(ValueError, match=r"so that both views are the same; turn some on"):
        run(replace(params, views="augmented"))


def test_places_of_other_scenes_are_refused(products: Path, tmp_path: Path) -> None:
    scenes = stores.open_product(products / "scenes.zarr").load()
    other = scenes.assign_coords(granule=("scene", ["a", "x", "c"]))
    stores.write_product(other, tmp_path / "other.zarr", None)
    with pytest.raises(
        ValueError, match=r"holds places in other scenes than those of .*other\.zarr"
    ):
        stores.TripletTiles(products / "places.zarr", "train", tmp_path / "other.zarr")


def test_embeddings_are_looked_at_during_an_epoch(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CHECK_EVERY", 2)
    judge, judged = train._judge, []

    def note(*arguments: Any, **named: Any) -> dict[str, float]:
        judged.append(judge(*arguments, **named))
        return judged[-1]

    monkeypatch.setattr(train, "_judge", note)
    with pytest.raises(ValueError, match=r"the embedding collapsed: its spread is .*, below 0\.9"):
        run(replace(PARAMS, min_spread=0.9))
    assert len(judged) == 1  # before the first epoch, which was not brought to its end


@pytest.mark.slow("matrix")
@pytest.mark.parametrize(
    "changes",
    [
        {"distance": "squared"},
        {"distance": "cosine", "margin": 0.5},
        {"negatives": "batch"},
        {"negatives": "semi_hard", "distance": "cosine", "margin": 0.5},
        {"l2_penalty": 0.01, "max_gradient_norm": 1.0},
        {"brightness": 0.2, "kelvin": 5.0, "equalised_share": 0.5},
        {"standardise": True, "micro_batches": 3},
    ],
)
def test_every_way_of_training_tells_textures_apart(
    run: Callable[..., Path], changes: dict[str, Any]
) -> None:
    results = json.loads((run(_changed(PARAMS, **changes)) / "train.json").read_text())
    assert results["test"]["triplet_accuracy"] > 0.95


@pytest.mark.slow("matrix")
@pytest.mark.parametrize(
    "change",
    [
        {"distance": "squared"},
        {"margin": 0.5},
        {"negatives": "batch"},
        {"negatives": "semi_hard"},
        {"l2_penalty": 0.01},
        {"max_gradient_norm": 0.1},
        {"brightness": 0.2},
        {"kelvin": 5.0},
        {"equalised_share": 0.5},
        {"standardise": True},
        {"micro_batches": 2},
        {"weight_decay": 0.1},
        {"warm_up_share": 0.9},
        {"averaging": 0.0},
        {"learning_rate": 0.01},
        {"head_learning_rate": 0.01},
        {"local_weight": 0.5},
        {"retain_weight": 0.5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_no_parameter_is_without_effect(
    run: Callable[..., Path], tmp_path: Path, change: dict[str, Any]
) -> None:
    channels = ["infrared_window" if "kelvin" in change else "visible"]
    tiles = _textures(np.random.default_rng(0))
    triplets = tmp_path / "triplets.zarr"
    few = {name: each[:32] for name, each in tiles.items()}
    _write_triplets(triplets, few, with_tiles=True, channels=channels)
    short = replace(PARAMS, n_epochs=1)
    usual = _weights(run(short, "usual", str(triplets)))
    assert not _same(usual, _weights(run(_changed(short, **change), "changed", str(triplets))))


def test_encoder_and_head_learn_at_rates_of_their_own(run: Callable[..., Path]) -> None:
    still = replace(PARAMS, n_epochs=1, learning_rate=1e-12, weight_decay=0.0)
    untrained = train.start(still, np.zeros((2, 1, SIZE, SIZE), np.uint8)).encoder.state_dict()
    name = "backbone.network.layer3.0.conv1.weight"
    torch.testing.assert_close(_weights(run(still))[name], untrained[name].cpu())
    moving = replace(still, learning_rate=1e-3, head_learning_rate=1e-12)
    assert not torch.allclose(_weights(run(moving, "moving"))[name], untrained[name].cpu())


def test_encoders_are_trained_at_as_many_scales_as_asked(run: Callable[..., Path]) -> None:
    two = replace(PARAMS, n_epochs=1, embedding=replace(PARAMS.embedding, n_scales=2))
    weights, description = encoders.read_encoder(run(two) / "encoder")
    encoder = rebuild_encoder(weights, description)
    one = train.start(PARAMS, np.zeros((2, 1, SIZE, SIZE), np.uint8)).encoder
    assert description["n_scales"] == encoder.n_scales == 2
    assert encoder.width == 2 * one.width
    assert encoder.axes.shape == (8, encoder.width)


def test_too_few_triplets_for_a_batch_are_named(run: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"161 training triplets are less than a batch of 200"):
        run(replace(PARAMS, batch_size=200))


def test_the_recipes_of_the_readme_are_objectives_of_ten_lines_at_most() -> None:
    text = (ROOT / "README.md").read_text()
    section = text[text.index("## Objectives") : text.index("### Augmentations")]
    usual = stage.with_recipe(yaml.safe_load((ROOT / "params.yaml").read_text())["train"])
    told = set()
    for recipe in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL):
        assert len(recipe.splitlines()) <= 10
        merged = stage.merged(usual, yaml.safe_load(recipe))
        params = stage.parse_params("train", merged, TrainParams)
        train.start(replace(params, backbone="test_resnet"), np.zeros((2, 3, 32, 32), np.uint8))
        told.add(params.loss)
    spoken = {"relative_position", "colour", "distillation"}  # in words alone
    assert told | spoken == set(LOSSES)
