from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from pipeline import plot_classifier
from pipeline.core.classification.classifiers import MAJORITY, Classifier
from pipeline.core.classification.table import tabulate
from pipeline.files import classifiers, figures, stores

NAMES = ["checks", "discs", "slopes", "stripes"]
TILE_SIZE = 16
PARAMS = plot_classifier.PlotClassifierParams(n_confused=2)
CONFUSED = (5, 9, 17)  # tiles that are taken for the label after theirs, ever more surely
ROWS = [
    Classifier(MAJORITY, MAJORITY, True, "", None),
    Classifier("own frozen", "own", True, "", None),
    Classifier("ImageNet frozen", "ImageNet", True, "no weights", None),
]


def _told(labels: np.ndarray, confused: tuple[int, ...]) -> np.ndarray:
    """Probabilities (classifier, repeat, tile, label), of the last classifier none."""
    own = np.where(np.eye(4)[labels] == 1, 0.7, 0.1)
    for number, tile in enumerate(confused):
        own[tile] = 0.1
        own[tile, (labels[tile] + 1) % 4] = 0.6 + 0.1 * number
    commonest = np.broadcast_to([0.4, 0.3, 0.2, 0.1], own.shape)
    return np.stack([commonest, own, np.full_like(own, np.nan)])[:, None]


def _write_classifier(folder: Path, scenes: Path, confused: tuple[int, ...] = CONFUSED) -> None:
    source = stores.open_product(scenes)
    labels = np.tile(np.arange(4), 8)  # four tiles of each scene
    scene = np.repeat(np.arange(8), 4)
    is_first = scene < 4
    table = tabulate(
        _told(labels, confused),
        np.stack([is_first, ~is_first])[None],
        labels,
        names=NAMES,
        classifiers=ROWS,
        reference=MAJORITY,
        is_training_day=is_first,
        days=np.arange(len(is_first)) % 3,
        seed=0,
    )
    product = table.assign_coords(
        granule=("tile", source.granule.values[scene]),
        time=("tile", source.time.values[scene]),
        row=("tile", np.full(32, TILE_SIZE)),
        column=("tile", np.tile(np.arange(4), 8) * TILE_SIZE),
        label=("tile", np.array(NAMES, object)[labels]),
    ).assign_attrs(tile_size=TILE_SIZE, n_tiles=32, n_days=4)
    stores.write_product(product, folder / "scores.nc", None)
    classifiers.write_classifier(folder, {"weights": np.zeros((1, 1))}, {})


def _record(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[Mock]:
    """Functions that keep what they are given instead of drawing it."""
    mocks = [Mock() for _ in names]
    for name, mock in zip(names, mocks, strict=True):
        monkeypatch.setattr(figures, name, mock)
    return mocks


def test_figures_are_drawn_of_what_has_scores(
    toy_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_classifier(tmp_path / "classifier", toy_scenes)
    intervals, confusion, reliability = _record(
        monkeypatch, "intervals", "confusion", "reliability_diagrams"
    )
    plot_classifier.run(PARAMS, tmp_path / "classifier", toy_scenes, tmp_path / "figures")
    panels = intervals.call_args.args[0]
    assert list(panels) == ["balanced accuracy", "macro f1"]
    assert list(panels["macro f1"]) == [MAJORITY, "own frozen"]
    assert panels["balanced accuracy"][MAJORITY][0] == 0.25
    assert intervals.call_args.kwargs["title"].startswith("32 labelled tiles of 4 days")
    [(name, matrix)] = confusion.call_args.args[0].items()
    assert name == "own frozen"
    assert matrix.sum() - np.trace(matrix) == len(CONFUSED)
    [(name, row)] = reliability.call_args.args[0].items()
    assert name == "own frozen"
    assert row.n_tiles.sum() == 32


def test_tiles_that_are_told_wrong_are_on_a_sheet(
    toy_scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_classifier(tmp_path / "classifier", toy_scenes)
    [sheet] = _record(monkeypatch, "tile_sheet")
    plot_classifier.run(PARAMS, tmp_path / "classifier", toy_scenes, tmp_path / "figures")
    [tiles], about = sheet.call_args.args[0], sheet.call_args.kwargs
    assert about["row_labels"] == ["discs\ntaken for slopes\n3 tiles"]
    assert about["tile_labels"] == [["0.80, not 0.10\n2020-01-12", "0.70, not 0.10\n2020-01-11"]]
    colour = stores.open_product(toy_scenes).colour.values
    for tile, shown in zip(CONFUSED[:0:-1], tiles, strict=True):
        column = tile % 4 * TILE_SIZE
        window = np.s_[TILE_SIZE : 2 * TILE_SIZE, column : column + TILE_SIZE]
        np.testing.assert_array_equal(shown, colour[tile // 4][:, *window])


@pytest.mark.parametrize("confused", [(), CONFUSED])
def test_there_is_a_sheet_where_a_tile_is_confused(
    toy_scenes: Path, tmp_path: Path, confused: tuple[int, ...]
) -> None:
    _write_classifier(tmp_path / "classifier", toy_scenes, confused)
    plot_classifier.run(PARAMS, tmp_path / "classifier", toy_scenes, tmp_path / "figures")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    sheet = {"confused.png"} if confused else set()
    assert names == {"scores.png", "confusion.png", "reliability.png"} | sheet
