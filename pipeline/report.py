"""Stage report: what each cluster shows, as a page of figures and as HTML that opens from disk."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import to_hex

from pipeline.core import card_texts as texts
from pipeline.files import figures as draw
from pipeline.files import pages, stage, stores
from pipeline.files.progress import progress
from pipeline.files.workers import ordered_map

Texts = dict[str, Any]

N_KEY = 4  # composites in the table of clusters
MONTHS = "JFMAMJJASOND"
SHORT_NAMES = {"reflectance_beyond_cloud_fraction": "reflectance_effect"}
ROWS = {
    "nearest": "Nearest the centroid, of different days where there are enough",
    "edge": "At the edge: hardly nearer than the centroid of the other cluster named below",
    "random": "Drawn at random from all tiles of the cluster",
}


def run(
    scenes: Path, embeddings: Path, clusters: Path, composites: Path, cards: Path, report: Path
) -> None:
    """Draw a card for each cluster, and write the page `index.html` that shows them."""
    product = stores.open_product(cards / "cards.nc").load()
    tiles = stores.open_product(embeddings)[["scene", "row", "column", "time"]].load()
    made_of = stores.open_product(composites / "composites.nc").load()
    k = int(product.attrs["k"])
    if made_of.attrs["k"] != k:
        raise ValueError(
            f"{composites} are of k = {made_of.attrs['k']}, but the cards are of k = {k}; give "
            "describe_clusters.k and composite.k the same value"
        )
    for earlier in report.glob("cluster_*"):
        earlier.unlink()
    strips = _list_composites(made_of)
    shown = [_make_card(product, strips, tiles, scenes, number) for number in range(k)]
    drawn = ordered_map(partial(_draw, folder=report.absolute()), shown)
    list(progress(drawn, "cards", total=k, unit="cards"))
    labels = product.attrs["labels"]
    pages.write_page(
        report / "index.html",
        "report.html",
        title=product.attrs["title"],
        subject=texts.describe_tiles(tiles),
        overview=texts.list_overview(stores.open_product(clusters).attrs, labels),
        key_names=list(strips)[:N_KEY],
        clusters=[_tell_cluster(product, card, strips) for card in shown],
        composites_comment=texts.end_sentence(made_of.attrs.get("comment", "")),
        footer=f"Made by stage report of tile2vec-clouds. {labels}",
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
    tiles: xr.Dataset,
    scenes: Path,
    number: int,
) -> draw.Card:
    one = product.isel(cluster=number)
    return draw.Card(
        number=number,
        n_clusters=product.sizes["cluster"],
        title=f"Cluster {number}: {int(one.n_tiles)} tiles, {float(one.share):.1%} of all, "
        f"of {int(one.n_days)} days",
        share=float(one.share),
        rows=[_cut_row(one, tiles, scenes, kind) for kind in ROWS],
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
                dots, texts.brief_with_interval(dots.values[number], *_ends(dots, number))
            )
            for label, dots in strips.items()
        },
        classes=texts.count_classes(one),
        class_sentence=texts.tell_class(one, product.attrs["labels"]),
    )


def _cut_row(one: xr.Dataset, tiles: xr.Dataset, scenes: Path, kind: str) -> draw.TileRow:
    """Examples of one kind, with their days below."""
    chosen = one[kind].values[one[kind].values >= 0]
    examples = tiles.isel(tile=chosen)
    cut = list(stores.cut_embedded_tiles(scenes, examples)) if len(chosen) else []
    below = np.datetime_as_string(examples.time.values, unit="D").tolist()
    if kind == "edge":
        rivals = one.edge_rival.values[: len(chosen)]
        below = [f"{day}\nor cluster {rival}" for day, rival in zip(below, rivals, strict=True)]
    return draw.TileRow(ROWS[kind], cut, below)


def _draw(card: draw.Card, folder: Path) -> None:
    stem = f"cluster_{card.number:02d}"
    draw.cluster_card(card, folder / f"{stem}.png", folder / f"{stem}.pdf")
    if card.rows[0].tiles:
        draw.thumbnail(card.rows[0].tiles[0], folder / f"{stem}_tile.png")


def _tell_cluster(product: xr.Dataset, card: draw.Card, strips: dict[str, draw.Dots]) -> Texts:
    """What the page says of a cluster."""
    one = product.isel(cluster=card.number)
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
                "mean": texts.brief(dots.values[card.number]),
                "interval": texts.brief_interval(*_ends(dots, card.number)),
                "reference": texts.brief(dots.reference),
            }
            for label, dots in strips.items()
        ],
        "nearest_class": texts.brief_class(one),
        "class_sentence": card.class_sentence,
        "classes": texts.list_classes(one),
    }


def _ends(dots: draw.Dots, number: int) -> tuple[float, float]:
    return dots.low[number], dots.high[number]


if __name__ == "__main__":
    stage.start(run)
