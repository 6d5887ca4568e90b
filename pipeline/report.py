"""Stage report: what each cluster shows, as a page of figures and as HTML that opens from disk."""

import hashlib
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt
from threadpoolctl import threadpool_limits

from pipeline.core.card_product import NO_TILE, choose_tiles, count_shares, match_labels
from pipeline.core.choice import KOrRecommended, choose_k
from pipeline.core.device import compute_device
from pipeline.core.encoder import embed_tiles, fused, rebuild_encoder
from pipeline.files import encoders, pages, stage, stores
from pipeline.files import figures as draw
from pipeline.files.labels import read_labels
from pipeline.files.progress import progress
from pipeline.files.workers import ordered_map

log = logging.getLogger(__name__)

Texts = dict[str, Any]

N_KEY = 4  # composites in the table of clusters
MONTHS = "JFMAMJJASOND"
SHORT_NAMES = {"reflectance_beyond_cloud_fraction": "reflectance_effect"}
ROWS = {
    "nearest": "Nearest the centroid, of different days where there are enough",
    "edge": "At the edge: hardly nearer than the centroid of the other cluster named below",
    "random": "Drawn at random from all tiles of the cluster",
}


@dataclass(frozen=True)
class ReportParams:
    """Section `report` of params.yaml."""

    k: KOrRecommended
    n_examples: PositiveInt
    labels: str
    seed: NonNegativeInt


def run(
    params: ReportParams,
    scenes: Path,
    embeddings: Path,
    clusters: Path,
    composites: Path,
    encoder: Path,
    rejected: Path,
    report: Path,
) -> None:
    """Write a card for each cluster, `cards.nc` with what they show, and `index.html`."""
    source = stores.open_product(embeddings).drop_vars("turned_embedding", errors="ignore").load()
    found = stores.open_product(clusters)
    k = choose_k(found.k.values, found.attrs["recommended_k"], params.k, key="report.k")
    best = found.sel(k=k)[["cluster", "distance", "centroid"]].load()
    made_of = stores.open_product(composites / "composites.nc").load()
    if made_of.attrs["k"] != k:
        raise ValueError(
            f"{composites} are of k = {made_of.attrs['k']}, but the report is of k = {k}; give "
            "report.k and composite.k the same value"
        )
    centroids = best.centroid.values[:k]
    product = xr.merge(
        [
            choose_tiles(source, best, centroids, n_examples=params.n_examples, seed=params.seed),
            count_shares(source, best.cluster.values, k),
            _match_labels(params, scenes, rejected, encoder, centroids),
        ],
        combine_attrs="drop_conflicts",
    )
    product.attrs |= {"title": f"Cards of {k} clusters", "k": k}
    for earlier in report.glob("cluster_*"):
        earlier.unlink()
    stores.write_product(product, report / "cards.nc", params)
    strips = _list_composites(made_of)
    cards = [_make_card(product, strips, source, scenes, number) for number in range(k)]
    drawn = ordered_map(partial(_draw, folder=report.absolute()), cards)
    list(progress(drawn, "cards", total=k, unit="cards"))
    pages.write_page(
        report / "index.html",
        "report.html",
        **_tell(product, found.attrs, source, cards, strips, made_of.attrs.get("comment", "")),
    )


def _match_labels(
    params: ReportParams,
    scenes: Path,
    rejected: Path,
    encoder: Path,
    centroids: NDArray[np.floating],
) -> xr.Dataset:
    """Labelled tiles (cluster, class), and what they are; without labels only a sentence."""
    path = Path(params.labels)
    if params.labels == "none" or not path.is_file():
        why = "No labels are given" if params.labels == "none" else f"There are no labels at {path}"
        log.info("%s: cards name no classes", why)
        return xr.Dataset(attrs={"labels": f"{why}."})
    source = stores.open_product(scenes)
    given = read_labels(
        path,
        rejected,
        granules=source.granule.values.tolist(),
        scene_shape=(source.sizes["row"], source.sizes["column"]),
    )
    weights, description = encoders.read_encoder(encoder)
    if description["tile_size"] != given.tile_size:
        log.warning(
            "the encoder was trained on tiles of %d pixels, labelled ones have %d",
            description["tile_size"],
            given.tile_size,
        )
    network = fused(rebuild_encoder(weights, description))
    tiles = stores.cut_tiles(source, given.scene, given.row, given.column, given.tile_size)
    with threadpool_limits(limits=1):  # whose number would change the rounding
        embeddings = embed_tiles(network, tiles, device=compute_device())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return match_labels(embeddings, given.label.astype(str), centroids).assign_attrs(
        labels=f"{len(embeddings)} labelled tiles of {path}, SHA-256 {digest}.",
        labels_sha256=digest,
    )


def _list_composites(made_of: xr.Dataset) -> dict[str, draw.Dots]:
    """Composites of all clusters by their labels, with the means of all tiles."""
    strips = {}
    for name in filter(None, made_of.attrs["quantities"].split(",")):
        label = draw.quantity_label(SHORT_NAMES.get(name, name), made_of[name].units)
        values, weights = made_of[name].values, made_of[f"{name}_n_tiles"].values
        known = np.isfinite(values) & (weights > 0)
        strips[label] = draw.Dots(
            values=values,
            low=made_of[f"{name}_low"].values,
            high=made_of[f"{name}_high"].values,
            reference=float(np.average(values[known], weights=weights[known]))
            if known.any()
            else np.nan,
        )
    return strips


def _make_card(
    product: xr.Dataset,
    strips: dict[str, draw.Dots],
    source: xr.Dataset,
    scenes: Path,
    number: int,
) -> draw.Card:
    one = product.isel(cluster=number)
    rows = []
    for kind, title in ROWS.items():
        chosen = one[kind].values[one[kind].values != NO_TILE]
        tiles = source.isel(tile=chosen)
        cut = list(stores.cut_embedded_tiles(scenes, tiles)) if len(chosen) else []
        days = np.datetime_as_string(tiles.time.values, unit="D")
        below = [str(day) for day in days]
        if kind == "edge":
            rivals = one.edge_rival.values[: len(chosen)]
            below = [f"{day}\nor cluster {rival}" for day, rival in zip(days, rivals, strict=True)]
        rows.append(draw.TileRow(title, cut, below))
    return draw.Card(
        number=number,
        n_clusters=product.sizes["cluster"],
        title=f"Cluster {number}: {int(one.n_tiles)} tiles, {float(one.share):.1%} of all, "
        f"of {int(one.n_days)} days",
        share=float(one.share),
        rows=rows,
        places=draw.ShareMap(
            np.append(product.latitude_bounds[:, 0], product.latitude_bounds[-1, 1]),
            np.append(product.longitude_bounds[:, 0], product.longitude_bounds[-1, 1]),
            one.place_share.values,
        ),
        bars=[
            draw.ShareBars(
                np.arange(13.0),
                one.month_share.values,
                product.month_n_days.values,
                "When: share of the tiles of each month",
                {place + 0.5: letter for place, letter in enumerate(MONTHS)},
            ),
            draw.ShareBars(
                np.arange(25.0),
                one.hour_share.values,
                product.hour_n_days.values,
                "When: share of the tiles of each hour of local solar time",
                {float(hour): str(hour) for hour in range(0, 25, 3)},
            ),
        ],
        composites={
            label: draw.Strip(
                dots, f"{_brief(dots.values[number])} ({_brief_interval(dots, number)})"
            )
            for label, dots in strips.items()
        },
        classes=_count_classes(one),
        class_sentence=_tell_class(one, product.attrs["labels"]),
    )


def _count_classes(one: xr.Dataset) -> dict[str, int]:
    if "labelled_tiles" not in one:
        return {}
    return dict(zip(one["class"].values.tolist(), one.labelled_tiles.values.tolist(), strict=True))


def _tell_class(one: xr.Dataset, labels: str) -> str:
    """The class whose labelled tiles are nearest on average, and how sure that is."""
    if "nearest_class" not in one:
        return labels
    nearest, n_tiles = one.nearest_class.item(), int(one.labelled_tiles.sum())
    sentence = f"The tiles of class {nearest} are nearest the centroid on average; "
    if n_tiles == 0:
        return sentence + "no labels fall here."
    n_of_class = int(one.labelled_tiles.sel({"class": nearest}))
    return sentence + f"{n_of_class} of the {n_tiles} labelled tiles here are of it."


def _draw(card: draw.Card, folder: Path) -> None:
    stem = f"cluster_{card.number:02d}"
    draw.cluster_card(card, folder / f"{stem}.png", folder / f"{stem}.pdf")
    if card.rows[0].tiles:
        draw.thumbnail(card.rows[0].tiles[0], folder / f"{stem}_tile.png")


def _tell(
    product: xr.Dataset,
    about: Texts,
    source: xr.Dataset,
    cards: list[draw.Card],
    strips: dict[str, draw.Dots],
    composites_comment: str,
) -> Texts:
    """What `index.html` says."""
    days = np.unique(source.time.values.astype("datetime64[D]"))
    overview = {
        "Why this number of clusters": about.get("recommendation"),
        "Are there any": about.get("verdict"),
        "Order of the numbers": about.get("order"),
        "Labels": product.attrs["labels"],
    }
    return {
        "title": f"Cards of {len(cards)} clusters",
        "subject": f"{source.sizes['tile']} tiles of {source.attrs['tile_size']} pixels, from "
        f"{len(np.unique(source.scene.values))} granules of {len(days)} days, "
        f"{days[0]} to {days[-1]}.",
        "overview": {term: _sentence(text) for term, text in overview.items() if text},
        "key_names": list(strips)[:N_KEY],
        "clusters": [
            _tell_cluster(product.isel(cluster=card.number), card, strips) for card in cards
        ],
        "composites_comment": _sentence(composites_comment),
        "footer": f"Made by stage report of tile2vec-clouds. {product.attrs['labels']}",
    }


def _sentence(text: str) -> str:
    return text.rstrip(".") + "." if text else ""


def _tell_cluster(one: xr.Dataset, card: draw.Card, strips: dict[str, draw.Dots]) -> Texts:
    colour = draw.cluster_colours(card.n_clusters)[card.number]
    stem = f"cluster_{card.number:02d}"
    return {
        "number": card.number,
        "anchor": f"cluster-{card.number}",
        "colour": to_hex(colour),
        "ink": draw.text_colour(colour),
        "n_tiles": int(one.n_tiles),
        "share": f"{card.share:.1%}",
        "n_days": int(one.n_days),
        "thumbnail": f"{stem}_tile.png" if card.rows[0].tiles else "",
        "figure": f"{stem}.png",
        "pdf": f"{stem}.pdf",
        "alt": f"Page of cluster {card.number}: tiles nearest the centroid, at the edge and at "
        "random; a map of where it is found; bars of the months and of the hours of local solar "
        "time; its composites beside those of other clusters; labelled tiles in it. The numbers "
        "are in the tables below.",
        "composites": [
            {
                "name": label,
                "mean": _brief(dots.values[card.number]),
                "interval": _brief_interval(dots, card.number),
                "reference": _brief(dots.reference),
            }
            for label, dots in strips.items()
        ],
        "nearest_class": _brief_class(one),
        "class_sentence": card.class_sentence,
        "classes": _tell_classes(one),
    }


def _brief_class(one: xr.Dataset) -> str:
    if "nearest_class" not in one:
        return "no labels"
    n_tiles = int(one.labelled_tiles.sum())
    n_of_class = int(one.labelled_tiles.sel({"class": one.nearest_class.item()}))
    sure = f"{n_of_class} of {n_tiles} labels here" if n_tiles else "no labels fall here"
    return f"{one.nearest_class.item()} ({sure})"


def _tell_classes(one: xr.Dataset) -> list[Texts]:
    if "labelled_tiles" not in one:
        return []
    return [
        {
            "name": str(each["class"].item()),
            "n_tiles": int(each.labelled_tiles),
            "distance": f"{float(each.class_distance):.3f}",
        }
        for each in (one.isel({"class": number}) for number in range(one.sizes["class"]))
    ]


def _brief(value: float) -> str:
    if not np.isfinite(value):
        return "unknown"
    if abs(value) < 1:
        return f"{value:.3f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"


def _brief_interval(dots: draw.Dots, number: int) -> str:
    low, high = dots.low[number], dots.high[number]
    return f"{_brief(low)}, {_brief(high)}" if np.isfinite(low) else "unknown"


if __name__ == "__main__":
    stage.start(run, ReportParams)
