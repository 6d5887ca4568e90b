from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline import plot_probe
from pipeline.core import probing
from pipeline.core.other_days import Explained
from pipeline.core.representations import OWN, SHUFFLED
from pipeline.files import figures as draw
from pipeline.files import stores


@pytest.fixture
def probes(tmp_path: Path) -> Path:
    tiles = xr.Dataset(
        {"open_sky": ("tile", np.arange(9.0))},
        {"time": ("tile", np.datetime64("2020-01-01", "ns") + np.arange(9))},
    )
    gain = Explained(0.0, -0.1, 0.1)
    read = {OWN: (Explained(0.6, 0.5, 0.7), gain), SHUFFLED: (Explained(-0.2, -0.4, 0.1), gain)}
    stores.write_product(
        probing.assemble({"open_sky": read}, tiles), tmp_path / "probes/probes.nc", None
    )
    return tmp_path / "probes"


def test_the_figure_is_drawn(probes: Path, tmp_path: Path) -> None:
    plot_probe.run(probes, tmp_path / "figures")
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["probes.png"]


def test_each_representation_has_its_shares(
    probes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(draw, "intervals", lambda panels, *_, **__: drawn.append(panels))
    plot_probe.run(probes, tmp_path / "figures")
    [panels] = drawn
    assert panels == {
        OWN: {"open sky": (0.6, 0.5, 0.7)},
        SHUFFLED: {"open sky": (0.0, 0.0, 0.1)},
    }
