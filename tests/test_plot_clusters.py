import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import cluster, plot_clusters
from pipeline.files import figures as draw
from pipeline.files import stores

PARAMS = plot_clusters.PlotClustersParams(n_examples=4)
FOUND_WITH = cluster.ClusterParams(
    k_min=3,
    k_max=5,
    n_starts=1,
    n_bootstraps=2,
    n_surrogates=2,
    n_verdict_surrogates=19,
    n_sample=1000,
    silhouette_sample=50,
    reference="none",
    seed=0,
)


@pytest.fixture(scope="module")
def clusters(toy_embeddings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clusters with scores, of which the recommended 4 are the textures."""
    folder = tmp_path_factory.mktemp("clusters")
    cluster.run(FOUND_WITH, toy_embeddings, folder / "clusters.zarr", folder / "cluster.json")
    return folder / "clusters.zarr"


def test_every_figure_is_drawn(
    clusters: Path, toy_embeddings: Path, toy_scenes: Path, tmp_path: Path
) -> None:
    plot_clusters.run(PARAMS, toy_embeddings, clusters, toy_scenes, tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dendrogram.png",
        "examples.png",
        "scores.png",
        "splits.png",
    ]


@pytest.mark.parametrize(
    ("measured", "label"),
    [("mean_brightness_temperature", r"\d+\nn = \d+\n\d+ K"), ("mean_brightness", r".*ness \d+\.")],
)
def test_examples_are_the_tiles_nearest_each_centroid(
    measured: str,
    label: str,
    clusters: Path,
    toy_embeddings: Path,
    toy_scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    product = stores.open_product(clusters).load().drop_encoding()
    renamed = product.rename(mean_brightness_temperature=measured)
    stores.write_product(renamed, tmp_path / "clusters.zarr", None)
    sheets: list[tuple[Any, dict[str, Any]]] = []
    for name in ("curves", "dendrogram", "splits"):
        monkeypatch.setattr(draw, name, lambda *_, **__: None)
    monkeypatch.setattr(draw, "tile_sheet", lambda tiles, _, **about: sheets.append((tiles, about)))

    plot_clusters.run(
        PARAMS, toy_embeddings, tmp_path / "clusters.zarr", toy_scenes, tmp_path / "figures"
    )

    [(rows, about)] = sheets
    source, best = stores.open_product(toy_embeddings), product.sel(k=4)
    nearest = [
        np.where(best.cluster == number, best.distance, np.inf).argmin() for number in range(4)
    ]
    expected = stores.cut_embedded_tiles(toy_scenes, source.isel(tile=nearest))
    np.testing.assert_array_equal([row[0] for row in rows], expected)
    assert [len(row) for row in rows] == [PARAMS.n_examples] * 4
    assert all(re.match(label, each, re.DOTALL) for each in about["row_labels"])
