"""Real SEVIRI nights, whose storms are colder than 3.9 µm can tell."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from tiny_flow import prepare, run_stage

from pipeline.files import stores

NIGHTS = Path(__file__).parents[2] / "shared/data/seviri_night"


@pytest.mark.skipif(not NIGHTS.exists(), reason=f"the real granules in {NIGHTS} are not here")
def test_deep_convection_stays_in_the_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "0")
    changes = {"fetch.source": "local", "fetch.local.granules": [str(NIGHTS)]}
    prepare(tmp_path, {**changes, "ingest.preset": "night_infrared"})
    for stage in ("fetch", "ingest"):
        assert run_stage(tmp_path, f"-m pipeline.{stage}") == 0
    with (tmp_path / "data/rejected.csv").open() as file:
        rejected = {row["granule"]: row["detail"] for row in csv.DictReader(file)}
    assert rejected == {  # a segment is missing
        "seviri_msg4_se_atlantic_20200906T0000Z.tif": (
            "0.386 of its shortwave_infrared have missing lines"
        ),
        "seviri_msg4_west_africa_20200906T0030Z.tif": (
            "0.577 of its infrared_window have missing lines"
        ),
    }
    scenes = stores.open_product(tmp_path / "data/scenes.zarr").load()
    assert list(scenes.granule.values) == [
        "seviri_msg4_se_atlantic_20200906T0015Z.tif",
        "seviri_msg4_west_africa_20200906T0015Z.tif",
    ]
    with rasterio.open(NIGHTS / scenes.granule.values[1]) as granule:
        shortwave, window = (0.02 * granule.read(band).astype(float) for band in (1, 2))
    below, scene = shortwave < 0, scenes.isel(scene=1)
    assert below.sum() == 6541
    metrics = json.loads((tmp_path / "data/metrics/ingest.json").read_text())
    assert metrics["pixels_below_noise"] == 6541
    inside = scene.valid.values[: below.shape[0], : below.shape[1]]
    assert inside[below].mean() > 0.99
    # 205.2 K, the first count of 3.9 µm, stands for what is colder; limits of the preset.
    green = np.clip(255 * (205.2 - window[below] - 3.1) / (-5.2 - 3.1), 0, 255)
    colour = scene.colour.sel(channel="shortwave_difference").values
    found = colour[: below.shape[0], : below.shape[1]][below]
    np.testing.assert_allclose(found[inside[below]], green[inside[below]], atol=1)
