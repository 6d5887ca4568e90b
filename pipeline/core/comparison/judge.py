"""All that a row of the comparison is judged by, on features that stay as they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.comparison import measures, table
from pipeline.core.encoder import Encoder
from pipeline.core.tile import orientations

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Tiles = NDArray[np.uint8]

EFFICIENCY, EMBEDDING = "efficiency", "embedding"


@dataclass(frozen=True)
class Representation:
    """What tiles look like to a row.

    Attributes:
        features: Takes tiles to the features (tile, feature) that classifiers see.
        embed: Takes these to the vectors (tile, dimension) of unit length by which tiles are
            clustered and compared.
        made_of: Changes with what it is.
        encoder: That it is of, if any.
    """

    features: Callable[[Tiles], FloatArray]
    embed: Callable[[FloatArray], FloatArray]
    made_of: str
    encoder: Encoder | None = None


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
        n_orientations: Of a tile, whose features are averaged: 1, 4 or 8.
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
    n_orientations: int
    n_nearest: int
    label_counts: Sequence[int]
    strengths: Sequence[float]
    seed: int


def measure(representation: Representation, task: Task) -> dict[str, FloatArray]:
    """Every measure of what tiles look like, by name.

    Returns:
        Shape (fold,) each; `efficiency` (count, fold), and `embedding` (tile, dimension) itself.
    """
    of_each = [
        representation.features(np.ascontiguousarray(turned)) for turned in orientations(task.tiles)
    ]
    features = np.mean(of_each[: task.n_orientations], axis=0)
    embedding = representation.embed(features)
    single, *copies = (representation.embed(each) for each in of_each)
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
        table.INVARIANCE: measures.turning_invariance(single, np.stack(copies, axis=1), test),
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
