"""Damaged granules, killed workers and killed stages: the same product, byte for byte."""

import csv
import itertools
import json
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import fault_points
import numpy as np
import pytest
import xarray as xr
from fault_points import (
    Fault,
    FaultPoint,
    StartFault,
    WorkerFault,
    crash,
    hang,
    lose_stage,
    run_stage,
)
from instruments.damage import KINDS, damage
from instruments.small import UNITS, WRITERS, write_small_geotiff
from small_products import write_untrained
from tiny_flow import change_params, digests, prepare
from tiny_flow import run_stage as run_here

from pipeline import embed, fetch, ingest, sample
from pipeline.files import stage, stores, workers

FIRST = datetime(2025, 3, 20, 15)
N_DAMAGED = 1000
N_GOOD = 50
N_WORKERS = 2
GOOD = "good"
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
    kind: str
    how: str


def _draw_damage(rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Formats and kinds of damage at random, with a good granule after every twentieth."""
    every = N_DAMAGED // N_GOOD + 1
    for number in range(N_DAMAGED + N_GOOD):
        form = str(rng.choice(list(FORMATS), p=list(FORMATS.values())))
        is_good = number % every == every - 1
        kind = GOOD if is_good else rng.choice(list(KIND_SHARES), p=list(KIND_SHARES.values()))
        yield form, str(kind)


def _write_cases(
    folder: Path, damages: Iterable[tuple[str, str]], rng: np.random.Generator
) -> list[_Case]:
    cases = []
    for number, (form, kind) in enumerate(damages):
        start = FIRST + timedelta(days=number // 60, minutes=number % 60)
        files = WRITERS[form](folder, start)
        name = min(file.name for file in files)
        how = "" if kind == GOOD else damage(files[rng.integers(len(files))], kind, rng)
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
        "quality": {**params["ingest"]["quality"], "min_glint_angle": 0.0, **quality},
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


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of damaged values, as in workers
def test_every_kind_of_damage_to_every_format_is_read_as_it_was_or_rejected(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    rng = np.random.default_rng(12)
    damages = itertools.product(FORMATS, (*KINDS, GOOD))
    cases = _write_cases(tmp_path / "damaged/raw", damages, rng)
    assert not _check_cases(cases, tmp_path, params)


@pytest.mark.slow("many")
def test_a_thousand_damaged_granules_are_read_as_they_were_or_rejected(
    tmp_path: Path, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", str(N_WORKERS))
    rng = np.random.default_rng(11)
    cases = _write_cases(tmp_path / "damaged/raw", _draw_damage(rng), rng)
    kinds = Counter(case.kind for case in cases)
    assert set(kinds) == {*KINDS, GOOD}
    assert min(kinds.values()) > 10
    unnoticed = _check_cases(cases, tmp_path, params)
    assert {case.form for case, _ in unnoticed} <= UNCHECKED, unnoticed
    assert {case.kind for case, _ in unnoticed} <= {"flipped"}, unnoticed
    assert len(unnoticed) <= MOST_UNNOTICED, unnoticed


def _check_cases(
    cases: list[_Case], folder: Path, params: dict[str, Any]
) -> list[tuple[_Case, list[str]]]:
    """Cases that were read although they differ from what was written, and in what."""
    scenes, rejected = _run(folder / "damaged", params, max_seconds=600.0)
    names = set(scenes.scene.values)
    assert names.isdisjoint(rejected)
    assert names | set(rejected) == {case.name for case in cases}
    assert all(rejected.values())
    good = [case for case in cases if case.kind == GOOD]
    assert not {case.name for case in good} & set(rejected)

    read = [case for case in cases if case.name in names]
    for case in read:
        WRITERS[case.form](folder / "whole/raw", case.start)
    whole, _ = _run(folder / "whole", params, max_seconds=600.0)
    for case in good:
        for name, variable in scenes.sel(scene=case.name).data_vars.items():
            np.testing.assert_array_equal(variable, whole.sel(scene=case.name)[name])
    return [
        (case, different)
        for case in read
        if (different := _differences(scenes.sel(scene=case.name), whole.sel(scene=case.name)))
    ]


# --- processes that are killed ---

OUTS = {
    "ingest": ("scenes.zarr", "rejected.csv", "metrics/ingest.json"),
    "sample": ("triplets.zarr", "metrics/sample.json"),
    "embed": ("embeddings.zarr",),
}
STAGES: dict[str, tuple[Callable[..., None], type]] = {
    "fetch": (fetch.run, fetch.FetchParams),
    "ingest": (ingest.run, ingest.IngestParams),
    "sample": (sample.run, sample.SampleParams),
    "embed": (embed.run, embed.EmbedParams),
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
N_SCENES = 8

Content = dict[str, dict[str, str]]
Flow = Callable[[str], tuple[Path, Content]]


@pytest.fixture(autouse=True)
def _no_endless_wait() -> Iterator[None]:
    with fault_points.no_endless_wait():
        yield


def _run_stage(folder: Path, name: str) -> None:
    assert run_here(folder, f"-m pipeline.{name}") == 0


def _content(folder: Path, name: str) -> dict[str, dict[str, str]]:
    """Of each product of a stage the digest of every file, {} where it is absent."""
    return {out: digests(folder / "data" / out) for out in OUTS[name]}


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


@pytest.fixture(scope="module")
def flow(
    tmp_path_factory: pytest.TempPathFactory,
    write_geotiff: Callable[..., Path],
) -> Flow:
    """The folder in which a stage and those before it have run unharmed, and what it made.

    In its folder `former` is what it makes of other parameters.
    """
    folder = tmp_path_factory.mktemp("flow")

    @cache
    def unharmed(name: str) -> tuple[Path, Content]:
        if name == "ingest":
            _prepare_flow(folder, write_geotiff)
        else:
            unharmed("ingest")
        params = (folder / "params.yaml").read_text()
        change_params(folder, OTHER[name])
        _run_stage(folder, name)
        for out in OUTS[name]:
            _copy(folder / "data" / out, folder / "former" / out)
        (folder / "params.yaml").write_text(params)
        _run_stage(folder, name)
        return folder, _content(folder, name)

    return unharmed


def _prepare_flow(folder: Path, write_geotiff: Callable[..., Path]) -> None:
    rng = np.random.default_rng(13)
    column = np.arange(128)
    for number in range(N_SCENES):
        bright = 20 + 60 * ((column // 8 + number) % 2) + rng.uniform(0, 5, (128, 128))
        bands = {"visible": bright, "infrared_10_7um": 290 - 0.4 * bright}
        time = f"{FIRST + timedelta(days=number):%Y-%m-%dT%H:%M:%SZ}"
        write_geotiff(folder / f"raw/{number:02d}.tif", bands, start_time=time)
    (spoilt,) = write_small_geotiff(folder / "raw", FIRST - timedelta(days=1))
    damage(spoilt, "truncated", rng)
    prepare(folder, {**FLOW, "fetch.local.granules": [str(folder / "raw")]})
    write_untrained(
        folder / "data/encoder",
        channels=["visible", "near_infrared", "infrared_window"],
        n_dimensions=8,
        seed=0,
        tile_size=32,
        days={},
    )
    _run_stage(folder, "fetch")


@pytest.mark.slow("matrix")
@pytest.mark.parametrize("n_workers", ["1", "2", "a cluster's"])
@pytest.mark.parametrize("name", OUTS)
def test_the_number_of_workers_changes_no_byte(
    flow: Flow, name: str, n_workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unharmed products were made without workers."""
    folder, unharmed = flow(name)
    monkeypatch.setattr(embed, "FEWEST_FOR_PROCESSES", 0)
    if n_workers.isdecimal():
        monkeypatch.setenv("TILE2VEC_WORKERS", n_workers)
    else:
        address = workers._start(N_WORKERS).cluster.scheduler_address
        monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
    _run_stage(folder, name)
    assert _content(folder, name) == unharmed


@pytest.mark.slow("kill")
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("ingest", "pipeline.ingest.compose_scene"),
        ("ingest", "pipeline.files.stores.write_part"),
        ("embed", "pipeline.embed.embed_tiles"),
        ("embed", "pipeline.embed.describe_tiles"),
    ],
)
def test_a_worker_killed_in_mid_scene_changes_no_byte(
    flow: Flow,
    name: str,
    function: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder, unharmed = flow(name)
    monkeypatch.setenv("TILE2VEC_WORKERS", str(N_WORKERS))
    monkeypatch.setattr(embed, "FEWEST_FOR_PROCESSES", 0)
    fifth = {"ingest": "Entry(number=5,*", "embed": "5"}[name]
    with WorkerFault(FaultPoint(function, mark=tmp_path / "killed"), fifth).armed():
        _run_stage(folder, name)
    assert (tmp_path / "killed").exists()
    assert "a worker died of item" in caplog.text
    assert _content(folder, name) == unharmed


@pytest.mark.slow("kill")
def test_a_worker_killed_while_it_starts_again_changes_no_byte(
    flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, unharmed = flow("ingest")
    monkeypatch.setenv("TILE2VEC_WORKERS", "1")  # so that nothing goes on without it
    monkeypatch.setattr(workers, "SECONDS_BETWEEN_LOOKS", 0.2)
    workers._start(1)  # before the fault is armed
    point = FaultPoint("pipeline.ingest.compose_scene", mark=tmp_path / "killed")
    with WorkerFault(point).armed(), StartFault(tmp_path / "killed again").armed():
        _run_stage(folder, "ingest")
    assert (tmp_path / "killed again").exists()
    assert _content(folder, "ingest") == unharmed


@pytest.mark.slow("kill")
def test_a_worker_killed_in_mid_write_changes_no_byte(
    flow: Flow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder, unharmed = flow("sample")
    monkeypatch.setenv("TILE2VEC_WORKERS", str(N_WORKERS))
    consolidate, unfinished = stores.consolidate, []

    def look(path: Path) -> None:
        unfinished.extend(str(file) for file in path.rglob("*.partial"))
        consolidate(path)

    monkeypatch.setattr(stores, "consolidate", look)
    opened = replace(OPEN_CHUNK, call=1, mark=tmp_path / "killed")
    with WorkerFault(opened).armed():
        _run_stage(folder, "sample")
    assert (tmp_path / "killed").read_text() in unfinished
    assert "a worker died of item" in caplog.text
    assert _content(folder, "sample") == unharmed


READ_PARAMS = FaultPoint("pipeline.files.stage.read_params", is_done=True)
WRITE_PART = WorkerFault(FaultPoint("pipeline.files.stores.write_part", lose_stage, is_done=True))
TAKE_UP_FOURTH = FaultPoint("pipeline.files.stores.SceneStore.take_up", call=4, is_done=True)
SET_ASIDE = FaultPoint("pathlib.Path.replace", of="*/replaced-*", is_done=True)
SET_ASIDE_SECOND = replace(SET_ASIDE, call=2)
OPEN_CHUNK = FaultPoint("pathlib.Path.open", of="*/train/tiles/c/*.partial", call=2, is_done=True)
EMBED_FIFTH = FaultPoint("pipeline.embed.embed_tiles", call=5)


def _check_killed(flow: Flow, name: str, fault: Fault, **how: Any) -> None:
    folder, unharmed = flow(name)
    for out in OUTS[name]:
        _remove(folder / "data" / out)
        _copy(folder / "former" / out, folder / "data" / out)
    former = _content(folder, name)
    code, said = run_stage(*STAGES[name], folder, fault, **how)
    assert code == -signal.SIGKILL, said
    for out, files in _content(folder, name).items():
        assert files in ({}, former[out], unharmed[out])
    _run_stage(folder, name)
    assert _content(folder, name) == unharmed


def test_ingest_killed_without_its_first_product_starts_again(flow: Flow) -> None:
    _check_killed(flow, "ingest", SET_ASIDE, method="spawn")


@pytest.mark.slow("kill")
@pytest.mark.parametrize(
    ("name", "fault", "n_workers"),
    [
        pytest.param("ingest", READ_PARAMS, 0, id="ingest at its start"),
        pytest.param("ingest", WRITE_PART, N_WORKERS, id="ingest by its first part"),
        pytest.param("ingest", TAKE_UP_FOURTH, N_WORKERS, id="ingest in mid product"),
        pytest.param("ingest", SET_ASIDE_SECOND, 0, id="ingest without its second product"),
        pytest.param("sample", OPEN_CHUNK, 0, id="sample in mid chunk"),
        pytest.param("embed", EMBED_FIFTH, 0, id="embed in mid scene"),
        pytest.param("embed", SET_ASIDE, 0, id="embed without its product"),
    ],
)
def test_a_killed_stage_leaves_whole_products_and_starts_again(
    flow: Flow, name: str, fault: Fault, n_workers: int
) -> None:
    _check_killed(flow, name, fault, n_workers=n_workers)


@pytest.mark.slow("kill")
def test_fetch_killed_again_and_again_makes_the_same_product(tmp_path: Path) -> None:
    small = {
        "n_days": 2,
        "n_new_days": 1,
        "hours_utc": [15],
        "sectors": [[-20.0, -86.0], [17.0, -48.0]],
        "n_pixels": 96,
        "label_tile_size": 32,
    }
    prepare(tmp_path, {f"fetch.synthetic.{key}": small[key] for key in small})
    product, checksums = tmp_path / "data/granules", tmp_path / "data/checksums.json"
    write_truth = FaultPoint("pipeline.files.stores.write_product", lose_stage)
    for fault, n_workers in (
        (WorkerFault(write_truth), N_WORKERS),
        (FaultPoint("pipeline.files.mcmip.write_mcmip", call=3, is_done=True), 0),
        (FaultPoint("pipeline.fetch._write_labels"), 0),
        (FaultPoint("pipeline.files.manifests.sha256", call=2), 0),
        (FaultPoint("pathlib.Path.replace", of="*checksums.json"), 0),
        (FaultPoint("pipeline.files.stores.write_product", of="*manifest.nc"), 0),
        (FaultPoint("pathlib.Path.replace", of="data/granules", is_done=True), 0),
    ):
        assert not product.exists()
        code, said = run_stage(*STAGES["fetch"], tmp_path, fault, n_workers=n_workers)
        assert code == -signal.SIGKILL, said
        assert not checksums.exists() or json.loads(checksums.read_text())
    assert (product / "manifest.nc").exists()
    _run_stage(tmp_path, "fetch")
    killed = digests(product)
    shutil.rmtree(tmp_path / "data")
    _run_stage(tmp_path, "fetch")
    assert digests(product) == killed


@pytest.mark.slow("kill")
@pytest.mark.parametrize(("act", "hurry"), [(crash, 1), (hang, 600)])
def test_what_crashes_or_hangs_a_library_is_rejected(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[], None],
    hurry: float,
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", str(N_WORKERS))
    for number, name in enumerate(("a", "bad", "b", "c")):
        (file,) = write_small_geotiff(tmp_path / "raw", FIRST + timedelta(days=number))
        file.rename(file.with_stem(name))
    seconds = {"fetch.max_seconds": 600.0, "ingest.quality.max_seconds": 600.0}
    granules = [str(tmp_path / "raw")]
    prepare(tmp_path, {**FLOW, "fetch.local.granules": granules, **seconds})
    point = FaultPoint("rasterio.open", act, of="*/bad.tif")
    with WorkerFault(point, "*/bad.tif*", hurry).armed():
        for name in ("fetch", "ingest"):
            _run_stage(tmp_path, name)
    with (tmp_path / "data/rejected.csv").open() as file:
        reasons = {row["granule"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons == {"bad.tif": "crashes its reader"}
    scenes = stores.open_product(tmp_path / "data/scenes.zarr")
    assert list(scenes.granule.values) == ["a.tif", "b.tif", "c.tif"]
