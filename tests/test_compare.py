import json
import re
import urllib.error
import urllib.request
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal
from unittest.mock import Mock

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import timm
import torch
import xarray as xr
import yaml
from safetensors.torch import save_file
from small_products import write_untrained
from test_sample import PARAMS as SAMPLE
from test_sample import ToyScenesParams
from test_train import PARAMS as TRAIN
from test_train import _changed

from pipeline import compare, sample
from pipeline.core.classification.finetune import FineTuning
from pipeline.core.comparison import table
from pipeline.core.comparison.baselines import (
    JoinedBaseline,
    NetworkBaseline,
    ShuffledBaseline,
    TextureBaseline,
)
from pipeline.core.textures import TEXTURES
from pipeline.files import encoders, stage, stores

ROOT = Path(__file__).parents[1]
SIZE = 32
GRID = 3  # tiles along the edge of a scene
N_DAYS = 12
NAMES = ["checks", "stripes"]
SPLIT_OF_DAY = ["train"] * 5 + ["validation"] * 3 + ["test"] * 4
UNTRAINED = NetworkBaseline("test_resnet", "none", ("layer3",), "mean", 1, "training")
PARAMS = compare.CompareParams(
    labels="labels.csv",
    max_invalid_share=0.0,
    tested="test",
    n_tiles_seen=300,
    n_seeds=2,
    tuned=("NT-Xent",),
    objectives={
        "triplet": {},
        "NT-Xent": {"loss": "nt_xent", "head": {"n_layers": 2}},
    },
    baselines={
        "pixel statistics": TextureBaseline("pixel statistics"),
        "principal components": TextureBaseline("principal components"),
        "untrained": UNTRAINED,
    },
    orientations=4,
    n_folds=2,
    n_repeats=2,
    n_unfrozen_repeats=1,
    unfrozen_label_count=0,
    n_nearest=3,
    cluster_counts=(2, 3),
    label_counts=(2, 500),
    regularisation=(1.0, 100.0),
    fine_tuning=FineTuning(
        n_epochs=2,
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
    seed=0,
)
ONE_ROW = replace(PARAMS, tuned=())
ONE_BASELINE = {"pixel statistics": PARAMS.baselines["pixel statistics"]}
WRITTEN = ("comparison.csv", "comparison.nc")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of scenes with stripes or checks in each tile, triplets, labels and clusters."""
    folder = tmp_path_factory.mktemp("compare")
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:SIZE, :SIZE]
    textures = np.stack([(row // 4 + column // 4) % 2, (row // 4) % 2]) * 120 + 60
    kinds = rng.integers(0, 2, (N_DAYS, GRID, GRID))
    tiles = textures[kinds] + rng.integers(-20, 20, (N_DAYS, GRID, GRID, SIZE, SIZE))
    edge = GRID * SIZE
    colour = tiles.transpose(0, 1, 3, 2, 4).reshape(N_DAYS, 1, edge, edge).astype(np.uint8)
    granules = [f"{day}.nc" for day in range(N_DAYS)]
    time = np.datetime64("2020-01-01T12", "ns") + np.arange(N_DAYS) * np.timedelta64(1, "D")
    scenes = xr.Dataset(
        {
            "colour": (("scene", "channel", "row", "column"), colour),
            "valid": (("scene", "row", "column"), np.ones((N_DAYS, edge, edge), bool)),
            "latitude": (("scene", "row", "column"), _places(10 - 0.02 * np.arange(edge)[:, None])),
            "longitude": (("scene", "row", "column"), _places(0.02 * np.arange(edge))),
        },
        {
            "granule": ("scene", granules),
            "time": ("scene", time),
            "platform": ("scene", [f"satellite {day % 2}" for day in range(N_DAYS)]),
            "channel": ["visible"],
        },
        {"preset": "toy"},
    )
    one_channel = ToyScenesParams({"toy": {"minimum": [0.0], "maximum": [100.0]}})
    stores.write_product(scenes, folder / "scenes.zarr", one_channel)
    day, tile_row, tile_column = (part.ravel() for part in np.indices(kinds.shape))
    labels = {
        "granule": np.array(granules)[day],
        "row": tile_row * SIZE,
        "column": tile_column * SIZE,
        "tile_size": SIZE,
        "label": np.array(NAMES)[kinds.ravel()],
    }
    pd.DataFrame(labels).to_csv(folder / "labels.csv", index=False)
    (folder / "rejected.csv").write_text("granule,reason,detail\n")
    _write_triplets(folder / "triplets.zarr", kinds, granules, time, rng)
    return folder


def _places(values: np.ndarray) -> np.ndarray:
    """The same latitudes or longitudes in every scene."""
    shape = (N_DAYS, GRID * SIZE, GRID * SIZE)
    return np.broadcast_to(values, shape).astype(np.float32)


def _write_triplets(
    path: Path, kinds: np.ndarray, granules: list[str], time: np.ndarray, rng: np.random.Generator
) -> None:
    root = xr.Dataset(
        coords={
            "granule": ("scene", granules),
            "time": ("scene", time),
            "split": ("scene", SPLIT_OF_DAY),
            "channel": ["visible"],
            "minimum": ("channel", [0.0]),
            "maximum": ("channel", [100.0]),
        },
        attrs={"tile_size": SIZE},
    )
    stores.write_product(root, path, TRAIN)
    flat = kinds.reshape(N_DAYS, -1)
    for split in ("train", "validation", "test"):
        days = np.flatnonzero(np.array(SPLIT_OF_DAY) == split)
        scene, place = [], []
        for _ in range(48):
            near, far = rng.choice(days, 2, replace=False)
            anchor = rng.integers(GRID**2)
            alike = np.flatnonzero(flat[near] == flat[near, anchor])
            others = np.flatnonzero(flat[far] != flat[near, anchor])
            if len(others):
                scene.append([near, near, far])
                place.append([anchor, rng.choice(alike), rng.choice(others)])
        dimensions, shape = ("triplet", "member"), np.shape(scene)
        rows, columns = np.divmod(np.array(place), GRID)
        members = xr.Dataset(
            {
                "scene": (dimensions, np.array(scene)),
                "first_row": (dimensions, (rows * SIZE).astype(np.int32)),
                "first_column": (dimensions, (columns * SIZE).astype(np.int32)),
                "latitude": (dimensions, np.zeros(shape, np.float32)),
                "longitude": (dimensions, np.zeros(shape, np.float32)),
                "time": (dimensions, time[np.array(scene)]),
            }
        )
        stores.create_triplets(
            path, split, members, None, channels=["visible"], tile_size=SIZE, with_tiles=False
        )
    stores.consolidate(path)


@pytest.fixture
def project(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the stage runs."""
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (tmp_path / "on_demand").mkdir()
    (tmp_path / "on_demand/dvc.yaml").write_text((ROOT / "on_demand/dvc.yaml").read_text())
    (tmp_path / "labels.csv").write_text((inputs / "labels.csv").read_text())
    _write_params(tmp_path, PARAMS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    return tmp_path


def _write_params(project: Path, params: compare.CompareParams) -> None:
    train = asdict(_changed(TRAIN, min_effective_rank=0.0, min_spread=0.0))
    recipes = {"mine": {"loss": "nt_xent", "batch_size": 8}}
    train |= {"recipe": "none", "recipes": recipes}
    content = {
        "sample": asdict(replace(SAMPLE, tile_size=SIZE)),
        "train": train,
        "compare": json.loads(json.dumps(asdict(params))),
    }
    (project / "params.yaml").write_text(yaml.safe_dump(content))


def _run(
    project: Path, inputs: Path, params: compare.CompareParams = PARAMS, rows: str = ""
) -> xr.Dataset:
    _write_params(project, params)
    product = project / f"comparison{len(list(project.glob('comparison*')))}"
    compare.run(
        params,
        inputs / "scenes.zarr",
        inputs / "rejected.csv",
        inputs / "triplets.zarr",
        product,
        project / "compare.json",
        project / "runs",
        rows,
    )
    return stores.open_product(product / "comparison.nc").load()


def test_rows_are_judged_on_days_no_encoder_saw(project: Path, inputs: Path) -> None:
    found = _run(project, inputs)
    assert found.row.values.tolist() == [
        "triplet",
        "NT-Xent",
        "pixel statistics",
        "principal components",
        "untrained",
    ]
    assert found.attrs["n_days"] == SPLIT_OF_DAY.count("test")
    assert found.attrs["n_tiles"] == 4 * GRID**2
    assert found.attrs["n_labels"] == len(NAMES)
    assert found.sizes["fold"] == 4
    assert found.tuned.values.tolist() == [0, 1, 0, 0, 0]
    assert "from 2 seeds, whose variance intervals hold" in found.attrs["protocol"]
    n_seeds = np.isfinite(found.value.sel(measure=table.PROBE)).all("fold").sum("seed")
    assert n_seeds.values.tolist() == [2, 2, 1, 1, 2]
    assert not found.value.sel(row="triplet", seed=0).equals(found.value.sel(row="triplet", seed=1))
    held_out = found.value.sel(measure="platform held out", row="triplet")
    assert np.isfinite(held_out[:, :2]).all()
    assert np.isnan(held_out[:, 2:]).all()
    assert float(found["mean"].sel(measure="platform held out", row="triplet")) > 0.9
    assert "region held out" not in found.measure
    stability = found["mean"].sel(measure="stability, k = 2")
    assert float(stability.sel(row="triplet")) > 0.8
    assert float(stability.sel(row="pixel statistics")) < 0.75
    probe = found["mean"].sel(measure=table.PROBE)
    assert float(probe.sel(row="triplet")) > 0.9
    assert float(probe.sel(row="triplet")) > float(probe.sel(row="pixel statistics"))
    unfrozen = found.value.sel(measure=table.UNFROZEN, row="untrained")
    assert np.isfinite(unfrozen[:, :2]).all()
    assert np.isnan(unfrozen[:, 2:]).all()
    assert np.isnan(found["mean"].sel(measure=table.UNFROZEN, row="pixel statistics"))
    assert set(found.measure.values) >= {"ARI, k = 2", "NMI, k = 3", table.INVARIANCE}
    assert np.isnan(found.efficiency.sel(count=500)).all()
    assert np.isfinite(found.efficiency_mean.sel(count=2)).all()
    seen = found.n_tiles_seen.values
    n_triplets = stores.open_product(inputs / "triplets.zarr", "train").sizes["triplet"]
    assert seen[0] == 3 * n_triplets * round(300 / (3 * n_triplets))
    assert seen[1] == 2 * n_triplets * round(300 / (2 * n_triplets))
    assert (found.minutes.values[:2] > 0).all()
    assert sorted(path.name for path in (project / "comparison0").iterdir()) == list(WRITTEN)
    assert "triplet" in json.loads((project / "compare.json").read_text())["linear_probe"]


def test_networks_off_the_shelf_are_rows_where_their_weights_are_at_hand(
    project: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    refuse = Mock(side_effect=urllib.error.URLError("no route to host"))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    weights = timm.create_model("test_resnet", num_classes=0).state_dict()
    save_file(weights, project / "given.safetensors")
    layers = ("layer1", "layer3")
    baselines = {
        "given": NetworkBaseline(
            "test_resnet",
            str(project / "given.safetensors"),
            layers,
            "mean_deviation",
            1,
            "network",
        ),
        "gone": NetworkBaseline("test_resnet", "timm", layers, "mean", 1, "network"),
    }
    params = replace(ONE_ROW, objectives={}, baselines=baselines)
    found = _run(project, inputs, params)
    assert found.row.values.tolist() == ["given"]
    assert "gone is left out: weights not available: <urlopen error no route" in caplog.text
    assert found.sizes["seed"] == 2  # of fine-tuning
    frozen = found.value.sel(measure=table.PROBE, row="given")
    assert np.isfinite(frozen[0]).all()
    assert np.isnan(frozen[1]).all()


def test_controls_are_made_of_other_baselines(project: Path, inputs: Path) -> None:
    """A texture tells checks from stripes, also beside colours, but not once shuffled."""
    baselines = {
        "colours": TextureBaseline("pixel statistics"),
        "patterns": TextureBaseline("local binary patterns"),
        "both": JoinedBaseline(("colours", "patterns")),
        "shuffled": ShuffledBaseline("patterns"),
    }
    params = replace(ONE_ROW, objectives={}, baselines=baselines, n_unfrozen_repeats=0)
    probe = _run(project, inputs, params)["mean"].sel(measure=table.PROBE).to_series()
    assert probe["patterns"] > 0.95
    assert probe["both"] > 0.95
    assert probe["shuffled"] < 0.8
    wrong = replace(params, baselines={**baselines, "none": ShuffledBaseline("both")})
    with pytest.raises(ValueError, match="has 'none' of 'both', which is no texture or network"):
        _run(project, inputs, wrong)


def test_what_was_done_is_not_done_again(
    project: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = replace(PARAMS, baselines=ONE_BASELINE, n_unfrozen_repeats=0)
    first = _run(project, inputs, params)
    monkeypatch.setattr(stage, "start_within", None)
    monkeypatch.setattr(compare, "measure", None)
    monkeypatch.setitem(TEXTURES, "pixel statistics", None)
    xr.testing.assert_identical(_run(project, inputs, params).value, first.value)
    one = _run(project, inputs, params, rows="pixel statistics")
    assert one.row.values.tolist() == ["pixel statistics"]


def test_a_stopped_stage_goes_on_with_the_row_it_was_at(
    project: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = replace(PARAMS, baselines={}, n_unfrozen_repeats=0)
    started, start = [], stage.start_within

    def start_one(name: str, folder: Path, **paths: Any) -> None:
        started.append(f"{folder.parent.name} {folder.name}")
        if started == ["triplet seed_0", "triplet seed_1", "NT_Xent seed_0"]:
            raise stage.StageRefusedError("the power failed; start again")
        start(name, folder, **paths)

    monkeypatch.setattr(stage, "start_within", start_one)
    with pytest.raises(ValueError, match=r"the power failed"):
        _run(project, inputs, params)
    assert not list(project.glob("comparison*"))
    assert _run(project, inputs, params).sizes["row"] == 2
    assert started[2:] == ["NT_Xent seed_0", "NT_Xent seed_0", "NT_Xent seed_1"]
    changed = replace(params, objectives={**params.objectives, "triplet": {"seed": 7}})
    _run(project, inputs, changed)
    assert started[5:] == ["triplet seed_0", "triplet seed_1"]


def test_a_row_can_be_a_recipe_of_training(
    project: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = Mock(side_effect=stage.StageRefusedError("no time"))
    monkeypatch.setattr(stage, "start_within", refuse)
    with pytest.raises(ValueError, match="no time"):
        _run(project, inputs, replace(ONE_ROW, objectives={"row": {"recipe": "mine", "seed": 7}}))
    started = yaml.safe_load((project / "runs/row/seed_0/params.yaml").read_text())["train"]
    assert (started["loss"], started["batch_size"], started["seed"]) == ("nt_xent", 8, 7)
    assert not {"recipe", "recipes"} & set(started)


def test_a_row_can_have_triplets_of_its_own(
    project: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "0")
    start, given = stage.start_within, []

    def start_one(name: str, folder: Path, **options: Any) -> None:
        given.append((name, options))
        if name == "sample":
            start(name, folder, **options)
        else:
            write_untrained(folder / "data/encoder", channels=["visible"], n_dimensions=2, seed=0)

    monkeypatch.setattr(stage, "start_within", start_one)
    row = {"row": {"sample": {"nearest": 1.0, "radius": 1.5}}}
    params = replace(ONE_ROW, objectives=row, baselines={}, n_seeds=1)
    with pytest.raises(ValueError, match=r"sample\.nearest, radius of a row .* splits days otherw"):
        _run(project, inputs, params)
    usual = project / "usual"
    sample.run(
        replace(SAMPLE, tile_size=SIZE),
        inputs / "scenes.zarr",
        usual / "triplets.zarr",
        usual / "sample.json",
    )
    for name in ("scenes.zarr", "rejected.csv"):
        (usual / name).symlink_to(inputs / name)
    given.clear()
    for _ in range(2):
        assert _run(project, usual, params).row.values.tolist() == ["row"]
    assert [name for name, _ in given] == ["sample", "train"]
    members = stores.open_product(given[1][1]["triplets"], "train")
    assert not members.overlap.any()
    assert "tiles" not in members


def _write_teacher(folder: Path, *, seed: int, label_days: list[str]) -> None:
    write_untrained(folder, channels=["visible"], n_dimensions=2, seed=seed, label_days=label_days)
    encoders.write_head(folder, {"head.weight": torch.ones(2, 2)})


def test_a_row_learns_again_where_its_teacher_is_another(
    project: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []

    def pretend(name: str, folder: Path, **_: Any) -> None:
        given.append(yaml.safe_load((folder / "params.yaml").read_text())[name])
        write_untrained(folder / "data/encoder", channels=["visible"], n_dimensions=2, seed=0)

    monkeypatch.setattr(stage, "start_within", pretend)
    row = {"loss": "distillation", "objective": {"teacher": "teacher"}}
    params = replace(
        PARAMS,
        n_seeds=1,
        objectives={"row": row},
        tuned=(),
        baselines={},
        n_unfrozen_repeats=0,
    )
    for seed, n_trained in ((1, 1), (1, 1), (2, 2)):
        _write_teacher(project / "teacher", seed=seed, label_days=["2020-01-01", "2020-01-08"])
        _run(project, inputs, params)
        assert len(given) == n_trained
    assert given[0]["objective"]["teacher"] == str(project / "teacher")


def test_a_teacher_that_saw_tested_labels_is_refused(project: Path, inputs: Path) -> None:
    row = {"loss": "distillation", "objective": {"teacher": "teacher"}}
    with pytest.raises(FileNotFoundError, match="teacher holds no teacher; run stage finetune"):
        _run(project, inputs, replace(ONE_ROW, objectives={"first": {}, "row": row}))
    assert not (project / "runs").exists()  # refused before a row is trained
    _write_teacher(project / "teacher", seed=1, label_days=["2020-01-01", "2020-01-10"])
    with pytest.raises(
        ValueError, match=r"learnt labels of 1 days that are tested, 2020-01-10 the first; run stag"
    ):
        _run(project, inputs, replace(ONE_ROW, objectives={"row": row}))


@pytest.mark.parametrize(("tested", "n_fitted_days"), [("validation", 5), ("test", 8)])
def test_rows_are_fitted_on_labels_of_the_splits_before(
    project: Path,
    inputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    tested: Literal["validation", "test"],
    n_fitted_days: int,
) -> None:
    given = Mock(side_effect=stage.StageRefusedError("no time"))
    monkeypatch.setattr(compare, "measure", given)
    with pytest.raises(ValueError, match="no time"):
        _run(project, inputs, replace(PARAMS, tested=tested), rows="pixel statistics")
    task = given.call_args.args[1]
    always = task.train.all(axis=0)
    assert np.unique(task.day[always]).tolist() == list(range(n_fitted_days))
    assert not (task.train & task.test).any()
    after = task.day >= n_fitted_days + SPLIT_OF_DAY.count(tested)
    assert not task.train[:, after].any()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"backbone": "resnet18", "init": "none"}, "lacks the key compare.baselines.row.layers"),
        (
            {"texture": "Haralik"},
            "compare.baselines.row.texture is 'Haralik' in params.yaml; it sh",
        ),
        ({"joined": ["a", "b"], "mean": 1}, "has the unknown key compare.baselines.row.mean; rem"),
        (
            "resnet18",
            "compare.baselines.row is 'resnet18' in params.yaml; it should be an object",
        ),
    ],
)
def test_a_line_of_a_baseline_is_told_what_it_lacks(line: Any, message: str) -> None:
    section = json.loads(json.dumps(asdict(replace(PARAMS, baselines={}))))
    with pytest.raises(ValueError, match=re.escape(message)):
        stage.parse_params("compare", section | {"baselines": {"row": line}}, compare.CompareParams)


def test_rows_that_are_not_there_are_refused(project: Path, inputs: Path) -> None:
    with pytest.raises(ValueError, match=r"--rows names 'BYOL', which compare in params\.yaml doe"):
        _run(project, inputs, rows="triplet, BYOL")


def test_the_help_says_how_to_choose_rows(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    epilog = compare._epilog()
    assert stage.main(compare.run, compare.CompareParams, ["--help"], epilog=epilog) == 0
    said = capsys.readouterr().out
    assert "--rows a,b judges\nonly those, by name" in said
    assert "Here they are: NT-Xent, triplet, pixel statistics" in said


def test_networks_are_fine_tuned_on_as_many_labels_as_asked(
    project: Path, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned_on = []

    def tune(*given: Any, **_: Any) -> np.ndarray:
        labels, train, test = given[2], given[4], given[5]
        tuned_on.append(tuple(np.bincount(labels[train])))
        return np.eye(len(NAMES))[labels[test]]

    monkeypatch.setattr(compare, "probabilities_by_fine_tuning", tune)
    params = replace(ONE_ROW, objectives={}, baselines={"untrained": UNTRAINED}, n_seeds=1)
    found = _run(project, inputs, replace(params, unfrozen_label_count=5))
    assert tuned_on == [(5, 5)] * params.n_folds
    assert found["mean"].sel(measure=table.UNFROZEN).item() == 1
    monkeypatch.setattr(compare, "measure", Mock(side_effect=AssertionError("judged again")))
    fewer = _run(project, inputs, replace(params, unfrozen_label_count=4))
    assert tuned_on[params.n_folds :] == [(4, 4)] * params.n_folds
    judged = {"measure": [name for name in found.measure.values if name != table.UNFROZEN]}
    assert fewer.value.sel(judged).equals(found.value.sel(judged))
    other = replace(params, baselines={"another": UNTRAINED}, unfrozen_label_count=500)
    with pytest.raises(ValueError, match="unfrozen_label_count is 500, and a label has fewer"):
        _run(project, inputs, other)
    assert not (project / "runs/another").exists()
