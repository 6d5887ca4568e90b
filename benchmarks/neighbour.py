"""Training on two cores, alone and beside a process that keeps one of them busy.

    python benchmarks/neighbour.py

Epochs of the default parameters, with a batch in as many lanes as there are cores and in one, take
turns; the ratio is the median of the rounds.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from measure import ROOT, run_stage, timed
from table import Row, print_table

N_CORES = 2
N_ROUNDS = 5
N_TRIPLETS = {"train": 512, "validation": 64, "test": 64}
MOST_SECONDS = 600  # of a neighbour that is not ended


def main() -> int:
    """Print the table; 1 if a row falls short."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:N_CORES])
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(Path(folder))
    rounds = range(N_ROUNDS)
    slower = median(seconds["lanes, busy"][n] / seconds["lanes"][n] for n in rounds)
    shared = median(seconds["threads, busy"][n] / seconds["threads"][n] for n in rounds)
    faster = median(seconds["threads"][n] / seconds["lanes"][n] for n in rounds)

    def figures(*names: str) -> str:
        return " / ".join(f"{median(seconds[name]):.1f}" for name in names) + " s"

    return print_table(
        [
            Row(
                "epoch in two lanes, beside a busy process, of alone",
                figures("lanes, busy", "lanes"),
                slower,
                at_most=2.5,
            ),
            Row(
                "epoch in one lane of two threads, likewise",
                figures("threads, busy", "threads"),
                shared,
            ),
            Row(
                "speed in two lanes, of one lane of two threads, alone",
                figures("threads", "lanes"),
                faster,
                at_least=0.97,
            ),
        ]
    )


def measure(folder: Path) -> dict[str, list[float]]:
    """Seconds of an epoch in each round."""
    import yaml

    from pipeline import train
    from pipeline.core.memory import keep_freed_memory
    from pipeline.files import stage, stores

    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["fetch"]["synthetic"].update(hours_utc=[17], n_days=5)
    params["sample"]["n_triplets"] = N_TRIPLETS
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    for name in ("fetch", "ingest", "sample"):
        run_stage(name, folder)
    keep_freed_memory()
    section = stage.with_recipe(params["train"])
    of_lanes = stage.parse_params("train", section, train.TrainParams)
    ways = {"lanes": replace(of_lanes, micro_batches=N_CORES)}
    ways["threads"] = replace(of_lanes, micro_batches=1)
    triplets = stores.open_product(folder / "data/triplets.zarr")
    tiles = stores.TripletTiles(folder / "data/triplets.zarr", "train", folder / "data/scenes.zarr")
    seconds: dict[str, list[float]] = {}
    for number in range(N_ROUNDS + 1):
        for name, chosen in ways.items():
            run = train.start(chosen, n_channels=tiles.shape[2])
            run.close_epoch({})  # nothing is measured before the first epoch
            views = train.view_maker(chosen, triplets, tiles.members)
            for suffix, n_neighbours in (("", 0), (", busy", 1)):
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
