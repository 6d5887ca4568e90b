"""Stage plot_classifier: scores of classifiers → figures of them, and a sheet of confused tiles."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pydantic import PositiveInt

from pipeline.core.classification.confused import find_confused
from pipeline.core.classification.scores import MAJORITY
from pipeline.files import figures as draw
from pipeline.files import stage, stores
from pipeline.files.labels.table import find_scenes

log = logging.getLogger(__name__)

SHEET_ROWS = 6


@dataclass(frozen=True)
class PlotClassifierParams:
    """Section `plot_classifier` of params.yaml."""

    n_confused: PositiveInt


def run(params: PlotClassifierParams, classifier: Path, scenes: Path, figures: Path) -> None:
    """Draw the scores in `classifier`, and the tiles of `scenes` that the kept one confuses."""
    product = stores.open_product(classifier / "scores.nc").load()
    scored = product.isel(classifier=np.isfinite(product["mean"].values).all(axis=1))
    _draw_scores(scored, figures / "scores.png")
    shown = scored.isel(classifier=scored.encoder.values != MAJORITY)
    draw.confusion(
        dict(zip(shown.classifier.values, shown.confusion.values, strict=True)),
        product.true_label.values.tolist(),
        figures / "confusion.png",
        title="Tested tiles of all repeats",
    )
    _draw_reliability(shown, figures / "reliability.png")
    kept = product.sel(classifier="own frozen")
    _draw_confused(params, kept, stores.open_product(scenes), figures / "confused.png")


def _draw_scores(scored: xr.Dataset, path: Path) -> None:
    panels = {}
    for metric in ("balanced_accuracy", "macro_f1"):
        ends = [scored[name].sel(metric=metric).values for name in ("mean", "low", "high")]
        triples = zip(*(end.tolist() for end in ends), strict=True)
        panels[metric.replace("_", " ")] = dict(
            zip(scored.classifier.values.tolist(), triples, strict=True)
        )
    draw.intervals(
        panels,
        path,
        title="\n".join(
            [
                "{n_tiles} labelled tiles of {n_days} days, 95 % intervals".format(**scored.attrs),
                *([scored.attrs["ceiling"]] if "ceiling" in scored.attrs else []),
            ]
        ),
    )


def _draw_reliability(shown: xr.Dataset, path: Path) -> None:
    rows = [shown.sel(classifier=name) for name in shown.classifier.values]
    draw.reliability_diagrams(
        {
            row.classifier.item(): draw.Reliability(
                row.bin_probability.values,
                row.bin_accuracy.values,
                row.bin_tiles.values,
                f"calibration error {row.calibration_error.item():.2f}\n"
                f"by chance up to {row.calibration_error_null.item():.2f}",
            )
            for row in rows
        },
        path,
        title="Tested tiles of all repeats, by the probability of their predicted label",
    )


def _draw_confused(
    params: PlotClassifierParams, kept: xr.Dataset, scenes: xr.Dataset, path: Path
) -> None:
    """Draw the tiles that the kept classifier misclassifies when their day is tested."""
    names = kept.true_label.values.tolist()
    probability = kept.probability.values.mean(axis=0)  # over repeats, (tile, label)
    labels = pd.Index(names).get_indexer(kept.label.values)
    pairs = find_confused(probability, labels, n_examples=params.n_confused)[:SHEET_ROWS]
    if not pairs:
        log.info("no labelled tile is confused: no sheet is drawn")
        return
    times = kept.time.dt.strftime("%Y-%m-%d").values
    draw.tile_sheet(
        [_cut_tiles(kept.isel(tile=pair.tiles), scenes) for pair in pairs],
        path,
        row_labels=[
            f"{names[pair.given]}\ntaken for {names[pair.told]}\n{pair.n_tiles} tiles"
            for pair in pairs
        ],
        tile_labels=[
            [
                f"{probability[tile, pair.told]:.2f}, not {probability[tile, pair.given]:.2f}\n"
                f"{times[tile]}"
                for tile in pair.tiles
            ]
            for pair in pairs
        ],
        title=f"Most confused tiles, {kept.classifier.values}, probabilities of both labels",
    )


def _cut_tiles(labelled: xr.Dataset, scenes: xr.Dataset) -> list[NDArray[np.uint8]]:
    """Tiles (channel, row, column) at the places of labelled ones."""
    names, granules = pd.Series(labelled.granule.values), scenes.granule.values.tolist()
    scene = find_scenes(Path("scores.nc"), names, granules)
    row, column = labelled.row.values, labelled.column.values
    return list(stores.cut_tiles(scenes, scene, row, column, labelled.attrs["tile_size"]))


if __name__ == "__main__":
    stage.start(run, PlotClassifierParams)
