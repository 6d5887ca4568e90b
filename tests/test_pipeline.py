"""The whole flow: granules in, every product out, morphologies told apart."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml
from shortcuts import true_morphology
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_architecture import DRAWING, ROOT, products
from tiny_flow import TINY, change_params, digests, prepare, run_stage, stages

from pipeline.core.classification.probe import pixel_statistics
from pipeline.core.synthetic import EQUAL_HISTOGRAM, MORPHOLOGIES
from pipeline.files import stores

Dvc = Callable[..., CompletedProcess[str]]

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

SEEDED = {
    "sample": "data/triplets.zarr",
    "train": "data/encoder",
    "cluster": "data/clusters.zarr",
    "tsne": "data/tsne.zarr",
}
DEMANDED = set(yaml.safe_load((ROOT / "on_demand/dvc.yaml").read_text())["stages"])


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


@pytest.mark.slow("flow")
def test_embedding_sees_organisation_that_histograms_do_not(default_flow: Path) -> None:
    embedding, statistics = _accuracies(default_flow)
    assert embedding >= 0.85
    assert embedding >= statistics + 0.25


@pytest.mark.parametrize(("path", "dimensions"), DATASETS.items())
def test_products_open_in_xarray_with_names_and_units(
    path: str, dimensions: set[str], tiny_flow: Path
) -> None:
    file = tiny_flow / path
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


def test_triplets_open_with_the_dimensions_of_tiles(tiny_flow: Path) -> None:
    for split in ("train", "validation", "test"):
        triplets = xr.open_zarr(tiny_flow / "data/triplets.zarr", group=split)
        assert triplets.tiles.dims == ("triplet", "member", "channel", "row", "column")
        assert triplets.tiles.dtype == np.uint8
        assert triplets.time.dims == ("triplet", "member")


def test_nothing_is_pickled(tiny_flow: Path) -> None:
    names = {path.suffix for path in (tiny_flow / "data/encoder").iterdir()}
    assert names == {".safetensors", ".json"}
    assert not list((tiny_flow / "data").rglob("*.p*kl*"))


@pytest.mark.parametrize("name", [name for name, _ in stages()])
def test_every_stage_leaves_its_products_and_nothing_else(tiny_flow: Path, name: str) -> None:
    for out in products(dict(stages())[name]):
        path = tiny_flow / out
        assert path.exists()
        assert path.is_file() or any(path.iterdir())
        assert not (path.parent / f".{name}").exists()


def test_one_seed_gives_the_same_products(tiny_flow: Path, tmp_path: Path) -> None:
    """Of stages that draw at random, started once more."""
    shutil.copytree(tiny_flow, tmp_path, dirs_exist_ok=True)
    for name, product in SEEDED.items():
        shutil.rmtree(tmp_path / product)
        assert run_stage(tmp_path, dict(stages())[name]["cmd"]) == 0
        assert digests(tmp_path / product) == digests(tiny_flow / product)


@pytest.mark.slow("flow")
def test_night_is_rejected_and_counted(default_flow: Path) -> None:
    metrics = json.loads((default_flow / "data/metrics/ingest.json").read_text())
    assert metrics["rejected"]["night"] > 0
    assert metrics["scenes"] + sum(metrics["rejected"].values()) == metrics["granules"]


@pytest.mark.slow("flow")
def test_a_second_repro_does_nothing(default_flow: Path, dvc: Dvc) -> None:
    result = dvc(default_flow, "repro")
    assert result.returncode == 0
    assert "Running stage" not in result.stdout
    assert "Data and pipelines are up to date" in result.stdout


BAD_INPUT = [
    (
        {"cluster.k_max": 100_000},
        "cluster",
        r"training tiles are too few for cluster\.k_max 100000; lower k_max",
    ),
    ({"tsne.perplexity": "high"}, "tsne", "tsne.perplexity is 'high' in params.yaml"),
    ({"sample.tile_size": 501}, "sample", "tiles of 501 pixels are larger than every scene"),
    ({"ingest.preset": "true_color"}, "ingest", "ingest.preset 'true_color' is unknown"),
]


@pytest.mark.parametrize(("change", "name", "sentence"), BAD_INPUT)
def test_bad_input_ends_in_a_sentence(
    change: dict[str, Any],
    name: str,
    sentence: str,
    tiny_flow: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prepare(tmp_path, {**TINY, **change})
    (tmp_path / "data").symlink_to(tiny_flow / "data")
    entry = dict(stages())[name]
    before = [digests(tiny_flow / out) for out in products(entry)]
    assert run_stage(tmp_path, entry["cmd"]) == 1
    assert [digests(tiny_flow / out) for out in products(entry)] == before
    [line] = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith(f"{name}: ")
    assert re.search(sentence, line)


@pytest.mark.slow("flow")
def test_stages_that_refuse_their_input_leave_the_products_of_the_flow(
    default_flow: Path, dvc: Dvc
) -> None:
    before = (default_flow / "params.yaml").read_text()
    for change, name, sentence in BAD_INPUT[:3]:
        change_params(default_flow, change)
        result = dvc(default_flow, "repro", "--single-item", name)
        (default_flow / "params.yaml").write_text(before)
        assert result.returncode != 0
        [line] = [line for line in result.stderr.splitlines() if line.startswith(f"{name}: ")][-1:]
        assert re.search(sentence, line)
        assert "Traceback" not in result.stderr
    assert "up to date" in dvc(default_flow, "status", "dvc.yaml").stdout


def _stages_to_run(flow: Path, dvc: Dvc) -> set[str]:
    """The stages that `dvc status` names."""
    status = json.loads(dvc(flow, "status", "--json").stdout)
    return {name.rpartition(":")[2] for name in status} - DEMANDED


@pytest.mark.slow("flow")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"plot_clusters.n_examples": 5}, {"plot_clusters"}),
        ({"cluster.n_bootstraps": 11}, {"cluster"}),
        ({"ingest.presets.day_microphysics.max_solar_zenith": 80.0}, {"ingest"}),
        (
            {
                "fetch.goes.satellite": 18,
                "ingest.presets.true_colour.physics": "Blue is the sea.",
                "train.recipes.from_weights.n_epochs": 9,
            },
            set(),
        ),
    ],
)
def test_a_parameter_reruns_what_it_can_change(
    change: dict[str, Any], expected: set[str], default_flow: Path, dvc: Dvc
) -> None:
    before = (default_flow / "params.yaml").read_text()
    change_params(default_flow, change)
    found = _stages_to_run(default_flow, dvc)
    (default_flow / "params.yaml").write_text(before)
    assert found == expected


@pytest.mark.slow("flow")
def test_no_figures_module_reruns_a_stage_that_fits_embeds_or_clusters(
    default_flow: Path, dvc: Dvc
) -> None:
    modules = list((default_flow / "pipeline/files/figures").glob("*.py"))
    before = {module: module.read_text() for module in modules}
    for module, text in before.items():
        module.write_text(text + "# a comment\n")
    found = _stages_to_run(default_flow, dvc)
    for module, text in before.items():
        module.write_text(text)
    assert found == DRAWING - DEMANDED
