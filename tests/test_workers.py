import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import fault_points
import pytest
from dask.system import CPU_COUNT
from distributed import LocalCluster
from fault_points import StartFault, hang

from pipeline.files import workers
from pipeline.files.workers import n_workers, ordered_map


@pytest.fixture(autouse=True)
def _no_endless_wait() -> Iterator[None]:
    with fault_points.no_endless_wait():
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """One that was started elsewhere, with one worker at first."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as cluster:
        yield cluster


@pytest.mark.parametrize("n", [0, 1, 2])
def test_order_is_kept_whatever_the_workers(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", str(n))
    assert list(ordered_map(str.upper, "abcdefghijklmnop")) == list("ABCDEFGHIJKLMNOP")


def test_few_results_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "2")
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for number in range(100):
            drawn += 1
            yield number

    results = ordered_map(abs, items())
    for number in range(20):
        assert next(results) == number
        assert drawn - number <= 12


def test_default_is_the_cores_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TILE2VEC_WORKERS", raising=False)
    assert 1 <= n_workers() == CPU_COUNT <= (os.cpu_count() or 1)


def _die_once() -> Callable[[Path], str]:
    """A function that ends its first process; local, since workers cannot import a test."""

    def die_once(folder: Path) -> str:
        if not (folder / "died").exists():
            (folder / "died").touch()
            os._exit(1)
        return "alive"

    return die_once


def test_a_worker_that_dies_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "2")
    assert list(ordered_map(_die_once(), [tmp_path])) == ["alive"]


def test_an_item_that_kills_is_told_from_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    def die_of_three(number: int) -> int:
        if number == 3:
            os._exit(1)
        return -number

    monkeypatch.setenv("TILE2VEC_WORKERS", "2")
    results = ordered_map(die_of_three, range(7), after_death=lambda number: f"{number} killed")
    assert list(results) == [0, -1, -2, "3 killed", -4, -5, -6]
    with pytest.raises(RuntimeError, match="two workers died of 3, one after the other"):
        list(ordered_map(die_of_three, [3]))


def test_a_worker_killed_while_it_starts_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "1")
    monkeypatch.setattr(workers, "SECONDS_BETWEEN_LOOKS", 0.2)
    workers._start(1)  # before the fault is armed
    with StartFault(tmp_path / "killed").armed():
        assert list(ordered_map(_die_once(), [tmp_path])) == ["alive"]
    assert (tmp_path / "killed").exists()


def test_an_item_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang_of_one(number: int) -> int:
        if number == 1:
            hang()
        return number

    monkeypatch.setenv("TILE2VEC_WORKERS", "2")
    results = ordered_map(hang_of_one, range(3), max_seconds=1, after_death=lambda number: -number)
    assert list(results) == [0, -1, 2]


def test_a_dask_cluster_gives_the_same(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
    assert list(ordered_map(str.upper, "abc")) == ["A", "B", "C"]


def test_workers_that_come_later_are_used(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second and the third item wait for each other, so two workers must do them."""

    def meet(mode: str) -> int:
        if mode:
            (tmp_path / "meeting").open(mode).close()  # returns once the other end is open
        return os.getpid()

    os.mkfifo(tmp_path / "meeting")
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
    results = ordered_map(meet, ["", "r", "w"])
    first = next(results)
    cluster.scale(2)
    cluster.wait_for_workers(2)
    second, third = results
    assert second != third
    assert first in (second, third)


@pytest.mark.parametrize("value", ["-1", "two", ""])
def test_a_number_of_workers_that_is_none_is_named(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", value)
    with pytest.raises(ValueError, match=f"TILE2VEC_WORKERS is '{value}', not a number"):
        list(ordered_map(str.upper, "abc"))


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    soon = dask.config.set({"distributed.comm.timeouts.connect": "100ms"})
    with soon, pytest.raises(ConnectionError, match=r"no dask scheduler answers at tcp://127\.0"):
        list(ordered_map(str.upper, "abc"))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1", "node7", "tcp://node7:port", "foo://a:1"])
def test_an_address_that_is_none_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
    with pytest.raises(ValueError, match=f"DASK_SCHEDULER_ADDRESS is '{address}', which is no add"):
        list(ordered_map(str.upper, "abc"))


def test_an_empty_address_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "")
    monkeypatch.setenv("TILE2VEC_WORKERS", "0")
    assert list(ordered_map(str.upper, "abc")) == ["A", "B", "C"]


def test_the_readmes_slurm_cluster_does_the_work(tmp_path: Path) -> None:
    """A stand-in for sbatch starts the job's script on this machine."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    snippet = next(part for part in readme.split("```python\n") if "SLURMCluster(" in part)
    (tmp_path / "work.py").write_text(
        f"""{snippet.split("```")[0].replace("64", "2")}
import os
os.environ["DASK_SCHEDULER_ADDRESS"] = cluster.scheduler_address
from pipeline.files.workers import ordered_map
print(list(ordered_map(str.upper, "abcde")))
print(list(ordered_map(os._exit, [1], after_death=lambda code: f"died of {{code}}")))
cluster.close()
"""
    )
    # Like SLURM's own, it keeps a copy of the script, which is gone once sbatch has returned.
    commands = {
        "sbatch": (
            'job=$(mktemp job.XXXXXX)\ncp "$1" "$job"\n'
            'setsid bash "$job" >"$job.log" 2>&1 & echo "Submitted batch job $!"'
        ),
        "scancel": 'kill -- "-$1"',
    }
    for name, command in commands.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{command}\n")
        (tmp_path / name).chmod(0o755)
    result = subprocess.run(
        [sys.executable, "work.py"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=fault_points.SECONDS,
        check=False,
    )
    assert "['A', 'B', 'C', 'D', 'E']" in result.stdout, result.stderr
    assert "['died of 1']" in result.stdout, result.stderr
