"""What the cards of clusters and their page say in words."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr


def describe_tiles(tiles: xr.Dataset) -> str:
    """Number, size, granules and days of all tiles, as a sentence."""
    days = np.unique(tiles.time.values.astype("datetime64[D]"))
    return (
        f"{tiles.sizes['tile']} tiles of {tiles.attrs['tile_size']} pixels, from "
        f"{len(np.unique(tiles.scene.values))} granules of {len(days)} days, "
        f"{days[0]} to {days[-1]}."
    )


def list_overview(clusters: Mapping[str, Any], labels: str) -> dict[str, str]:
    """Sentences about the clusters by term, from their attributes, and about the labels."""
    overview = {
        "Why this number of clusters": clusters.get("recommendation"),
        "Are there any": clusters.get("verdict"),
        "Order of the numbers": clusters.get("order"),
        "Labels": labels,
    }
    return {term: end_sentence(text) for term, text in overview.items() if text}


def end_sentence(text: str) -> str:
    """`text` with one full stop.

    >>> end_sentence("they are the textures"), end_sentence("")
    ('they are the textures.', '')
    """
    return text.rstrip(".") + "." if text else ""


def tell_class(card: xr.Dataset, labels: str) -> str:
    """The class whose labelled tiles are nearest on average, and how sure that is.

    Args:
        card: One cluster of the cards.
        labels: What the labels are; returned where there are none.
    """
    if "nearest_class" not in card:
        return labels
    nearest, n_tiles = card.nearest_class.item(), int(card.labelled_tiles.sum())
    sentence = f"The tiles of class {nearest} are nearest the centroid on average; "
    if n_tiles == 0:
        return sentence + "no labels fall here."
    n_of_class = int(card.labelled_tiles.sel({"class": nearest}))
    return sentence + f"{n_of_class} of the {n_tiles} labelled tiles here are of it."


def brief_class(card: xr.Dataset) -> str:
    """The same in a few words."""
    if "nearest_class" not in card:
        return "no labels"
    nearest, n_tiles = card.nearest_class.item(), int(card.labelled_tiles.sum())
    n_of_class = int(card.labelled_tiles.sel({"class": nearest}))
    sure = f"{n_of_class} of {n_tiles} labels here" if n_tiles else "no labels fall here"
    return f"{nearest} ({sure})"


def count_classes(card: xr.Dataset) -> dict[str, int]:
    """Labelled tiles of each class in the cluster."""
    if "labelled_tiles" not in card:
        return {}
    counts = card.labelled_tiles.values.tolist()
    return dict(zip(card["class"].values.tolist(), counts, strict=True))


def list_classes(card: xr.Dataset) -> list[dict[str, Any]]:
    """Name, labelled tiles in the cluster and distance of each class."""
    return [
        {
            "name": name,
            "n_tiles": n_tiles,
            "distance": f"{card.class_distance.sel({'class': name}).item():.3f}",
        }
        for name, n_tiles in count_classes(card).items()
    ]


def brief(value: float) -> str:
    """A number in three or four digits.

    >>> brief(0.12345), brief(12.345), brief(273.15), brief(float("nan"))
    ('0.123', '12.3', '273.1', 'unknown')
    """
    if not np.isfinite(value):
        return "unknown"
    if abs(value) < 1:
        return f"{value:.3f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"


def brief_interval(low: float, high: float) -> str:
    """Both ends of an interval.

    >>> brief_interval(0.5, 2.0)
    '0.500, 2'
    """
    return f"{brief(low)}, {brief(high)}" if np.isfinite(low) else "none"


def brief_with_interval(value: float, low: float, high: float) -> str:
    """A number with the ends of its interval, where it has one.

    >>> brief_with_interval(1.0, 0.5, 2.0), brief_with_interval(1.0, np.nan, np.nan)
    ('1 (0.500, 2)', '1')
    """
    return brief(value) + (f" ({brief_interval(low, high)})" if np.isfinite(low) else "")
