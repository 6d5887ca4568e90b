"""Threads of this process that compute side by side."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def sharing_cores(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """So many threads, each with its part of the cores that torch uses."""
    n_cores = torch.get_num_threads()
    with ThreadPoolExecutor(
        n_threads, initializer=torch.set_num_threads, initargs=(max(1, n_cores // n_threads),)
    ) as threads:
        yield threads
    torch.set_num_threads(n_cores)


def side_by_side(device: torch.device) -> AbstractContextManager[ThreadPoolExecutor]:
    """Threads of one core each on a CPU; a single one that asks another device to compute."""
    return sharing_cores(torch.get_num_threads() if device.type == "cpu" else 1)


def map_ahead(
    threads: ThreadPoolExecutor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    n_ahead: int,
) -> Iterator[Result]:
    """Results of `function` in the order of `items`, of which few are held at a time.

    Args:
        threads: That do the work.
        function: Of an item.
        items: Taken as they are needed.
        n_ahead: Items that are under way or done before their result is asked for.
    """
    pending: deque[Future[Result]] = deque()
    for item in items:
        pending.append(threads.submit(function, item))
        if len(pending) > n_ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
