from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import xarray as xr
from mapped_scenes import places_of, write_scenes

from pipeline import plot_dense
from pipeline.files import figures, stores

CLUSTERS = np.repeat(np.array([[0, 0, 2], [0, -1, 2]], np.int16), 12, axis=0).repeat(8, axis=1)


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    """A dense map, and the scenes of which it is one."""
    scenes = write_scenes(tmp_path / "scenes.zarr")
    product = xr.Dataset(
        {"cluster": (("row", "column"), CLUSTERS, {"_FillValue": np.int16(-1)})},
        coords=places_of(scenes, 1),
        attrs={"k": 3, "platform": "P"},
    )
    stores.write_product(product, tmp_path / "dense/dense.nc", None)
    return tmp_path / "dense", tmp_path / "scenes.zarr"


def test_the_map_shows_the_granule_and_its_clusters(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = Mock()
    monkeypatch.setattr(figures, "dense_map", drawn)
    plot_dense.run(*inputs, tmp_path / "figures")
    picture, kinds, latitude_edges, longitude_edges, stem = drawn.call_args.args
    colour = stores.open_product(inputs[1]).colour.values[1, :, :, :24]
    np.testing.assert_array_equal(picture, np.moveaxis(colour, 0, -1))
    np.testing.assert_array_equal(kinds, CLUSTERS)
    assert (len(latitude_edges), len(longitude_edges)) == (25, 25)
    assert stem == tmp_path / "figures/dense"
    assert drawn.call_args.kwargs["names"] == ["0", "1", "2"]
    assert drawn.call_args.kwargs["time"] == np.datetime64("2020-01-02T12:30")


def test_figures_are_written_alike_each_time(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("once", "twice"):
        plot_dense.run(*inputs, tmp_path / name)
    assert {path.name for path in (tmp_path / "once").iterdir()} == {"dense.png", "dense.pdf"}
    for path in (tmp_path / "once").iterdir():
        assert (tmp_path / "twice" / path.name).read_bytes() == path.read_bytes()


def test_a_map_of_another_granule_is_refused(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    dense, scenes = inputs
    others = stores.open_product(scenes).isel(scene=[0]).load().drop_encoding()
    stores.write_product(others, tmp_path / "others.zarr", None)
    with pytest.raises(ValueError, match=r"padded\.nc is mapped but not among the scenes; map it"):
        plot_dense.run(dense, tmp_path / "others.zarr", tmp_path / "figures")
    assert not (tmp_path / "figures").exists()
