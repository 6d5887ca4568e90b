"""The whole flow: granules in, every product out, morphologies told apart."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import xarray as xr
from shortcuts import true_morphology
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.core.classification.probe import pixel_statistics
from pipeline.core.synthetic import EQUAL_HISTOGRAM, MORPHOLOGIES
from pipeline.files import stores

Dvc = Callable[..., CompletedProcess[str]]
SetParams = Callable[[Path, Mapping[str, Any]], None]

DATASETS = {
    "data/granules/manifest.nc": {"file"},
    "data/scenes.zarr": {"scene", "channel", "row", "column"},
    "data/triplets.zarr": {"scene"},
    "data/embeddings.zarr": {"tile", "dimension", "scene", "vertex"},
    "data/clusters.zarr": {"k", "tile", "number", "dimension"},
    "data/tsne.zarr": {"tile", "axis"},
    "data/audit/audit.nc": {"representation", "explained_by", "k", "component"},
    "data/climatology/month_equal_area.nc": {"time", "cluster", "latitude", "longitude"},
    "data/climatology/diurnal_cycle.nc": {"cluster", "local_solar_time"},
    "data/composites/composites.nc": {"cluster"},
    "data/dense/dense.nc": {"row", "column"},
    "data/nearest/nearest.nc": {"query", "rank"},
    "data/paths/paths.nc": {"path", "step"},
    "data/classifier/scores.nc": {"classifier", "fold", "metric"},
}


def _accuracies(flow: Path) -> tuple[float, float]:
    """k-NN accuracy on the equal-histogram morphologies of the test days.

    Returns:
        That of embeddings and that of pixel statistics, by the same classifier.
    """
    embeddings = stores.open_product(flow / "data/embeddings.zarr").load()
    codes = true_morphology(embeddings, flow / "data/granules/truth")
    equal = np.isin(codes, [MORPHOLOGIES.index(name) for name in EQUAL_HISTOGRAM])
    embeddings, codes = embeddings.isel(tile=equal), codes[equal]
    train, test = embeddings.split.values == "train", embeddings.split.values == "test"
    assert min(train.sum(), test.sum()) > 50
    statistics = pixel_statistics(stores.cut_embedded_tiles(flow / "data/scenes.zarr", embeddings))
    accuracies = []
    for features in (embeddings.embedding.values, statistics):
        classifier = make_pipeline(StandardScaler(), KNeighborsClassifier(15))
        classifier.fit(features[train], codes[train])
        accuracies.append(float(classifier.score(features[test], codes[test])))
    return accuracies[0], accuracies[1]


@pytest.mark.parametrize("name", ["small_flow", "default_flow"])
def test_embedding_sees_organisation_that_histograms_do_not(
    name: str, request: pytest.FixtureRequest
) -> None:
    embedding, statistics = _accuracies(request.getfixturevalue(name))
    assert embedding >= 0.85
    assert embedding >= statistics + 0.25


@pytest.mark.parametrize(("path", "dimensions"), DATASETS.items())
def test_products_open_in_xarray_with_names_and_units(
    path: str, dimensions: set[str], default_flow: Path
) -> None:
    file = default_flow / path
    product = xr.open_zarr(file) if file.suffix == ".zarr" else xr.open_dataset(file)
    assert set(map(str, product.sizes)) >= dimensions
    assert json.loads(product.attrs["parameters"])
    assert product.attrs["title"]
    for name, variable in product.data_vars.items():
        without_units = str(name).endswith("_bounds") or "grid_mapping_name" in variable.attrs
        if variable.dtype.kind in "fiu" and not without_units:
            has_units = "units" in variable.attrs or "flag_values" in variable.attrs
            assert has_units, f"{name} of {path}"
            assert {"long_name", "standard_name"} & set(variable.attrs), f"{name} of {path}"


def test_triplets_open_with_the_dimensions_of_tiles(default_flow: Path) -> None:
    for split in ("train", "validation", "test"):
        triplets = xr.open_zarr(default_flow / "data/triplets.zarr", group=split)
        assert triplets.tiles.dims == ("triplet", "member", "channel", "row", "column")
        assert triplets.tiles.dtype == np.uint8
        assert triplets.time.dims == ("triplet", "member")


def test_nothing_is_pickled(default_flow: Path) -> None:
    names = {path.suffix for path in (default_flow / "data/encoder").iterdir()}
    assert names == {".safetensors", ".json"}
    assert not list((default_flow / "data").rglob("*.p*kl*"))


def test_night_is_rejected_and_counted(default_flow: Path) -> None:
    metrics = json.loads((default_flow / "data/metrics/ingest.json").read_text())
    assert metrics["rejected"]["night"] > 0
    assert metrics["scenes"] + sum(metrics["rejected"].values()) == metrics["granules"]


def test_a_second_repro_does_nothing(small_flow: Path, dvc: Dvc) -> None:
    result = dvc(small_flow, "repro")
    assert result.returncode == 0
    assert "Running stage" not in result.stdout
    assert "Data and pipelines are up to date" in result.stdout


@pytest.mark.parametrize(
    ("change", "stage", "sentence"),
    [
        (
            {"cluster.k_max": 100_000},
            "cluster",
            r"training tiles are too few for cluster\.k_max 100000; lower k_max",
        ),
        ({"tsne.perplexity": "high"}, "tsne", "tsne.perplexity is 'high' in params.yaml"),
        ({"sample.tile_size": 501}, "sample", "tiles of 501 pixels are larger than every scene"),
        ({"ingest.preset": "true_color"}, "ingest", "ingest.preset 'true_color' is unknown"),
    ],
)
def test_bad_input_ends_in_a_sentence_and_leaves_products(
    change: dict[str, Any],
    stage: str,
    sentence: str,
    small_flow: Path,
    dvc: Dvc,
    set_params: SetParams,
) -> None:
    before = (small_flow / "params.yaml").read_text()
    set_params(small_flow, change)
    result = dvc(small_flow, "repro", "--single-item", stage)
    (small_flow / "params.yaml").write_text(before)
    assert result.returncode != 0
    [line] = [line for line in result.stderr.splitlines() if line.startswith(f"{stage}: ")][-1:]
    assert sentence.replace("\\", "") in line
    assert "Traceback" not in result.stderr
    assert "up to date" in dvc(small_flow, "status", "dvc.yaml").stdout


def test_a_parameter_reruns_what_depends_on_it_alone(
    small_flow: Path, dvc: Dvc, set_params: SetParams
) -> None:
    set_params(small_flow, {"cluster.n_examples": 5})
    result = dvc(small_flow, "repro")
    assert result.returncode == 0
    running = [
        line.split("'")[1] for line in result.stdout.splitlines() if line.startswith("Running")
    ]
    assert set(running) == {
        "audit",
        "cluster",
        "composite",
        "freeze",
        "grid_clusters",
        "interpolate",
        "map_clusters",
        "map_granule",
        "report",
        "retrieve",
        "tsne",
    }
