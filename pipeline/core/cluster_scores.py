"""What is known of clusters beside their tiles: how they came about, their scores, their labels."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core import clustering, numbering, trial, validity

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

ATTRIBUTES = {
    "number": {"long_name": "number of the cluster, the same for every k", "units": "1"},
    "previous": {"long_name": "number of the cluster for k - 1", "units": "1"},
    "k": {"long_name": "number of clusters", "units": "1"},
    "cluster": {"long_name": "number of the tile's cluster, from 0", "units": "1"},
    "distance": {
        "long_name": "distance to the cluster's centroid",
        "units": "1",
    },
    "centroid": {"long_name": "centroid, missing where the number is k or more", "units": "1"},
    "n_tiles": {"long_name": "tiles in the cluster, of all splits", "units": "1"},
    "mean_brightness_temperature": {
        "long_name": "mean brightness temperature of the cluster's training tiles",
        "units": "K",
    },
    "mean_brightness": {
        "long_name": "mean brightness of the cluster's training tiles",
        "units": "1",
    },
    "origin": {
        "long_name": "share of the cluster's training tiles that were in the previous one",
        "units": "1",
    },
    "parent": {
        "long_name": "cluster for k - 1 that most of its training tiles were in, -1 for none",
        "units": "1",
    },
    "joins": {
        "long_name": "tree of the recommended clusters, as of scipy.cluster.hierarchy.linkage",
        "units": "1",
    },
    "inertia": {"long_name": "mean squared distance of judged tiles to centroids", "units": "1"},
    "silhouette": {"long_name": "mean silhouette, its ends of the 95 % interval", "units": "1"},
    "davies_bouldin": {"long_name": "Davies-Bouldin index", "units": "1"},
    "calinski_harabasz": {"long_name": "Calinski-Harabasz index", "units": "1"},
    "stability": {
        "long_name": "mean adjusted Rand index of clusters fitted to bootstrap samples of days, "
        "its ends the least and the largest",
        "units": "1",
    },
    "turned_agreement": {
        "long_name": "share of turned and mirrored copies in the cluster of their tile",
        "units": "1",
    },
    "coherence": {"long_name": "share of touching tiles in one cluster", "units": "1"},
}
ENDINGS = {
    "_low": "low end over days",
    "_high": "high end over days",
    "_null": "mean over surrogates",
    "_null_low": "least of the surrogates",
    "_null_high": "largest of the surrogates",
    "_chance": "by chance",
    "_gap": "better than the null or chance by",
}


def number_clusters(
    train: FloatArray,
    values: FloatArray,
    centroids: Sequence[FloatArray],
    *,
    descending: bool,
    reference: Mapping[int, IntArray],
) -> xr.Dataset:
    """Centroids under their final numbers, `mean` values, and how clusters split.

    The fewest clusters are numbered by their mean values; more of them keep the numbers of those
    they overlap most, for k - 1 and in the reference, and the new one comes last.

    Args:
        train: Training embeddings, shape (tile, dimension).
        values: Of these tiles, such as temperatures, shape (tile,).
        centroids: For consecutive k, each (cluster, dimension).
        descending: Whether the largest mean comes first.
        reference: Numbers of these tiles in other clusters, by k; -1 where unknown.

    Returns:
        `centroid` (k, number, dimension), `mean` and `parent` (k, number), `origin` (k, number,
        previous).
    """
    largest = len(centroids[-1])
    previous: IntArray | None = None
    steps = []
    for given in centroids:
        k = len(given)
        found, _ = clustering.assign(train, given)
        means = clustering.cluster_means(values, found, n_clusters=k)
        earlier = [each for each in (previous, reference.get(k)) if each is not None]
        number: IntArray = (
            numbering.match_numbers(found, earlier, n_clusters=k)
            if earlier
            else np.argsort(clustering.order_clusters(means, descending=descending))
        )
        now = number[found]
        origin = np.full((largest, largest), np.nan)
        parent = np.full(largest, numbering.UNKNOWN, np.int16)
        if previous is not None:
            origin[:k, : k - 1] = numbering.shares_of_origin(
                now, previous, n_clusters=k, n_previous=k - 1
            )
            parent[:k] = np.nan_to_num(origin[:k, : k - 1], nan=-1).argmax(axis=1)
        order = np.argsort(number)
        steps.append(
            xr.Dataset(
                {
                    "centroid": (("number", "dimension"), _pad(given[order], largest)),
                    "mean": ("number", _pad(means[order], largest)),
                    "origin": (("number", "previous"), origin),
                    "parent": ("number", parent),
                }
            )
        )
        previous = now
    return xr.concat(steps, "k")


def choose(product: xr.Dataset) -> xr.Dataset:
    """`product` with gaps of its scores and, as attributes, the recommended k with its interval.

    Args:
        product: For each k the scores of `trial.try_clusters`; those that were drawn go.
    """
    scored = product.drop_vars([name for name in product if str(name).endswith("_drawn")])
    gaps, drawn = _compare(product, ""), _compare(product, "_drawn")
    recommended_k, (low, high), reason = validity.recommend(
        product.k.values,
        {name: gaps[name] for name in validity.RANKED if name in gaps},
        {name: drawn[name] for name in validity.RANKED if name in drawn},
    )
    return scored.assign({f"{name}_gap": ("k", gap) for name, gap in gaps.items()}).assign_attrs(
        recommended_k=recommended_k, k_low=low, k_high=high, recommendation=reason
    )


def conclude(product: xr.Dataset, structure: trial.Structure) -> xr.Dataset:
    """`product` of `choose` with the verdict on the recommended k and a tree of its clusters.

    Args:
        product: `centroid` (k, number, dimension), and what `choose` found.
        structure: Of the clusters of the recommended k.

    Returns:
        With all attributes of its variables.
    """
    k = product.attrs["recommended_k"]
    distinct, verdict = validity.judge(
        k,
        structure.silhouette,
        structure.inertia,
        structure.null_silhouettes,
        structure.null_inertias,
        n_days=structure.n_days,
    )
    numbers = np.arange(product.sizes["number"])
    tree = numbering.join_centroids(product.centroid.sel(k=k).values[:k])
    concluded = product.assign(joins=(("step", "part"), tree))
    concluded = concluded.assign_coords(number=numbers, previous=numbers)
    for name in concluded.variables:
        concluded[name].attrs = _attributes(str(name))
    return concluded.assign_attrs(verdict=verdict, distinct=int(distinct))


def _compare(scores: xr.Dataset, ending: str) -> dict[str, FloatArray]:
    """Gaps of scores, or of those of samples of days, to what surrogates or chance give."""
    return {
        name: validity.gap(
            name,
            scores[f"{name}{ending}"].values,
            scores[expected].values.reshape(-1, *[1] * (scores[f"{name}{ending}"].ndim - 1)),
        )
        for name in validity.SCORES
        for expected in (f"{name}_null", f"{name}_chance")
        if expected in scores and f"{name}{ending}" in scores
    }


def _attributes(name: str) -> dict[str, str]:
    """Long name and unit of a variable of the clusters."""
    for score in validity.SCORES:
        if (ending := name.removeprefix(score)) in ENDINGS:
            long_name = f"{ATTRIBUTES[score]['long_name']}: {ENDINGS[ending]}"
            return {"long_name": long_name, "units": "1"}
    return ATTRIBUTES[name]


def _pad(values: FloatArray, length: int) -> FloatArray:
    missing = [(0, length - len(values)), *[(0, 0)] * (values.ndim - 1)]
    return np.pad(values, missing, constant_values=np.nan)
