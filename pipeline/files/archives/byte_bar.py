"""Progress in bytes: a bar on a terminal, a log line now and then elsewhere."""

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from tqdm import tqdm

SECONDS_BETWEEN_LOG_LINES = 15.0

log = logging.getLogger(__name__)


class _LoggedBar(tqdm):  # type: ignore[type-arg]  # generic in its stubs alone
    """tqdm whose bar is a log line."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002
        if self.n:
            log.info("%s", msg or self)


@contextmanager
def byte_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar of `total` bytes, as the function by which threads count theirs."""
    shape: dict[str, Any] = {"desc": description, "total": total, "unit": "B", "unit_scale": True}
    seconds = SECONDS_BETWEEN_LOG_LINES
    lock = Lock()
    with (
        tqdm(**shape, dynamic_ncols=True)
        if sys.stderr.isatty()
        else _LoggedBar(
            **shape, file=io.StringIO(), ncols=0, mininterval=seconds, maxinterval=seconds
        ) as bar
    ):

        def count(n_bytes: int) -> None:
            with lock:
                bar.update(n_bytes)

        yield count
