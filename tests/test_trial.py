import numpy as np
import pytest

from pipeline.core import kmeans, trial, validity
from pipeline.core.bootstrap import number_days

N_DAYS, PER_DAY = 12, 100


def _prepare(embeddings: np.ndarray, times: np.ndarray) -> trial.Trial:
    is_train = number_days(times) < N_DAYS // 2
    judged = trial.Judged(
        embeddings=embeddings[~is_train],
        days=number_days(times[~is_train]),
        scene=number_days(times[~is_train]),
        pairs=np.empty((0, 2), np.int64),
        sample=np.arange(500),
        turned=None,
        is_training=False,
    )
    return trial.prepare_trial(
        embeddings[is_train],
        times[is_train],
        judged,
        n_sample=1000,
        n_bootstraps=5,
        n_surrogates=3,
        n_starts=3,
        seed=0,
    )


def _times() -> np.ndarray:
    days = np.datetime64("2020-01-01") + np.arange(N_DAYS).astype("timedelta64[D]")
    return np.repeat(days, PER_DAY).astype("datetime64[ns]")


def _try(embeddings: np.ndarray, k: int) -> dict[str, float]:
    prepared = _prepare(embeddings.astype(np.float32), _times())
    centroids, _ = kmeans.fit_centroids(prepared.train, n_clusters=k, n_starts=3, seed=0)
    return trial.try_clusters(prepared, centroids)


def _judge(scores: dict[str, float]) -> bool:
    nulls = {
        name: [scores[f"{name}_null_low"], scores[f"{name}_null_high"]]
        for name in ("silhouette", "inertia")
    }
    silhouette = [scores[f"silhouette{ending}"] for ending in ("", "_low", "_high")]
    return validity.judge(
        5, silhouette, scores["inertia"], nulls, n_days=N_DAYS // 2, n_surrogates=3
    )[0]


def test_planted_clusters_are_stable_and_beyond_the_null() -> None:
    rng = np.random.default_rng(1)
    clusters = rng.integers(0, 5, N_DAYS * PER_DAY)
    scores = _try(5 * np.eye(5, 8)[clusters] + rng.normal(size=(len(clusters), 8)), k=5)
    assert scores["stability"] > 0.9
    assert scores["stability_null"] < 0.8
    assert scores["silhouette_low"] < scores["silhouette"] < scores["silhouette_high"]
    assert scores["inertia"] == pytest.approx(8, rel=0.05)  # the noise in 8 dimensions
    assert _judge(scores)


@pytest.mark.parametrize("k", [2, 5, 12])
def test_a_gaussian_scores_as_its_surrogates_do(k: int) -> None:
    rng = np.random.default_rng(2)
    scores = _try(rng.normal(size=(N_DAYS * PER_DAY, 8)) * np.linspace(1, 3, 8), k=k)
    for name in ("inertia", "davies_bouldin", "calinski_harabasz"):
        assert scores[name] == pytest.approx(scores[f"{name}_null"], rel=0.1)
    assert scores["silhouette"] == pytest.approx(scores["silhouette_null"], abs=0.02)
    assert not _judge(scores)


def test_clusters_of_single_days_are_not_stable() -> None:
    rng = np.random.default_rng(3)
    of_day = np.repeat(10 * rng.normal(size=(N_DAYS, 8)), PER_DAY, axis=0)
    scores = _try(of_day + rng.normal(size=of_day.shape), k=5)
    assert scores["stability"] < 0.9
    assert scores["silhouette_high"] - scores["silhouette_low"] > 0.05


def test_a_gaussian_judged_on_what_was_fitted_is_a_continuum_too() -> None:
    distinct = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        embeddings = rng.normal(size=(200, 2)).astype(np.float32)
        days = np.repeat(np.arange(4), 50)
        times = np.datetime64("2020-01-01", "ns") + days * np.timedelta64(1, "D")
        judged = trial.Judged(
            embeddings=embeddings,
            days=days,
            scene=days,
            pairs=np.empty((0, 2), np.int64),
            sample=np.arange(200),
            turned=None,
            is_training=True,
        )
        prepared = trial.prepare_trial(
            embeddings,
            times,
            judged,
            n_sample=1000,
            n_bootstraps=2,
            n_surrogates=5,
            n_starts=2,
            seed=seed,
        )
        centroids, _ = kmeans.fit_centroids(embeddings, n_clusters=12, n_starts=2, seed=0)
        distinct.append(_judge(trial.try_clusters(prepared, centroids)))
    assert sum(distinct) <= 1


def test_with_one_day_there_is_neither_interval_nor_stability() -> None:
    rng = np.random.default_rng(4)
    embeddings = rng.normal(size=(100, 3)).astype(np.float32)
    days = np.zeros(100, np.int64)
    judged = trial.Judged(
        embeddings, days, days, np.empty((0, 2), np.int64), np.arange(100), None, True
    )
    prepared = trial.prepare_trial(
        embeddings,
        np.full(100, np.datetime64("2020-01-01", "ns")),
        judged,
        n_sample=100,
        n_bootstraps=2,
        n_surrogates=2,
        n_starts=1,
        seed=0,
    )
    scores = trial.try_clusters(prepared, embeddings[:4])
    assert np.isnan(
        [scores["silhouette_low"], scores["silhouette_high"], scores["stability"]]
    ).all()
    assert not _judge(scores)


def test_samples_of_days_with_too_few_tiles_are_left_out() -> None:
    rng = np.random.default_rng(5)
    embeddings = rng.normal(size=(31, 3)).astype(np.float32)
    days = np.repeat(np.arange(3), [11, 10, 10])
    judged = trial.Judged(
        embeddings, days, days, np.empty((0, 2), np.int64), np.arange(31), None, True
    )
    prepared = trial.prepare_trial(
        embeddings,
        np.datetime64("2020-01-01", "ns") + days * np.timedelta64(1, "D"),
        judged,
        n_sample=100,
        n_bootstraps=4,
        n_surrogates=2,
        n_starts=1,
        seed=0,
    )
    scores = trial.try_clusters(prepared, embeddings[:30])
    assert np.isfinite(scores["inertia"])
    assert scores["stability"] == 1  # of the samples that hold all three days
