"""Scenes that show what another shows: the same granule again, or sectors that overlap."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.sphere import overlap

SAME_VIEW = 0.95  # of a scene in view of another at the same time

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class View:
    """When and where a satellite looked; `places` are unit vectors (place, 3) of a lattice."""

    granule: str
    platform: str
    time: np.datetime64
    places: FloatArray


class Repeats:
    """Tells views that another of their minute covers; they come by time.

    So only those of the latest minute are kept in mind.
    """

    def __init__(self, *, repeat_seconds: float, max_overlap: float) -> None:
        """Take the limits.

        Args:
            repeat_seconds: Views of one platform and place that start within so many are one.
            max_overlap: Share of a view that another of its minute may cover.
        """
        self.repeat_seconds = repeat_seconds
        self.max_overlap = max_overlap
        self.minute = np.datetime64("NaT")
        self.earlier: list[View] = []

    def find(self, view: View) -> tuple[str, str] | None:
        """Reason and detail if `view` repeats an earlier one, else None, and it is kept in mind."""
        minute = view.time.astype("datetime64[m]")
        if minute != self.minute:
            self.minute, self.earlier = minute, []
        for other in self.earlier:
            if other.platform == view.platform and (found := self._compare(view, other)):
                return found
        self.earlier.append(view)
        return None

    def _compare(self, view: View, other: View) -> tuple[str, str] | None:
        share = overlap(view.places, other.places)
        seconds = abs(view.time - other.time) / np.timedelta64(1, "s")
        if share > SAME_VIEW and seconds <= self.repeat_seconds:
            return "repeats another", f"{other.granule} is of the same platform, time and place"
        if share > self.max_overlap:
            return "overlaps another", f"{other.granule} covers {share:.2f} of it in one minute"
        return None
