"""Training on two cores, alone and beside a process that keeps one of them busy.

    python benchmarks/neighbour.py

Epochs of the default parameters, with a batch in as many lanes as there are cores and in one, take
turns; the ratio is the median of the rounds.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
import yaml
from measure import ROOT, run_stage, timed
from table import Row, print_table

from pipeline import train
from pipeline.core.memory import keep_freed_memory
from pipeline.files import stage, stores

N_CORES = 2
N_ROUNDS = 5
N_TRIPLETS = {"train": 512, "validation": 64, "test": 64}
MOST_SECONDS = 600  # of a neighbour that is not ended
LANES, THREADS = "lanes", "threads"  # ways to share the cores
BUSY = ", busy"


def main() -> int:
    """Print the table; 1 if a row falls short."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:N_CORES])
    torch.set_num_threads(N_CORES)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        seconds = take_turns(make_project(Path(name)))

    def row(
        measure: str,
        of: str,
        to: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> Row:
        pair = seconds[of], seconds[to]
        ratio = median(first / second for first, second in zip(*pair, strict=True))
        figures = " / ".join(f"{median(each):.1f}" for each in pair) + " s"
        return Row(measure, figures, ratio, at_least=at_least, at_most=at_most)

    return print_table(
        [
            row("busy process beside, of alone: two lanes", LANES + BUSY, LANES, at_most=2.5),
            row("busy process beside, of alone: one lane of two threads", THREADS + BUSY, THREADS),
            row("speed of two lanes, of one of two threads", THREADS, LANES, at_least=0.97),
        ]
    )


def make_project(folder: Path) -> Path:
    """A folder with scenes and triplets."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["fetch"]["synthetic"].update(hours_utc=[17], n_days=5)
    params["sample"]["n_triplets"] = N_TRIPLETS
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(ROOT / "dvc.yaml", folder)
    for name in ("fetch", "ingest", "sample"):
        run_stage(name, folder)
    return folder


def take_turns(folder: Path) -> dict[str, list[float]]:
    """Seconds of an epoch in each round, in lanes and in threads, alone and beside a neighbour."""
    section = stage.with_recipe(yaml.safe_load((folder / "params.yaml").read_text())["train"])
    params = stage.parse_params("train", section, train.TrainParams)
    ways = {
        LANES: replace(params, micro_batches=N_CORES),
        THREADS: replace(params, micro_batches=1),
    }
    triplets = stores.open_product(folder / "data/triplets.zarr")
    tiles = stores.TripletTiles(folder / "data/triplets.zarr", "train", folder / "data/scenes.zarr")
    seconds: dict[str, list[float]] = {}
    for number in range(N_ROUNDS + 1):
        for name, chosen in ways.items():
            run = train.start(chosen, train.read_fitted(tiles))
            run.close_epoch({})  # nothing is measured before the first epoch
            views = train.view_maker(chosen, triplets, tiles.members)
            for suffix, n_neighbours in (("", 0), (BUSY, 1)):
                with neighbours(n_neighbours):
                    taken = timed(train.train_epoch, run, chosen, tiles, views)
                if number:  # the first round warms up
                    seconds.setdefault(name + suffix, []).append(taken)
    return seconds


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many processes that compute without end, or nearly so."""
    code = f"import time; end = time.time() + {MOST_SECONDS}\nwhile time.time() < end: pass"
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
