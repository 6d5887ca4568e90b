"""The whole flow in seconds: every stage in this process, on three scenes of 64 pixels."""

import hashlib
import importlib
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml

from pipeline.files import stage, stores

ROOT = Path(__file__).parents[1]
FLOW_FILES = ("dvc.yaml", "on_demand/dvc.yaml")
TILE_SIZE = 32
LABELLED = ("describe_clusters", "classify", "finetune", "compare")
TINY: dict[str, Any] = {
    "fetch.synthetic.n_days": 5,
    "fetch.synthetic.hours_utc": [17],
    "fetch.synthetic.sectors": [[-20.0, -86.0], [17.0, -48.0]],
    "fetch.synthetic.n_pixels": 64,
    "fetch.synthetic.label_tile_size": TILE_SIZE,
    "fetch.synthetic.n_labels_per_morphology": 6,
    "sample.tile_size": TILE_SIZE,
    "sample.n_triplets": {"train": 64, "validation": 16, "test": 16},
    "sample.test_share": 0.4,
    "train.backbone": "test_resnet",
    "train.embedding.n_dimensions": 8,
    "train.head.n_dimensions": 8,
    "train.n_epochs": 1,
    "train.batch_size": 32,
    "train.augmentations.view_size": 1.0,
    "train.min_effective_rank": 1.0,
    "train.min_participation_ratio": 1.0,
    "embed.stride": 8,
    "cluster.k_min": 3,
    "cluster.k_max": 5,
    "cluster.n_bootstraps": 2,
    "cluster.n_surrogates": 2,
    "tsne.perplexity": 5,
    "grid_clusters.grids": ["equal_area"],
    "interpolate.n_far_apart": 1,
    "audit.n_sample": 120,
    "audit.n_folds": 2,
    "freeze.n_reference": 40,
    **{f"{name}.labels": "labels.csv" for name in LABELLED},
    "label.marks": "marks.csv",
    "classify.imagenet_weights": "none",
    "classify.n_folds": 2,
    "classify.n_repeats": 1,
    "classify.fine_tuning.n_epochs": 1,
    "label.tile_size": TILE_SIZE,
    "label.stride": TILE_SIZE,
    "finetune.fine_tuning.n_epochs": 1,
    "compare.objectives": {"triplet": {}},
    "compare.baselines": {
        "pixel statistics": {"texture": "pixel statistics"},
        "untrained": {
            "backbone": "test_resnet",
            "init": "none",
            "layers": ["layer1"],
            "pooling": "mean",
            "n_scales": 1,
            "colours": "training",
        },
    },
    "compare.n_tiles_seen": 64,
    "compare.n_folds": 2,
    "compare.n_repeats": 1,
    "compare.label_counts": [5],
    "compare.fine_tuning.n_epochs": 1,
}


def stages() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and entry of every stage, in the order of the flow, those on demand last."""
    for file in FLOW_FILES:
        yield from yaml.safe_load((ROOT / file).read_text())["stages"].items()


def change_params(folder: Path, changes: Mapping[str, Any]) -> None:
    """Set parameters, named by their path of keys, in the params.yaml of a folder."""
    content = yaml.safe_load((folder / "params.yaml").read_text())
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = content
        for part in sections:
            section = section[part]
        assert name in section
        section[name] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def prepare(folder: Path, changes: Mapping[str, Any]) -> None:
    """Make `folder` one where stages can be started with changed parameters."""
    for name in ("params.yaml", *FLOW_FILES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    change_params(folder, changes)


def run_stage(folder: Path, command: str) -> int:
    """The exit status of a stage in `folder`, started as dvc.yaml says, but in this process."""
    words = shlex.split(command)
    module, *options = words[words.index("-m") + 1 :]
    run = importlib.import_module(module).run
    with chdir(folder):
        return stage.main(run, get_type_hints(run).get("params"), options)


def run_tiny_flow(folder: Path) -> None:
    """Run every stage of the flow in `folder`."""
    prepare(folder, TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILE2VEC_WORKERS", "0")
        for name, entry in stages():
            assert run_stage(folder, entry["cmd"]) == 0, name
            if name == "ingest":
                write_labels(folder)


def digests(path: Path) -> dict[str, str]:
    """SHA-256 of a file, or of every file in a folder, by its name from there."""
    files = sorted(file for file in [path, *path.rglob("*")] if file.is_file())
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def write_labels(folder: Path) -> None:
    """A table of tiles labelled by where they lie in a scene, and two volunteers' boxes of them."""
    granules = stores.open_product(folder / "data/scenes.zarr").granule.values
    tiles = [
        f"{granule},{row},{column},{TILE_SIZE}"
        for granule in granules
        for row in (0, 32)
        for column in (0, 16, 32)
    ]
    labels = ["north" if tile.split(",")[1] == "0" else "south" for tile in tiles]
    table = [f"{tile},{label}" for tile, label in zip(tiles, labels, strict=True)]
    marks = [
        f"{tile},{TILE_SIZE},{label},{volunteer}"
        for tile, label in zip(tiles, labels, strict=True)
        for volunteer in "ab"
    ]
    for name, header, lines in (
        ("labels", "granule,row,column,tile_size,label", table),
        ("marks", "granule,row,column,height,width,label,volunteer", marks),
    ):
        (folder / f"{name}.csv").write_text("\n".join([header, *lines]) + "\n")
