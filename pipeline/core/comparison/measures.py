"""What features are worth: each measure on the tested tiles of each fold."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.linear_model import RidgeCV
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.core.classification.probe import probabilities_from_features
from pipeline.core.comparison.folds import UNTESTED, draw_per_label, score_fold

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]

N_STARTS = 10  # of k-means; with one, indices tell of local minima
RIDGES = tuple(10.0**power for power in range(-1, 5))


def probe(
    features: FloatArray,
    labels: IntArray,
    days: IntArray,
    train: BoolArray,
    test: BoolArray,
    *,
    strengths: Sequence[float],
) -> FloatArray:
    """Balanced accuracy of logistic regression, (fold,).

    Args:
        features: Shape (tile, feature).
        labels: Number of each tile's label, (tile,).
        days: Number of each tile's day, (tile,).
        train: Of `draw_tested_folds`, (fold, tile).
        test: Likewise.
        strengths: Regularisations to choose from.
    """
    n_labels, scores = int(labels.max()) + 1, []
    for fitted, tested in zip(train, test, strict=True):
        told = probabilities_from_features(
            features,
            labels,
            days,
            np.flatnonzero(fitted),
            np.flatnonzero(tested),
            n_labels=n_labels,
            strengths=strengths,
        )
        scores.append(score_fold(labels[tested], told.argmax(axis=1), n_labels))
    return np.array(scores)


def probe_held_out(
    features: FloatArray,
    labels: IntArray,
    days: IntArray,
    groups: IntArray,
    train: BoolArray,
    test: BoolArray,
    *,
    strengths: Sequence[float],
) -> FloatArray:
    """Balanced accuracy of logistic regression on groups no tile of which it saw, (fold,).

    Args:
        features: As of `probe`, as are those not named here.
        labels: Number of each tile's label, (tile,).
        days: Number of each tile's day, (tile,).
        groups: Number of each tile's region, season or platform, (tile,).
        train: Of `draw_tested_folds`, (fold, tile).
        test: Likewise.
        strengths: Regularisations to choose from.

    Returns:
        NaN where no other group is fitted on, or tiles of one label alone.
    """
    n_labels, scores = int(labels.max()) + 1, []
    for fitted, tested in zip(train, test, strict=True):
        told = np.full(len(labels), UNTESTED)
        for group in np.unique(groups[tested]):
            from_tiles = np.flatnonzero(fitted & (groups != group))
            to_tiles = np.flatnonzero(tested & (groups == group))
            if len(np.unique(labels[from_tiles])) > 1:
                told[to_tiles] = probabilities_from_features(
                    features,
                    labels,
                    days,
                    from_tiles,
                    to_tiles,
                    n_labels=n_labels,
                    strengths=strengths,
                ).argmax(axis=1)
        known = told != UNTESTED
        scores.append(score_fold(labels[known], told[known], n_labels) if known.any() else np.nan)
    return np.array(scores)


def precision(
    embeddings: FloatArray, labels: IntArray, train: BoolArray, test: BoolArray, *, n_nearest: int
) -> FloatArray:
    """Fraction of the nearest tiles that have the tile's own label, (fold,).

    The nearest of a tested tile are searched for among the fitted ones, which are of other days.

    Args:
        embeddings: Of unit length, (tile, dimension).
        labels: Number of each tile's label, (tile,).
        train: Of `draw_tested_folds`, (fold, tile).
        test: Likewise.
        n_nearest: So many of each tile.
    """
    scores = []
    for fitted, tested in zip(train, test, strict=True):
        search = NearestNeighbors(n_neighbors=n_nearest).fit(embeddings[fitted])
        found = labels[fitted][search.kneighbors(embeddings[tested], return_distance=False)]
        scores.append((found == labels[tested][:, None]).mean())
    return np.array(scores)


def label_efficiency(
    features: FloatArray,
    labels: IntArray,
    days: IntArray,
    train: BoolArray,
    test: BoolArray,
    *,
    counts: Sequence[int],
    strengths: Sequence[float],
    seed: int,
) -> FloatArray:
    """Balanced accuracy of logistic regression on few labels, (count, fold).

    Args:
        features: As of `probe`, as are those not named here.
        labels: Number of each tile's label, (tile,).
        days: Number of each tile's day, (tile,).
        train: Of `draw_tested_folds`, (fold, tile).
        test: Likewise.
        counts: Tiles of each label, spread over days.
        strengths: Regularisations to choose from.
        seed: Draws the tiles, the same for all features.

    Returns:
        NaN where a label has fewer tiles.
    """
    n_labels = int(labels.max()) + 1
    scores = np.full((len(counts), len(train)), np.nan)
    for fold, (fitted, tested) in enumerate(zip(train, test, strict=True)):
        from_tiles = np.flatnonzero(fitted)
        for row, count in enumerate(counts):
            rng = np.random.default_rng([seed, fold, count])
            drawn = draw_per_label(labels[from_tiles], days[from_tiles], count, rng)
            if drawn is not None:
                told = probabilities_from_features(
                    features,
                    labels,
                    days,
                    from_tiles[drawn],
                    np.flatnonzero(tested),
                    n_labels=n_labels,
                    strengths=strengths,
                )
                scores[row, fold] = score_fold(labels[tested], told.argmax(axis=1), n_labels)
    return scores


def cluster_agreement(
    embeddings: FloatArray,
    labels: IntArray,
    train: BoolArray,
    test: BoolArray,
    *,
    k: int,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    """Adjusted Rand index and normalised mutual information of k clusters and labels, (fold,) each.

    Clusters are fitted to the embeddings of the fitted tiles, without labels.

    Sources: Hubert and Arabie (1985), doi:10.1007/BF01908075; Vinh et al. (2010),
    https://www.jmlr.org/papers/v11/vinh10a.html.
    """
    rand, information = [], []
    for fold, (fitted, tested) in enumerate(zip(train, test, strict=True)):
        found = _clusters_of(embeddings[fitted], embeddings[tested], k=k, seed=seed + fold)
        rand.append(adjusted_rand_score(labels[tested], found))
        information.append(normalized_mutual_info_score(labels[tested], found))
    return np.array(rand), np.array(information)


def stability(
    embeddings: FloatArray,
    others: FloatArray,
    days: IntArray,
    train: BoolArray,
    test: BoolArray,
    *,
    k: int,
    seed: int,
) -> FloatArray:
    """Adjusted Rand index of tested tiles in clusters of two trainings and halves of days, (fold,).

    Of the days that a fold is fitted on, one half gives clusters of `embeddings`, the other those
    of `others`; both are asked for the tested tiles.

    Args:
        embeddings: Of an encoder, (tile, dimension).
        others: Of the same network trained anew, or once more of the same encoder.
        days: Number of each tile's day, (tile,).
        train: Of `draw_tested_folds`, (fold, tile).
        test: Likewise.
        k: Number of clusters.
        seed: Draws the halves, the same for all features, and the starts of k-means.

    Source: Kurihana et al. (2021), doi:10.1109/TGRS.2021.3098008.
    """
    values = []
    for fold, (fitted, tested) in enumerate(zip(train, test, strict=True)):
        fitted_days = np.random.default_rng([seed, fold]).permutation(np.unique(days[fitted]))
        in_first = np.isin(days, fitted_days[: len(fitted_days) // 2])
        first, second = (
            _clusters_of(each[fitted & half], each[tested], k=k, seed=seed + fold)
            for each, half in ((embeddings, in_first), (others, ~in_first))
        )
        values.append(adjusted_rand_score(first, second))
    return np.array(values)


def _clusters_of(fitted: FloatArray, tested: FloatArray, *, k: int, seed: int) -> IntArray:
    """Clusters of tested embeddings, by k-means fitted to others without labels."""
    return np.asarray(KMeans(k, n_init=N_STARTS, random_state=seed).fit(fitted).predict(tested))


def turning_invariance(embeddings: FloatArray, copies: FloatArray, test: BoolArray) -> FloatArray:
    """How little turning and mirroring moves a tile, (fold,): 1 not at all, 0 as far as any other.

    1 minus the mean squared distance of copies to their tiles, over that of two different tiles.

    Args:
        embeddings: Shape (tile, dimension).
        copies: Of turned and mirrored tiles, (tile, orientation, dimension).
        test: Tiles of each fold, (fold, tile).
    """
    moved_by = np.square(copies - embeddings[:, None]).sum(axis=2).mean(axis=1)  # (tile,)
    values = []
    for tested in test:
        # Two different tiles of n lie apart, squared, by twice the variance times n / (n - 1).
        apart = 2 * embeddings[tested].var(axis=0, ddof=1).sum()
        values.append(1 - moved_by[tested].mean() / apart)
    return np.array(values)


def shortcut(
    features: FloatArray, target: FloatArray, train: BoolArray, test: BoolArray
) -> FloatArray:
    """R² of a property of tiles that is read linearly from the features on other days, (fold,)."""
    values = []
    for fitted, tested in zip(train, test, strict=True):
        model = make_pipeline(StandardScaler(), RidgeCV(RIDGES))
        found = model.fit(features[fitted], target[fitted]).predict(features[tested])
        left = np.square(target[tested] - found).sum()
        values.append(1 - left / np.square(target[tested] - target[fitted].mean()).sum())
    return np.array(values)
