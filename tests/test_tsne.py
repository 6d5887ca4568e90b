import dataclasses
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sklearn.neighbors import KNeighborsClassifier

from pipeline import tsne
from pipeline.files import stores

PARAMS = tsne.TsneParams(n_sample=90, perplexity=8.0, seed=3)


def _run(embeddings: Path, folder: Path) -> xr.Dataset:
    tsne.run(PARAMS, embeddings, folder / "tsne.zarr")
    return stores.open_product(folder / "tsne.zarr").load()


@pytest.fixture(scope="module")
def folder(toy_embeddings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tsne")
    _run(toy_embeddings, path)
    return path


def test_placed_tiles_lie_among_sampled_ones_of_their_texture(
    folder: Path, toy_textures: np.ndarray
) -> None:
    product = stores.open_product(folder / "tsne.zarr").load()
    in_sample, positions = product.in_sample.values, product.position.values

    assert in_sample.sum() == 90
    assert np.isfinite(positions).all()
    classifier = KNeighborsClassifier(3).fit(positions[in_sample], toy_textures[in_sample])
    assert classifier.score(positions[~in_sample], toy_textures[~in_sample]) > 0.95


def test_a_second_run_gives_the_same_positions(
    folder: Path, toy_embeddings: Path, tmp_path: Path
) -> None:
    first = stores.open_product(folder / "tsne.zarr").load()

    xr.testing.assert_identical(_run(toy_embeddings, tmp_path), first)


def test_workers_do_not_change_the_positions(
    folder: Path,
    toy_embeddings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = stores.open_product(folder / "tsne.zarr").load()
    monkeypatch.setenv("TILE2VEC_WORKERS", "3")

    xr.testing.assert_identical(_run(toy_embeddings, tmp_path), first)


def test_blocks_do_not_change_where_tiles_are_placed(
    folder: Path,
    toy_embeddings: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = stores.open_product(folder / "tsne.zarr").load()
    monkeypatch.setattr(tsne, "TILES_PER_BLOCK", 7)

    np.testing.assert_array_equal(_run(toy_embeddings, tmp_path).position, first.position)


def test_a_sample_larger_than_the_tiles_takes_them_all() -> None:
    np.testing.assert_array_equal(tsne.draw_sample(40, PARAMS), np.arange(40))


@pytest.mark.parametrize(
    ("n_tiles", "sentence"),
    [
        (500, r"tsne\.perplexity 40 .* sample of 90 tiles, .* 29\.7 .* raise tsne\.n_sample$"),
        (70, r"tsne\.perplexity 40 .* sample of 70 tiles, .* 23\.0 at most; lower it$"),
    ],
)
def test_a_perplexity_too_large_for_the_sample_is_refused(n_tiles: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tsne.draw_sample(n_tiles, dataclasses.replace(PARAMS, perplexity=40.0))
