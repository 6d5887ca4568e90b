"""How well quantities of clouds are read from features of tiles, as a labelled product."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.core.bootstrap import calendar_days, draw_days, number_days
from pipeline.core.other_days import Explained, Fitted, fit_on_other_days, share_explained
from pipeline.core.representations import OWN

IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

N_DRAWS = 500
FEWEST_TILES = 50
MEASURES = {
    "explained": "share of the variance of the quantity read on days not fitted to",
    "gain": "share read from the own encoder less that read from this one",
}
ENDINGS = {"": "", "_low": ": low end of the 95 % interval", "_high": ": high end"}


def why_unread(values: FloatArray, days: IntArray) -> str | None:
    """Why a quantity (tile,), NaN where missing, cannot be read; None where it can."""
    known = np.isfinite(values)
    if known.sum() < FEWEST_TILES:
        return f"known for {known.sum()} tiles, fewer than {FEWEST_TILES}"
    if len(np.unique(days[known])) < 2:
        return "known on one day, so that nothing can be tried on another"
    if np.ptp(values[known]) <= 1e-6 * np.abs(values[known]).max():
        return "the same for all tiles"
    return None


def read_quantity(
    features: Mapping[str, FloatArray],
    values: FloatArray,
    times: NDArray[np.datetime64],
    *,
    strengths: Sequence[float],
    n_folds: int,
    seed: int,
) -> dict[str, tuple[Explained, Explained]]:
    """What ridge regression predicts from each of the features, and what the own add to that.

    Args:
        features: By representation, `OWN` among them, each (tile, feature).
        values: Of the quantity, shape (tile,); tiles where it is NaN do not count.
        times: UTC, shape (tile,).
        strengths: Of the regularisation; the best without the tested days is taken.
        n_folds: Parts of the days, each predicted from the others; with fewer days, one day each.
        seed: Of the bootstrap samples of days.

    Source: Alain and Bengio (2017), arXiv:1610.01644, for probes that are linear.
    """
    known = np.isfinite(values)
    days = number_days(times[known])
    calendar = np.unique(calendar_days(times[known]))
    draws = draw_days(len(calendar), n_draws=N_DRAWS, rng=np.random.default_rng(seed))
    models = [make_pipeline(StandardScaler(), Ridge(strength)) for strength in strengths]
    fitted: dict[str, Fitted] = {
        name: fit_on_other_days(
            models,
            np.asarray(each[known], np.float64),
            {name: values[known, None].astype(np.float64)},
            days,
            n_folds=min(n_folds, len(calendar)),
        )[name]
        for name, each in features.items()
    }
    return {
        name: (
            share_explained(each, draws, calendar),
            share_explained(fitted[OWN], draws, calendar, beyond=each),
        )
        for name, each in fitted.items()
    }


def assemble(
    found: Mapping[str, Mapping[str, tuple[Explained, Explained]]], quantities: xr.Dataset
) -> xr.Dataset:
    """Shares (representation, quantity) with their intervals, and how many tiles tell them.

    Args:
        found: By quantity and representation, as of `read_quantity`.
        quantities: Those and others, each (tile,), with the coordinate time.
    """
    representations = list(dict.fromkeys(name for of in found.values() for name in of))
    shape = len(representations), len(found)
    product = xr.Dataset(coords={"representation": representations, "quantity": list(found)})
    for place, (measure, about) in enumerate(MEASURES.items()):
        for field, (ending, end) in zip(("share", "low", "high"), ENDINGS.items(), strict=True):
            values = [
                [getattr(of[name][place], field) for of in found.values()]
                for name in representations
            ]
            attributes = {"long_name": about + end, "units": "1"}
            shares = np.reshape(np.asarray(values, float), shape)
            product[measure + ending] = ("representation", "quantity"), shares, attributes
    days = quantities.time.values.astype("datetime64[D]")
    known = [np.isfinite(quantities[name].values) for name in found]
    counts = [each.sum() for each in known], [len(np.unique(days[each])) for each in known]
    for name, count, about in zip(
        ("n_tiles", "n_days"), counts, ("tiles", "UTC days with tiles"), strict=True
    ):
        attributes = {"long_name": f"{about} that have the quantity", "units": "1"}
        product[name] = "quantity", count, attributes
    long_names = [quantities[name].attrs.get("long_name", name) for name in found]
    product = product.assign_coords(long_name=("quantity", long_names))
    product["representation"].attrs = {"long_name": "what tiles are read from", "units": "1"}
    product["quantity"].attrs = {"long_name": "what is read", "units": "1"}
    return product


def say(product: xr.Dataset) -> str:
    """The finding in a sentence."""
    if not product.sizes["quantity"]:
        return (
            "nothing is read, since nothing is known of enough tiles; raise "
            "composite.organisation_per_cluster, or name variables in composite.gridded or level2"
        )
    mean = product.explained.mean("quantity").to_series()
    others = ", ".join(f"{mean[name]:.2f} from {name}" for name in mean.index if name != OWN)
    certain = int((product.gain_low.drop_sel(representation=OWN) > 0).all("representation").sum())
    return (
        f"of the variance of {product.sizes['quantity']} quantities {mean[OWN]:.2f} is read from "
        f"the {OWN} in the mean, {others}; of {certain} more than from each of these with 95 % "
        "confidence"
    )


def tabulate(product: xr.Dataset) -> pd.DataFrame:
    """A line for each representation and quantity."""
    return product.to_dataframe().reset_index()


def summarise(product: xr.Dataset) -> dict[str, dict[str, float]]:
    """Share that is read of each quantity, by representation."""
    return {
        name: product.explained.sel(representation=name).to_series().round(4).to_dict()
        for name in product.representation.values.tolist()
    }
