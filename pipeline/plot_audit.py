"""Stage plot_audit: the audit → figures of what explains the clusters."""

from pathlib import Path

import xarray as xr

from pipeline.core.audit_product import BEST, SETS
from pipeline.core.representations import OWN
from pipeline.files import figures as draw
from pipeline.files import stage, stores


def run(audit: Path, clusters: Path, figures: Path) -> None:
    """Write `figures` of `audit`, at the k that `clusters` recommend."""
    product = stores.open_product(audit / "audit.nc").load()
    k = int(stores.open_product(clusters).attrs["recommended_k"])
    names = product.explained_by.values.tolist()
    own = product.sel(representation=OWN)
    factors = [name for name in names if name not in (*SETS, BEST)]
    draw.heat_map(
        own.correlation_ratio.sel(explained_by=factors).values,
        figures / "correlation_ratio.png",
        rows=factors,
        columns=product.k.values.tolist(),
        x_label="number of clusters k",
        label="share of the factor's variance between clusters (η²)",
        title="What clusters tell of each factor (days they were fitted to included)",
    )
    draw.heat_map(
        own.components_explained.values,
        figures / "components.png",
        rows=names,
        columns=product.component.values.tolist(),
        x_label="principal component of the embedding",
        label="share explained on days not fitted to (R²)",
        title="What factors tell of each dimension of the embedding",
    )
    best = product.sel(k=k)
    draw.intervals(
        {name: _list_shares(best, name) for name in best.representation.values.tolist()},
        figures / "explained.png",
        limits=(-0.05, 1.05),
        title=f"Share of {k} clusters that factors explain on other days (R², at least 0)",
    )


def _list_shares(best: xr.Dataset, representation: str) -> dict[str, tuple[float, float, float]]:
    """Share of the clusters explained by each factor and set, with its interval, and the rest."""
    found = best.sel(representation=representation).clip(min=0.0)
    ends = [found[f"clusters_explained{end}"].values.tolist() for end in ("", "_low", "_high")]
    shares = dict(zip(found.explained_by.values.tolist(), zip(*ends, strict=True), strict=True))
    value, low, high = shares[BEST]
    return shares | {"what is left": (1 - value, 1 - high, 1 - low)}


if __name__ == "__main__":
    stage.start(run)
