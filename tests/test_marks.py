from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.files.labels import Marks, read_marks

GRANULES = ["b.nc", "a_1.nc"]
BOXES = "granule,row,column,height,width,label,volunteer\n"
MASKS = "Image_Label,EncodedPixels\n"


def _read(folder: Path, text: str, granules: Sequence[str] = GRANULES) -> Marks:
    path = folder / "marks.csv"
    path.write_text(text, encoding="utf-8")
    rejected = folder / "rejected.csv"
    rejected.write_text("granule,reason,detail\nnight.nc,night,the sun is down\n")
    return read_marks(path, rejected, granules=granules)


def test_boxes_of_volunteers(tmp_path: Path) -> None:
    marks = _read(
        tmp_path,
        BOXES + "a_1.nc,0,1,20,30,Fish,ann\nb.nc,-3,4,5,6,Sugar,bob\nb.nc,,,,,,ann\n"
        "night.nc,0,0,9,9,Flower,ann\n",
    )
    assert marks.names == ["Fish", "Sugar"]
    assert marks.boxes is not None
    assert marks.boxes[:2].tolist() == [[0, 1, 20, 30], [-3, 4, 5, 6]]
    assert marks.scene.tolist() == [1, 0, 0]
    assert marks.label.tolist() == [0, 1, -1]
    assert marks.volunteer[0] == marks.volunteer[2] != marks.volunteer[1]
    assert marks.runs is None
    assert marks.n_rejected == 1


def test_without_a_column_of_volunteers_all_boxes_are_of_one(tmp_path: Path) -> None:
    header = "granule,row,column,height,width,label\n"
    marks = _read(tmp_path, header + "b.nc,0,0,2,2,Fish\na_1.nc,0,0,2,2,Fish\n")
    assert marks.volunteer.tolist() == [0, 0]


def test_run_length_masks_name_granules_by_file_or_stem(tmp_path: Path) -> None:
    marks = _read(
        tmp_path,
        MASKS + "a_1.jpg_Fish,3 4 10 1\nb_Sugar,\nb.nc_Closed cells,1 1\nnight.jpg_Fish,1 1\n",
    )
    assert marks.scene.tolist() == [1, 0, 0]
    assert [marks.names[number] for number in marks.label] == ["Fish", "Sugar", "Closed cells"]
    assert marks.runs is not None
    assert [runs.tolist() for runs in marks.runs] == [[[3, 4], [10, 1]], [], [[1, 1]]]
    assert marks.boxes is None
    assert marks.n_rejected == 1
    np.testing.assert_array_equal(marks.volunteer, 0)


def test_of_granules_of_one_stem_the_scene_is_meant(tmp_path: Path) -> None:
    masks = MASKS + "night.jpg_Fish,1 1\nnight.nc_Fish,1 1\nnight.tif_Sugar,1 1\n"
    marks = _read(tmp_path, masks, ["b.nc", "night.tif"])
    assert marks.scene.tolist() == [1, 1]
    assert [marks.names[number] for number in marks.label] == ["Fish", "Sugar"]
    assert marks.n_rejected == 1
    with pytest.raises(ValueError, match=r"names 'a\.jpg', by which a\.nc and a\.tif may be meant"):
        _read(tmp_path, MASKS + "a.nc_Fish,1 1\na.jpg_Fish,1 1\n", ["a.nc", "a.tif"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("granule,row\nb.nc,1\n", r"lacks the column\(s\) column, height, width, label; a label"),
        (BOXES + "b.nc,0,0,4,4,,ann\n", r"line 2, b\.nc row 0 column 0, has no label; give one"),
        (BOXES + "b.nc,,,,,,\n", r"1 of 1 lines .* has no label; give one"),
        (BOXES + "b.nc,0,0,0,4,Fish,ann\n", r"has a box without pixels; correct its height and"),
        (BOXES + "b.nc,0,0,x,4,Fish,ann\n", r"line 2 of \S+ has height 'x'; it should be a whole"),
        (BOXES + "c.nc,0,0,4,4,Fish,ann\n", r"names 1 granule\(s\) that are not among the scenes"),
        (BOXES + "night.nc,0,0,4,4,Fish,ann\n", r"every granule that .* names was rejected"),
        (
            BOXES + "b.nc,0,0,4,4,Fish,ann\na_1.nc,0,0,4,4,Fish,Ann\n",
            r"has the volunteers 'ann' and 'Ann'; write them one way",
        ),
        (
            MASKS + "b.jpg_Fish,1 2\nb.jpg_FISH,1 2\n",
            r"has the labels 'Fish' and 'FISH'; write them one way",
        ),
        (MASKS, r"holds no labels; add some"),
        (MASKS + "b.jpg_Fish,1 2 3\n", r"line 2 of \S+ has EncodedPixels '1 2 3'; they should be"),
        (MASKS + "b.jpg_Fish,0 2\n", r"EncodedPixels '0 2'; they should be pairs of a first pix"),
        (MASKS + "Fish,1 2\n", r"has Image_Label 'Fish'; it should be a granule, an underscore"),
        (MASKS + "c.jpg_Fish,1 2\n", r"names 1 granule\(s\) .* the first 'c\.jpg'"),
    ],
)
def test_wrong_marks_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _read(tmp_path, text)
