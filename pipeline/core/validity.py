"""Are there clusters, and how many: what a structureless cloud of points, or chance, would give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import (
    calinski_harabasz_score,
    davies_bouldin_score,
    silhouette_samples,
)

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

CONTINUUM = "a continuum, no distinct clusters"
DISTINCT = "more than a continuum"
# Of a mean silhouette: Kaufman and Rousseeuw (1990), doi:10.1002/9780470316801.
NO_STRUCTURE = 0.25
GRADES = {0.5: "weak", 0.7: "reasonable", 1.0: "strong"}


@dataclass(frozen=True)
class Score:
    """A score of clusters.

    Attributes:
        label: In words.
        sign: 1 where a high score is good, -1 where a low one is.
        gap: How it is compared: `difference` or `ratio` to the null, or `excess` over chance.
    """

    label: str
    sign: int
    gap: str


SCORES = {
    "inertia": Score("inertia", -1, "ratio"),
    "silhouette": Score("silhouette", 1, "difference"),
    "davies_bouldin": Score("Davies–Bouldin index", -1, "difference"),
    "calinski_harabasz": Score("Calinski–Harabasz index", 1, "ratio"),
    "stability": Score("stability over days", 1, "difference"),
    "turned_agreement": Score("agreement of turned copies", 1, "excess"),
    "coherence": Score("spatial coherence", 1, "excess"),
}
# All but inertia, of which the Calinski-Harabasz index is made.
RANKED = tuple(name for name in SCORES if name != "inertia")


def silhouettes(distances: FloatArray, clusters: IntArray) -> FloatArray:
    """Silhouette of each tile, from -1 to 1, high is good, shape (tile,); NaN where undefined.

    It is defined for at least two clusters of which at least one has two tiles.

    Args:
        distances: Between all tiles, shape (tile, tile), which serve clusters of any k.
        clusters: Number of each tile's cluster.

    Source: Rousseeuw (1987), doi:10.1016/0377-0427(87)90125-7.
    """
    if not _has_scores(clusters):
        return np.full(len(clusters), np.nan)
    found: FloatArray = silhouette_samples(distances, clusters, metric="precomputed")
    return found


def davies_bouldin(embeddings: FloatArray, clusters: IntArray) -> float:
    """Davies–Bouldin index, from 0, low is good; NaN where silhouettes are.

    Source: Davies and Bouldin (1979), doi:10.1109/TPAMI.1979.4766909.
    """
    return float(davies_bouldin_score(embeddings, clusters)) if _has_scores(clusters) else np.nan


def calinski_harabasz(embeddings: FloatArray, clusters: IntArray) -> float:
    """Calinski–Harabasz index, from 0, high is good; NaN where silhouettes are.

    Source: Calinski and Harabasz (1974), doi:10.1080/03610927408827101.
    """
    return float(calinski_harabasz_score(embeddings, clusters)) if _has_scores(clusters) else np.nan


def _has_scores(clusters: IntArray) -> bool:
    return 2 <= len(np.unique(clusters)) < len(clusters)


def gap(name: str, observed: FloatArray, expected: FloatArray) -> FloatArray:
    """How far a score is better than what the null or chance gives; above 0 is better.

    The ratio is taken as its logarithm, as in the gap statistic; the excess is the share of what
    chance leaves to be gained, as in Cohen's kappa.

    Source: Tibshirani et al. (2001), doi:10.1111/1467-9868.00293; Cohen (1960),
    doi:10.1177/001316446002000104.
    """
    score = SCORES[name]
    with np.errstate(divide="ignore", invalid="ignore"):
        match score.gap:
            case "ratio":
                return np.asarray(score.sign * np.log(observed / expected))
            case "excess":
                return np.asarray((observed - expected) / (1 - expected))
    return np.asarray(score.sign * (observed - expected))


def turned_agreement(clusters: IntArray) -> tuple[float, float]:
    """Share of turned and mirrored copies in the cluster of their tile, and that by chance.

    By chance, a copy would have the cluster of any tile.

    Args:
        clusters: Shape (tile, orientation); the first is the tile as it is.
    """
    upright = clusters[:, :1]
    observed = float((clusters[:, 1:] == upright).mean())
    shares = np.bincount(upright.ravel()) / len(clusters)
    return observed, float(np.square(shares).sum())


def touching_pairs(scene: IntArray, row: IntArray, column: IntArray, *, step: int) -> IntArray:
    """Pairs of tiles of one scene that are `step` pixels apart along an edge, shape (pair, 2).

    Args:
        scene: Of each tile, shape (tile,).
        row: Its first row.
        column: Its first column.
        step: Pixels between first rows or first columns; at least the edge of a tile, so that the
            two share no pixel.
    """
    span = np.int64(max(row.max(), column.max()) + step + 1)
    places = (scene.astype(np.int64) * span + row) * span + column
    order = np.argsort(places)
    pairs = []
    for offset in (step * span, np.int64(step)):
        found = np.searchsorted(places[order], places + offset)
        found = order[np.minimum(found, len(places) - 1)]
        first = np.flatnonzero(places[found] == places + offset)
        pairs.append(np.column_stack([first, found[first]]))
    return np.concatenate(pairs)


def coherence(clusters: IntArray, scene: IntArray, pairs: IntArray) -> tuple[float, float]:
    """Share of touching tiles in the same cluster, and its mean if labels were shuffled.

    Labels are shuffled among the tiles of each scene; the mean over all shuffles is exact.

    Args:
        clusters: Of each tile, shape (tile,).
        scene: Of each tile, shape (tile,).
        pairs: As of `touching_pairs`.
    """
    if not len(pairs):
        return np.nan, np.nan
    observed = float((clusters[pairs[:, 0]] == clusters[pairs[:, 1]]).mean())
    scenes, codes = np.unique(scene, return_inverse=True)
    n_clusters = int(clusters.max()) + 1
    counts = np.bincount(codes * n_clusters + clusters, minlength=len(scenes) * n_clusters)
    counts = counts.reshape(len(scenes), n_clusters).astype(np.float64)
    n_tiles = counts.sum(axis=1)
    same = (counts * (counts - 1)).sum(axis=1)
    by_chance = np.divide(same, n_tiles * (n_tiles - 1), where=n_tiles > 1, out=np.zeros(len(same)))
    return observed, float(by_chance[codes[pairs[:, 0]]].mean())


def recommend(
    k: IntArray, gaps: Mapping[str, FloatArray], drawn: Mapping[str, FloatArray]
) -> tuple[int, tuple[int, int], str]:
    """The k of the best mean rank of its gaps, the ends of its 95 % interval, and the reason.

    Equal gaps share the better rank; a gap that is NaN ranks last, and a score without any is left
    out; of equal mean ranks the smaller k wins. The interval is that of the k which samples of the
    days would have recommended.

    Args:
        k: Shape (k,), ascending.
        gaps: For keys of `SCORES`, as of `gap`, shape (k,).
        drawn: Likewise for samples of days, shape (k, draw).
    """
    ranks = _ranks(gaps)
    mean_ranks = _mean_rank(ranks, len(k))
    best = int(mean_ranks.argmin())
    n_draws = next((values.shape[1] for values in drawn.values()), 0)
    would_be = [
        k[
            _mean_rank(
                _ranks({name: values[:, draw] for name, values in drawn.items()}), len(k)
            ).argmin()
        ]
        for draw in range(n_draws)
    ] or [k[best]]
    low, high = (int(end) for end in np.percentile(would_be, (2.5, 97.5), method="nearest"))
    details = ", ".join(f"{SCORES[name].label} {rank[best]:.0f}" for name, rank in ranks.items())
    equals = np.flatnonzero(np.isclose(mean_ranks, mean_ranks[best]))[1:]
    others = " and ".join(map(str, k[equals]))
    tie = f"; k = {others} is of equal rank, and the smaller is taken" if others else ""
    edge = "; no smaller k was tried" if best == 0 else ""
    edge = "; no larger k was tried" if best == len(k) - 1 else edge
    edge = "; no other k was tried" if len(k) == 1 else edge
    reason = (
        f"k = {k[best]} ({low} to {high} over samples of days) has the best mean rank, "
        f"{mean_ranks[best]:.2f} of {len(k)}, from k = {k[0]} to {k[-1]}, when scores are compared "
        "with those of structureless points on the sphere or with chance "
        f"(ranks: {details}){tie}{edge}"
    )
    return int(k[best]), (low, high), reason


def _ranks(gaps: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Rank of each k by each score that has any, shape (k,)."""
    return {
        name: rankdata(np.nan_to_num(-values, nan=np.inf), method="min")
        for name, values in gaps.items()
        if np.isfinite(values).any()
    }


def _mean_rank(ranks: Mapping[str, FloatArray], n_k: int) -> FloatArray:
    return np.asarray(np.mean(list(ranks.values()) or [np.ones(n_k)], axis=0))


def judge(
    k: int,
    silhouette: Sequence[float],
    inertia: float,
    null_silhouettes: Sequence[float],
    null_inertias: Sequence[float],
    *,
    n_days: int,
) -> tuple[bool, str]:
    """Whether there is more than a continuum, and the verdict in words.

    It is more only where the tiles' silhouette is above 0.25 and, at the low end of its interval
    over days where there is one, above that of every surrogate, and their inertia below. With 19
    surrogates a continuum passes in less than 5 % of cases. A cloud of points that is skewed or
    curved within the sphere may pass, too: to pass is necessary for distinct clusters, not
    sufficient.

    Args:
        k: Number of clusters.
        silhouette: Mean, low and high end of its interval; NaN where days are worth fewer than two.
        inertia: Of the tiles.
        null_silhouettes: Of each surrogate.
        null_inertias: Likewise.
        n_days: Days the interval is drawn from; with one there is no interval, and no more than a
            continuum.

    Source: Monte-Carlo tests, Barnard (1963), https://www.jstor.org/stable/2984158.
    """
    mean, low, high = silhouette
    over_days = f"{low:.3f} to {high:.3f} over {n_days} days"
    if np.isnan(low) and n_days > 1:
        low, over_days = mean, f"no interval, since {n_days} days are worth fewer than two"
    beyond = mean > NO_STRUCTURE and low > max(null_silhouettes) and inertia < min(null_inertias)
    ends = f"{min(null_silhouettes):.3f} to {max(null_silhouettes):.3f}"
    ratio = inertia / np.mean(null_inertias)
    figures = (
        f"for k = {k} silhouette {mean:.3f} ({over_days}) where "
        f"{len(null_silhouettes)} sets of structureless points on the sphere, of the same mean and "
        f"covariance, have {ends}, and {ratio:.2f} times their inertia"
    )
    if not beyond:
        return False, f"{CONTINUUM}: {figures}"
    grade = next(grade for most, grade in GRADES.items() if mean <= most)
    return True, f"{DISTINCT}, {grade} structure: {figures}"
