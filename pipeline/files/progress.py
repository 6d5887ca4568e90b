"""Progress of long loops: a bar on a terminal, plain log lines elsewhere."""

import io
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

SECONDS_BETWEEN_LOG_LINES = 15.0

Item = TypeVar("Item")

log = logging.getLogger(__name__)


class _LoggedProgress(tqdm):  # type: ignore[type-arg]  # generic in its stubs alone
    """tqdm whose bar is a log line."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002
        if self.n:
            log.info("%s", msg or self)


def progress(
    items: Iterable[Item], description: str, *, total: int | None = None, unit: str = "it"
) -> Iterator[Item]:
    """`items` one by one, with the rate and the time left shown."""
    if sys.stderr.isatty():
        yield from tqdm(items, description, total=total, unit=f" {unit}", dynamic_ncols=True)
        return
    yield from _LoggedProgress(
        items,
        description,
        total=total,
        unit=f" {unit}",
        file=io.StringIO(),
        ncols=0,
        mininterval=SECONDS_BETWEEN_LOG_LINES,
        maxinterval=SECONDS_BETWEEN_LOG_LINES,
    )
