"""A table of measures, each with its bar."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A measured ratio, and the least or the most it may be; `memory` is a peak in MB."""

    measure: str
    figures: str
    ratio: float
    at_least: float | None = None
    at_most: float | None = None
    memory: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the ratio is within its bar."""
        return (self.at_least is None or self.ratio >= self.at_least) and (
            self.at_most is None or self.ratio <= self.at_most
        )

    @property
    def bar(self) -> str:
        """The bar in words, if there is one."""
        if self.at_least is None and self.at_most is None:
            return ""
        return f">= {self.at_least:g}" if self.at_most is None else f"<= {self.at_most:g}"


def print_table(rows: Sequence[Row]) -> int:
    """Print the rows; return 1 if one falls short of its bar, else 0."""
    cells = [("measure", "figures", "ratio", "bar", "peak MB", "")]
    for row in rows:
        memory = "" if row.memory is None else f"{row.memory:.0f}"
        short = "" if row.holds else "falls short"
        cells.append((row.measure, row.figures, f"{row.ratio:.2f}", row.bar, memory, short))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for measure, figures, *others in cells:
        right = "  ".join(
            f"{cell:>{width}}" for cell, width in zip(others, widths[2:], strict=True)
        )
        print(f"{measure:{widths[0]}}  {figures:{widths[1]}}  {right}".rstrip())
    return int(not all(row.holds for row in rows))
