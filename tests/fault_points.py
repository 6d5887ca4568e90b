"""Faults at a place in the code instead of at a moment in time, so that no test has to hit one.

A process that reaches a fault point does to itself what would otherwise come from outside: SIGKILL
ends it there, between two lines and without `finally`, on slow and fast machines alike.
"""

import ctypes
import multiprocessing
import os
import pkgutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from distributed.nanny import WorkerProcess

from pipeline.files import stage, workers

SECONDS = 3600  # only a broken run takes longer

STAGES = ("fetch", "ingest", "sample", "embed", "train")  # imported once, for all forks


def die(*_: Any, **__: Any) -> None:
    """Get killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    """Crash as a library in C may."""
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    """Never return from a library, and keep Python's lock."""
    while True:
        ctypes.PyDLL(None).pause()


def lose_stage() -> None:
    """Kill the stage that this worker belongs to, and stand still in the middle of the work."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    assert parent.pid is not None
    os.kill(parent.pid, signal.SIGKILL)
    while True:
        signal.pause()


@dataclass(frozen=True)
class FaultPoint:
    """A call during which something happens to the process.

    Attributes:
        function: Its name where it is looked up, such as "pathlib.Path.replace".
        act: What happens.
        of: Only calls with an argument of this pattern count.
        call: Number of the call, from 1 on.
        is_done: Whether it happens at the end of the call instead of its beginning.
        mark: File to hold that argument; once it exists, nothing happens in any process.
    """

    function: str
    act: Callable[[], object] = die
    of: str = "*"
    call: int = 1
    is_done: bool = False
    mark: Path | None = None

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Inside, this process has the fault."""
        function = pkgutil.resolve_name(self.function)
        calls = count(1)

        @wraps(function)
        def faulty(*arguments: Any, **options: Any) -> Any:
            fitting = [str(each) for each in arguments if fnmatch(str(each), self.of)]
            is_due = bool(fitting) and next(calls) == self.call and _is_first(self.mark, fitting[0])
            if is_due and not self.is_done:
                self.act()
            result = function(*arguments, **options)
            if is_due and self.is_done:
                self.act()
            return result

        with mock.patch(self.function, faulty):
            yield


@dataclass(frozen=True)
class WorkerFault:
    """A fault in the worker that does an item; stands in for `workers._watched`.

    Attributes:
        point: Where it is.
        items: Pattern of the items that have it.
        hurry: The stage's `max_seconds` is divided by it for these items.
    """

    point: FaultPoint
    items: str = "*"
    hurry: float = 1.0

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Inside, the workers of this process have the fault."""
        with mock.patch("pipeline.files.workers._watched", self):
            yield

    def __call__(self, function: Callable[[Any], Any], item: Any, max_seconds: Any) -> Any:
        if not fnmatch(str(item), self.items):
            return workers._watched(function, item, max_seconds)
        if self.hurry > 1:
            max_seconds /= self.hurry
        with self.point.armed():
            return workers._watched(function, item, max_seconds)


@dataclass(frozen=True)
class StartFault:
    """Kills the next worker that starts; stands in for what dask runs in its process."""

    mark: Path

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Inside, the workers of this process have the fault."""
        with mock.patch("distributed.nanny.WorkerProcess._run", self):
            yield

    def __call__(self, **options: Any) -> None:
        if _is_first(self.mark):
            die()
        WorkerProcess._run(**options)


Fault = FaultPoint | WorkerFault | StartFault


def _is_first(mark: Path | None, text: str = "") -> bool:
    if mark is None:
        return True
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    mark.write_text(text)
    return True


def run_stage(
    run: Callable[..., None],
    params_type: type,
    folder: Path,
    fault: Fault | None = None,
    *,
    n_workers: int = 0,
    method: str = "forkserver",
) -> tuple[int, str]:
    """Exit status and output of a stage, perhaps with a fault, in a process of its own.

    Returns once all processes that the stage started have ended too, since they share its output.

    Args:
        run: Of the stage.
        params_type: Of the stage.
        folder: Where it runs.
        fault: Of its process, or of its workers.
        n_workers: Number of its workers.
        method: "spawn" for a new interpreter, "forkserver" for a fork of one.
    """
    if method == "forkserver":
        workers._start_server(f"pipeline.{name}" for name in STAGES)
    context: Any = multiprocessing.get_context(method)
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(
        target=_run, args=(writer, run, params_type, folder, fault, n_workers)
    )
    process.start()
    writer.close()
    try:
        with open(reader.fileno(), closefd=False) as output:
            said = output.read()
        process.join()
    finally:
        process.kill()
    return process.exitcode, said


def _run(
    output: Any,
    run: Callable[..., None],
    params_type: type,
    folder: Path,
    fault: Fault | None,
    n_workers: int,
) -> None:
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output.fileno(), stream.fileno())
    output.close()
    os.chdir(folder)
    os.environ["TILE2VEC_WORKERS"] = str(n_workers)
    with fault.armed() if fault else nullcontext():
        sys.exit(stage.main(run, params_type, []))


@contextmanager
def no_endless_wait() -> Iterator[None]:
    """Inside, the test fails after `SECONDS`."""
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def _give_up(*_: object) -> None:
    pytest.fail(f"the test was not finished within {SECONDS} s")
