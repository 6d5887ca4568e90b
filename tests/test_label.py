import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pipeline import label
from pipeline.files import stores
from pipeline.files.labels import read_labels

SHAPE = (32, 48)  # of the scenes, of which the last 16 columns are empty in "b.nc"
GRANULES = ["a.nc", "b.nc"]
PARAMS = label.LabelParams(
    marks="set below",
    agreement=0.5,
    mask_shape=(64, 96),
    tile_size=8,
    stride=8,
    min_share=0.9,
    max_other_share=0.1,
    max_invalid_share=0.0,
    n_examples=2,
    seed=0,
)
# Two volunteers say Fish of columns 0 to 24 of the first scene, one of them Sugar of 16 to 48 as
# well; in the second one of two says Sugar of rows 0 to 16, which the other leaves alone.
BOXES = (
    "granule,row,column,height,width,label,volunteer\n"
    "a.nc,0,0,32,24,Fish,ann\na.nc,0,0,32,24,Fish,bob\na.nc,0,16,32,32,Sugar,ann\n"
    "b.nc,0,0,16,32,Sugar,ann\nb.nc,,,,,,bob\n"
)


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    plane = ("scene", "row", "column")
    latitude = np.zeros((2, *SHAPE), np.float32)
    latitude[1, :, 32:] = np.nan
    valid = np.isfinite(latitude)
    valid[0, 3, 3] = False
    scenes = xr.Dataset(
        {
            "colour": (("scene", "channel", *plane[1:]), np.zeros((2, 3, *SHAPE), np.uint8)),
            "valid": (plane, valid),
            "latitude": (plane, latitude),
        },
        coords={
            "granule": ("scene", GRANULES),
            "time": ("scene", np.array(["2020-01-01T12", "2020-01-02T12"], "M8[ns]")),
            "channel": ["red", "green", "blue"],
        },
    )
    stores.write_product(scenes, tmp_path / "scenes.zarr", None)
    (tmp_path / "rejected.csv").write_text("granule,reason,detail\nnight.nc,night,dark\n")
    return tmp_path


def _run(workplace: Path, marks: str, **changes: object) -> pd.DataFrame:
    (workplace / "marks.csv").write_text(marks)
    params = dataclasses.replace(PARAMS, marks=str(workplace / "marks.csv"), **changes)
    names = ("scenes.zarr", "rejected.csv", "labelled", "label.json")
    label.run(params, *(workplace / name for name in names))
    return pd.read_csv(workplace / "labelled" / "labels.csv")


def _columns_of(table: pd.DataFrame, granule: str, name: str) -> set[int]:
    return set(table[(table.granule == granule) & (table.label == name)].column)


def test_boxes_become_tiles_where_enough_agree(workplace: Path) -> None:
    table = _run(workplace, BOXES)
    assert _columns_of(table, "a.nc", "Fish") == {0, 8}  # from 16 on it is Sugar, too
    assert _columns_of(table, "a.nc", "Sugar") == {24, 32, 40}
    assert _columns_of(table, "b.nc", "Sugar") == {0, 8, 16, 24}
    assert (table[table.granule == "b.nc"].row < 16).all()
    assert not ((table.granule == "a.nc") & (table.row == 0) & (table.column == 0)).any()  # invalid
    assert (table.share == 1).all()
    assert (workplace / "labelled" / "labels.png").stat().st_size > 5000
    found = json.loads((workplace / "label.json").read_text())
    assert found["n_granules"] == 2
    assert found["n_tiles"] == {"Fish": 7, "Sugar": 12 + 8}
    assert found["n_days"] == {"Fish": 1, "Sugar": 2}
    assert found["n_tiles_without_label"] == (24 - 1) + 16 - 27


def test_volunteers_are_compared_with_what_the_others_say(workplace: Path) -> None:
    """They agree on 7 tiles of Fish, not where Ann marked Sugar, too; Bob left b.nc alone."""
    _run(workplace, BOXES)
    found = json.loads((workplace / "labelled" / "agreement.json").read_text())
    assert found["n_pairs"] == 2 * 7
    assert found["mean"]["accuracy"] == 1
    # Ann has no label where bob says Fish under her Sugar; bob has none of ann's 20 tiles of Sugar.
    assert found["n_unlabelled"] == 4 + 12 + 8
    assert found["low"] == {}  # of one day
    assert json.loads((workplace / "label.json").read_text())["volunteers"] == found
    alone = BOXES.replace(",bob", ",ann")
    (workplace / "labelled" / "agreement.json").unlink()
    _run(workplace, alone)
    assert not (workplace / "labelled" / "agreement.json").exists()


def test_a_higher_agreement_leaves_fewer(workplace: Path) -> None:
    table = _run(workplace, BOXES, agreement=1.0)
    assert set(table.label) == {"Fish"}
    assert _columns_of(table, "a.nc", "Fish") == {0, 8, 16}


def test_masks_cover_what_is_no_padding(workplace: Path) -> None:
    """The right half of a mask of 64 × 96 pixels is that of 32 columns of the second scene."""
    half = 64 * 48
    table = _run(workplace, f"Image_Label,EncodedPixels\nb.jpg_Gravel,{half + 1} {half}\n")
    assert set(table.column) == {16, 24}
    assert set(table.granule) == {"b.nc"}


def test_the_table_is_one_of_labelled_tiles(workplace: Path) -> None:
    table = _run(workplace, BOXES)
    tiles = read_labels(
        workplace / "labelled" / "labels.csv",
        workplace / "rejected.csv",
        granules=GRANULES,
        scene_shape=SHAPE,
    )
    assert tiles.tile_size == 8
    assert tiles.label.tolist() == table.label.tolist()


def test_marks_that_label_no_tile_are_refused(workplace: Path) -> None:
    text = "granule,row,column,height,width,label\na.nc,0,0,4,4,Fish\n"
    with pytest.raises(ValueError, match=r"none of the 23 tiles of .* has 90% of its pixels under"):
        _run(workplace, text)
    assert not (workplace / "labelled").exists()
