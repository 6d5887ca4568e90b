from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline import plot_composites
from pipeline.core.bootstrap import draw_days
from pipeline.core.composite_product import EFFECT, compose
from pipeline.files import figures as draw
from pipeline.files import stores

N_CLUSTERS = 3


def _write_composites(folder: Path, *names: str) -> xr.Dataset:
    """Composites of made-up quantities, and their tiles, which come back."""
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(4), 30)
    tiles = xr.Dataset(
        {name: ("tile", rng.uniform(size=len(day)), {"units": "1"}) for name in names},
        coords={
            "time": ("tile", np.datetime64("2020-01-01", "ns") + day * np.timedelta64(30, "D"))
        },
    )
    tiles["cluster"] = "tile", rng.integers(0, N_CLUSTERS, len(day))
    draws = draw_days(4, n_draws=20, rng=rng)
    product, tiles = compose(tiles, n_clusters=N_CLUSTERS, draws=draws)
    stores.write_product(product.assign_attrs(k=N_CLUSTERS), folder / "composites.nc", None)
    stores.write_product(tiles, folder / "tiles.nc", None)
    return tiles


def test_every_figure_is_drawn(tmp_path: Path) -> None:
    _write_composites(tmp_path, "reflectance", "infrared_cloud_fraction")

    plot_composites.run(tmp_path, tmp_path / "figures")

    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "composites.png",
        f"{EFFECT}.png",
    ]


def test_without_reflectance_its_effect_is_not_drawn(tmp_path: Path) -> None:
    _write_composites(tmp_path, "cloud_fraction")

    plot_composites.run(tmp_path, tmp_path / "figures")

    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["composites.png"]


def test_dots_are_means_of_clusters_beside_that_of_all_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = _write_composites(tmp_path, "cloud_fraction")
    drawn: list[dict[str, Any]] = []
    monkeypatch.setattr(draw, "cluster_dots", lambda panels, *_, **__: drawn.append(panels))

    plot_composites.run(tmp_path, tmp_path / "figures")

    [panels] = drawn
    [(label, dots)] = panels.items()
    assert label == "Cloud fraction"
    means = tiles.cloud_fraction.groupby(tiles.cluster).mean()
    np.testing.assert_allclose(dots.values, means)
    assert (dots.low <= dots.values).all()
    assert (dots.values <= dots.high).all()
    assert dots.reference == pytest.approx(float(tiles.cloud_fraction.mean()))
