import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from pipeline.core import embedding, search
from pipeline.core.search import ApproximateIndex


def _continuum(n_tiles: int, *, seed: int = 0) -> np.ndarray:
    """Embeddings of unit length in which a few latent quantities vary smoothly."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n_tiles, 6)) @ rng.normal(size=(6, 32))
    vectors = np.tanh(latent / 3) + 0.1 * rng.normal(size=(n_tiles, 32))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32)


def _compare_all(
    embeddings: np.ndarray, points: np.ndarray, n_nearest: int, own: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    distances = cdist(points, embeddings)
    distances[own[:, None] == codes] = np.inf
    order = np.argsort(distances, axis=1, kind="stable")[:, :n_nearest]
    return order, np.take_along_axis(distances, order, axis=1)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e4])
@pytest.mark.parametrize("offset", [0.0, 30.0])
@pytest.mark.parametrize("block", [5, 64, 32_768])
def test_the_matrix_product_loses_no_tile(
    scale: float, offset: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "TILES_PER_BLOCK", block)
    monkeypatch.setattr(search, "POINTS_PER_BLOCK", 7)
    monkeypatch.setattr(search, "PAIRS_AT_ONCE", 11)
    embeddings = ((_continuum(400) + offset) * scale).astype(np.float32)
    embeddings[50:80] = embeddings[20:50]  # as far from any query as others
    codes = np.arange(400) // 9
    queries = np.arange(0, 400, 13)

    found = search.search_exactly(
        embeddings, embeddings[queries], 6, own=codes[queries], codes=codes
    )

    expected = _compare_all(embeddings, embeddings[queries], 6, codes[queries], codes)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-14)


def test_points_need_not_be_tiles() -> None:
    embeddings = _continuum(300)
    points = embeddings[:9].astype(np.float64) + np.linspace(0, 1, 32)
    own, codes = np.ones(9, np.int64), np.zeros(300, np.int64)

    tiles, distances = search.search_exactly(embeddings, points, 4, own=own, codes=codes)

    expected = _compare_all(embeddings, points, 4, own, codes)
    np.testing.assert_array_equal(tiles, expected[0])
    np.testing.assert_allclose(distances, expected[1], rtol=1e-14)


def test_an_index_finds_nearly_all_and_tells_true_distances() -> None:
    embeddings = _continuum(20_000)
    queries = np.arange(0, 20_000, 100)
    groups = np.arange(20_000) // 40

    exact, nearest = embedding.nearest(embeddings, queries, n_nearest=8, groups=groups)
    tiles, distances = embedding.nearest(
        embeddings, queries, n_nearest=8, groups=groups, index=ApproximateIndex(embeddings)
    )

    assert 0.95 < search.recall(tiles, exact) <= 1
    assert (groups[tiles] != groups[queries][:, None]).all()
    assert (np.diff(distances, axis=1) >= 0).all()
    assert (distances >= nearest).all()
    for tile, found in zip(queries, tiles, strict=True):
        assert len(set(found)) == 8
        assert tile not in found
    away = np.linalg.norm(embeddings[tiles] - embeddings[queries][:, None], axis=2)
    np.testing.assert_allclose(distances, away, rtol=1e-5)


def test_an_index_gives_the_same_answers_again() -> None:
    embeddings = _continuum(5000)
    queries = np.arange(0, 5000, 50)

    first, second = (
        embedding.nearest(embeddings, queries, n_nearest=5, index=ApproximateIndex(embeddings))
        for _ in range(2)
    )

    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_where_lists_hold_too_few_others_every_tile_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "LISTS_PROBED", 1)
    embeddings = _continuum(400)
    queries = np.arange(0, 400, 7)
    groups = np.arange(400) // 10

    tiles, distances = embedding.nearest(
        embeddings, queries, n_nearest=100, groups=groups, index=ApproximateIndex(embeddings)
    )

    expected = embedding.nearest(embeddings, queries, n_nearest=100, groups=groups)
    np.testing.assert_array_equal(tiles, expected[0])
    np.testing.assert_array_equal(distances, expected[1])


@pytest.mark.parametrize("first", ["torch", "faiss"])
def test_an_index_works_beside_torch_whichever_comes_first(first: str) -> None:
    code = f"""
import {first}, torch, faiss, numpy as np
from pipeline.core.search import ApproximateIndex
embeddings = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)
codes = np.arange(3000)
for _ in range(2):
    product = torch.from_numpy(embeddings) @ torch.from_numpy(embeddings).T
    torch.nn.functional.conv2d(torch.ones(8, 3, 32, 32), torch.ones(4, 3, 3, 3))
    index = ApproximateIndex(embeddings)
    tiles, _ = index.search(embeddings[:50], 3, own=codes[:50], codes=codes)
print(tiles.shape, tuple(product.shape))
"""
    root = Path(__file__).parents[1]

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "(50, 3) (3000, 3000)"
