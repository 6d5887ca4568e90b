import numpy as np
import pytest

from pipeline.core.classification.agreement import volunteer_agreement


def test_volunteers_score_as_often_as_they_are_right() -> None:
    """Each errs in a fifth of the tiles, whatever the day; in a tenth none is given."""
    rng = np.random.default_rng(0)
    others = rng.integers(0, 4, 4000)
    told = np.where(rng.random(4000) < 0.2, (others + 1) % 4, others)
    told[rng.random(4000) < 0.1] = -1
    days = rng.integers(0, 40, 4000)
    found = volunteer_agreement(told, others, days, n_labels=4, seed=0)
    assert found is not None
    assert found.mean["accuracy"] == pytest.approx(0.8, abs=0.02)
    assert found.mean["balanced_accuracy"] == pytest.approx(0.8, abs=0.02)
    assert found.low["accuracy"] < 0.8 < found.high["accuracy"]
    assert found.high["accuracy"] - found.low["accuracy"] == pytest.approx(0.026, abs=0.012)
    assert found.n_pairs + found.n_unlabelled == 4000


def test_without_a_common_tile_there_is_no_agreement() -> None:
    told, others = np.array([-1, 0]), np.array([1, -1])
    assert volunteer_agreement(told, others, np.arange(2), n_labels=2, seed=0) is None
