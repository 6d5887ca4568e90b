import numpy as np
import pytest

from pipeline.core import kmeans, trial, validity

NO_PAIRS = np.empty((0, 2), np.int64)
NO_DAYS = np.empty(0, np.int64)

N_DAYS, PER_DAY = 16, 100


def _project(points: np.ndarray) -> np.ndarray:
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def _judged(
    embeddings: np.ndarray, days: np.ndarray, *, n_sample: int = 400, is_training: bool = False
) -> trial.Judged:
    sample = np.arange(min(n_sample, len(embeddings)))
    calendar = 30 * np.arange(int(days.max()) + 1)
    return trial.Judged(
        embeddings, days, calendar, days, NO_PAIRS, sample, None, NO_DAYS, is_training=is_training
    )


def _days() -> np.ndarray:
    return np.repeat(np.arange(N_DAYS), PER_DAY)


def _prepare(
    embeddings: np.ndarray, days: np.ndarray, judged: trial.Judged, *, seed: int = 0
) -> trial.Trial:
    return trial.prepare_trial(
        embeddings,
        np.datetime64("2020-01-01", "ns") + days * np.timedelta64(1, "D"),
        judged,
        n_sample=1000,
        n_bootstraps=4,
        n_surrogates=3,
        n_starts=2,
        seed=seed,
    )


def _try(
    embeddings: np.ndarray, k: int, *, seed: int = 0
) -> tuple[dict[str, float | np.ndarray], bool]:
    """Scores of clusters fitted to half of the days, and whether they are distinct.

    Scores are of a quarter of the days, the verdict of another.
    """
    days = _days()
    train, choosing, testing = days < 8, (days >= 8) & (days < 12), days >= 12
    prepared = _prepare(
        embeddings[train],
        days[train],
        _judged(embeddings[choosing], days[choosing] - 8),
        seed=seed,
    )
    centroids, _ = kmeans.fit_centroids(embeddings[train], n_clusters=k, n_starts=2, seed=0)
    scores = trial.try_clusters(prepared, centroids)
    judged = _judged(embeddings[testing], days[testing] - 12)
    return scores, _is_distinct(prepared, judged, centroids)


def _is_distinct(prepared: trial.Trial, judged: trial.Judged, centroids: np.ndarray) -> bool:
    found = trial.try_structure(prepared, judged, centroids, n_surrogates=19, over=map)
    return validity.judge(
        len(centroids),
        found.silhouette,
        found.inertia,
        found.null_silhouettes,
        found.null_inertias,
        n_days=found.n_days,
    )[0]


def _planted(n_clusters: int, n_dimensions: int, rng: np.random.Generator) -> np.ndarray:
    centres = _project(rng.normal(size=(n_clusters, n_dimensions)))
    clusters = rng.integers(0, n_clusters, N_DAYS * PER_DAY)
    return _project(centres[clusters] + 0.1 * rng.normal(size=(len(clusters), n_dimensions)))


def test_planted_clusters_are_stable_and_beyond_the_null() -> None:
    scores, is_distinct = _try(_planted(5, 8, np.random.default_rng(1)), k=5)
    assert scores["stability"] > 0.99
    assert scores["stability_null"] < 0.8
    assert scores["silhouette_low"] < scores["silhouette"] < scores["silhouette_high"]
    assert scores["inertia"] == pytest.approx(0.07, rel=0.1)  # noise across the radius
    assert is_distinct


def test_fourteen_planted_clusters_are_found_in_every_sample_of_days() -> None:
    """One start of k-means ends in a local minimum in half of the samples: 0.91 to 0.95."""
    scores, _ = _try(_planted(14, 16, np.random.default_rng(2)), k=14)
    assert scores["stability_low"] > 0.99


@pytest.mark.parametrize("k", [2, 5, 12])
def test_a_projected_normal_scores_as_its_surrogates_do(k: int) -> None:
    rng = np.random.default_rng(2)
    points = _project(rng.normal(size=(N_DAYS * PER_DAY, 8)) * np.linspace(1, 3, 8))
    scores, is_distinct = _try(points, k=k)
    for name in ("inertia", "davies_bouldin", "calinski_harabasz"):
        assert scores[name] == pytest.approx(scores[f"{name}_null"], rel=0.1)
    assert scores["silhouette"] == pytest.approx(scores["silhouette_null"], abs=0.02)
    assert not is_distinct


CONTINUA = {
    "circle": np.ones(2),
    "sphere": np.ones(3),
    "sphere in four dimensions": np.ones(4),
    "anisotropic": np.array([0.72, 0.52, 0.37, 0.22, 0.08, 0.05, 0.03, 0.01]),
    "very anisotropic": np.array([1.0, 0.5, 0.1]),
}


@pytest.mark.slow("many")
@pytest.mark.parametrize("name", CONTINUA)
def test_continua_on_the_sphere_are_told_as_such(name: str) -> None:
    deviations, n_seeds = CONTINUA[name], 100
    distinct = 0
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        points = _project(rng.normal(size=(300, len(deviations))) * deviations)
        days = np.repeat(np.arange(6), 50)
        train = days < 3
        prepared = _prepare(points[train], days[train], _judged(points[train], days[train]))
        centroids, _ = kmeans.fit_centroids(points[train], n_clusters=9, n_starts=2, seed=0)
        distinct += _is_distinct(prepared, _judged(points[~train], days[~train] - 3), centroids)
    assert distinct <= 5


def test_clusters_of_single_days_are_not_stable() -> None:
    rng = np.random.default_rng(3)
    of_day = np.repeat(3 * rng.normal(size=(N_DAYS, 8)), PER_DAY, axis=0)
    scores, _ = _try(_project(of_day + rng.normal(size=of_day.shape)), k=5)
    assert scores["stability"] < 0.9
    assert scores["silhouette_high"] - scores["silhouette_low"] > 0.05


def test_a_continuum_judged_on_what_was_fitted_is_one_too() -> None:
    distinct = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        embeddings = _project(rng.normal(size=(200, 3)))
        days = np.repeat(np.arange(4), 50)
        judged = _judged(embeddings, days, is_training=True)
        prepared = _prepare(embeddings, days, judged, seed=seed)
        centroids, _ = kmeans.fit_centroids(embeddings, n_clusters=12, n_starts=2, seed=0)
        distinct.append(_is_distinct(prepared, judged, centroids))
    assert sum(distinct) <= 1


def test_with_one_day_there_is_neither_interval_nor_stability() -> None:
    rng = np.random.default_rng(4)
    embeddings, days = _project(rng.normal(size=(100, 3))), np.zeros(100, np.int64)
    judged = _judged(embeddings, days, is_training=True)
    prepared = _prepare(embeddings, days, judged)
    scores = trial.try_clusters(prepared, embeddings[:4])
    assert np.isnan(
        [scores["silhouette_low"], scores["silhouette_high"], scores["stability"]]
    ).all()
    assert not _is_distinct(prepared, judged, embeddings[:4])


def test_samples_of_days_with_too_few_tiles_are_left_out() -> None:
    rng = np.random.default_rng(5)
    embeddings = _project(rng.normal(size=(31, 3)))
    days = np.repeat(np.arange(3), [11, 10, 10])
    prepared = _prepare(embeddings, days, _judged(embeddings, days, is_training=True))
    scores = trial.try_clusters(prepared, embeddings[:30])
    assert np.isfinite(scores["inertia"])
    assert np.isfinite(scores["stability"])  # of the samples that hold all three days


def test_scores_of_samples_of_days_scatter_around_those_of_all() -> None:
    scores, _ = _try(_planted(5, 8, np.random.default_rng(6)), k=5)
    for name in ("silhouette", "davies_bouldin", "calinski_harabasz"):
        drawn = scores[f"{name}_drawn"]
        assert drawn.shape == (trial.N_K_DRAWS,)
        assert 0 < drawn.std() < 0.3 * drawn.mean()
    assert scores["silhouette_drawn"].mean() == pytest.approx(scores["silhouette"], rel=0.05)
