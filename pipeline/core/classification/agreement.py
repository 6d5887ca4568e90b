"""How far people agree about labels: the ceiling of what a classifier can be expected to score."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.bootstrap import draw_days, interval
from pipeline.core.classification.scores import METRICS, count_confusions, score

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]

N_DRAWS = 500


class Agreement(NamedTuple):
    """Scores of volunteers, each against the labels of the others, by the name of the metric.

    Attributes:
        mean: As of `METRICS`.
        low: Ends of their 95 % intervals over days; empty where all tiles are of one day.
        high: Likewise.
        n_pairs: Pairs of a volunteer and a tile that both sides labelled.
        n_unlabelled: Pairs where the others agreed on a label and the volunteer gave none.
    """

    mean: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    n_pairs: int
    n_unlabelled: int


def volunteer_agreement(
    alone: IntArray, others: IntArray, days: IntArray, *, n_labels: int, seed: int
) -> Agreement | None:
    """Scores of volunteers against the others, None where no tile has a label from both sides.

    Args:
        alone: Label by a volunteer alone, -1 for none, (pair,).
        others: Label by the other volunteers of the scene together, -1 for none, (pair,).
        days: Number of the tile's day, (pair,).
        n_labels: Number of labels.
        seed: Of the bootstrap.

    Source: Rasp et al. (2020), doi:10.1175/BAMS-D-19-0324.1, who judge volunteers so.
    """
    both = (alone >= 0) & (others >= 0)
    if not both.any():
        return None
    present, number = np.unique(days[both], return_inverse=True)
    confusions = np.stack(
        [
            count_confusions(others[both][number == day], alone[both][number == day], n_labels)
            for day in range(len(present))
        ]
    )
    draws = draw_days(len(present), n_draws=N_DRAWS, rng=np.random.default_rng(seed))
    drawn = np.stack([score(each) for each in np.tensordot(draws, confusions, axes=1)])
    mean, low, high = (
        {name: float(value) for name, value in zip(METRICS, values, strict=True)}
        for values in (score(confusions.sum(axis=0)), *interval(drawn))
    )
    return Agreement(
        mean,
        low if len(present) > 1 else {},
        high if len(present) > 1 else {},
        int(both.sum()),
        int(((others >= 0) & (alone < 0)).sum()),
    )
