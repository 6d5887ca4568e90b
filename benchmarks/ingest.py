"""Speed and memory of ingest beside satpy's own, and memory as the granules grow in number.

    python benchmarks/ingest.py

The bare side loads satpy's composite `overview` of the same files and computes it, which takes the
bands of the preset `visible_infrared`. Both sides take turns, so that a busy spell of the machine
falls on both. Workers are started before the clock.
"""

import os
import shutil
import statistics
import sys
import tempfile
import warnings
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
import yaml
from measure import ROOT, peak_memory, run_stage, timed
from table import Row, print_table
from threadpoolctl import threadpool_limits

N_ROUNDS = 5
N_GRANULES = 48
N_PIXELS = 500
GROWTH = (8, 32, 128)  # granules


def main() -> int:
    """Print the table; 1 if a row falls short."""
    if sys.argv[1:2] == ["bare"]:
        load_and_compose(list(map(Path, sys.argv[2:])))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_granules(folder / "raw", max(GROWTH))
        rows = [*speed(folder, files[:N_GRANULES]), *growth(folder, files)]
    return print_table(rows)


def write_granules(folder: Path, n_granules: int) -> list[Path]:
    """Mesoscale granules of 16 bands, one scan a minute of the same clouds."""
    from pipeline.core.synthetic import synthesise_scene
    from pipeline.core.viewing import solar_angles
    from pipeline.files import mcmip

    grid = mcmip.sector_grid(latitude=-20.0, longitude=-86.0, n_pixels=N_PIXELS)
    start = datetime(2020, 1, 10, 17)
    sun, _ = solar_angles(np.datetime64(start), grid.latitude, grid.longitude)
    rng = np.random.default_rng(0)
    bands = synthesise_scene(grid.latitude, grid.longitude, sun, rng=rng).bands
    absent = {f"C{number:02}": bands["C14"] for number in range(1, 17)}
    return [
        mcmip.write_mcmip(
            folder,
            grid=grid,
            bands={**absent, **bands},
            start_time=start + timedelta(days=number % 8, minutes=number // 8),
            sector="M1",
        )
        for number in range(n_granules)
    ]


def speed(folder: Path, files: Sequence[Path]) -> list[Row]:
    """One and two cores of ingest against one core of satpy, and the memory of either."""
    cores = sorted(os.sched_getaffinity(0))
    project = make_project(folder / "speed", files)
    ingest(project, n_workers=2)  # starts them
    load_and_compose(files[:2])
    rates: dict[str, list[float]] = {"bare": [], "one": [], "two": []}
    for _ in range(N_ROUNDS):
        bind(cores[:1])
        rates["bare"].append(len(files) / timed(load_and_compose, files))
        rates["one"].append(len(files) / ingest(project, n_workers=0))
        bind(cores)
        rates["two"].append(len(files) / ingest(project, n_workers=2))
    middle = {name: statistics.median(each) for name, each in rates.items()}
    ratio = {
        name: statistics.median(np.divide(rates[name], rates["bare"])) for name in ("one", "two")
    }
    megapixels = N_PIXELS**2 / 1e6

    def figures(name: str) -> str:
        ours, bare = middle[name], middle["bare"]
        return (
            f"{ours:.2f} granules/s ({ours * megapixels:.2f} Mpx/s), "
            f"satpy {bare:.2f} ({bare * megapixels:.2f})"
        )

    bare = peak_memory([sys.executable, __file__, "bare", *map(str, files)], ROOT)
    ours = peak_memory([sys.executable, "-m", "pipeline.ingest"], project, workers="0")
    return [
        Row("speed on one core, of satpy's", figures("one"), ratio["one"], at_least=0.8),
        Row("speed on two cores, of satpy's on one", figures("two"), ratio["two"], at_least=1.7),
        Row(
            "peak memory on one core, of satpy's",
            f"{ours:.0f} MB, satpy {bare:.0f} MB",
            ours / bare,
            at_most=2.0,
        ),
    ]


def bind(cores: Sequence[int]) -> None:
    """Keep all threads of this process on these cores, and start as many for linear algebra."""
    threadpool_limits(len(cores))
    for thread in psutil.Process().threads():
        os.sched_setaffinity(thread.id, cores)


def growth(folder: Path, files: Sequence[Path]) -> list[Row]:
    """Memory of the stages that go through granules, at 1, 4 and 16 times as many."""
    peaks: dict[str, list[float]] = {"ingest": [], "sample": [], "embed": []}
    for n_granules in GROWTH:
        project = make_project(folder / str(n_granules), files[:n_granules])
        write_encoder(project / "data/encoder")
        for stage, each in peaks.items():
            command = [sys.executable, "-m", f"pipeline.{stage}"]
            each.append(peak_memory(command, project, workers="2"))
        shutil.rmtree(project)
    return [
        Row(
            f"memory of {stage}, {times} times the granules",
            f"{each[index]:.0f} MB for {GROWTH[index]}, {each[0]:.0f} MB for {GROWTH[0]}",
            each[index] / each[0],
            at_most=1.3,
        )
        for stage, each in peaks.items()
        for index, times in ((1, 4), (2, 16))
    ]


def load_and_compose(files: Sequence[Path]) -> None:
    """What satpy's users write, in one thread."""
    from satpy.scene import Scene

    with warnings.catch_warnings(), dask.config.set(scheduler="synchronous"):
        warnings.simplefilter("ignore")
        for file in files:
            scene = Scene([str(file)], reader="abi_l2_nc")
            scene.load(["overview"])
            assert scene["overview"].values.shape == (3, N_PIXELS, N_PIXELS)


def make_project(folder: Path, files: Sequence[Path]) -> Path:
    """A folder in which the stages run, with a manifest of `files`."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "raw").mkdir(parents=True)
    for file in files:
        (folder / "raw" / file.name).hardlink_to(file)
    shutil.copy(ROOT / "dvc.yaml", folder)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["fetch"]["source"] = "local"
    params["fetch"]["local"]["granules"] = [str(folder / "raw")]
    params["ingest"]["preset"] = "visible_infrared"
    params["sample"]["n_triplets"] = {"train": 512, "validation": 64, "test": 64}
    params["train"]["backbone"] = "resnet10t"
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    run_stage("fetch", folder)
    return folder


def write_encoder(folder: Path) -> None:
    """An untrained encoder."""
    import torch

    from pipeline.core.encoder import create_encoder, describe_encoder
    from pipeline.files import encoders

    network = create_encoder(
        backbone="resnet10t",
        layers=["layer1", "layer2", "layer3"],
        pooling="mean_deviation",
        n_channels=3,
        seed=0,
    )
    features = torch.randn(1000, network.width, generator=torch.Generator().manual_seed(0))
    network.fit(features, n_dimensions=128)
    description: dict[str, Any] = {
        **describe_encoder(network, backbone="resnet10t"),
        "channels": ["visible", "near_infrared", "infrared_window"],
        "n_dimensions": network.n_dimensions,
        "tile_size": 64,
        "days": {"train": [], "validation": [], "test": []},
    }
    encoders.write_encoder(folder, network.state_dict(), description)


def ingest(project: Path, n_workers: int) -> float:
    """Seconds that stage ingest takes in this process, or in workers that are there already."""
    from pipeline import ingest as stage_ingest
    from pipeline.files import stage

    params = yaml.safe_load((project / "params.yaml").read_text())["ingest"]
    parsed = stage.parse_params("ingest", params, stage_ingest.IngestParams)
    out = project / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    os.environ["TILE2VEC_WORKERS"] = str(n_workers)
    return timed(
        stage_ingest.run,
        parsed,
        project / "data/granules",
        out / "scenes.zarr",
        out / "rejected.csv",
        out / "metrics.json",
    )


if __name__ == "__main__":
    sys.exit(main())
