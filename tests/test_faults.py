"""Damaged granules, killed workers and killed stages: the same product, byte for byte."""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import xarray as xr
from distributed import LocalCluster
from instruments.damage import KINDS, damage
from instruments.small import UNITS, WRITERS, write_small_geotiff, write_small_mcmip

from pipeline import fetch, ingest
from pipeline.core.encoder import create_encoder
from pipeline.files import encoders, stage, stores

ROOT = Path(__file__).parents[1]
FIRST = datetime(2025, 3, 20, 15)
N_DAMAGED = 1000
N_GOOD = 50
FORMATS = {"mcmip": 0.22, "abi_l1b": 0.13, "viirs": 0.13, "modis": 0.13, "geotiff": 0.2}
FORMATS["netcdf"] = 1 - sum(FORMATS.values())
KIND_SHARES = {
    "truncated": 0.2,
    "flipped": 0.32,
    "dropped": 0.1,
    "renamed": 0.08,
    "misshapen": 0.1,
    "rescaled": 0.12,
    "empty": 0.03,
    "directory": 0.03,
    "dangling": 0.02,
}
TOLERANCES = {  # of float32, of another source for the sun, and of 1 in 255 where that rounds
    "colour": 1.0,
    "valid": 0.0,
    "latitude": 0.002,
    "longitude": 0.002,
    "reflectance": 0.05,
    "brightness_temperature": 0.05,
}
# Formats without checksums: a flipped bit in a MODIS array or a TIFF tag can leave a plausible
# picture, which no reader can tell from the true one.
UNCHECKED = {"modis", "geotiff"}
MOST_UNNOTICED = 2  # of N_DAMAGED


@dataclass(frozen=True)
class _Case:
    """A granule of a format and time, and what was done to it, if anything."""

    name: str
    form: str
    start: datetime
    kind: str = "good"
    how: str = ""


def _write_cases(folder: Path) -> list[_Case]:
    """Damaged granules, with a good one after every twentieth."""
    rng = np.random.default_rng(11)
    cases = []
    every = N_DAMAGED // N_GOOD + 1
    for number in range(N_DAMAGED + N_GOOD):
        form = str(rng.choice(list(FORMATS), p=list(FORMATS.values())))
        start = FIRST + timedelta(days=number // 60, minutes=number % 60)
        files = WRITERS[form](folder, start)
        name = min(file.name for file in files)
        if number % every == every - 1:
            cases.append(_Case(name, form, start))
            continue
        kind = str(rng.choice(list(KIND_SHARES), p=list(KIND_SHARES.values())))
        how = damage(files[rng.integers(len(files))], kind, rng)
        cases.append(_Case(name, form, start, kind, how))
    return cases


def _run(folder: Path, params: dict[str, Any], **quality: Any) -> tuple[xr.Dataset, dict[str, str]]:
    """Fetch and ingest the granules in folder/raw: scenes by name, and reasons by name."""
    local = {**params["fetch"], "source": "local", "local": {"granules": [str(folder / "raw")]}}
    fetch.run(
        stage.parse_params("fetch", local, fetch.FetchParams),
        folder / "granules",
        folder / "archive",
        folder / "checksums.json",
    )
    section = {
        **params["ingest"],
        "preset": "visible_infrared",
        "netcdf": {**params["ingest"]["netcdf"], "units": UNITS},
        "quality": {**params["ingest"]["quality"], **quality},
    }
    ingest.run(
        stage.parse_params("ingest", section, ingest.IngestParams),
        folder / "granules",
        folder / "scenes.zarr",
        folder / "rejected.csv",
        folder / "ingest.json",
    )
    with (folder / "rejected.csv").open() as file:
        rejected = {row["granule"]: row["reason"] for row in csv.DictReader(file) if row["detail"]}
    scenes = stores.open_product(folder / "scenes.zarr").load()
    return scenes.set_index(scene="granule"), rejected


def _differences(found: xr.Dataset, expected: xr.Dataset) -> list[str]:
    different = [name for name in ("time", "platform") if found[name] != expected[name]]
    for name, tolerance in TOLERANCES.items():
        pair = found[name].values.astype(float), expected[name].values.astype(float)
        if not np.allclose(*pair, rtol=0, atol=tolerance, equal_nan=True):
            different.append(name)
    return different


def test_a_thousand_damaged_granules_are_read_as_they_were_or_rejected(
    tmp_path: Path, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "2")
    cases = _write_cases(tmp_path / "damaged/raw")
    kinds = Counter(case.kind for case in cases)
    assert set(kinds) == {*KINDS, "good"}
    assert min(kinds.values()) > 10
    scenes, rejected = _run(tmp_path / "damaged", params, max_seconds=60.0)
    names = set(scenes.scene.values)
    assert names.isdisjoint(rejected)
    assert names | set(rejected) == {case.name for case in cases}
    assert all(rejected.values())
    good = [case for case in cases if case.kind == "good"]
    assert not {case.name for case in good} & set(rejected)

    read = [case for case in cases if case.name in names]
    for case in read:
        WRITERS[case.form](tmp_path / "whole/raw", case.start)
    whole, _ = _run(tmp_path / "whole", params, max_seconds=60.0)
    for case in good:
        for name, variable in scenes.sel(scene=case.name).data_vars.items():
            np.testing.assert_array_equal(variable, whole.sel(scene=case.name)[name])
    unnoticed = [
        (case, different)
        for case in read
        if (different := _differences(scenes.sel(scene=case.name), whole.sel(scene=case.name)))
    ]
    assert {case.form for case, _ in unnoticed} <= UNCHECKED, unnoticed
    assert {case.kind for case, _ in unnoticed} <= {"flipped"}, unnoticed
    assert len(unnoticed) <= MOST_UNNOTICED, unnoticed


# --- stages as processes, to be killed ---

# Stands for a library that a damaged file crashes, or sends around in circles.
STALLING_LIBRARY = """
import os, signal, time
import rasterio
open_file = rasterio.open
def stall(path, *arguments, **options):
    if path.name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.name.startswith("hang"):
        time.sleep(3600)
    return open_file(path, *arguments, **options)
rasterio.open = stall
"""
OUTS = {
    "ingest": ("scenes.zarr", "rejected.csv", "metrics/ingest.json"),
    "sample": ("triplets.zarr", "metrics/sample.json"),
    "embed": ("embeddings.zarr",),
}
FLOW: dict[str, Any] = {
    "fetch.source": "local",
    "ingest.preset": "visible_infrared",
    "sample.tile_size": 32,
    "sample.n_triplets": {"train": 3072, "validation": 32, "test": 32},
    "embed.stride": 8,
}
OTHER: dict[str, dict[str, Any]] = {
    "ingest": {"ingest.quality.max_view_zenith": 60.0},
    "sample": {"sample.seed": 2},
    "embed": {"embed.stride": 16},
}
N_SCENES = 12
N_WORKERS = 2
ATTEMPTS = 5  # to meet a moment of milliseconds, such as a file that is being written
SECONDS_TO_DIE = 30

Flow = tuple[Path, dict[str, dict[str, dict[str, str]]]]


def _start(folder: Path, name: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"pipeline.{name}"],
        cwd=folder,
        env={**os.environ, "TILE2VEC_WORKERS": str(N_WORKERS), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def _content(folder: Path, name: str) -> dict[str, dict[str, str]]:
    """Of each product of a stage the digest of every file, {} where it is absent."""
    return {out: _digests(folder / "data" / out) for out in OUTS[name]}


def _digests(path: Path) -> dict[str, str]:
    files = sorted(file for file in [path, *path.rglob("*")] if file.is_file())
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, to)
    else:
        shutil.copy(path, to)


def _children(process: subprocess.Popen[str], command: str = "") -> list[psutil.Process]:
    below = psutil.Process(process.pid).children(recursive=True)
    return [child for child in below if command in " ".join(child.cmdline())]


class TooLateError(AssertionError):
    """A stage ended before the moment that was waited for was seen."""


def _in_time(attempt: Callable[[], Any]) -> Any:
    """What the first attempt gives that was not too late."""
    for _ in range(ATTEMPTS):
        with suppress(TooLateError):
            return attempt()
    raise TooLateError(f"the moment was missed in {ATTEMPTS} runs of the stage")


def _until(reached: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """What `reached` gives once that is something."""
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            if found := reached():
                return found
        time.sleep(0.0005)
    raise TooLateError(f"the stage ended before it could be killed: {process.communicate()[0]}")


def _worker_at_work(process: subprocess.Popen[str], seconds: float) -> psutil.Process:
    """A worker that has computed for so many seconds since both reported for work."""

    def reported() -> dict[psutil.Process, float]:
        workers = _children(process, "spawn_main")
        found = {each: each.cpu_times().user for each in workers if each.net_connections()}
        return found if len(found) == N_WORKERS else {}

    before = _until(reported, process)
    return _until(
        lambda: next(
            (each for each in before if each.cpu_times().user > before[each] + seconds), None
        ),
        process,
    )


def _stop(process: psutil.Process) -> None:
    """Suspend a process, and wait until the last of its threads stands still."""
    process.suspend()
    while any(
        "State:\tT" not in (thread / "status").read_text()
        for thread in Path(f"/proc/{process.pid}/task").iterdir()
    ):
        time.sleep(0.0001)


def _worker_in_mid_write(process: subprocess.Popen[str]) -> tuple[psutil.Process, Path] | None:
    """A worker, stopped, and the file it has not finished."""
    for worker in _children(process, "spawn_main"):
        _stop(worker)
        for file in worker.open_files():
            if file.path.endswith(".partial"):
                return worker, Path(file.path)
        worker.resume()
    return None


def _stopped_in_mid_write(
    folder: Path,
) -> tuple[subprocess.Popen[str], tuple[psutil.Process, Path]]:
    """The stage sample at work, a worker of it that is stopped, and the file that is not whole."""
    process = _start(folder, "sample")
    return process, _until(partial(_worker_in_mid_write, process), process)


def _finished_without_a_worker(folder: Path, name: str, seconds: float) -> None:
    """A stage of which a worker is killed that has computed for so many seconds."""
    process = _start(folder, name)
    _worker_at_work(process, seconds).kill()
    if "a worker died of item" not in _finish(process):
        raise TooLateError("the worker was not at work on an item")


def _finished_without_two_workers(folder: Path, name: str) -> None:
    """A stage of which a worker is killed, and another that starts in its place."""
    process = _start(folder, name)
    worker = _worker_at_work(process, 0.3)
    known = _children(process)
    worker.kill()
    _until(lambda: [each for each in _children(process) if each not in known], process)[0].kill()
    _finish(process)


def _started_until(folder: Path, name: str, moment: float | str) -> subprocess.Popen[str]:
    """A stage after so many seconds, or once its unfinished products have such a file."""
    process = _start(folder, name)
    if isinstance(moment, str):
        _until(lambda: list((folder / "data" / f".{name}").glob(moment)), process)
    else:
        time.sleep(moment)
    return process


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory, set_params: Callable[..., None]) -> Flow:
    """A folder in which the stages have run unharmed, and what each of them made.

    In its folder `former` is what they make of other parameters.
    """
    folder = tmp_path_factory.mktemp("flow")
    for number in range(N_SCENES):
        write_small_mcmip(folder / "raw", FIRST + timedelta(days=number), n_pixels=160)
    (spoilt,) = write_small_mcmip(folder / "raw", FIRST - timedelta(days=1))
    damage(spoilt, "truncated", np.random.default_rng(0))
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, folder)
    set_params(folder, {**FLOW, "fetch.local.granules": [str(folder / "raw")]})
    network = create_encoder(backbone="resnet10t", n_channels=3, n_dimensions=8, seed=0)
    description = {
        "backbone": "resnet10t",
        "channels": ["visible", "near_infrared", "infrared_window"],
        "n_dimensions": 8,
        "standardise": False,
        "tile_size": 32,
        "days": {},
    }
    encoders.write_encoder(folder / "data/encoder", network.state_dict(), description)
    _finish(_start(folder, "fetch"))
    params = (folder / "params.yaml").read_text()
    for name in OUTS:
        set_params(folder, OTHER[name])
        _finish(_start(folder, name))
        for out in OUTS[name]:
            _copy(folder / "data" / out, folder / "former" / out)
        (folder / "params.yaml").write_text(params)
        _finish(_start(folder, name))
    return folder, {name: _content(folder, name) for name in OUTS}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["ingest", "embed"])
def test_a_worker_killed_in_mid_scene_changes_no_byte(flow: Flow, name: str, seed: int) -> None:
    folder, unharmed = flow
    rng = np.random.default_rng(seed)
    _in_time(lambda: _finished_without_a_worker(folder, name, rng.uniform(0.1, 0.9)))
    assert _content(folder, name) == unharmed[name]


def test_a_worker_killed_while_it_starts_again_changes_no_byte(flow: Flow) -> None:
    folder, unharmed = flow
    _in_time(partial(_finished_without_two_workers, folder, "ingest"))
    assert _content(folder, "ingest") == unharmed["ingest"]


def test_a_worker_killed_in_mid_write_changes_no_byte(flow: Flow) -> None:
    folder, unharmed = flow
    process, (worker, unfinished) = _in_time(partial(_stopped_in_mid_write, folder))
    worker.kill()
    worker.wait(SECONDS_TO_DIE)
    assert unfinished.exists()
    assert "a worker died of item" in _finish(process)
    assert _content(folder, "sample") == unharmed["sample"]


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("ingest", 0.5),
        ("ingest", "parts/*"),
        ("ingest", "scenes.zarr/colour/c/3"),
        ("ingest", "replaced-*"),
        ("sample", "triplets.zarr/train/tiles/c/1"),
        ("embed", 5.0),
        ("embed", "replaced-*"),
    ],
)
def test_a_killed_stage_leaves_whole_products_and_starts_again(
    flow: Flow, name: str, moment: float | str
) -> None:
    folder, unharmed = flow
    for out in OUTS[name]:
        _remove(folder / "data" / out)
        _copy(folder / "former" / out, folder / "data" / out)
    former = _content(folder, name)
    process = _in_time(partial(_started_until, folder, name, moment))
    workers = _children(process)
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(workers, SECONDS_TO_DIE)[1]
    for out, files in _content(folder, name).items():
        assert files in ({}, former[out], unharmed[name][out])
    _finish(_start(folder, name))
    assert _content(folder, name) == unharmed[name]


def test_fetch_killed_at_random_instants_makes_the_same_product(
    tmp_path: Path, set_params: Callable[..., None]
) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    small = {"n_days": 3, "hours_utc": [15, 17], "n_pixels": 96, "label_tile_size": 32}
    set_params(tmp_path, {f"fetch.synthetic.{key}": value for key, value in small.items()})
    rng = np.random.default_rng(0)
    product, checksums = tmp_path / "data/granules", tmp_path / "data/checksums.json"
    for _ in range(4):
        process = _start(tmp_path, "fetch")
        _until(lambda: list((tmp_path / "data").glob(".fetch/granules/synthetic/*.nc")), process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0, 3))
        workers = _children(process) if process.poll() is None else []
        process.kill()
        process.communicate()
        assert not psutil.wait_procs(workers, SECONDS_TO_DIE)[1]
        assert not product.exists() or (product / "manifest.nc").exists()
        assert not checksums.exists() or json.loads(checksums.read_text())
    _finish(_start(tmp_path, "fetch"))
    killed = _digests(product)
    shutil.rmtree(tmp_path / "data")
    _finish(_start(tmp_path, "fetch"))
    assert _digests(product) == killed


@pytest.mark.parametrize("name", OUTS)
def test_the_number_of_workers_changes_no_byte(flow: Flow, name: str) -> None:
    folder, unharmed = flow
    for n_workers in ("0", "1"):
        _finish(_start(folder, name, TILE2VEC_WORKERS=n_workers))
        assert _content(folder, name) == unharmed[name]
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as cluster:
        _finish(_start(folder, name, DASK_SCHEDULER_ADDRESS=cluster.scheduler_address))
    assert _content(folder, name) == unharmed[name]


def test_what_crashes_or_hangs_a_library_is_rejected(
    tmp_path: Path, set_params: Callable[..., None]
) -> None:
    for number, name in enumerate(("a", "crash", "b", "hang", "c")):
        (file,) = write_small_geotiff(tmp_path / "raw", FIRST + timedelta(days=number))
        file.rename(file.with_stem(name))
    (tmp_path / "library").mkdir()
    (tmp_path / "library/sitecustomize.py").write_text(STALLING_LIBRARY)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    set_params(tmp_path, {**FLOW, "fetch.local.granules": [str(tmp_path / "raw")]})
    set_params(tmp_path, {"fetch.max_seconds": 10.0, "ingest.quality.max_seconds": 10.0})
    for name in ("fetch", "ingest"):
        _finish(_start(tmp_path, name, PYTHONPATH=str(tmp_path / "library")))
    with (tmp_path / "data/rejected.csv").open() as file:
        reasons = {row["granule"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons == {"crash.tif": "crashes its reader", "hang.tif": "crashes its reader"}
    scenes = stores.open_product(tmp_path / "data/scenes.zarr")
    assert list(scenes.granule.values) == ["a.tif", "b.tif", "c.tif"]
