"""All that a row of the comparison is judged by, on features that stay as they are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler, normalize

from pipeline.core.comparison import measures, table

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Tiles = NDArray[np.uint8]

EFFICIENCY, EMBEDDING = "efficiency", "embedding"
SHRUNK_TO = 32  # pixels along a tile's edge


@dataclass(frozen=True)
class Representation:
    """What tiles look like to a row.

    Attributes:
        features: Takes tiles to the features (tile, feature) that classifiers see.
        embed: Takes these to the vectors (tile, dimension) of unit length by which tiles are
            clustered and compared.
    """

    features: Callable[[Tiles], FloatArray]
    embed: Callable[[FloatArray], FloatArray]


def seen_by_features(compute: Callable[[Tiles], FloatArray], fitted: Tiles) -> Representation:
    """By features that no network is needed for, standardised by training tiles."""
    scaler = StandardScaler().fit(compute(fitted))

    def embed(features: FloatArray) -> FloatArray:
        return np.asarray(normalize(scaler.transform(features)))

    return Representation(compute, embed)


@dataclass(frozen=True)
class Task:
    """What all rows are judged on.

    Attributes:
        tiles: Labelled tiles, (tile, channel, row, column).
        label: Number of each tile's label, (tile,).
        day: Number of each tile's day, (tile,).
        train: Which tiles each fold is fitted on, (fold, tile).
        test: Which it tests.
        n_folds: Folds of one repeat.
        groups: Number of each tile's region, season or platform, by its name, (tile,).
        target: Property of the tiles that may be a shortcut, (tile,).
        cluster_counts: For which k clusters are compared with labels.
        n_nearest: Tiles whose labels are compared with a tile's own.
        label_counts: Of the label efficiency.
        strengths: Regularisations that probes choose from.
        seed: Of k-means and of the few labels drawn.
    """

    tiles: Tiles
    label: IntArray
    day: IntArray
    train: BoolArray
    test: BoolArray
    n_folds: int
    groups: Mapping[str, IntArray]
    target: FloatArray
    cluster_counts: Sequence[int]
    n_nearest: int
    label_counts: Sequence[int]
    strengths: Sequence[float]
    seed: int


def measure(representation: Representation, task: Task) -> dict[str, FloatArray]:
    """Every measure of what tiles look like, by name.

    Returns:
        Shape (fold,) each; `efficiency` (count, fold), and `embedding` (tile, dimension) itself.
    """
    features = representation.features(task.tiles)
    embedding = representation.embed(features)
    copies = np.stack(
        [
            representation.embed(representation.features(turned))
            for turned in turned_tiles(task.tiles)
        ],
        axis=1,
    )
    label, day, train, test = task.label, task.day, task.train, task.test
    values = {
        table.PROBE: measures.probe(features, label, day, train, test, strengths=task.strengths),
        table.NEAREST: measures.precision(embedding, label, train, test, n_nearest=task.n_nearest),
    }
    for k in task.cluster_counts:
        rand, information = measures.cluster_agreement(
            embedding, label, train, test, k=k, seed=task.seed
        )
        values |= {f"ARI, k = {k}": rand, f"NMI, k = {k}": information}
    once = slice(task.n_folds)  # of one repeat alone, since it takes a fit for each of the groups
    for name, groups in task.groups.items():
        held_out = measures.probe_held_out(
            features, label, day, groups, train[once], test[once], strengths=task.strengths
        )
        values[f"{name} held out"] = _pad(held_out, len(train))
    values |= {
        table.INVARIANCE: measures.turning_invariance(embedding, copies, test),
        table.SHORTCUT: measures.shortcut(embedding, task.target, train, test),
        EFFICIENCY: measures.label_efficiency(
            features,
            label,
            day,
            train,
            test,
            counts=task.label_counts,
            strengths=task.strengths,
            seed=task.seed,
        ),
        EMBEDDING: embedding,
    }
    return values


def measure_stability(embeddings: Sequence[FloatArray], task: Task) -> dict[str, FloatArray]:
    """Stability of the clusters of embeddings of several trainings, (seed, fold), by name.

    Args:
        embeddings: Of each training, (tile, dimension); each is compared with the next, or one with
            itself, so that only the days differ.
        task: What they are judged on.
    """
    once = slice(task.n_folds)
    others = [*embeddings[1:], embeddings[0]]

    def compare(k: int, each: FloatArray, other: FloatArray) -> FloatArray:
        found = measures.stability(
            each, other, task.day, task.train[once], task.test[once], k=k, seed=task.seed
        )
        return _pad(found, len(task.train))

    return {
        f"stability, k = {k}": np.stack(
            [compare(k, each, other) for each, other in zip(embeddings, others, strict=True)]
        )
        for k in task.cluster_counts
    }


def _pad(of_folds: FloatArray, n_folds: int) -> FloatArray:
    return np.pad(of_folds, (0, n_folds - len(of_folds)), constant_values=np.nan)


def turned_tiles(tiles: Tiles) -> Iterator[Tiles]:
    """The seven other ways in which square tiles (…, channel, row, column) can lie."""
    for number in range(1, 8):
        flipped = tiles[..., ::-1] if number >= 4 else tiles
        yield np.ascontiguousarray(np.rot90(flipped, number % 4, (2, 3)))


def pixel_components(
    fitted: Tiles, *, n_components: int, seed: int
) -> Callable[[Tiles], FloatArray]:
    """What takes tiles to their principal components, (tile, component).

    Args:
        fitted: Tiles that components are of, (tile, channel, row, column).
        n_components: At most.
        seed: Of the solver.
    """
    pixels = shrunk_pixels(fitted)
    components = PCA(min(n_components, *pixels.shape), random_state=seed).fit(pixels)

    def project(tiles: Tiles) -> FloatArray:
        return np.asarray(components.transform(shrunk_pixels(tiles)), np.float32)

    return project


def shrunk_pixels(tiles: Tiles) -> FloatArray:
    """Pixels of tiles that were averaged to 32 by 32, (tile, value)."""
    shrunk = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(tiles).float(), SHRUNK_TO)
    return shrunk.flatten(1).numpy()
