"""Work on a network: in parallel, tried again after faults that may pass, ended at once."""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event
from typing import TypeVar

from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_random_exponential,
)

N_ATTEMPTS = 8
FIRST_WAIT_SECONDS = 1.0  # doubled at each attempt; a random share of it is waited
LONGEST_WAIT_SECONDS = 60.0

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


class TransientError(Exception):
    """A fault that another attempt may cure."""


def retrying(stop: Event) -> Retrying:
    """A caller of functions, again while they raise TransientError, until `stop` is set."""
    return Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_attempt(N_ATTEMPTS) | stop_when_event_set(stop),
        wait=wait_random_exponential(FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS),
        sleep=sleep_using_event(stop),
        before_sleep=before_sleep_log(log, logging.INFO),
        reraise=True,
    )


def spread(
    work: Callable[[Item, Event], Result], items: Iterable[Item], n_parallel: int
) -> list[Result]:
    """Results of `work` in the order of `items`, at most `n_parallel` at a time.

    The first error, or Ctrl-C, sets the event which the others see and cancels what is waiting.
    """
    stop = Event()
    with ThreadPoolExecutor(n_parallel) as pool:
        try:
            futures = [pool.submit(work, item, stop) for item in items]
            for future in as_completed(futures):
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]
