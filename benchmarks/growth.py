"""Memory of every stage that goes through triplets or tiles, as these grow in number."""

import sys
from pathlib import Path
from typing import Any

import yaml
from measure import peak_memory, run_stage
from table import Row

GROWTH = 16
N_TRIPLETS = 1024
STRIDE = 128  # pixels; a quarter of it gives 16 times the tiles of 500-pixel scenes
N_LABELS = 10  # of a morphology


def memory_rows(folder: Path) -> list[Row]:
    """A row a stage: its peak memory with 16 times the triplets, tiles or labels."""
    peaks: dict[str, list[float]] = {}
    for factor, step in ((1, 1), (GROWTH, 4)):
        small: dict[str, Any] = {
            "sample": {"n_triplets": {"train": N_TRIPLETS * factor, "validation": 64, "test": 64}},
            "train": {"backbone": "resnet10t", "n_mixed": 512},
            "embed": {"stride": STRIDE // step},
            "cluster": {"k_max": 12},
            "classify": {"n_repeats": 1, "imagenet_weights": "none"},
            "fetch": {"synthetic": {"n_labels_per_morphology": N_LABELS * factor}},
        }
        small["classify"]["fine_tuning"] = {"n_epochs": 1}
        change(folder / "params.yaml", small)
        run_stage("fetch", folder)
        for stage in STAGES:
            command = [sys.executable, "-m", f"pipeline.{stage}"]
            peaks.setdefault(stage, []).append(peak_memory(command, folder, workers="2"))
    return [
        Row(
            f"memory of {stage}, {GROWTH} times the {what}",
            f"{peaks[stage][1]:.0f} MB against {peaks[stage][0]:.0f}",
            peaks[stage][1] / peaks[stage][0],
            at_most=1.3,
            memory=peaks[stage][1],
        )
        for stage, what in STAGES.items()
    ]


STAGES = {
    "sample": "triplets",
    "train": "triplets",
    "embed": "tiles",
    "cluster": "tiles",
    "tsne": "tiles",
    "map_clusters": "tiles",
    "retrieve": "tiles",
    "interpolate": "tiles",
    "classify": "labels",
}


def change(path: Path, values: dict[str, Any]) -> None:
    """Put `values` in place of those of a YAML file, to any depth."""
    content = yaml.safe_load(path.read_text())
    _put(content, values)
    path.write_text(yaml.safe_dump(content))


def _put(content: dict[str, Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(content.get(name), dict):
            _put(content[name], value)
        else:
            content[name] = value
