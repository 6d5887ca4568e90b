"""The README's three ways to a cluster map of one's own granules."""

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from archive_server import Bucket
from instruments.swath import swath_places
from instruments.viirs import write_viirs
from tiny_flow import prepare, run_stage, stages

from pipeline.core.synthetic import synthesise_scene
from pipeline.core.viewing import geostationary_view, solar_angles
from pipeline.files import mcmip, stores

SMALLER: dict[str, Any] = {  # for the time a test may take
    "sample.n_triplets": {"train": 256, "validation": 64, "test": 64},
    "train.n_epochs": 1,
    "cluster.k_max": 10,
    "cluster.n_bootstraps": 2,
    "cluster.n_surrogates": 2,
    "tsne.n_sample": 100,
    "tsne.perplexity": 10,
    "grid_clusters.grids": ["equal_area"],
}
FROM_ABI = {"M03": "C01", "M05": "C02", "M07": "C03", "M12": "C07", "M15": "C14"}
DAYS = [datetime(2025, 7, day) for day in range(1, 8)]


def _hold_goes(bucket: Bucket, folder: Path) -> None:
    """A week of two sectors, two scans a day, in NOAA's layout."""
    for number, (day, hour, sector) in enumerate(
        (day, hour, sector) for day in DAYS for hour in (15, 17) for sector in ("M1", "M2")
    ):
        longitude = {"M1": -86.0, "M2": -48.0}[sector]
        grid = mcmip.sector_grid(latitude=-15.0, longitude=longitude, n_pixels=160)
        start = day + timedelta(hours=hour)
        sun, _ = solar_angles(np.datetime64(start), grid.latitude, grid.longitude)
        rng = np.random.default_rng(number)
        scene = synthesise_scene(grid.latitude, grid.longitude, sun, rng=rng)
        path = mcmip.write_mcmip(
            folder, grid=grid, bands=scene.bands, start_time=start, sector=sector, platform="G19"
        )
        bucket.put(f"ABI-L2-MCMIPM/{start:%Y/%j/%H}/{path.name}", path.read_bytes())


def _write_viirs(folder: Path) -> None:
    """Granules of 380 x 480 km: every other day of July, and 29 June and 2 August beside it."""
    for number, day in enumerate(datetime(2025, 6, 29) + timedelta(2 * n) for n in range(18)):
        west = (-80.0, -85.0)[number % 2]
        latitude, longitude = swath_places(
            latitude=-20.0, longitude=west, n_rows=256, n_columns=320, resolution_km=1.5
        )
        start = day + timedelta(hours=18)
        sun = solar_angles(np.datetime64(start), latitude, longitude)
        rng = np.random.default_rng(number)
        bands = synthesise_scene(latitude, longitude, sun[0], rng=rng).bands
        zenith, azimuth = geostationary_view(
            latitude,
            longitude,
            satellite_latitude=-20.0,
            satellite_longitude=west + 2,
            satellite_height_m=829e3,
        )
        write_viirs(
            folder,
            bands={name: bands[abi] for name, abi in FROM_ABI.items()},
            latitude=latitude,
            longitude=longitude,
            solar_zenith=sun[0],
            solar_azimuth=sun[1],
            view_zenith=zenith,
            view_azimuth=azimuth,
            start_time=start,
        )


def _check_map(flow: Path, platform: str, n_scenes: int) -> None:
    scenes = stores.open_product(flow / "data/scenes.zarr")
    assert scenes.sizes["scene"] == n_scenes
    assert set(scenes.platform.values) == {platform}
    frequency = stores.open_product(flow / "data/climatology/record_equal_area.nc").load()
    embeddings = stores.open_product(flow / "data/embeddings.zarr").load()
    assert frequency["count"].sum() == embeddings.sizes["tile"] > 100
    assert list((flow / "data/maps").glob("*.png"))


STAGES = [
    *("fetch", "ingest", "sample", "train", "embed", "cluster", "tsne", "plot_tsne"),
    *("map_clusters", "grid_clusters", "retrieve", "interpolate"),
]


@pytest.fixture
def to_a_map(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Path]:
    """The stages up to the maps, with changes of sections fetch and ingest alone."""

    def to_a_map(changes: dict[str, Any]) -> Path:
        assert {key.split(".")[0] for key in changes} <= {"fetch", "ingest"}
        flow = tmp_path_factory.mktemp("flow")
        prepare(flow, {**changes, **SMALLER})
        commands = dict(stages())
        for name in STAGES:
            assert run_stage(flow, commands[name]["cmd"]) == 0, name
        return flow

    return to_a_map


@pytest.mark.slow("flow")
def test_a_week_of_goes_sectors(
    tmp_path: Path, whole_bucket: Bucket, to_a_map: Callable[[dict[str, Any]], Path]
) -> None:
    _hold_goes(whole_bucket, tmp_path)
    flow = to_a_map(
        {
            "fetch.source": "goes",
            "fetch.goes.endpoint": whole_bucket.endpoint,
            "fetch.goes.satellite": 19,
            "fetch.goes.start": "2025-07-01T00:00",
            "fetch.goes.end": "2025-07-08T00:00",
        }
    )
    whole_bucket.delete_all()
    _check_map(flow, "GOES-19", 28)
    kept = sorted((flow / "data/archive/goes19/ABI-L2-MCMIPM/2025").rglob("*.nc"))
    assert len(kept) == 28
    manifest = stores.open_product(flow / "data/granules/manifest.nc")
    assert [Path(path).name for path in manifest.path.values] == [path.name for path in kept]


@pytest.mark.slow("flow")
def test_a_month_of_viirs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    to_a_map: Callable[[dict[str, Any]], Path],
) -> None:
    _write_viirs(tmp_path)
    monkeypatch.setenv("EARTHDATA_STAND_IN", str(tmp_path))
    monkeypatch.syspath_prepend(str(Path(__file__).with_name("stand_ins")))
    for name in [name for name in sys.modules if name.partition(".")[0] == "earthaccess"]:
        monkeypatch.delitem(sys.modules, name)
    flow = to_a_map(
        {
            "fetch.source": "nasa",
            "fetch.nasa.product": "VNP02MOD",
            "fetch.nasa.start": "2025-07-01T00:00",
            "fetch.nasa.end": "2025-08-01T00:00",
            "fetch.nasa.box": [-90.0, -35.0, -70.0, -10.0],
            "ingest.grid.kind": "equal_area",
            "ingest.grid.resolution_km": 2.0,
        }
    )
    _check_map(flow, "Suomi-NPP", 16)
    assert len(list((flow / "data/archive/nasa").rglob("*.nc"))) == 2 * 16
    embeddings = stores.open_product(flow / "data/embeddings.zarr").load()
    assert 0 <= float(embeddings.view_zenith_angle.max()) < 70
    assert np.isfinite(embeddings.glint_angle).all()


@pytest.mark.slow("flow")
def test_a_folder_of_geotiffs(
    tmp_path: Path,
    write_geotiff: Callable[..., Path],
    to_a_map: Callable[[dict[str, Any]], Path],
) -> None:
    row, column = np.mgrid[:160, :200]
    for number, (day, hour) in enumerate((day, hour) for day in DAYS for hour in (14, 18)):
        rng = np.random.default_rng(number)
        stripes = (column // (3 + number % 5)) % 2
        visible = 20 + 50 * stripes + rng.uniform(0, 10, row.shape)
        write_geotiff(
            tmp_path / f"scene_{number:02}.tif",
            {"visible": visible, "infrared_10_7um": 295 - 0.6 * visible},
            start_time=f"{day:%Y-%m-%d}T{hour}:00:00Z",
        )
    flow = to_a_map(
        {
            "fetch.source": "local",
            "fetch.local.granules": [str(tmp_path)],
            "ingest.preset": "visible_infrared",
        }
    )
    _check_map(flow, "GOES-13", 14)


def test_the_readmes_snippets_are_parameters_there_are(params: dict[str, Any]) -> None:
    """Every key of the YAML in the README is one of params.yaml, or there of section train."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    texts = [part.split("```")[0] for part in readme.split("```yaml\n")[1:]]
    snippets = [yaml.safe_load(text) for text in texts]
    recipes = [snippet for snippet in snippets if "loss" in snippet]
    assert len(snippets) - len(recipes) == 4

    def check(snippet: Any, there: Any) -> None:
        if isinstance(snippet, dict):
            for key, value in snippet.items():
                assert key in there
                check(value, there[key])

    for snippet in snippets:
        check(snippet, params["train"] if snippet in recipes else params)
