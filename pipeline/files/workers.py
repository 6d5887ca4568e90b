"""Work spread over dask workers; how many of them, or whether one dies, never changes a result."""

import faulthandler
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, TypeVar

from dask.system import CPU_COUNT

Item = TypeVar("Item")
Result = TypeVar("Result")

RESULTS_HELD_PER_WORKER = 4
SECONDS_BETWEEN_LOOKS = 5.0  # for processes that died while they started, and so start no more
THREAD_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

log = logging.getLogger(__name__)


def n_workers() -> int:
    """`TILE2VEC_WORKERS` of the environment, else the cores this process may use.

    Raises:
        ValueError: If it is set to anything but a number from 0 on.
    """
    if "TILE2VEC_WORKERS" not in os.environ:
        return CPU_COUNT
    if not (wanted := os.environ["TILE2VEC_WORKERS"]).isdecimal():
        raise ValueError(f"TILE2VEC_WORKERS is {wanted!r}, not a number; set it to 0, 1, 2 or more")
    return int(wanted)


def has_cluster() -> bool:
    """Whether `DASK_SCHEDULER_ADDRESS` names a dask cluster."""
    return bool(os.environ.get("DASK_SCHEDULER_ADDRESS"))


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    max_seconds: float | None = None,
    after_death: Callable[[Item], Result] | None = None,
    at_most: int | None = None,
) -> Iterator[Result]:
    """Results of `function` in the order of `items`, at most a few of them held at a time.

    The work goes to the dask cluster at `DASK_SCHEDULER_ADDRESS` where that is set, else to
    `TILE2VEC_WORKERS` processes of this machine; with 0 of them it is done in this process. An
    item whose worker dies is done once more, alone.

    Args:
        function: Importable by name where the workers are.
        items: Whatever can be sent there.
        max_seconds: A worker that needs longer for an item is ended.
        after_death: Gives the result of an item whose worker died twice.
        at_most: Bounds the processes of this machine; 0 where they would take longer to start than
            the work takes.

    Raises:
        ConnectionError: If no scheduler answers at `DASK_SCHEDULER_ADDRESS`.
        RuntimeError: If a worker died twice of an item and `after_death` is not given.
        ValueError: If `TILE2VEC_WORKERS` is no number, or the address of the scheduler none.
    """
    if has_cluster():
        client = _connect(os.environ["DASK_SCHEDULER_ADDRESS"])
        log.info("waiting for the first worker of %s", client.scheduler.address)
        client.wait_for_workers(1)
        n_processes = 0
    else:
        n_processes = n_workers() if at_most is None else min(n_workers(), at_most)
        if n_processes == 0:
            yield from map(function, items)
            return
        _start_server([_module(function)])
        client = _start(n_processes)
    yield from _Flow(client, n_processes, function, max_seconds, after_death).run(items)


@cache
def _connect(address: str) -> Any:
    from distributed import Client  # slow to import, and not needed by every stage
    from distributed.comm.addressing import get_address_host_port

    try:
        get_address_host_port(address)
    except ValueError as error:
        raise ValueError(
            f"DASK_SCHEDULER_ADDRESS is {address!r}, which is no address with a port; set it to "
            "one such as tcp://node7:8786"
        ) from error
    try:
        return Client(address, set_as_default=False)
    except OSError as error:
        raise ConnectionError(
            f"no dask scheduler answers at {address}; start one or change DASK_SCHEDULER_ADDRESS"
        ) from error


def _module(function: Callable[..., Any]) -> str:
    """In which `function` was written, or `builtins`."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__module__", "builtins")


def _start_server(modules: Iterable[str]) -> None:
    """Start the process that workers are forked from, which imports once what all of them need."""
    multiprocessing.set_forkserver_preload(["distributed", *modules])
    kept = {name: os.environ[name] for name in THREAD_COUNTS if name in os.environ}
    os.environ.update(dict.fromkeys(THREAD_COUNTS, "1"))  # read as they are imported
    try:
        forkserver.ensure_running()
    finally:
        for name in THREAD_COUNTS:
            del os.environ[name]
        os.environ.update(kept)


@cache
def _start(n_processes: int) -> Any:
    """A client of processes that live as long as this one."""
    import dask
    from distributed import Client, LocalCluster

    dask.config.set(
        {
            "distributed.scheduler.allowed-failures": 0,  # _Flow tries again by itself
            "distributed.worker.multiprocessing-method": "forkserver",
            # How often a worker looks at itself, which by default takes a twentieth of a core.
            "distributed.worker.profile.enabled": False,
            "distributed.worker.memory.monitor-interval": "1s",
            "distributed.admin.system-monitor.interval": "5s",
            "distributed.admin.tick.interval": "1s",
            "distributed.deploy.lost-worker-timeout": "60s",  # to start again on a busy machine
            # Without its MALLOC_TRIM_THRESHOLD_, by which every array is given back to the system
            # at once: that takes half the time where arrays of megabytes come and go.
            "distributed.nanny.pre-spawn-environ": dict.fromkeys(THREAD_COUNTS, 1),
        }
    )
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    cluster = LocalCluster(
        n_workers=n_processes,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
    )
    return Client(cluster, set_as_default=False)


class _Flow:
    """Items on their way through the workers of a client."""

    def __init__(
        self,
        client: Any,
        n_processes: int,
        function: Callable[[Any], Any],
        max_seconds: float | None,
        after_death: Callable[[Any], Any] | None,
    ) -> None:
        self.client = client
        self.n_processes = n_processes  # of its own, 0 of a cluster
        self.function = function
        self.max_seconds = max_seconds
        self.after_death = after_death
        self.running: dict[Any, tuple[int, Any]] = {}
        self.results: dict[int, Any] = {}

    def run(self, items: Iterable[Any]) -> Iterator[Any]:
        remaining = enumerate(items)
        following = 0
        while True:
            n_parallel = self._n_parallel()
            while (
                len(self.running) < 2 * n_parallel  # some wait, so that no worker does
                and len(self.results) < RESULTS_HELD_PER_WORKER * n_parallel
                and (entry := next(remaining, None))
            ):
                self.running[self._submit(entry[1])] = entry
            if not self.running and not self.results:
                return
            while following not in self.results:
                self._collect()
            yield self.results.pop(following)
            following += 1

    def _n_parallel(self) -> int:
        """Processes of this machine, or workers of a cluster that have come by now."""
        return self.n_processes or max(1, sum(self.client.nthreads().values()))

    def _submit(self, item: Any) -> Any:
        return self.client.submit(_watched, self.function, item, self.max_seconds, pure=False)

    def _collect(self) -> None:
        """Take in what is finished, once something is."""
        from distributed import KilledWorker

        suspects = []
        for future in self._wait(list(self.running), "FIRST_COMPLETED"):
            index, item = self.running.pop(future)
            try:
                self.results[index] = future.result()
            except KilledWorker:
                log.warning("a worker died of item %d, which is tried again alone", index)
                suspects.append((index, item))
        for index, item in suspects:
            self._wait(list(self.running), "ALL_COMPLETED")  # so that no other can be the cause
            self.results[index] = self._try_again(item)

    def _wait(self, futures: list[Any], until: str) -> Any:
        """Those of `futures` that are finished, once one or all of them are."""
        from distributed import wait

        while True:
            try:
                with self.client.as_current():
                    return wait(futures, timeout=SECONDS_BETWEEN_LOOKS, return_when=until).done
            except TimeoutError:
                if self.n_processes:
                    self.client.cluster.scale(self.n_processes)

    def _try_again(self, item: Any) -> Any:
        from distributed import KilledWorker

        future = self._submit(item)
        self._wait([future], "ALL_COMPLETED")
        try:
            return future.result()
        except KilledWorker as error:
            if self.after_death is None:
                raise RuntimeError(f"two workers died of {item!r}, one after the other") from error
            return self.after_death(item)


def _watched(function: Callable[[Item], Result], item: Item, max_seconds: float | None) -> Result:
    """`function` of `item`; ends this process where that takes too long, even inside a library."""
    if max_seconds is None:
        return function(item)
    with Path(os.devnull).open("w") as nowhere:
        faulthandler.dump_traceback_later(max_seconds, exit=True, file=nowhere)
        try:
            return function(item)
        finally:
            faulthandler.cancel_dump_traceback_later()
