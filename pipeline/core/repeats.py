"""Scenes that show what another shows: the same granule again, or sectors that overlap."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.sphere import overlap

OVERLAP_SECONDS = 45.0  # two sectors are scanned 30 s apart, one of them again after 60 s
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
    """Tells views that another of the same minute covers; they come by time.

    So only the latest are kept in mind.
    """

    def __init__(self, *, repeat_seconds: float, max_overlap: float) -> None:
        """Take the limits.

        Args:
            repeat_seconds: Views of one platform and place that start less apart are one; with 0
                none is, such as members of an ensemble.
            max_overlap: Share of a view that another which starts within 45 s may cover.
        """
        self.repeat_seconds = repeat_seconds
        self.max_overlap = max_overlap
        self.earlier: list[View] = []

    def find(self, view: View) -> tuple[str, str] | None:
        """Reason and detail if `view` repeats an earlier one, else None, and it is kept in mind."""
        longest = max(OVERLAP_SECONDS, self.repeat_seconds)
        self.earlier = [each for each in self.earlier if _seconds(view, each) <= longest]
        for other in self.earlier:
            if other.platform == view.platform and (found := self._compare(view, other)):
                return found
        self.earlier.append(view)
        return None

    def _compare(self, view: View, other: View) -> tuple[str, str] | None:
        share, seconds = overlap(view.places, other.places), _seconds(view, other)
        if share > SAME_VIEW and seconds < self.repeat_seconds:
            return "repeats another", f"{other.granule} is of the same platform, time and place"
        if share > self.max_overlap and seconds < OVERLAP_SECONDS:
            return "overlaps another", f"{other.granule} covers {share:.2f} of it in one minute"
        return None


def _seconds(view: View, other: View) -> float:
    return float(abs(view.time - other.time) / np.timedelta64(1, "s"))
