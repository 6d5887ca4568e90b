from pathlib import Path

import numpy as np
import pytest

from pipeline.files.labels import read_labels

GRANULES = ["b.nc", "a.nc"]
HEADER = "granule,row,column,tile_size,label\n"


def _read(folder: Path, text: str):
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    rejected = folder / "rejected.csv"
    rejected.write_text("granule,reason,detail\nnight.nc,night,it is\n0042,night,it is\n")
    return read_labels(path, rejected, granules=GRANULES, scene_shape=(100, 80))


def test_tiles_keep_the_order_of_the_table(tmp_path: Path) -> None:
    tiles = _read(tmp_path, HEADER + "a.nc,0,48,32,Fish\nb.nc, 68,5,32, Sugar \n")
    np.testing.assert_array_equal(tiles.scene, [1, 0])
    np.testing.assert_array_equal(tiles.row, [0, 68])
    np.testing.assert_array_equal(tiles.column, [48, 5])
    assert tiles.label.tolist() == ["Fish", "Sugar"]
    assert tiles.tile_size == 32


def test_columns_may_stand_in_any_order_beside_others(tmp_path: Path) -> None:
    text = "\ufefflabel,tile_size,who,granule,column,row\nFish,32,me,a.nc,3,2\n"
    tiles = _read(tmp_path, text)
    assert (tiles.row[0], tiles.column[0], tiles.label[0]) == (2, 3, "Fish")


def test_lines_of_commas_alone_are_none(tmp_path: Path) -> None:
    """As spreadsheets leave them, beside names of columns that are padded."""
    text = " granule , row,column ,tile_size,label\na.nc,2,3,32,Fish\n,,,,\n,,,,,,\n"
    tiles = _read(tmp_path, text)
    assert (tiles.row.tolist(), tiles.column.tolist()) == ([2], [3])


def test_a_label_may_read_like_a_missing_value(tmp_path: Path) -> None:
    assert _read(tmp_path, HEADER + "a.nc,0,0,32,None\n").label.tolist() == ["None"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("granule,row,label\na.nc,0,Fish\n", r"lacks the column\(s\) column, tile_size; a label"),
        ("", r"lacks the column\(s\) granule, row, column, tile_size, label; a label"),
        (HEADER + "\na.nc,0,0,x,Fish\n", r"line 3 of \S+ has tile_size 'x'"),
        (
            HEADER.replace(",", ";") + "a.nc;0;0;32;Fish\n",
            r"lacks the column\(s\) granule, .*, separated by commas",
        ),
        ("row," + HEADER + "1,a.nc,0,0,32,Fish\n", r"has 2 columns row; keep one"),
        (
            HEADER + "a.nc,0,0,32,Fish\nb.nc,0,0,32,Sugar\nb.nc,9,0,32,fish\n",
            r"has the labels 'Fish' and 'fish'; write them one way",
        ),
        (HEADER, r"labels\.csv holds no labels; add some or change labels in params\.yaml"),
        (HEADER + "a.nc,0,1.5,32,Fish\n", r"line 2 of \S+ has column '1\.5'; it should be a whole"),
        (HEADER + "a.nc,,1,32,Fish\n", r"has row ''; it should be a whole number"),
        (HEADER + "a.nc,0,1,32\n", r"1 of 1 lines .* has no label; give one"),
        (HEADER + "a.nc,0,0,0,Fish\n", r"has no positive tile_size"),
        (HEADER + "a.nc,0,0,32,Fish\na.nc,0,0,64,Fish\n", r"has tiles of 32, 64 pixels; keep one"),
        (
            HEADER + "a.nc,0,0,32,Fish\nc.nc,0,0,32,Fish\nd.nc,0,0,32,Fish\nc.nc,9,9,32,Fish\n",
            r"names 2 granule\(s\) that are not among the scenes, the first 'c\.nc'; ingest",
        ),
        (
            HEADER + "a.nc,0,0,32,Fish\na.nc,69,0,32,Fish\nb.nc,0,-1,32,Fish\n",
            r"2 of 3 lines .* line 3, a\.nc row 69 column 0, leaves the scene of 100 × 80 pixels "
            r"with tile_size 32",
        ),
        (HEADER + "a.nc,0,0,128,Fish\n", r"leaves the scene of 100 × 80 pixels with tile_size 128"),
        (HEADER + "a.nc,0,0,32,Fish\na.nc,0,0,32,Sugar\n", r"line 3, .* repeats an earlier tile"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _read(tmp_path, text)


def test_bytes_which_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"granule,row\n\xff\xfe\xfa,1\n")
    with pytest.raises(ValueError, match=r"is no table of comma-separated values"):
        read_labels(path, tmp_path / "rejected.csv", granules=GRANULES, scene_shape=(100, 80))


def test_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist; correct labels in"):
        read_labels(
            tmp_path / "none.csv",
            tmp_path / "rejected.csv",
            granules=GRANULES,
            scene_shape=(100, 80),
        )


def test_tiles_of_rejected_granules_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = "night.nc,0,0,32,Fish\na.nc,1,2,32,Sugar\n0042,9,9,32,Sugar\n"
    tiles = _read(tmp_path, HEADER + rows)
    assert (tiles.n_rejected, tiles.label.tolist(), tiles.scene.tolist()) == (2, ["Sugar"], [1])
    with pytest.raises(ValueError, match=r"every granule that .*labels\.csv names was rejected"):
        _read(tmp_path, HEADER + "night.nc,0,0,32,Fish\n")
