"""Structureless points on the sphere, beside which clusters of embeddings are judged."""

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

MOST_STEPS = 30
TOLERANCE = 2e-3  # of mean and covariance, as a share of the mean squared length
POINTS_PER_DIMENSION = 32  # that moments after projection are found from …
FEWEST_POINTS = 4096  # … and at least
LEAST_VARIANCE = 1e-9  # of the largest, below which a direction counts as empty


class Surrogate:
    """A projected normal: Gaussian vectors scaled to unit length, as embeddings are.

    Its mean and covariance after projection are those of the tiles. The covariance is the sum of
    that between days and that within them, so that the days of a surrogate differ as those of the
    tiles do. It has no clusters; uniform points on a sphere or a circle are one.

    Args:
        embeddings: Of unit length, shape (tile, dimension).
        days: As of `number_days`, shape (tile,).
        rng: Draws the points that moments after projection are found from.

    Raises:
        ValueError: If embeddings are not of unit length.

    Source: the projected normal, Mardia and Jupp (1999), doi:10.1002/9780470316979; beside it the
    angular central Gaussian of mean zero, Tyler (1987), doi:10.1093/biomet/74.3.579; Monte-Carlo
    tests of clusters against one Gaussian, Liu et al. (2008), doi:10.1198/016214508000000454.
    """

    def __init__(self, embeddings: FloatArray, days: IntArray, rng: np.random.Generator) -> None:
        lengths = np.linalg.norm(embeddings, axis=1)
        if abs(lengths - 1).max() > 1e-3:
            raise ValueError(
                f"embeddings are {lengths.min():.3g} to {lengths.max():.3g} long, not of unit "
                "length; run stage embed again"
            )
        mean = embeddings.mean(axis=0, dtype=np.float64)
        between, within = _covariances(embeddings - mean, days)
        self.mean, transform = _unproject(mean, between + within, rng)
        self.between_axes = _root(between) @ transform
        self.within_axes = _root(within) @ transform

    def draw(self, days: IntArray, rng: np.random.Generator) -> NDArray[np.float32]:
        """Points of these days, shape (point, dimension)."""
        n_dimensions = len(self.mean)
        of_day = rng.standard_normal((int(days.max()) + 1, n_dimensions)) @ self.between_axes
        within = rng.standard_normal((len(days), n_dimensions)) @ self.within_axes
        return _project(self.mean + of_day[days] + within).astype(np.float32)


def _unproject(
    mean: FloatArray, covariance: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Mean of a Gaussian whose projection has these moments, and what its axes are multiplied by.

    Each step moves the mean by what it is off, and the covariance by the map that would take the
    one found to the one wanted.
    """
    n_dimensions = len(mean)
    points = rng.standard_normal(
        (max(FEWEST_POINTS, POINTS_PER_DIMENSION * n_dimensions), n_dimensions)
    )
    points -= points.mean(axis=0)
    points = points @ _inverse(_root(np.cov(points.T, ddof=0)))  # moments are exact
    axes = _root(covariance)
    points = points @ axes
    transform, centre = np.eye(n_dimensions), mean
    for _ in range(MOST_STEPS):
        projected = _project(centre + points @ transform)
        found = projected.mean(axis=0)
        spread = np.cov(projected.T, ddof=0)
        off = np.linalg.norm(found - mean) + np.linalg.norm(spread - covariance)
        if off < TOLERANCE:
            break
        centre = centre + mean - found
        transform = transform @ axes @ _inverse(_root(axes @ spread @ axes)) @ axes
        scale = np.sqrt(centre @ centre + np.square(axes @ transform).sum())
        centre, transform = centre / scale, transform / scale  # projection is the same
    return centre, transform


def _covariances(deviations: FloatArray, days: IntArray) -> tuple[FloatArray, FloatArray]:
    """Covariance between the means of days and that within days, (dimension, dimension) each."""
    n_tiles = np.bincount(days)
    of_day = np.zeros((len(n_tiles), deviations.shape[1]))
    np.add.at(of_day, days, deviations)
    of_day /= np.maximum(n_tiles, 1)[:, None]
    within = deviations - of_day[days]
    of_day *= np.sqrt(n_tiles)[:, None]
    return of_day.T @ of_day / len(days), within.T @ within / len(days)


def _project(points: FloatArray) -> FloatArray:
    projected: FloatArray = points / np.linalg.norm(points, axis=1, keepdims=True)
    return projected


def _root(covariance: FloatArray) -> FloatArray:
    """Symmetric square root."""
    variances, axes = np.linalg.eigh(covariance)
    found: FloatArray = (axes * np.sqrt(np.maximum(variances, 0))) @ axes.T
    return found


def _inverse(root: FloatArray) -> FloatArray:
    """Inverse of a symmetric matrix within the directions that it does not leave empty."""
    values, axes = np.linalg.eigh(root)
    is_known = values > np.sqrt(LEAST_VARIANCE) * values.max()
    found: FloatArray = (axes[:, is_known] / values[is_known]) @ axes[:, is_known].T
    return found
