"""Clusters of one k put on trial: on other days, over samples of days, and against surrogates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score, pairwise_distances

from pipeline.core import clustering, kmeans, validity
from pipeline.core.bootstrap import bootstrap_means, draw_days, mean_interval, number_days

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

AGAINST_NULL = ("inertia", "silhouette", "davies_bouldin", "calinski_harabasz", "stability")


@dataclass(frozen=True)
class Judged:
    """Tiles that clusters are judged on; arrays begin with the dimension tile.

    Attributes:
        embeddings: Shape (tile, dimension).
        days: As of `number_days`, shape (tile,).
        scene: Of each tile, shape (tile,).
        pairs: Touching tiles, shape (pair, 2).
        sample: Indices of those whose silhouettes are computed.
        turned: Copies of some tiles, shape (turned, orientation, dimension), or None.
        is_training: Whether they are training tiles, for want of others.
    """

    embeddings: FloatArray
    days: IntArray
    scene: IntArray
    pairs: IntArray
    sample: IntArray
    turned: FloatArray | None
    is_training: bool


@dataclass(frozen=True)
class Null:
    """Points drawn from a surrogate.

    Attributes:
        points: To be fitted to, shape (point, dimension).
        judged: Tiles' counterparts that clusters are judged on, shape (point, dimension).
        distances: Between those of the sample, shape (sample, sample).
    """

    points: FloatArray
    judged: FloatArray
    distances: FloatArray


@dataclass(frozen=True)
class Trial:
    """What clusters of any k are fitted on and judged by.

    Attributes:
        train: Training embeddings, shape (tile, dimension).
        sample: Indices of the training tiles that bootstrap samples are drawn from.
        sample_days: Their days.
        draws: How often each training day is in each bootstrap sample, shape (draw, day).
        judged: Tiles of other days.
        judged_draws: Likewise for the days of `judged`.
        distances: Between the tiles of `judged.sample`, shape (sample, sample).
        surrogates: Data sets without clusters, with the mean and covariance of the tiles.
        n_starts: Of k-means for the surrogates, of which the best is kept.
        seed: Of k-means.
    """

    train: FloatArray
    sample: IntArray
    sample_days: IntArray
    draws: IntArray
    judged: Judged
    judged_draws: IntArray
    distances: FloatArray
    surrogates: Sequence[Null]
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
    """The trial of the clusters of `train`; one seed gives the same draws and surrogates.

    Surrogates have days of their own, as different from each other as those of the tiles are.
    They are judged on points of other days, or where tiles are judged on what clusters were
    fitted to, on the points fitted to.
    """
    rng = np.random.default_rng((seed, 1))  # the stage draws its tiles by the seed alone
    sample = np.sort(rng.choice(len(train), min(n_sample, len(train)), replace=False))
    days = number_days(train_times)
    surrogate = validity.Surrogate(train[sample], days[sample])

    def draw_surrogate() -> Null:
        points = surrogate.draw(days[sample], rng)
        if judged.is_training:
            n_judged = len(judged.embeddings)
            drawn = rng.choice(len(points), n_judged, replace=n_judged > len(points))
            others = points[drawn]
        else:
            others = surrogate.draw(judged.days, rng)
        return Null(points, others, pairwise_distances(others[judged.sample]))

    return Trial(
        train=train,
        sample=sample,
        sample_days=days[sample],
        draws=draw_days(int(days.max()) + 1, n_draws=n_bootstraps, rng=rng),
        judged=judged,
        judged_draws=draw_days(int(judged.days.max()) + 1, n_draws=200, rng=rng),
        distances=pairwise_distances(judged.embeddings[judged.sample]),
        surrogates=[draw_surrogate() for _ in range(n_surrogates)],
        n_starts=n_starts,
        seed=seed,
    )


def try_clusters(trial: Trial, centroids: FloatArray) -> dict[str, float]:
    """Scores of the clusters of centroids (cluster, dimension).

    The scores are those of `validity.SCORES`, of the tiles judged. Beside them stand `…_low` and
    `…_high`, of the silhouette the 95 % interval over days, of the stability the least and the
    largest of the samples of days; `…_null`, the mean of the surrogates, with `…_null_low` and
    `…_null_high`, the least and the largest; and `…_chance`.
    """
    judged, k = trial.judged, len(centroids)
    clusters, distances = clustering.assign(judged.embeddings, centroids)
    silhouettes = validity.silhouettes(trial.distances, clusters[judged.sample])
    days = judged.days[judged.sample]
    over_days = bootstrap_means(
        silhouettes, np.zeros_like(days), days, n_groups=1, draws=trial.judged_draws
    )
    mean = float(silhouettes.mean())
    low, high = mean_interval(mean, over_days[:, 0], trial.judged_draws.shape[1])
    stabilities = _refit(
        trial, trial.train[trial.sample], trial.draws, k, judged.embeddings, clusters
    )
    scores = {
        **_score(judged.embeddings, clusters, distances, silhouettes),
        "silhouette_low": low,
        "silhouette_high": high,
        **_summarise("stability", stabilities),
        **_score_surrogates(trial, k),
    }
    observed, by_chance = validity.coherence(clusters, judged.scene, judged.pairs)
    scores |= {"coherence": observed, "coherence_chance": by_chance}
    if judged.turned is not None:
        copies = judged.turned.reshape(-1, judged.turned.shape[-1])
        turned = clustering.assign(copies, centroids)[0].reshape(judged.turned.shape[:2])
        observed, by_chance = validity.turned_agreement(turned)
        scores |= {"turned_agreement": observed, "turned_agreement_chance": by_chance}
    return scores


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


def _score_surrogates(trial: Trial, k: int) -> dict[str, float]:
    """What the scores are where there is nothing but a mean and a covariance."""
    sample = trial.judged.sample
    found: dict[str, list[float]] = {name: [] for name in AGAINST_NULL}
    for number, null in enumerate(trial.surrogates):
        centroids, _ = kmeans.fit_centroids(
            null.points, n_clusters=k, n_starts=trial.n_starts, seed=trial.seed
        )
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
        weights = draw[trial.sample_days]
        drawn = weights > 0
        if draws.shape[1] < 2 or kmeans.count_distinct(points[drawn], at_most=k) < k:
            found.append(np.nan)
            continue
        centroids, _ = kmeans.fit_centroids(
            points[drawn],
            n_clusters=k,
            n_starts=1,
            seed=trial.seed + 1 + number,
            weights=weights[drawn].astype(points.dtype),
        )
        found.append(float(adjusted_rand_score(clusters, clustering.assign(judged, centroids)[0])))
    return found
