"""Memory of every stage that goes through triplets or tiles, as these grow in number."""

import sys
from pathlib import Path
from typing import Any

import yaml
from measure import peak_memory, run_stage
from table import Row

GROWTH = 16
N_SAMPLED = 4096  # triplets, so many that both workers are busy from the start
N_TRAINED = 256
N_MIXED = 128
STRIDE = 128  # pixels; a quarter of it gives 16 times the tiles of 500-pixel scenes
N_LABELS = 10  # of a morphology

WHAT_GROWS = {
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


def memory_rows(folder: Path) -> list[Row]:
    """A row a stage: its peak memory with 16 times the triplets, tiles or labels."""
    peaks: dict[str, list[float]] = {stage: [] for stage in WHAT_GROWS}
    for factor, stride in ((1, STRIDE), (GROWTH, STRIDE // 4)):
        change(
            folder / "params.yaml",
            {
                "fetch": {"synthetic": {"n_labels_per_morphology": N_LABELS * factor}},
                "train": {"backbone": "resnet10t", "n_mixed": N_MIXED},
                "embed": {"stride": stride},
                "cluster": {"k_max": 12},
                "classify": {
                    "n_repeats": 1,
                    "imagenet_weights": "none",
                    "fine_tuning": {"n_epochs": 1},
                },
            },
        )
        run_stage("fetch", folder)
        set_triplets(folder, N_SAMPLED * factor)
        for stage, each in peaks.items():
            command = [sys.executable, "-m", f"pipeline.{stage}"]
            each.append(peak_memory(command, folder, workers="2"))
            if stage == "sample":  # training on as many would take hours
                set_triplets(folder, N_TRAINED * factor)
                run_stage("sample", folder, workers="2")
    return [
        Row(
            f"memory of {stage}, {GROWTH} times the {what}",
            f"{peaks[stage][1]:.0f} MB against {peaks[stage][0]:.0f}",
            peaks[stage][1] / peaks[stage][0],
            at_most=1.3,
            memory=peaks[stage][1],
        )
        for stage, what in WHAT_GROWS.items()
    ]


def set_triplets(folder: Path, n_triplets: int) -> None:
    """Let stage sample draw so many."""
    counts = {"train": n_triplets, "validation": 128, "test": 128}
    change(folder / "params.yaml", {"sample": {"n_triplets": counts}})


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
