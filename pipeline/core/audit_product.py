"""What explains clusters, as a labelled product, as a table and in a sentence."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from pipeline.core.audit import correlation_ratio, principal_components
from pipeline.core.factors import COLOUR, LABELS, PLACE_AND_TIME
from pipeline.core.other_days import Explained
from pipeline.core.representations import OWN, STATISTICS, Representation

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]
Target = tuple[str, int]  # what is explained, and its k or component

DIFFERENCE = "difference"  # between the shares of the clusters of the own encoder and others
BEST = "best on other days"  # of the factors and sets, chosen without the days that are told
SETS = {"colour": COLOUR, "place and time": PLACE_AND_TIME, "all factors": LABELS}
VARIANCE_KEPT = 0.99  # of an embedding, by the principal components that stand for it
DIMENSIONS = {
    "representation": "what tiles are clustered by",
    "explained_by": "a factor alone, or factors together",
    "k": "number of clusters",
    "component": "principal component, from 1",
}
WHAT = {
    "clusters": "share of the variance of the clusters' centroids over tiles",
    "components": "share of the variance of the principal component",
    "embedding": "share of the variance of the embedding",
    DIFFERENCE: "the own encoder's share of that of the clusters' centroids less this one's",
}
ENDINGS = {"": "explained", "_low": "low end of the 95 % interval", "_high": "high end"}


def gather_sets(factors: Mapping[str, FloatArray]) -> dict[str, list[FloatArray]]:
    """Columns (tile, column) of each factor alone, and of each set that has any, by label."""
    together = {LABELS[name]: [columns] for name, columns in factors.items()}
    for name, members in SETS.items():
        together[name] = [factors[each] for each in members if each in factors]
    return {name: columns for name, columns in together.items() if columns}


def list_targets(each: Representation, n_components: int) -> dict[Target, FloatArray]:
    """What is to be explained: centroids of the tiles' clusters, components one by one, and all."""
    scores, axes, _ = principal_components(each.features, VARIANCE_KEPT)
    targets: dict[Target, FloatArray] = {
        ("clusters", k): _within_span(centroids @ axes.T)[clusters]
        for k, (clusters, centroids) in each.clusters.items()
    }
    for number, component in enumerate(scores.T[:n_components], start=1):
        targets["components", number] = component[:, None]
    targets["embedding", 0] = scores
    return targets


def _within_span(points: FloatArray) -> FloatArray:
    """Points (point, dimension) in the coordinates of the space they span, at the same distances.

    Fits to a few coordinates are as good and many times faster.
    """
    return np.asarray(np.linalg.qr((points - points.mean(axis=0)).T).R.T)


def assemble(
    explained: Mapping[tuple[str, str], Mapping[Target, Explained]],
    representations: Mapping[str, Representation],
    factors: Mapping[str, FloatArray],
) -> xr.Dataset:
    """Shares explained by factors, and what clusters tell of factors, as a labelled product.

    Args:
        explained: By representation and factor, set or `BEST`, of each target.
        representations: In the order in which they come out.
        factors: Columns (tile, column) by name.
    """
    table = pd.DataFrame(
        {
            "representation": representation,
            "explained_by": name,
            "what": what,
            "number": number,
            "": each.share,
            "_low": each.low,
            "_high": each.high,
        }
        for (representation, name), shares in explained.items()
        for (what, number), each in shares.items()
    )
    product = xr.merge([_spread(table, what) for what in WHAT])
    product["correlation_ratio"] = _correlation_ratios(representations, factors)
    product = product.reindex(
        representation=list(representations), explained_by=[*gather_sets(factors), BEST]
    )
    for name, long_name in DIMENSIONS.items():
        product[name].attrs = {"long_name": long_name, "units": "1"}
    return product


def _spread(table: pd.DataFrame, what: str) -> xr.Dataset:
    """The rows of the table on `what`, as variables with its dimensions."""
    dimensions = {"components": ["component"], "embedding": []}.get(what, ["k"])
    rows = table[table.what == what].rename(columns={"number": "".join(dimensions) or "number"})
    index = ["representation", "explained_by", *dimensions]
    spread = rows.set_index(index)[list(ENDINGS)].to_xarray()
    for ending, long_name in ENDINGS.items():
        spread[ending].attrs = {
            "long_name": f"{WHAT[what]}: {long_name}",
            "units": "1",
        }
    return spread.rename({ending: f"{what}_explained{ending}" for ending in ENDINGS})


def _correlation_ratios(
    representations: Mapping[str, Representation], factors: Mapping[str, FloatArray]
) -> xr.DataArray:
    ks = list(representations[OWN].clusters)
    values = [
        [
            [correlation_ratio(columns, each.clusters[k][0]) for k in ks]
            for columns in factors.values()
        ]
        for each in representations.values()
    ]
    return xr.DataArray(
        values,
        {
            "representation": list(representations),
            "explained_by": [LABELS[name] for name in factors],
            "k": ks,
        },
        attrs={
            "long_name": "share of the factor's variance between clusters, eta squared",
            "units": "1",
        },
    )


def tabulate(product: xr.Dataset) -> pd.DataFrame:
    """A line for each share."""
    tables = [
        product[[name for name in product if str(name).startswith(f"{what}_explained")]]
        .rename({f"{what}_explained{ending}": f"explained{ending}" for ending in ENDINGS})
        .to_dataframe()
        .reset_index()
        .assign(what=what)
        for what in WHAT
    ]
    columns = ["representation", "explained_by", "what", "k", "component"]
    shares = [f"explained{ending}" for ending in ENDINGS]
    rows = pd.concat(tables)[[*columns, *shares]].dropna(subset="explained")
    return rows.astype({"k": "Int64", "component": "Int64"})


def say(best: xr.Dataset) -> str:
    """The finding in a sentence, at the recommended k."""
    own = best.sel(representation=OWN, explained_by=BEST)
    left = {name: _left(best, name) for name in best.representation.values.tolist()}
    low, high = (float(own[f"clusters_explained_{end}"]) for end in ("low", "high"))
    over_days = f"{max(0.0, low):.0%} to {max(0.0, high):.0%} over days"
    if np.isnan(low):
        over_days = "no interval, since its days are worth fewer than two"
    others = "; ".join(
        f"{left[name]:.0%} of the {name}'s" for name in left if name not in (OWN, STATISTICS)
    )
    return (
        f"of what {int(best.k)} clusters of the own encoder tell, the factors explain "
        f"{1 - left[OWN]:.0%} ({over_days}) on days not fitted to, and "
        f"{left[OWN]:.0%} is left; {left[STATISTICS]:.0%} of clusters of pixel statistics; {others}"
    )


def _left(best: xr.Dataset, representation: str) -> float:
    """What the factors do not explain of a representation's clusters."""
    share = best.clusters_explained.sel(representation=representation, explained_by=BEST)
    return 1 - max(0.0, float(share))


def summarise(best: xr.Dataset) -> dict[str, Any]:
    """Shares of the clusters by representation, and what is left at least."""
    share = best.clusters_explained
    return {
        representation: {
            "explained": {
                name: round(float(share.sel(representation=representation, explained_by=name)), 4)
                for name in share.explained_by.values.tolist()
            },
            "left": round(_left(best, representation), 4),
        }
        for representation in share.representation.values.tolist()
    }
