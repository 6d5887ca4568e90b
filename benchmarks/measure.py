"""Seconds, memory and disk of what is measured."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
SECONDS_BETWEEN_LOOKS = 0.2


def timed(work: Callable[..., Any], *arguments: Any, **named: Any) -> float:
    """Seconds that `work` takes."""
    start = time.perf_counter()
    work(*arguments, **named)
    return time.perf_counter() - start


def environment(workers: str) -> dict[str, str]:
    """That of a stage started outside of the repository."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "TILE2VEC_WORKERS": workers}


def run_stage(name: str, folder: Path, workers: str = "0") -> None:
    """Run a stage to its end."""
    command = [sys.executable, "-m", f"pipeline.{name}"]
    done = subprocess.run(
        command, cwd=folder, env=environment(workers), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"stage {name} ended with {done.returncode}: {done.stderr[-2000:]}")


def peak_memory(
    command: Sequence[str],
    folder: Path,
    workers: str = "0",
    memory: Callable[[psutil.Process], int] | None = None,
) -> float:
    """Largest sum of the proportional set sizes of a command and its children, MB.

    A cheaper `memory` is to be given for large processes, which to look at stops them.
    """
    with (
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment(workers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process,
        memory_of(process.pid, memory or tree_memory) as peak,
    ):
        process.wait()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} ended with {process.returncode}")
    return peak()


@contextmanager
def memory_of(
    pid: int | None, memory: Callable[[psutil.Process], int]
) -> Iterator[Callable[[], float]]:
    """A function that gives the largest `memory` of a process inside, MB."""
    root = psutil.Process(pid)
    done = threading.Event()
    peak = memory(root)

    def look() -> None:
        nonlocal peak
        while not done.wait(SECONDS_BETWEEN_LOOKS):
            peak = max(peak, memory(root))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield lambda: peak / 1e6
    finally:
        done.set()
        thread.join()


def resident_memory(root: psutil.Process) -> int:
    """Bytes of a process and its children, shared ones again and again; to look is cheap."""
    return _sum_over_tree(root, lambda process: process.memory_info().rss)


def tree_memory(root: psutil.Process) -> int:
    """Bytes of a process and its children; to look at a large one stops it for a while."""
    return _sum_over_tree(root, lambda process: process.memory_full_info().pss)


def _sum_over_tree(root: psutil.Process, memory: Callable[[psutil.Process], int]) -> int:
    total = 0
    try:
        for process in [root, *root.children(recursive=True)]:
            try:
                total += memory(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # it has just ended
    except psutil.NoSuchProcess:
        pass
    return total


def forget(folder: Path) -> None:
    """Take the files under `folder` out of the page cache, so that they are read from the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def bytes_from_disk() -> int:
    """Bytes that this process has had the disk read so far."""
    return psutil.Process().io_counters().read_bytes
