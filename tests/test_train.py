import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from pipeline import train
from pipeline.core.triplet import SPLITS
from pipeline.files import encoders, stores

PARAMS = train.TrainParams(
    backbone="resnet10t",
    n_dimensions=8,
    margin=1.0,
    n_epochs=3,
    batch_size=16,
    shards_in_memory=2,
    learning_rate=0.001,
    weight_decay=0.0001,
    warm_up_share=0.1,
    seed=0,
)
SIZE = 32


@pytest.fixture(scope="module")
def triplets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stripes and checks of equal histograms: near tiles share their texture, distant do not."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("train") / "triplets.zarr"
    days = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "datetime64[ns]")
    root = xr.Dataset(
        coords={
            "granule": ("scene", ["a", "b", "c"]),
            "time": ("scene", days),
            "split": ("scene", list(SPLITS)),
        },
        attrs={"tile_size": SIZE},
    )
    stores.write_product(root, path, PARAMS)
    row, column = np.mgrid[:SIZE, :SIZE]
    textures = np.stack([(row // 4) % 2, (row // 4 + column // 4) % 2]) * 120 + 60
    for number, name in enumerate(SPLITS):
        n_triplets = 160 if name == "train" else 48
        texture = rng.integers(0, 2, n_triplets)
        kinds = np.stack([texture, texture, 1 - texture], axis=1)
        tiles = textures[kinds][:, :, None] + rng.integers(-20, 20, (n_triplets, 3, 1, SIZE, SIZE))
        members = xr.Dataset(
            {
                "scene": (("triplet", "member"), np.full((n_triplets, 3), number)),
                "time": (("triplet", "member"), np.full((n_triplets, 3), days[number])),
            }
        )
        stores.create_triplets(path, name, members, PARAMS, channels=["brightness"], tile_size=SIZE)
        stores.open_tiles(path, name)[:] = tiles.astype(np.uint8)
    stores.consolidate(path)
    return path


@pytest.fixture
def run(triplets: Path, tmp_path: Path) -> Callable[..., Path]:
    def run(params: train.TrainParams = PARAMS, name: str = "run") -> Path:
        folder = tmp_path / name
        train.run(
            params,
            triplets,
            folder / "encoder",
            folder / "curves",
            folder / "train.json",
            folder / "checkpoint.safetensors",
        )
        return folder

    return run


def test_training_tells_textures_apart_on_unseen_days(run: Callable[..., Path]) -> None:
    folder = run()
    results = json.loads((folder / "train.json").read_text())
    assert results["test"]["triplet_accuracy"] > 0.95
    assert results["test"]["loss"] < results["untrained"]["loss"]
    assert results["validation"]["spread"] > 0.01
    assert 1 <= results["validation"]["effective_rank"] <= PARAMS.n_dimensions
    weights, description = encoders.read_encoder(folder / "encoder")
    assert all(torch.isfinite(value).all() for value in weights.values())
    assert description["days"]["validation"] == ["2020-01-02"]
    assert description["channels"] == ["brightness"]
    curve = (folder / "curves/plots/metrics/validation_triplet_accuracy.tsv").read_text()
    assert len(curve.splitlines()) == 1 + 1 + PARAMS.n_epochs  # header, untrained, epochs
    assert not (folder / "checkpoint.safetensors").exists()


def test_one_seed_gives_the_same_encoder(run: Callable[..., Path]) -> None:
    short = replace(PARAMS, n_epochs=1)
    first, _ = encoders.read_encoder(run(short, "first") / "encoder")
    second, _ = encoders.read_encoder(run(short, "second") / "encoder")
    other, _ = encoders.read_encoder(run(replace(short, seed=1), "other") / "encoder")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["projection.weight"], other["projection.weight"])


KILLED_RUN = """
import sys, json
from pathlib import Path
from pipeline import train
folder, triplets, params = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
train.run(
    train.TrainParams(**params), triplets, folder / "encoder", folder / "curves",
    folder / "train.json", folder / "checkpoint.safetensors",
)
"""


def test_a_killed_run_resumes_and_ends_the_same(
    run: Callable[..., Path], triplets: Path, tmp_path: Path
) -> None:
    whole = run(name="whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    arguments = [str(folder), str(triplets), json.dumps(vars(PARAMS))]
    # dask leaves one thread for each library in the environment of a process that starts workers.
    n_threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
        str(torch.get_num_threads()),
    )
    environment = {**os.environ, **n_threads}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_RUN, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    checkpoint = folder / "checkpoint.safetensors"
    until = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    assert not (folder / "encoder").exists()
    assert encoders.read_checkpoint(checkpoint)[1]["epoch"] < PARAMS.n_epochs
    resumed = run(name="killed")
    first, _ = encoders.read_encoder(whole / "encoder")
    second, _ = encoders.read_encoder(resumed / "encoder")
    assert all(torch.equal(first[name], second[name]) for name in first)
    curve = "curves/plots/metrics/validation_loss.tsv"
    numbers = [
        [line.split("\t")[1:] for line in (ended / curve).read_text().splitlines()]
        for ended in (whole, resumed)
    ]
    assert numbers[0] == numbers[1]


def test_a_checkpoint_of_another_run_is_not_taken_up(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(PARAMS, n_epochs=1)
    expected, _ = encoders.read_encoder(run(short, "clean") / "encoder")
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # keep the checkpoint
    run(replace(short, margin=2.0), "reused")
    monkeypatch.undo()
    assert (tmp_path / "reused/checkpoint.safetensors").exists()
    found, _ = encoders.read_encoder(run(short, "reused") / "encoder")
    assert all(torch.equal(expected[name], found[name]) for name in expected)
