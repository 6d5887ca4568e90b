"""Whether probabilities mean what they say."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, stdtrit

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]

CALIBRATION_METRICS = ("log_loss", "brier_score")
LARGEST_TEMPERATURE = 20.0
LEAST_PROBABILITY = 1e-6
N_BINS = 10
N_WORLDS = 500  # in which probabilities mean what they say
CONFIDENCE = 0.95


def fit_temperature(scores: FloatArray, labels: IntArray) -> float:
    """What scores are divided by so that their softmax has the least log loss; 1 for no tile.

    Above 1 the scores were too sure, below it not sure enough; which label is the most probable
    stays.

    Args:
        scores: Of tiles that the classifier was not fitted to, (tile, label); minus infinity for
            labels that it does not know.
        labels: Number of each tile's label, (tile,), one that is known.

    Source: Guo et al. (2017), arXiv:1706.04599.
    """
    if not len(labels):
        return 1.0
    own = scores[np.arange(len(labels)), labels]

    def loss(log_temperature: float) -> float:
        temperature = np.exp(log_temperature)
        return float((logsumexp(scores / temperature, axis=1) - own / temperature).mean())

    reach = np.log(LARGEST_TEMPERATURE)
    found = minimize_scalar(loss, bounds=(-reach, reach), method="bounded")
    return float(np.exp(found.x))


def score_probabilities(probabilities: FloatArray, labels: IntArray) -> FloatArray:
    """The `CALIBRATION_METRICS`, (metric,); 0 is best.

    The Brier score is the squared distance to the truth, summed over labels, so within 0 … 2.

    Args:
        probabilities: Of each label, (tile, label).
        labels: Number of each tile's label, (tile,).

    Source: Brier (1950), doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    >>> score_probabilities(np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([0, 1])).round(3)
    array([0.347, 0.25 ])
    """
    tile = np.arange(len(labels))
    own = np.maximum(probabilities[tile, labels], LEAST_PROBABILITY)
    truth = np.zeros_like(probabilities)
    truth[tile, labels] = 1
    brier = ((probabilities - truth) ** 2).sum(axis=1).mean()
    return np.array([-np.log(own).mean(), brier])


class CalibrationError(NamedTuple):
    """Typical distance between how probable predicted labels are and how often they are right.

    Attributes:
        error: 0 is best.
        low: Low end of its 95 % interval over days.
        high: High end.
        null: Below which it is in 95 % of worlds where probabilities mean what they say.
    """

    error: float
    low: float
    high: float
    null: float


def calibration_error(
    probabilities: FloatArray, labels: IntArray, days: IntArray, *, seed: int
) -> CalibrationError:
    """Root mean square calibration error of the predicted label, of all folds together.

    In bins of few tiles how often labels are right varies, which would count as an error; what is
    expected of it is taken off, so that the squared error is unbiased. The interval is that of the
    jackknife over days.

    Args:
        probabilities: Of each label when the tile was tested, (repeat, tile, label).
        labels: Number of each tile's label, (tile,).
        days: Number of each tile's day, (tile,).
        seed: Of the worlds.

    Source: Kumar et al. (2019), arXiv:1909.10155; for the worlds Bröcker and Smith (2007),
    doi:10.1175/WAF993.1.
    """
    confidence = probabilities.max(axis=-1)
    right = (probabilities.argmax(axis=-1) == labels).astype(np.float64)
    n_days = int(days.max()) + 1
    of_day = days == np.arange(n_days)[:, None]
    sums = np.stack(
        [
            _bin_sums(confidence, each * of_day[:, None])
            for each in (np.ones_like(right), confidence, right)
        ]
    )  # (tiles, probability and hits, day, repeat, bin)
    squared = float(_squared_error(sums.sum(axis=1)))
    left_out = np.array([_squared_error(sums.sum(axis=1) - each) for each in sums.swapaxes(0, 1)])
    spread = np.sqrt((n_days - 1) / n_days * np.square(left_out - left_out.mean()).sum())
    reach = float(stdtrit(n_days - 1, (1 + CONFIDENCE) / 2)) * spread if n_days > 1 else np.nan
    rng = np.random.default_rng(seed)
    drawn = rng.random((N_WORLDS, 1, len(labels))) < confidence
    total = sums.sum(axis=1)
    worlds = _squared_error(
        np.stack(
            [np.broadcast_to(each, (N_WORLDS, *each.shape)) for each in total[:2]]
            + [_bin_sums(confidence, drawn)]
        )
    )
    ends = (squared, squared - reach, squared + reach, np.quantile(worlds, CONFIDENCE))
    return CalibrationError(*(float(np.sqrt(max(0.0, end))) for end in ends))


def _bin_sums(confidence: FloatArray, values: NDArray[Any]) -> FloatArray:
    """Sums of values (…, repeat, tile) in bins of the tiles' probability, (…, repeat, bin)."""
    in_bin = _bins(confidence)[..., None] == np.arange(N_BINS)  # (repeat, tile, bin)
    sums = np.einsum("...rt,rtb->...rb", values.astype(np.float64), in_bin.astype(np.float64))
    return np.asarray(sums)


def _squared_error(sums: FloatArray) -> FloatArray:
    """Unbiased squared error from sums (tiles, probability and hits, …, repeat, bin)."""
    n_tiles, confidence, hits = sums
    enough = n_tiles > 1
    n = np.where(enough, n_tiles, 2.0)
    gap, share = (confidence - hits) / n, hits / n
    parts = np.where(enough, n_tiles * (gap**2 - share * (1 - share) / (n - 1)), 0.0)
    return np.asarray((parts.sum(axis=-1) / n_tiles.sum(axis=-1)).mean(axis=-1))


def reliability(
    probabilities: FloatArray, labels: IntArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """How probable predicted labels are and how often they are right, in ten bins of the former.

    Args:
        probabilities: Of each label, (tile, label).
        labels: Number of each tile's label, (tile,).

    Returns:
        Mean probability, share that is right, number of tiles, (bin,) each; NaN in an empty bin.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    number = _bins(confidence)
    n_tiles = np.bincount(number, minlength=N_BINS)
    filled = np.where(n_tiles, n_tiles, np.nan)
    confidences = np.bincount(number, confidence, N_BINS) / filled
    return confidences, np.bincount(number, right, N_BINS) / filled, n_tiles


def _bins(confidence: FloatArray) -> IntArray:
    return np.minimum((confidence * N_BINS).astype(np.int64), N_BINS - 1)
