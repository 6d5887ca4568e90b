"""The flow up to the embeddings, with each of several ways to train."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from growth import change
from measure import ROOT, run_stage

N_WORKERS = "2"


def judge_ways(
    changes: dict[str, Any],
    ways: Mapping[str, dict[str, Any]],
    judge: Callable[[Path], dict[str, float]],
) -> pd.DataFrame:
    """What `judge` says of the flow's folder after each way, a line a way.

    Args:
        changes: Values of params.yaml that are others for all of them.
        ways: Values of section train, by name, one at a time.
        judge: Takes the folder of the flow.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "dvc.yaml", folder)
        shutil.copy(ROOT / "params.yaml", folder)
        change(folder / "params.yaml", changes)
        for stage in ("fetch", "ingest", "sample"):
            run_stage(stage, folder, workers=N_WORKERS)
        usual = yaml.safe_load((folder / "params.yaml").read_text())["train"]
        rows = {}
        for way, altered in ways.items():
            print(f"training: {way}", file=sys.stderr, flush=True)
            change(folder / "params.yaml", {"train": usual})
            change(folder / "params.yaml", {"train": altered})
            for stage in ("train", "embed"):
                run_stage(stage, folder, workers=N_WORKERS)
            rows[way] = judge(folder)
    return pd.DataFrame(rows).T
