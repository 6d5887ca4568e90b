import numpy as np
import pytest
from scipy.spatial.distance import cdist

from pipeline.core import plane

GROUPS = np.repeat([0, 1, 2], [60, 60, 30])  # of unequal size, so that the plane is lopsided


def _draw(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (5 * np.eye(3, 8)[GROUPS] + rng.normal(size=(len(GROUPS), 8))).astype(np.float32)


@pytest.fixture(scope="module")
def positions() -> np.ndarray:
    return plane.fit_plane(_draw(0), perplexity=10.0, seed=1, n_threads=1)[0]


def test_tiles_are_placed_among_those_of_their_group(positions: np.ndarray) -> None:
    further = _draw(1)
    placed = plane.Plane(_draw(0), positions, n_threads=1).place(further)

    nearest = cdist(further, _draw(0)).argmin(axis=1)
    assert (GROUPS[cdist(placed, positions).argmin(axis=1)] == GROUPS[nearest]).all()


def test_placed_and_fitted_tiles_have_one_origin(positions: np.ndarray) -> None:
    further = _draw(1)
    placed = plane.Plane(_draw(0), positions, n_threads=1).place(further)

    moved = plane.Plane(_draw(0), positions + np.array([300, -20]), n_threads=1).place(further)

    np.testing.assert_allclose(moved, placed + np.array([300, -20]), rtol=0, atol=1e-2)
    offset = np.median(placed, axis=0) - np.median(positions, axis=0)
    assert np.abs(offset).max() < 0.05 * np.ptp(positions)


def test_a_tile_is_placed_alike_alone_and_among_many(positions: np.ndarray) -> None:
    further = np.tile(_draw(1), (70, 1))  # more than 10,000, where openTSNE changes its method
    fitted = plane.Plane(_draw(0), positions, n_threads=1)

    np.testing.assert_array_equal(fitted.place(further[70:71]), fitted.place(further)[70:71])


def test_threads_do_not_change_the_positions(
    positions: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = plane.Plane(_draw(0), positions, n_threads=1).place(_draw(1))
    monkeypatch.setattr(plane, "TILES_PER_SEARCH", 20)

    again, _ = plane.fit_plane(_draw(0), perplexity=10.0, seed=1, n_threads=3)
    placed_again = plane.Plane(_draw(0), again, n_threads=3).place(_draw(1))

    np.testing.assert_array_equal(again, positions)
    np.testing.assert_array_equal(placed_again, placed)


def test_many_equal_tiles_stay_together() -> None:
    embeddings = _draw(0)
    embeddings[:40] = embeddings[0]  # more than the 30 nearest that are looked at

    found, _ = plane.fit_plane(embeddings, perplexity=10.0, seed=1, n_threads=2)

    assert cdist(found[:40], found[:40]).max() < 0.5 * cdist(found, found).max()
