"""Threads of this process that compute side by side."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, wraps
from threading import Lock
from typing import ParamSpec, TypeVar

import torch

from pipeline.core.memory import keep_freed_memory

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


def keep_latest(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """`function`, whose latest result is kept for whoever asks for the same.

    Other threads wait while it is computed. Fused networks need this: torch traces a network to
    fuse it, and meanwhile no other thread of the process may use one.
    """
    cached, lock = lru_cache(maxsize=1)(function), Lock()

    @wraps(function)
    def alone(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with lock:
            return cached(*args, **kwargs)  # type: ignore[arg-type]  # as lru_cache, what is hashable

    return alone


@contextmanager
def sharing_cores(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """So many threads, each with its part of the cores that torch uses."""
    keep_freed_memory()
    n_cores = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(
            n_threads, initializer=torch.set_num_threads, initargs=(max(1, n_cores // n_threads),)
        ) as threads:
            yield threads
    finally:
        torch.set_num_threads(n_cores)


def side_by_side(
    function: Callable[[Item], Result], items: Iterable[Item], device: torch.device
) -> Iterator[Result]:
    """Results of `function` in the order of `items`; on a CPU each core computes one at a time.

    The number of cores therefore does not change the rounding. Items are taken as they are needed,
    so that few are held in memory.
    """
    if device.type != "cpu":
        yield from map(function, items)
        return
    n_threads = torch.get_num_threads()
    pending: deque[Future[Result]] = deque()
    with sharing_cores(n_threads) as threads:
        for item in items:
            pending.append(threads.submit(function, item))
            if len(pending) > n_threads:
                yield pending.popleft().result()
        for done in pending:
            yield done.result()
