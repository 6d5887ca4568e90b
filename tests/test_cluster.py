import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline import cluster
from pipeline.files import stores

PARAMS = cluster.ClusterParams(
    k_min=2, k_max=6, n_starts=2, n_seeds=3, silhouette_sample=25, n_examples=5, seed=0
)


def _run(params: cluster.ClusterParams, embeddings: Path, scenes: Path, folder: Path) -> xr.Dataset:
    outs = [folder / "clusters.zarr", folder / "figures", folder / "cluster.json"]
    cluster.run(params, embeddings, scenes, *outs)
    return stores.open_product(outs[0]).load()


def _rewrite(embeddings: Path, folder: Path, **variables: object) -> Path:
    changed = stores.open_product(embeddings).load().drop_encoding().assign(variables)
    stores.write_product(changed, folder / "changed.zarr", None)
    return folder / "changed.zarr"


@pytest.fixture(scope="module")
def folder(
    toy_embeddings: Path, toy_scenes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("cluster")
    _run(PARAMS, toy_embeddings, toy_scenes, path)
    return path


@pytest.fixture
def product(folder: Path) -> xr.Dataset:
    return stores.open_product(folder / "clusters.zarr").load()


def test_the_recommended_clusters_are_the_textures_from_warm_to_cold(
    product: xr.Dataset, toy_textures: np.ndarray
) -> None:
    assert product.attrs["recommended_k"] == 4
    assert product.attrs["recommendation"].endswith("judged on validation tiles")
    warm_to_cold = np.array([1, 3, 2, 0])  # textures of 290, 275, 250 and 230 K
    np.testing.assert_array_equal(warm_to_cold[product.cluster.sel(k=4)], toy_textures)
    means = product.mean_brightness_temperature.sel(k=4)[:4]
    np.testing.assert_allclose(means, [290, 275, 250, 230], atol=1)


def test_every_k_has_its_clusters_in_order(product: xr.Dataset, toy_embeddings: Path) -> None:
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
        assert (np.diff(temperatures) <= 0).all()
        np.testing.assert_allclose(found.mean_brightness_temperature[:k], temperatures, rtol=1e-5)
        np.testing.assert_array_equal(found.n_tiles[:k], np.bincount(numbers))


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


def test_inertia_is_that_of_training_tiles_and_falls(
    product: xr.Dataset, toy_embeddings: Path
) -> None:
    is_train = stores.open_product(toy_embeddings).split.values == "train"
    squares = np.square(product.distance.values[:, is_train]).sum(axis=1)

    np.testing.assert_allclose(product.inertia, squares, rtol=1e-4)
    assert (np.diff(product.inertia) < 0).all()


def test_metrics_and_figures_are_of_the_recommended_k(folder: Path, product: xr.Dataset) -> None:
    metrics = json.loads((folder / "cluster.json").read_text())

    assert metrics["recommended_k"] == 4
    assert metrics["silhouette"] == pytest.approx(float(product.silhouette.sel(k=4)))
    assert metrics["n_training_tiles"] == 64
    assert metrics["n_judged_tiles"] == 32
    assert sorted(path.name for path in (folder / "figures").iterdir()) == [
        "examples.png",
        "scores.png",
    ]


def test_params_and_units_are_written_along(product: xr.Dataset) -> None:
    assert json.loads(product.attrs["parameters"]) == dataclasses.asdict(PARAMS)
    assert product.mean_brightness_temperature.attrs["units"] == "K"
    assert all("long_name" in variable.attrs for variable in product.variables.values())


@pytest.mark.parametrize("n_workers", ["1", "3"])
def test_neither_a_second_run_nor_the_workers_change_the_clusters(
    n_workers: str,
    product: xr.Dataset,
    toy_embeddings: Path,
    toy_scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", n_workers)

    xr.testing.assert_identical(_run(PARAMS, toy_embeddings, toy_scenes, tmp_path), product)


def test_without_temperatures_clusters_are_numbered_from_dark_to_bright(
    toy_embeddings: Path, toy_scenes: Path, toy_textures: np.ndarray, tmp_path: Path
) -> None:
    missing = ("tile", np.full(len(toy_textures), np.nan, np.float32))
    embeddings = _rewrite(toy_embeddings, tmp_path, brightness_temperature=missing)

    product = _run(PARAMS, embeddings, toy_scenes, tmp_path)

    # Brightness falls with temperature here, so dark to bright is warm to cold again.
    np.testing.assert_array_equal(np.array([1, 3, 2, 0])[product.cluster.sel(k=4)], toy_textures)
    assert (np.diff(product.mean_brightness.sel(k=6)) >= 0).all()
    assert "mean_brightness_temperature" not in product
    assert product.attrs["order"].endswith("dark to bright")


def test_training_tiles_judge_where_there_are_too_few_validation_tiles(
    toy_embeddings: Path, toy_scenes: Path, toy_textures: np.ndarray, tmp_path: Path
) -> None:
    split = np.where(np.arange(len(toy_textures)) < 6, "validation", "train").astype(object)
    embeddings = _rewrite(toy_embeddings, tmp_path, split=("tile", split))

    product = _run(PARAMS, embeddings, toy_scenes, tmp_path)

    sentence = "judged on training tiles, since there are 6 validation tiles only"
    assert product.attrs["recommendation"].endswith(sentence)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"k_min": 7}, r"cluster\.k_min 7 is larger than cluster\.k_max 6; lower k_min"),
        ({"k_max": 65}, r"64 training tiles are too few for cluster\.k_max 65; lower k_max"),
    ],
)
def test_impossible_ranges_of_k_are_refused(
    changes: dict[str, int], sentence: str, toy_embeddings: Path, toy_scenes: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=sentence):
        _run(dataclasses.replace(PARAMS, **changes), toy_embeddings, toy_scenes, tmp_path)

    assert not any(tmp_path.iterdir())
