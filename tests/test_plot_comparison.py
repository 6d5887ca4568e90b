from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from pipeline import plot_comparison
from pipeline.core.comparison import table
from pipeline.files import figures, stores

COUNTS = [5, 10]


def _row(name: str, probe: float, unfrozen: float) -> table.Row:
    spread = np.array([-0.02, 0.0, 0.02, 0.0])
    values = {table.PROBE: probe + spread, table.SHORTCUT: 0.3 + spread}
    values[table.UNFROZEN] = unfrozen + spread
    values = {measure: each[None] for measure, each in values.items()}
    efficiency = np.stack([probe - 0.2 + spread, np.full(4, np.nan)])[:, None]
    return table.Row(name, values, efficiency, 3.14, 1000, name == "b")


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    """Two rows, one of which has no unfrozen score."""
    rows = [_row("a", 0.7, 0.8), _row("b", 0.6, np.nan)]
    product = table.tabulate(rows, counts=COUNTS, n_folds=5)
    product.attrs |= {"n_tiles": 40, "n_days": 8, "n_labels": 4}
    stores.write_product(product, tmp_path / "comparison/comparison.nc", None)
    return tmp_path / "comparison"


def test_rows_are_drawn_with_what_they_scored(
    comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = Mock()
    monkeypatch.setattr(figures, "comparison", drawn)
    plot_comparison.run(comparison, tmp_path / "figures")
    rows, about = drawn.call_args.args[0], drawn.call_args.kwargs
    assert list(rows) == ["a", "b (tuned)"]
    assert rows["a"].frozen[0] == pytest.approx(0.7)
    low, high = rows["a"].unfrozen[1:]
    assert low < 0.8 < high
    assert rows["b (tuned)"].unfrozen is None
    assert list(rows["b (tuned)"].others) == [table.SHORTCUT]
    assert rows["b (tuned)"].efficiency[5][0] == pytest.approx(0.4)
    assert np.isnan(rows["b (tuned)"].efficiency[10]).all()
    assert about["chance"] == 0.25
    assert about["title"] == "40 labelled tiles of 8 days that no encoder was trained on"


def test_the_figure_is_written_twice(comparison: Path, tmp_path: Path) -> None:
    plot_comparison.run(comparison, tmp_path / "figures")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {"comparison.pdf", "comparison.png"}
