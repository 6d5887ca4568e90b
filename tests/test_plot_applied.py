from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import xarray as xr

from pipeline import plot_applied
from pipeline.files import figures, stores

K = 4
N_NOVEL = 10
THRESHOLD = 1.5


@pytest.fixture
def inputs(toy_embeddings: Path, toy_clusters: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Toy tiles looked up in an atlas, and the atlas's t-SNE."""
    rng = np.random.default_rng(0)
    source = stores.open_product(toy_embeddings).load().drop_encoding()
    n_tiles = source.sizes["tile"]
    novelty = rng.uniform(0.5, THRESHOLD, n_tiles).astype(np.float32)
    novelty[:N_NOVEL] += 1
    tiles = source.assign(
        cluster=("tile", stores.open_product(toy_clusters).cluster.sel(k=K).values),
        position=(("tile", "axis"), rng.normal(size=(n_tiles, 2))),
        novelty=("tile", novelty),
        is_novel=("tile", novelty > THRESHOLD),
    ).assign_attrs(
        atlas="2.1", k=K, novelty_threshold=THRESHOLD, novel_share=N_NOVEL / n_tiles, stride=8
    )
    stores.write_product(tiles, tmp_path / "applied/tiles.zarr", None)
    shape = (N_NOVEL, 3, 16, 16)
    shown = tiles.isel(tile=slice(N_NOVEL))
    novel = xr.Dataset(
        {
            "colour": (("tile", "channel", "row", "column"), rng.integers(0, 256, shape, np.uint8)),
            "novelty": shown.novelty.variable,
            "is_novel": ("tile", np.arange(N_NOVEL) < N_NOVEL - 1),
        },
        coords={"time": shown.time.variable},
        attrs={"title": "Most novel tiles", "novelty_threshold": THRESHOLD},
    )
    stores.write_product(novel, tmp_path / "applied/novel.nc", None)
    layout = xr.Dataset({"position": (("tile", "axis"), rng.normal(size=(50, 2)))})
    stores.write_product(layout, tmp_path / "atlas/tsne.nc", None)
    return tmp_path / "applied", tmp_path / "atlas"


def test_new_tiles_are_shown_in_the_atlas_on_a_map_and_as_pictures(
    inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane, world, sheet = Mock(), Mock(), Mock()
    for name, mock in (("scatter_placed", plane), ("map_marked", world), ("tile_sheet", sheet)):
        monkeypatch.setattr(figures, name, mock)
    plot_applied.run(*inputs, tmp_path / "figures")
    tiles = stores.open_product(inputs[0] / "tiles.zarr")
    assert plane.call_args.args[0].shape == (50, 2)
    np.testing.assert_array_equal(plane.call_args.args[1], tiles.position)
    assert plane.call_args.kwargs["n_clusters"] == K
    assert plane.call_args.kwargs["is_marked"].sum() == N_NOVEL
    latitude, _, path = world.call_args.args
    np.testing.assert_allclose(np.ptp(latitude, axis=1), 0.5)  # half of each overlapping tile
    assert path == tmp_path / "figures/map.png"
    expected = figures.cluster_colours(K)[tiles.cluster.values]
    np.testing.assert_array_equal(world.call_args.kwargs["colours"], expected)
    assert "atlas 2.1; outlined: novel, 7.8% of the tiles" in world.call_args.kwargs["title"]
    novel = stores.open_product(inputs[0] / "novel.nc").load()
    rows, labels = sheet.call_args.args[0], sheet.call_args.kwargs["tile_labels"]
    np.testing.assert_array_equal(np.concatenate(rows), novel.colour)
    assert [len(row) for row in labels] == [8, 2]
    assert labels[0][0] == f"{novel.novelty.values[0]:.1f}\n2020-01-10"
    assert labels[1][1] == f"{novel.novelty.values[-1]:.1f} (seen)\n2020-01-10"
    assert sheet.call_args.kwargs["row_labels"] == ["1 …", "9 …"]
    assert sheet.call_args.kwargs["title"] == "Most novel tiles (novel above 1.50)"


def test_three_figures_are_written(inputs: tuple[Path, Path], tmp_path: Path) -> None:
    plot_applied.run(*inputs, tmp_path / "figures")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert names == {"map.png", "novel.png", "tsne.png"}
