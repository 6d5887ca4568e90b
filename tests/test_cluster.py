import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sklearn.metrics import adjusted_rand_score

from pipeline import cluster
from pipeline.files import stores

PARAMS = cluster.ClusterParams(
    k_min=2,
    k_max=6,
    n_starts=2,
    n_bootstraps=3,
    n_surrogates=2,
    n_verdict_surrogates=19,
    n_sample=1000,
    silhouette_sample=50,
    reference="none",
    seed=0,
)


def _run(params: cluster.ClusterParams, embeddings: Path, folder: Path) -> xr.Dataset:
    cluster.run(params, embeddings, folder / "clusters.zarr", folder / "cluster.json")
    return stores.open_product(folder / "clusters.zarr").load()


def _rewrite(embeddings: Path, folder: Path, **variables: object) -> Path:
    changed = stores.open_product(embeddings).load().drop_encoding().assign(variables)
    stores.write_product(changed, folder / "changed.zarr", None)
    return folder / "changed.zarr"


@pytest.fixture(scope="module")
def folder(toy_embeddings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cluster")
    _run(PARAMS, toy_embeddings, path)
    return path


@pytest.fixture
def product(folder: Path) -> xr.Dataset:
    return stores.open_product(folder / "clusters.zarr").load()


def test_the_recommended_clusters_are_the_textures(
    product: xr.Dataset, toy_textures: np.ndarray
) -> None:
    assert product.attrs["recommended_k"] == 4
    assert product.attrs["k_low"] <= 4 <= product.attrs["k_high"]
    assert product.attrs["recommendation"].endswith(
        "judged on tiles of other days than the training days, and the verdict on yet other "
        "scenes of these days"
    )
    assert adjusted_rand_score(product.cluster.sel(k=4), toy_textures) == 1
    means = product.mean_brightness_temperature.sel(k=4)[:4]
    np.testing.assert_allclose(sorted(means.values), [230, 250, 275, 290], atol=1)


def test_the_fewest_clusters_are_in_order_and_more_keep_their_numbers(
    product: xr.Dataset, toy_embeddings: Path
) -> None:
    source = stores.open_product(toy_embeddings).load()
    is_train = source.split.values == "train"
    for k in product.k.values:
        found = product.sel(k=k)
        numbers = found.cluster.values
        assert numbers.min() == 0
        assert numbers.max() == k - 1
        temperatures = [
            source.brightness_temperature.values[is_train & (numbers == number)].mean()
            for number in range(k)
        ]
        np.testing.assert_allclose(found.mean_brightness_temperature[:k], temperatures, rtol=1e-5)
        np.testing.assert_array_equal(found.n_tiles[:k], np.bincount(numbers))
    assert (np.diff(product.mean_brightness_temperature.sel(k=2)[:2]) <= 0).all()
    three, four = (product.cluster.sel(k=k).values[is_train] for k in (3, 4))
    assert np.mean(three == four) > 0.7  # but for the texture that is the fourth cluster


def test_origins_tell_which_cluster_split(product: xr.Dataset, toy_embeddings: Path) -> None:
    is_train = stores.open_product(toy_embeddings).split.values == "train"
    for k in product.k.values[1:]:
        now, before = (product.cluster.sel(k=each).values[is_train] for each in (k, k - 1))
        for number in range(k):
            shares = np.bincount(before[now == number], minlength=k - 1) / (now == number).sum()
            found = product.origin.sel(k=k, number=number).values
            np.testing.assert_allclose(found[: k - 1], shares)
            assert product.parent.sel(k=k, number=number) == shares.argmax()
    assert (product.parent.sel(k=2) == -1).all()
    assert product.joins.shape == (3, 4)


def test_numbers_of_a_reference_are_kept(
    product: xr.Dataset, toy_embeddings: Path, tmp_path: Path
) -> None:
    turned_round = product.assign(cluster=product.k - 1 - product.cluster).drop_encoding()
    stores.write_product(turned_round, tmp_path / "reference.zarr", None)
    params = dataclasses.replace(PARAMS, reference=str(tmp_path / "reference.zarr"), seed=1)

    again = _run(params, toy_embeddings, tmp_path)

    np.testing.assert_array_equal(again.cluster.sel(k=4), turned_round.cluster.sel(k=4))


def test_a_reference_of_other_granules_is_refused(
    product: xr.Dataset, toy_embeddings: Path, tmp_path: Path
) -> None:
    others = [f"other_{granule}" for granule in product.granule.values]
    other = product.assign_coords(granule=("scene_index", others)).drop_encoding()
    stores.write_product(other, tmp_path / "reference.zarr", None)
    params = dataclasses.replace(PARAMS, reference=str(tmp_path / "reference.zarr"))

    with pytest.raises(ValueError, match=r"reference\.zarr holds none of the 128 tiles"):
        _run(params, toy_embeddings, tmp_path)


def test_a_reference_of_other_tile_sizes_is_refused(
    product: xr.Dataset, toy_embeddings: Path, tmp_path: Path
) -> None:
    other = product.assign_coords(tile_size=2 * product.tile_size).drop_encoding()
    stores.write_product(other, tmp_path / "reference.zarr", None)
    params = dataclasses.replace(PARAMS, reference=str(tmp_path / "reference.zarr"))

    with pytest.raises(ValueError, match=r"reference\.zarr is of tiles of \d+ pixels, not of \d+"):
        _run(params, toy_embeddings, tmp_path)


def test_distances_are_those_to_the_nearest_centroid(
    product: xr.Dataset, toy_embeddings: Path
) -> None:
    embeddings = stores.open_product(toy_embeddings).embedding.values
    for k in product.k.values:
        centroids = product.centroid.sel(k=k).values
        assert np.isnan(centroids[k:]).all()
        every = np.linalg.norm(embeddings[:, None] - centroids[:k], axis=2)
        np.testing.assert_allclose(product.distance.sel(k=k), every.min(axis=1), atol=1e-5)
        np.testing.assert_array_equal(product.cluster.sel(k=k), every.argmin(axis=1))


def test_scores_are_those_of_the_other_days(product: xr.Dataset, toy_embeddings: Path) -> None:
    is_judged = product.use.values == "choice of k"
    assert not (is_judged & (stores.open_product(toy_embeddings).split.values == "train")).any()
    squares = np.square(product.distance.values[:, is_judged]).mean(axis=1)

    np.testing.assert_allclose(product.inertia, squares, rtol=1e-4)
    assert (np.diff(product.inertia) < 0).all()


def test_planted_textures_are_stable_and_the_same_when_turned(
    product: xr.Dataset,
) -> None:
    best = product.sel(k=4)
    assert best.stability == pytest.approx(1)
    assert best.turned_agreement == 1
    assert 0.2 < best.turned_agreement_chance < 0.5
    assert best.silhouette > best.silhouette_null_high
    assert np.isnan(best.silhouette_low)  # a few days in a row
    assert abs(best.coherence_gap) < 0.2  # textures lie at random


def test_a_projected_normal_is_a_continuum(
    toy_embeddings: Path, toy_textures: np.ndarray, tmp_path: Path
) -> None:
    rng = np.random.default_rng(9)
    noise = rng.normal(size=(len(toy_textures), 6)) * np.arange(1, 7)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    embeddings = _rewrite(
        toy_embeddings, tmp_path, embedding=(("tile", "dimension"), noise.astype(np.float32))
    )

    product = _run(PARAMS, embeddings, tmp_path)

    assert product.attrs["distinct"] == 0
    assert "a continuum, no distinct clusters" in product.attrs["verdict"]
    metrics = json.loads((tmp_path / "cluster.json").read_text())
    assert metrics["distinct"] is False


def _planted(folder: Path, *, n_clusters: int, n_days: int, per_day: int) -> Path:
    """Embeddings of clusters on the sphere, on days of which half are training days."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(n_clusters, 16))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    day = np.repeat(np.arange(n_days), per_day)
    embedding = centres[rng.integers(n_clusters, size=len(day))]
    embedding = embedding + 0.1 * rng.normal(size=embedding.shape)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    place = np.tile(np.arange(per_day), n_days)
    scattered = xr.Dataset(
        {
            "embedding": (("tile", "dimension"), embedding.astype(np.float32)),
            "brightness": ("tile", rng.random(len(day))),
        },
        coords={
            "scene": ("tile", day),
            "row": ("tile", 0 * place),
            "column": ("tile", 64 * place),
            "latitude": ("tile", 0.1 * place),
            "longitude": ("tile", 0.1 * place),
            "latitude_bounds": (("tile", "vertex"), np.zeros((len(day), 4))),
            "longitude_bounds": (("tile", "vertex"), np.zeros((len(day), 4))),
            "time": ("tile", np.datetime64("2020-01-01", "ns") + day * np.timedelta64(1, "D")),
            "split": ("tile", np.where(day < n_days // 2, "train", "test").astype(object)),
            "granule": ("scene_index", [f"{number}.nc" for number in range(n_days)]),
        },
        attrs={"tile_size": 64, "stride": 64},
    )
    stores.write_product(scattered, folder / "planted.zarr", None)
    return folder / "planted.zarr"


def test_twelve_planted_clusters_are_found_and_distinct(tmp_path: Path) -> None:
    planted = _planted(tmp_path, n_clusters=12, n_days=16, per_day=60)
    params = dataclasses.replace(PARAMS, k_min=9, k_max=15, silhouette_sample=200)
    product = _run(params, planted, tmp_path)
    assert product.attrs["recommended_k"] == 12
    assert product.attrs["k_low"] == 12 <= product.attrs["k_high"]
    assert product.attrs["distinct"] == 1
    assert product.attrs["verdict"].startswith("more than a continuum, reasonable structure: ")
    assert product.attrs["recommendation"].endswith(", and the verdict on yet other days")
    assert (
        "(no interval, since 4 days are worth fewer than two) where 19 sets of"
        in product.attrs["verdict"]
    )


def test_k_is_chosen_and_judged_on_different_days(tmp_path: Path) -> None:
    planted = _planted(tmp_path, n_clusters=3, n_days=16, per_day=20)
    source = stores.open_product(planted).load()
    is_train = source.split.values == "train"
    choosing, testing, _ = cluster._choose_judged_tiles(PARAMS, source, is_train)
    days = source.time.values.astype("M8[D]")
    assert not set(days[choosing]) & set(days[testing])
    assert not (is_train & (choosing | testing)).any()
    assert len(set(days[choosing])) == len(set(days[testing])) == 4


def test_embeddings_without_turned_copies_have_no_agreement(
    toy_embeddings: Path, tmp_path: Path
) -> None:
    source = stores.open_product(toy_embeddings).load().drop_encoding()
    plain = source.drop_vars(["turned_embedding", "turned_tile"])
    stores.write_product(plain, tmp_path / "plain.zarr", None)

    product = _run(PARAMS, tmp_path / "plain.zarr", tmp_path)

    assert "turned_agreement" not in product
    assert product.attrs["recommended_k"] == 4


def test_metrics_are_of_the_recommended_k(folder: Path, product: xr.Dataset) -> None:
    metrics = json.loads((folder / "cluster.json").read_text())

    assert metrics["recommended_k"] == 4
    assert metrics["silhouette"] == pytest.approx(float(product.silhouette.sel(k=4)))
    assert metrics["n_training_tiles"] == 64
    assert metrics["n_choosing_tiles"] == metrics["n_testing_tiles"] == 32


def test_params_and_units_are_written_along(product: xr.Dataset) -> None:
    assert json.loads(product.attrs["parameters"]) == dataclasses.asdict(PARAMS)
    assert product.mean_brightness_temperature.attrs["units"] == "K"
    assert all("long_name" in variable.attrs for variable in product.variables.values())


@pytest.mark.parametrize("n_workers", ["1", "3"])
def test_neither_a_second_run_nor_the_workers_change_the_clusters(
    n_workers: str,
    product: xr.Dataset,
    toy_embeddings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", n_workers)

    xr.testing.assert_identical(_run(PARAMS, toy_embeddings, tmp_path), product)


def test_without_temperatures_clusters_are_numbered_from_dark_to_bright(
    toy_embeddings: Path, toy_textures: np.ndarray, tmp_path: Path
) -> None:
    missing = ("tile", np.full(len(toy_textures), np.nan, np.float32))
    embeddings = _rewrite(toy_embeddings, tmp_path, brightness_temperature=missing)

    product = _run(PARAMS, embeddings, tmp_path)

    assert adjusted_rand_score(product.cluster.sel(k=4), toy_textures) == 1
    assert (np.diff(product.mean_brightness.sel(k=2)[:2]) >= 0).all()
    assert "mean_brightness_temperature" not in product
    assert "dark to bright" in product.attrs["order"]


def test_training_tiles_judge_where_there_are_too_few_others(
    toy_embeddings: Path, toy_textures: np.ndarray, tmp_path: Path
) -> None:
    split = np.where(np.arange(len(toy_textures)) < 6, "validation", "train").astype(object)
    embeddings = _rewrite(toy_embeddings, tmp_path, split=("tile", split))

    product = _run(dataclasses.replace(PARAMS, n_sample=32), embeddings, tmp_path)

    sentence = "judged on training tiles, since there are 6 others only, as is the verdict"
    assert product.attrs["recommendation"].endswith(sentence)
    metrics = json.loads((tmp_path / "cluster.json").read_text())
    assert metrics["n_training_tiles"] == len(toy_textures) - 6
    assert metrics["n_testing_tiles"] == 32


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"k_min": 7}, r"cluster\.k_min 7 is larger than cluster\.k_max 6; lower k_min"),
        ({"n_sample": 5}, r"cluster\.n_sample 5 is smaller than cluster\.k_max 6; raise it"),
        ({"k_max": 65}, r"64 training tiles are too few for cluster\.k_max 65; lower k_max"),
    ],
)
def test_impossible_ranges_of_k_are_refused(
    changes: dict[str, int], sentence: str, toy_embeddings: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=sentence):
        _run(dataclasses.replace(PARAMS, **changes), toy_embeddings, tmp_path)

    assert not any(tmp_path.iterdir())
