"""Clusters of one k put on trial: on other days, over samples of days, and against surrogates."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, pairwise_distances

from pipeline.core import clustering, kmeans, validity
from pipeline.core.bootstrap import bootstrap_means, draw_days, number_days
from pipeline.core.dependence import interval_over_days
from pipeline.core.surrogate import Surrogate

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]
Compactness = Callable[[int], tuple[float, float]]

AGAINST_NULL = ("inertia", "silhouette", "davies_bouldin", "calinski_harabasz", "stability")
KEPT_VARIANCE = 0.999  # k-means along the leading axes takes a fraction of the time
N_STARTS = 10  # of k-means for the stability; with one it would be that of local minima
N_DAY_DRAWS = 200  # for the interval of the silhouette
N_K_DRAWS = 20  # for that of k, since all scores are computed anew


@dataclass(frozen=True)
class Judged:
    """Tiles that clusters are judged on; arrays begin with the dimension tile.

    Attributes:
        embeddings: Shape (tile, dimension).
        days: As of `number_days`, shape (tile,).
        calendar: Calendar day of each number, shape (day,).
        scene: Of each tile, shape (tile,).
        pairs: Touching tiles, shape (pair, 2).
        sample: Indices of those whose silhouettes are computed.
        turned: Copies of some tiles, shape (turned, orientation, dimension), or None.
        turned_days: Days of these tiles, shape (turned,).
        is_training: Whether they are training tiles, for want of others.
    """

    embeddings: FloatArray
    days: IntArray
    calendar: IntArray
    scene: IntArray
    pairs: IntArray
    sample: IntArray
    turned: FloatArray | None
    turned_days: IntArray
    is_training: bool

    @property
    def n_days(self) -> int:
        """Days that they are of."""
        return int(self.days.max()) + 1


@dataclass(frozen=True)
class Null:
    """Points drawn from a surrogate.

    Attributes:
        points: To be fitted to, along the leading axes, shape (point, axis).
        judged: Tiles' counterparts that clusters are judged on, shape (point, dimension).
        distances: Between those of the sample, shape (sample, sample).
    """

    points: FloatArray
    judged: FloatArray
    distances: FloatArray


@dataclass(frozen=True)
class Trial:
    """What clusters of any k are judged by.

    Attributes:
        axes: The leading ones of the training tiles, along which clusters are fitted once more.
        points: Training tiles that bootstrap samples are drawn from, along them, (tile, axis).
        days: Their days.
        draws: How often each training day is in each bootstrap sample, shape (draw, day).
        judged: Tiles of other days, on which k is chosen.
        day_draws: Likewise for the days of `judged`.
        distances: Between the tiles of `judged.sample`, shape (sample, sample).
        surrogate: Draws data sets without clusters.
        nulls: Some of them, for every k.
        n_starts: Of k-means for these, of which the best is kept.
        seed: Of k-means and of further surrogates.
    """

    axes: PCA
    points: FloatArray
    days: IntArray
    draws: IntArray
    judged: Judged
    day_draws: IntArray
    distances: FloatArray
    surrogate: Surrogate
    nulls: Sequence[Null]
    n_starts: int
    seed: int


def prepare_trial(
    train: FloatArray,
    train_times: NDArray[np.datetime64],
    judged: Judged,
    *,
    n_sample: int,
    n_bootstraps: int,
    n_surrogates: int,
    n_starts: int,
    seed: int,
) -> Trial:
    """The trial of the clusters of `train`; one seed gives the same draws and surrogates."""
    rng = np.random.default_rng((seed, 1))  # the stage draws its tiles by the seed alone
    sample = np.sort(rng.choice(len(train), min(n_sample, len(train)), replace=False))
    days = number_days(train_times)
    axes = PCA(KEPT_VARIANCE, svd_solver="covariance_eigh").fit(train[sample].astype(np.float64))
    trial = Trial(
        axes=axes,
        points=axes.transform(train[sample].astype(np.float64)),
        days=days[sample],
        draws=draw_days(int(days.max()) + 1, n_draws=n_bootstraps, rng=rng),
        judged=judged,
        day_draws=draw_days(judged.n_days, n_draws=N_DAY_DRAWS, rng=rng),
        distances=pairwise_distances(judged.embeddings[judged.sample]),
        surrogate=Surrogate(train[sample], days[sample], rng),
        nulls=[],
        n_starts=n_starts,
        seed=seed,
    )
    return replace(trial, nulls=[_draw_null(trial, judged, rng) for _ in range(n_surrogates)])


def _draw_null(trial: Trial, judged: Judged, rng: np.random.Generator) -> Null:
    """Points with days as different from each other as those of the tiles are.

    They are judged on points of other days, or where tiles are judged on what clusters were
    fitted to, on the points fitted to.
    """
    points = trial.surrogate.draw(trial.days, rng)
    if judged.is_training:
        n_judged = len(judged.embeddings)
        others = points[rng.choice(len(points), n_judged, replace=n_judged > len(points))]
    else:
        others = trial.surrogate.draw(judged.days, rng)
    points = trial.axes.transform(points.astype(np.float64))
    return Null(points, others, pairwise_distances(others[judged.sample]))


def try_clusters(trial: Trial, centroids: FloatArray) -> dict[str, float | FloatArray]:
    """Scores of the clusters of centroids (cluster, dimension).

    The scores are those of `validity.SCORES`, of the tiles judged. Beside them stand `…_low` and
    `…_high`, of the silhouette the 95 % interval over days, of the stability the least and the
    largest of the samples of days; `…_null`, the mean of the surrogates, with `…_null_low` and
    `…_null_high`, the least and the largest; `…_chance`; and `…_drawn`, for samples of the days
    judged on, shape (draw,).
    """
    judged, k = trial.judged, len(centroids)
    clusters, distances = clustering.assign(judged.embeddings, centroids)
    silhouettes = validity.silhouettes(trial.distances, clusters[judged.sample])
    low, high = _over_days(silhouettes, judged, trial.day_draws)
    stabilities = _refit(trial, trial.points, trial.draws, k, judged.embeddings, clusters)
    scores = {
        **_score(judged.embeddings, clusters, distances, silhouettes),
        "silhouette_low": low,
        "silhouette_high": high,
        **_summarise("stability", stabilities),
        **_score_nulls(trial, k),
    }
    observed, by_chance = validity.coherence(clusters, judged.scene, judged.pairs)
    scores |= {"coherence": observed, "coherence_chance": by_chance}
    turned = None
    if judged.turned is not None:
        copies = judged.turned.reshape(-1, judged.turned.shape[-1])
        turned = clustering.assign(copies, centroids)[0].reshape(judged.turned.shape[:2])
        observed, by_chance = validity.turned_agreement(turned)
        scores |= {"turned_agreement": observed, "turned_agreement_chance": by_chance}
    drawn = [
        _score_draw(judged, draw, clusters, silhouettes, turned)
        | {"stability": stabilities[number % len(stabilities)]}
        for number, draw in enumerate(trial.day_draws[:N_K_DRAWS])
    ]
    return scores | {f"{name}_drawn": np.array([each[name] for each in drawn]) for name in drawn[0]}


def _over_days(silhouettes: FloatArray, judged: Judged, draws: IntArray) -> tuple[float, float]:
    """Ends of the 95 % interval of the mean silhouette of the sample."""
    days, mean = judged.days[judged.sample], float(silhouettes.mean())
    means = bootstrap_means(silhouettes, np.zeros_like(days), days, n_groups=1, draws=draws)
    return interval_over_days(
        mean,
        means[:, 0],
        weight=np.bincount(days, minlength=judged.n_days),
        calendar=judged.calendar,
        residuals=np.bincount(days, silhouettes - mean, judged.n_days).astype(np.float64),
    )


def _score_draw(
    judged: Judged,
    draw: IntArray,
    clusters: IntArray,
    silhouettes: FloatArray,
    turned: IntArray | None,
) -> dict[str, float]:
    """Scores of the tiles of a sample of days; of the sample of tiles, where that is faster."""
    repeats = draw[judged.days[judged.sample]]
    tiles = np.repeat(judged.sample, repeats)
    pairs = np.repeat(judged.pairs, draw[judged.days[judged.pairs[:, 0]]], axis=0)
    scores = {
        "silhouette": float(np.repeat(silhouettes, repeats).mean()) if len(tiles) else np.nan,
        "davies_bouldin": validity.davies_bouldin(judged.embeddings[tiles], clusters[tiles]),
        "calinski_harabasz": validity.calinski_harabasz(judged.embeddings[tiles], clusters[tiles]),
        "coherence": validity.coherence(clusters, judged.scene, pairs)[0],
    }
    if turned is not None:
        copies = turned[np.repeat(np.arange(len(turned)), draw[judged.turned_days])]
        agreement = validity.turned_agreement(copies)[0] if len(copies) else np.nan
        scores["turned_agreement"] = agreement
    return scores


@dataclass(frozen=True)
class Structure:
    """How compact clusters are beside those of surrogates.

    Attributes:
        silhouette: Mean, and both ends of its 95 % interval over days.
        inertia: Mean squared distance to centroids.
        null_silhouettes: Of each surrogate.
        null_inertias: Likewise.
        n_days: Days judged on.
    """

    silhouette: tuple[float, float, float]
    inertia: float
    null_silhouettes: Sequence[float]
    null_inertias: Sequence[float]
    n_days: int


def try_structure(
    trial: Trial,
    judged: Judged,
    centroids: FloatArray,
    *,
    n_surrogates: int,
    over: Callable[[Compactness, Iterable[int]], Iterable[tuple[float, float]]],
) -> Structure:
    """Clusters of the k that was chosen, on tiles it was not chosen on, and those of surrogates.

    Args:
        trial: That chose k.
        judged: Tiles of yet other days.
        centroids: Of the clusters, (cluster, dimension).
        n_surrogates: Surrogates, which are drawn anew; n of them give a level of 1 / (n + 1).
        over: `map`, or that of an executor.
    """
    clusters, distances = clustering.assign(judged.embeddings, centroids)
    found = pairwise_distances(judged.embeddings[judged.sample])
    silhouettes = validity.silhouettes(found, clusters[judged.sample])
    rng = np.random.default_rng((trial.seed, 2))
    draws = draw_days(judged.n_days, n_draws=N_DAY_DRAWS, rng=rng)
    score = partial(_score_compactness, trial, judged, len(centroids))
    nulls = list(over(score, range(n_surrogates)))
    return Structure(
        silhouette=(float(silhouettes.mean()), *_over_days(silhouettes, judged, draws)),
        inertia=float(np.square(distances, dtype=np.float64).mean()),
        null_silhouettes=[silhouette for silhouette, _ in nulls],
        null_inertias=[inertia for _, inertia in nulls],
        n_days=judged.n_days,
    )


def _score_compactness(trial: Trial, judged: Judged, k: int, number: int) -> tuple[float, float]:
    """Silhouette and inertia of clusters of the surrogate of this number."""
    null = _draw_null(trial, judged, np.random.default_rng((trial.seed, 2, number)))
    centroids = _fit(trial, null.points, k)
    clusters, distances = clustering.assign(null.judged, centroids)
    silhouettes = validity.silhouettes(null.distances, clusters[judged.sample])
    return float(silhouettes.mean()), float(np.square(distances, dtype=np.float64).mean())


def _score(
    embeddings: FloatArray, clusters: IntArray, distances: FloatArray, silhouettes: FloatArray
) -> dict[str, float]:
    return {
        "inertia": float(np.square(distances, dtype=np.float64).mean()),
        "silhouette": float(silhouettes.mean()),
        "davies_bouldin": validity.davies_bouldin(embeddings, clusters),
        "calinski_harabasz": validity.calinski_harabasz(embeddings, clusters),
    }


def _summarise(name: str, values: Sequence[float]) -> dict[str, float]:
    """Mean, least and largest of those that are known."""
    known = [value for value in values if np.isfinite(value)] or [np.nan]
    return {
        name: float(np.mean(known)),
        f"{name}_low": min(known),
        f"{name}_high": max(known),
    }


def _score_nulls(trial: Trial, k: int) -> dict[str, float]:
    """What the scores are where there is nothing but a mean and a covariance."""
    sample = trial.judged.sample
    found: dict[str, list[float]] = {name: [] for name in AGAINST_NULL}
    for number, null in enumerate(trial.nulls):
        centroids = _fit(trial, null.points, k)
        clusters, distances = clustering.assign(null.judged, centroids)
        silhouettes = validity.silhouettes(null.distances, clusters[sample])
        draw = trial.draws[[number % len(trial.draws)]]
        [stability] = _refit(trial, null.points, draw, k, null.judged, clusters, first=number)
        scores = {
            **_score(null.judged, clusters, distances, silhouettes),
            "stability": stability,
        }
        for name in AGAINST_NULL:
            found[name].append(scores[name])
    summaries = [_summarise(f"{name}_null", values) for name, values in found.items()]
    return {name: value for summary in summaries for name, value in summary.items()}


def _fit(trial: Trial, points: FloatArray, k: int) -> FloatArray:
    """Centroids of k-means on points (point, axis), in all dimensions."""
    centroids, _ = kmeans.fit_centroids(
        points, n_clusters=k, n_starts=trial.n_starts, seed=trial.seed
    )
    return np.asarray(trial.axes.inverse_transform(centroids))


def _refit(
    trial: Trial,
    points: FloatArray,
    draws: IntArray,
    k: int,
    judged: FloatArray,
    clusters: IntArray,
    *,
    first: int = 0,
) -> list[float]:
    """Adjusted Rand index of `clusters` and those fitted to the points of each sample of days.

    It is NaN where there is but one day, or where a sample holds fewer different points than
    clusters.

    Source: Hubert and Arabie (1985), doi:10.1007/BF01908075; bootstrap of clusters: Hennig
    (2007), doi:10.1016/j.csda.2006.11.025.
    """
    found = []
    for number, draw in enumerate(draws, start=first):
        weights = draw[trial.days]
        drawn = weights > 0
        if draws.shape[1] < 2 or kmeans.count_distinct(points[drawn], at_most=k) < k:
            found.append(np.nan)
            continue
        centroids, _ = kmeans.fit_centroids(
            points[drawn],
            n_clusters=k,
            n_starts=N_STARTS,
            seed=trial.seed + 1 + number,
            weights=weights[drawn].astype(points.dtype),
        )
        again, _ = clustering.assign(judged, trial.axes.inverse_transform(centroids))
        found.append(float(adjusted_rand_score(clusters, again)))
    return found
