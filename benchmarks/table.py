"""A table of measures, each with its bar."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A measured ratio, and the least or the most it may be."""

    measure: str
    figures: str
    ratio: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the ratio is within its bar."""
        return (self.at_least is None or self.ratio >= self.at_least) and (
            self.at_most is None or self.ratio <= self.at_most
        )

    @property
    def bar(self) -> str:
        """The bar in words."""
        return f">= {self.at_least:g}" if self.at_most is None else f"<= {self.at_most:g}"


def print_table(rows: Sequence[Row]) -> int:
    """Print the rows; return 1 if one falls short of its bar, else 0."""
    width = max(len(row.measure) for row in rows)
    figures = max(len(row.figures) for row in rows)
    print(f"{'measure':{width}}  {'figures':{figures}}  {'ratio':>6}  {'bar':>7}")
    for row in rows:
        end = f"{row.ratio:6.2f}  {row.bar:>7}{'' if row.holds else '  falls short'}"
        print(f"{row.measure:{width}}  {row.figures:{figures}}  {end}")
    return int(not all(row.holds for row in rows))
