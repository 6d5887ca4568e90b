import numpy as np
import pytest

from pipeline.core.surrogate import Surrogate

SPECTRUM = np.array([0.72, 0.52, 0.37, 0.22, 0.08, 0.05, 0.03, 0.01])  # as of embeddings


def project(points: np.ndarray) -> np.ndarray:
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _clouds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(4000, 8))
    return {
        "uniform": project(normal),
        "one axis longer": project(normal * SPECTRUM),
        "off the centre": project(normal * SPECTRUM + 0.5 * SPECTRUM[::-1]),
        "a cap": project(0.1 * normal + np.eye(8)[0]),
        "poles": project(
            0.2 * normal + np.where(rng.random((4000, 1)) < 0.5, 1, -1) * np.eye(8)[0]
        ),
        "within a plane": project(normal[:, :2]) @ np.eye(2, 8),
    }


@pytest.mark.parametrize("name", _clouds())
def test_moments_after_projection_are_those_of_the_tiles(name: str) -> None:
    tiles, rng = _clouds()[name], np.random.default_rng(1)
    days = np.zeros(len(tiles), np.int64)
    points = Surrogate(tiles, days, rng).draw(rng.permutation(40_000), rng)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(points.mean(axis=0), tiles.mean(axis=0), atol=0.02)
    covariance = np.cov(tiles.T)
    off = np.linalg.norm(np.cov(points.T) - covariance)
    assert off < 0.03 * np.linalg.norm(covariance)


def test_days_of_a_surrogate_differ_as_those_of_the_tiles() -> None:
    rng = np.random.default_rng(2)
    days = np.repeat(np.arange(400), 20)
    of_day = 0.5 * rng.normal(size=(400, 3))[days]
    tiles = project(of_day + 0.3 * rng.normal(size=(8000, 3)) + [1, 0, 0])
    points = Surrogate(tiles, days, rng).draw(days, rng)

    def between(vectors: np.ndarray) -> np.ndarray:
        return np.array([vectors[days == day].mean(axis=0) for day in range(400)]).std(axis=0)

    np.testing.assert_allclose(between(points), between(tiles), rtol=0.15)


def test_vectors_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 to 2 long, not of unit length; run stage embed again"):
        Surrogate(2 * np.eye(3), np.arange(3), np.random.default_rng(0))
