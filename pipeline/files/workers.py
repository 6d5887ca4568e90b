"""Work spread over processes; how many never changes a result."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from functools import cache
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def n_workers() -> int:
    """`TILE2VEC_WORKERS` of the environment, else the cores this process may use."""
    return int(os.environ.get("TILE2VEC_WORKERS", len(os.sched_getaffinity(0))))


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results of `function` in the order of `items`, at most a few of them held at a time.

    The work goes to the dask cluster at `DASK_SCHEDULER_ADDRESS` where that is set, else to
    processes of this machine. `function` must be importable by name.
    """
    if "DASK_SCHEDULER_ADDRESS" in os.environ:
        from distributed import Client  # slow to import, seldom needed

        with Client() as client:
            n_threads = sum(client.nthreads().values())
            yield from _windowed(client.get_executor(), function, items, n_threads)
    elif n_workers() == 1:
        yield from map(function, items)
    else:
        yield from _windowed(_processes(n_workers()), function, items, n_workers())


@cache
def _processes(n_processes: int) -> Executor:
    """Processes that live as long as this one, since each takes seconds to start.

    They are spawned: forking a process that holds threads (torch, GDAL) can hang.
    """
    return ProcessPoolExecutor(n_processes, mp_context=multiprocessing.get_context("spawn"))


def _windowed(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], n_parallel: int
) -> Iterator[Result]:
    remaining = iter(items)
    pending: deque[Future[Result]] = deque(
        executor.submit(function, item) for item in islice(remaining, 2 * n_parallel)
    )
    while pending:
        result = pending.popleft().result()
        pending.extend(executor.submit(function, item) for item in islice(remaining, 1))
        yield result
