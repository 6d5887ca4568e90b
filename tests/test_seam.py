"""Maps of grids that go round the globe."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from pipeline.files import figures
from pipeline.files.figures import dense


@pytest.mark.parametrize("west", [-180.0, 0.0, 20.0, -17.5, 170.0])
@pytest.mark.parametrize("width", [360.0, 60.0])
def test_no_pixel_of_a_map_spans_it(
    west: float, width: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(dense, "save", lambda figure, *_: drawn.append(figure))
    n_columns = int(width / 5)
    kinds = np.tile(np.arange(n_columns) * 4 // n_columns, (36, 1))
    figures.dense_map(
        np.zeros((36, n_columns, 3), np.uint8),
        kinds,
        np.linspace(90, -90, 37),
        west + np.arange(n_columns + 1) * 5.0,
        tmp_path / "map",
        names=["a", "b", "c", "d"],
        platform="P",
        time=np.datetime64("2020-06-01T12:00"),
        subtitle="clusters",
        legend_title="cluster",
    )
    for panel in drawn[0].axes[:2]:
        [mesh] = [each for each in panel.collections if isinstance(each, QuadMesh)]
        eastings = mesh.get_coordinates()[..., 0]
        steps = np.diff(eastings, axis=1)
        assert (steps >= 0).all()
        assert steps.max() < np.ptp(eastings) / 10


def test_columns_keep_their_kinds() -> None:
    edges = np.arange(0.0, 361, 90)
    order, moved = dense._from_seam(edges, -180.0)
    assert order.tolist() == [2, 3, 0, 1]
    np.testing.assert_allclose(moved, [-180, -90, 0, 90, 180], atol=1e-5)
    order, moved = dense._from_seam(np.array([170.0, 180, 190]), -5.0)
    assert order.tolist() == [0, 1]
    np.testing.assert_allclose(moved, [170, 180, 190])
