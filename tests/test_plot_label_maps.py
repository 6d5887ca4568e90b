from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import xarray as xr
from mapped_scenes import NAMES, places_of, write_scenes

from pipeline import plot_label_maps
from pipeline.files import figures, stores

LABELS = ["closed cells", "sugar"]


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    """Maps of the labels of both scenes, the left third of which have none."""
    scenes = write_scenes(tmp_path / "scenes.zarr")
    for number, name in enumerate(NAMES):
        places = places_of(scenes, number)
        label = np.full(places["latitude"].shape, number, np.int16)
        label[:, :8] = -1
        product = xr.Dataset(
            {"label": (("row", "column"), label, {"_FillValue": np.int16(-1)})},
            coords={"kind": LABELS, **places},
            attrs={"min_probability": 0.5, "platform": "P"},
        )
        stores.write_product(product, tmp_path / "label_maps" / name / "labels.nc", None)
    (tmp_path / "label_maps/shares.csv").write_text("granule\n")
    return tmp_path / "label_maps", tmp_path / "scenes.zarr"


def test_each_granule_is_shown_with_its_labels(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = Mock()
    monkeypatch.setattr(figures, "dense_map", drawn)
    plot_label_maps.run(*inputs, tmp_path / "figures")
    colour = stores.open_product(inputs[1]).colour.values
    found = {}
    for (picture, kinds, _, _, stem), about in drawn.call_args_list:
        number = NAMES.index(stem.parent.name)
        width = kinds.shape[1]
        np.testing.assert_array_equal(picture, np.moveaxis(colour[number, :, :, :width], 0, -1))
        assert stem.parent.parent == tmp_path / "figures"
        assert about["names"] == LABELS
        assert about["subtitle"] == "labels of probability 0.50 and more"
        assert (kinds[:, :8] == -1).all()
        found[stem.parent.name] = (width, set(kinds[:, 8:].ravel()))
    assert found == {"whole.nc": (32, {0}), "padded.nc": (24, {1})}


def test_figures_have_a_folder_a_granule(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    plot_label_maps.run(*inputs, tmp_path / "figures")
    written = [path.relative_to(tmp_path / "figures") for path in tmp_path.glob("figures/*/*")]
    names = ("labels.pdf", "labels.png")
    assert sorted(map(str, written)) == sorted(f"{each}/{name}" for each in NAMES for name in names)
    assert all((tmp_path / "figures" / path).stat().st_size > 5000 for path in written)


def test_without_a_map_the_stage_to_run_is_named(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"holds no map of labels; run dvc repro map_labels"
    ):
        plot_label_maps.run(tmp_path / "nowhere", inputs[1], tmp_path / "figures")
