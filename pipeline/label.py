"""Stage label: scenes, boxes or masks that people marked → a table of labelled tiles."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from pipeline.core.annotation import (
    NO_LABEL,
    choose_labels,
    run_mask,
    tile_shares,
    vote_masks,
)
from pipeline.core.bootstrap import number_days
from pipeline.core.classification.agreement import Agreement, volunteer_agreement
from pipeline.core.tile import grid_tiles, shape_on_earth
from pipeline.files import figures, stage, stores
from pipeline.files.labels import Marks, read_marks
from pipeline.files.progress import progress

log = logging.getLogger(__name__)

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelParams:
    """Section `label` of params.yaml; lengths in pixels."""

    marks: Annotated[str, Field(min_length=1)]
    agreement: Annotated[float, Field(gt=0, le=1)]
    mask_shape: tuple[PositiveInt, PositiveInt]
    tile_size: PositiveInt
    stride: PositiveInt
    min_share: Annotated[float, Field(gt=0.5, le=1)]
    max_other_share: Annotated[float, Field(ge=0, lt=1)]
    max_invalid_share: Annotated[float, Field(ge=0, le=1)]
    n_examples: PositiveInt
    seed: NonNegativeInt


def run(params: LabelParams, scenes: Path, rejected: Path, labels: Path, metrics: Path) -> None:
    """Write the tiles that lie under one label, to the folder `labels`."""
    source = stores.open_product(scenes)
    marks = read_marks(Path(params.marks), rejected, granules=source.granule.values.tolist())
    if marks.n_rejected:
        log.warning("%d marks are on rejected granules: left out", marks.n_rejected)
    marked = np.unique(marks.scene)
    tables, pairs = [], []
    for scene in progress(marked, "label", total=len(marked), unit="scenes"):
        shown = source.isel(scene=scene).load()
        of_scene = marks.scene == scene
        tables.append(_label_scene(params, shown, marks, of_scene).assign(scene=scene))
        pairs += _compare_volunteers(params, shown, marks, of_scene)
    laid = pd.concat(tables, ignore_index=True)
    table = laid[laid.number != NO_LABEL].reset_index(drop=True)
    if table.empty:
        raise ValueError(
            f"none of the {len(laid)} tiles of {params.marks} has {params.min_share:.0%} of its "
            f"pixels under one label and at most {params.max_other_share:.0%} under another; lower "
            "label.agreement, label.min_share or label.tile_size"
        )
    table["label"] = np.array(marks.names)[table.number]
    labels.mkdir(parents=True, exist_ok=True)
    columns = ["granule", "row", "column", "tile_size", "label", "share"]
    table[columns].round(4).to_csv(labels / "labels.csv", index=False)
    _draw(params, table, source, marks.names, labels)
    agreement = _agree(pairs, len(marks.names), params.seed)
    if agreement is not None:
        stores.write_json(labels / "agreement.json", agreement._asdict())
    stores.write_json(metrics, _summarise(table, laid, marks, agreement))


def _label_scene(
    params: LabelParams, scene: xr.Dataset, marks: Marks, chosen: BoolArray
) -> pd.DataFrame:
    """The scene's tiles on a lattice by the chosen marks: place, commonest label and its share."""
    valid = scene.valid.values
    places = grid_tiles(
        valid,
        tile_size=params.tile_size,
        stride=params.stride,
        max_invalid_share=params.max_invalid_share,
    )
    masks = _find_masks(params, marks, chosen, shape_on_earth(scene.latitude.values))
    whole = np.zeros((len(marks.names), *valid.shape), bool)
    whole[:, : masks.shape[1], : masks.shape[2]] = masks
    shares = tile_shares(whole, *places.T, tile_size=params.tile_size)
    return pd.DataFrame(
        {
            "granule": str(scene.granule.values),
            "day": scene.time.values.astype("datetime64[D]"),
            "row": places[:, 0],
            "column": places[:, 1],
            "tile_size": params.tile_size,
            "share": shares.max(axis=0),
            "number": choose_labels(
                shares, min_share=params.min_share, max_other_share=params.max_other_share
            ),
        }
    )


def _compare_volunteers(
    params: LabelParams, scene: xr.Dataset, marks: Marks, of_scene: BoolArray
) -> list[pd.DataFrame]:
    """The scene's tiles as each volunteer labels them alone, and as the others do together."""
    volunteers = np.unique(marks.volunteer[of_scene])
    if len(volunteers) < 2:
        return []
    tables = []
    for volunteer in volunteers:
        own = marks.volunteer == volunteer
        alone = _label_scene(params, scene, marks, of_scene & own)
        others = _label_scene(params, scene, marks, of_scene & ~own)
        tables.append(alone[["day", "number"]].assign(others=others.number))
    return tables


def _agree(tables: list[pd.DataFrame], n_labels: int, seed: int) -> Agreement | None:
    if not tables:
        return None
    pairs = pd.concat(tables, ignore_index=True)
    alone, others = (pairs[name].to_numpy(np.int64) for name in ("number", "others"))
    days = number_days(pairs.day.to_numpy("M8[ns]")).astype(np.int64)
    return volunteer_agreement(alone, others, days, n_labels=n_labels, seed=seed)


def _find_masks(
    params: LabelParams, marks: Marks, of_scene: BoolArray, shape: tuple[int, int]
) -> BoolArray:
    """Which pixels of a scene are under each label, (label, row, column)."""
    n_labels, label = len(marks.names), marks.label[of_scene]
    if marks.boxes is not None:
        return vote_masks(
            marks.boxes[of_scene],
            label,
            marks.volunteer[of_scene],
            n_labels=n_labels,
            shape=shape,
            agreement=params.agreement,
        )
    assert marks.runs is not None
    masks = np.zeros((n_labels, *shape), bool)
    for mark, number in zip(np.flatnonzero(of_scene), label, strict=True):
        masks[number] |= run_mask(marks.runs[mark], mask_shape=params.mask_shape, shape=shape)
    return masks


def _summarise(
    table: pd.DataFrame, laid: pd.DataFrame, marks: Marks, agreement: Agreement | None
) -> dict[str, Any]:
    by_label = table.groupby("label")
    return {
        "n_granules": int(laid.scene.nunique()),
        "n_rejected_marks": marks.n_rejected,
        "n_tiles_without_label": len(laid) - len(table),
        "n_tiles": by_label.size().to_dict(),
        "n_days": by_label.day.nunique().to_dict(),
        **({"volunteers": agreement._asdict()} if agreement else {}),
    }


def _draw(
    params: LabelParams, table: pd.DataFrame, source: xr.Dataset, names: list[str], folder: Path
) -> None:
    """A sheet of some tiles of each label, of as many granules as can be."""
    rows, captions, found = [], [], []
    for name in names:
        of_label = table[table.label == name]
        # The n-th tiles of all granules come before any n + 1-th.
        turn = of_label.sort_values("share", ascending=False).groupby("scene").cumcount()
        shown = of_label.loc[turn.sort_values(kind="stable").index[: params.n_examples]]
        if len(shown):
            scene, row, column = shown[["scene", "row", "column"]].to_numpy().T
            rows.append(list(stores.cut_tiles(source, scene, row, column, params.tile_size)))
            captions.append(
                [f"{tile.share:.0%}\n{tile.day:%Y-%m-%d}" for tile in shown.itertuples(index=False)]
            )
            found.append(f"{name}\n{len(of_label)} tiles")
    figures.tile_sheet(
        rows,
        folder / "labels.png",
        row_labels=found,
        tile_labels=captions,
        title="Labelled tiles, and how much of each lies under its label",
    )


if __name__ == "__main__":
    stage.start(run, LabelParams)
