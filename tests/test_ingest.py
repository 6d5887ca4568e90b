import csv
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from instruments.abi_l1b import write_abi_l1b

from pipeline import fetch, ingest
from pipeline.core.viewing import solar_angles
from pipeline.files import mcmip, stage, stores

VISIBLE = np.full((6, 8), 50.0)
INFRARED = np.full((6, 8), 250.0)
VISIBLE[0, 0], INFRARED[0, 0] = 50.01, 249.99  # a count, since no band is flat


@pytest.fixture
def ingest_params(params: dict[str, Any]) -> ingest.IngestParams:
    parsed = stage.parse_params("ingest", params["ingest"], ingest.IngestParams)
    return replace(parsed, preset="visible_infrared")


@pytest.fixture
def run(
    tmp_path: Path, params: dict[str, Any], ingest_params: ingest.IngestParams
) -> Callable[..., Path]:
    """Fetch and ingest the granules of a folder."""

    def run(folder: Path, **changes: Any) -> Path:
        section = {**params["fetch"], "source": "local", "local": {"granules": [str(folder)]}}
        fetch_params = stage.parse_params("fetch", section, fetch.FetchParams)
        shutil.rmtree(tmp_path / "granules", ignore_errors=True)
        shutil.rmtree(tmp_path / "scenes.zarr", ignore_errors=True)
        fetch.run(
            fetch_params, tmp_path / "granules", tmp_path / "archive", tmp_path / "checksums.json"
        )
        ingest.run(
            replace(ingest_params, **changes),
            tmp_path / "granules",
            tmp_path / "scenes.zarr",
            tmp_path / "rejected.csv",
            tmp_path / "ingest.json",
        )
        return tmp_path

    return run


def test_scenes_are_coloured_placed_and_sorted(
    tmp_path: Path, write_geotiff: Callable[..., Path], run: Callable[..., Path]
) -> None:
    bands = {"visible": VISIBLE, "infrared_10_7um": INFRARED}
    write_geotiff(tmp_path / "raw/late.tif", bands, start_time="2020-01-11T15:00:00Z")
    write_geotiff(tmp_path / "raw/early.tif", bands)
    scenes = stores.open_product(run(tmp_path / "raw") / "scenes.zarr")
    assert list(scenes.granule.values) == ["early.tif", "late.tif"]
    assert list(scenes.channel.values) == ["visible", "near_infrared", "infrared_window"]
    np.testing.assert_array_equal(scenes.colour, np.full((2, 3, 6, 8), 128))
    np.testing.assert_allclose(scenes.brightness_temperature, [INFRARED, INFRARED])
    np.testing.assert_allclose(scenes.reflectance, [VISIBLE, VISIBLE])
    assert scenes.valid.all()
    assert scenes.angles.attrs["units"] == "degree"
    assert next(iter(scenes.angle.values)) == "solar_zenith_angle"
    assert scenes.attrs["preset"] == "visible_infrared"


def test_every_rejection_has_its_reason(
    tmp_path: Path, write_geotiff: Callable[..., Path], run: Callable[..., Path]
) -> None:
    raw = tmp_path / "raw"
    bands = {"visible": VISIBLE, "infrared_10_7um": INFRARED}
    good = write_geotiff(raw / "good.tif", bands)
    shutil.copy(good, raw / "same_file.tif")
    write_geotiff(raw / "same_view.tif", {**bands, "extra": INFRARED})
    write_geotiff(raw / "night.tif", bands, start_time="2020-01-10T03:00:00Z")
    write_geotiff(raw / "no_infrared.tif", {"visible": VISIBLE}, start_time="2020-01-10T16:00Z")
    nothing = np.full((6, 8), np.nan)
    write_geotiff(raw / "empty.tif", {**bands, "visible": nothing}, start_time="2020-01-10T17:00Z")
    (raw / "truncated.tif").write_bytes(good.read_bytes()[:200])
    (raw / "unreadable.tif").write_text("an error page")
    (raw / "unfinished.tif.part").write_bytes(good.read_bytes()[:200])
    folder = run(raw)
    with (folder / "rejected.csv").open() as file:
        reasons = {row["granule"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons == {
        "same_file.tif": "repeats another",
        "same_view.tif": "repeats another",
        "night.tif": "night",
        "no_infrared.tif": "lacks a band",
        "empty.tif": "missing",
        "truncated.tif": "damaged or truncated",
        "unreadable.tif": "unreadable",
        "unfinished.tif.part": "unfinished download",
    }
    metrics = json.loads((folder / "ingest.json").read_text())
    assert metrics["granules"] == 9
    assert metrics["scenes"] == 1
    assert metrics["rejected"]["repeats another"] == 2
    assert "2 repeats another" in stores.open_product(folder / "scenes.zarr").attrs["rejected"]


REASONS = {"band": "lacks a band", "reader": "lacks a band", "time": "other time"}


@pytest.mark.parametrize("kind", REASONS)
def test_a_copy_whose_name_tells_what_the_first_lacks_is_used(
    kind: str, tmp_path: Path, run: Callable[..., Path], write_geotiff: Callable[..., Path]
) -> None:
    raw = tmp_path / "raw"
    if kind == "band":
        good = write_geotiff(raw / "infrared_10_7um_20200110_150000.tif", {"": INFRARED})
    else:
        [good] = write_abi_l1b(
            raw,
            latitude=0,
            longitude=-75,
            bands={"C14": np.linspace(250, 280, 400).reshape(20, 20)},
            start_time=datetime(2025, 3, 20, 17),
        )
    first = {
        "band": "a.tif",
        "reader": "A.nc",
        "time": good.name.replace("_s2025079", "_s2025078"),
    }[kind]
    shutil.copy(good, raw / first)
    folder = run(raw, preset="infrared_window")
    assert list(stores.open_product(folder / "scenes.zarr").granule.values) == [good.name]
    with (folder / "rejected.csv").open() as file:
        [rejected] = csv.DictReader(file)
    assert rejected["granule"] == first
    assert rejected["reason"] == REASONS[kind]


def test_a_granule_of_another_time_than_its_name_is_rejected(
    tmp_path: Path, run: Callable[..., Path], write_geotiff: Callable[..., Path]
) -> None:
    raw = tmp_path / "raw"
    write_geotiff(raw / "good.tif", {"infrared_10_7um": INFRARED})
    [path] = write_abi_l1b(
        raw,
        latitude=0,
        longitude=-75,
        bands={"C14": np.full((20, 20), 280.0)},
        start_time=datetime(2025, 3, 20, 17),
    )
    path.rename(raw / path.name.replace("_s2025079", "_s2025080"))
    with (run(raw, preset="infrared_window") / "rejected.csv").open() as file:
        [row] = csv.DictReader(file)
    assert row["reason"] == "other time"
    assert row["detail"] == "it is of 2025-03-20T17:00, by its name of 2025-03-21T17:00"


LINES = np.arange(40)[:, None]
SMOOTH = 30 + 0.2 * LINES + 0.1 * np.arange(48) + np.random.default_rng(0).normal(0, 0.3, (40, 48))
FAULTS = {
    "missing lines": np.where((LINES >= 10) & (LINES < 20), np.nan, SMOOTH),
    "stripes": np.where(LINES % 6 == 3, SMOOTH + 20, SMOOTH),
    "saturated": np.minimum(SMOOTH, 34.0),
    "implausible values": np.where((LINES > 15) & (LINES < 18), 400.0, SMOOTH),
    "missing": np.where(np.arange(48) > 0, np.nan, SMOOTH),
}
LIMITS = {
    "missing lines": {"max_missing_lines": 1.0},
    "stripes": {"max_striped_lines": 1.0},
    "saturated": {"max_saturated_share": 1.0},
    "implausible values": {"max_implausible_share": 1.0},
    "missing": {"max_invalid_share": 1.0},
}


@pytest.mark.parametrize("reason", LIMITS)
def test_a_faulty_granule_is_rejected_unless_its_limit_is_lifted(
    reason: str,
    tmp_path: Path,
    write_geotiff: Callable[..., Path],
    run: Callable[..., Path],
    ingest_params: ingest.IngestParams,
) -> None:
    write_geotiff(tmp_path / "raw/good.tif", {"visible": SMOOTH, "infrared_10_7um": SMOOTH + 250})
    write_geotiff(
        tmp_path / "raw/bad.tif",
        {"visible": FAULTS[reason], "infrared_10_7um": SMOOTH + 250},
        start_time="2020-01-10T16:00Z",
    )
    strict = replace(ingest_params.quality, plateau_pixels=100, max_invalid_share=0.9)
    folder = run(tmp_path / "raw", quality=strict)
    [row] = csv.DictReader((folder / "rejected.csv").read_text().splitlines())
    assert (row["granule"], row["reason"]) == ("bad.tif", reason)
    lifted = run(tmp_path / "raw", quality=replace(strict, **LIMITS[reason]))
    assert stores.open_product(lifted / "scenes.zarr").sizes["scene"] == 2


def test_a_lone_stripe_is_made_invalid(
    tmp_path: Path, write_geotiff: Callable[..., Path], run: Callable[..., Path]
) -> None:
    visible = np.where(LINES == 21, SMOOTH + 20, SMOOTH)
    write_geotiff(tmp_path / "raw/a.tif", {"visible": visible, "infrared_10_7um": SMOOTH + 250})
    folder = run(tmp_path / "raw")
    valid = stores.open_product(folder / "scenes.zarr").valid.values[0]
    np.testing.assert_array_equal(np.flatnonzero(~valid.all(axis=1)), [21])
    metrics = json.loads((folder / "ingest.json").read_text())
    assert metrics["invalid_pixels"]["stripes"] == 48


@pytest.fixture
def write_sector(tmp_path: Path) -> Callable[..., Path]:
    """Write a small MCMIP granule with clouds."""

    def write(
        hour: float,
        *,
        latitude: float = 0.0,
        longitude: float = -75.0,
        instead: Mapping[str, np.ndarray] | None = None,
        **name: str,
    ) -> Path:
        grid = mcmip.sector_grid(latitude=latitude, longitude=longitude, n_pixels=64)
        rng = np.random.default_rng(0)
        bands = {
            "C02": rng.uniform(0.1, 0.6, (64, 64)),
            "C03": rng.uniform(0.1, 0.6, (64, 64)),
            "C14": rng.uniform(230, 290, (64, 64)),
        }
        return mcmip.write_mcmip(
            tmp_path / "raw",
            grid=grid,
            bands={**bands, **(instead or {})},
            start_time=datetime(2020, 3, 20) + timedelta(hours=hour),
            **{"sector": "M1", **name},
        )

    return write


@pytest.mark.parametrize(
    ("preset", "band", "hour", "reason"),
    [
        ("visible_infrared", "C02", 16, "absurd scale"),
        ("visible_infrared", "C14", 16, "absurd scale"),
        ("infrared_window", "C14", 4, "absurd scale"),
        ("infrared_window", "C02", 4, None),
        ("infrared_window", "C02", 16, None),
    ],
)
def test_a_band_of_one_value_is_rejected_where_the_preset_needs_it(
    preset: str,
    band: str,
    hour: float,
    reason: str | None,
    tmp_path: Path,
    write_sector: Callable[..., Path],
    run: Callable[..., Path],
) -> None:
    write_sector(17)
    flat = np.full((64, 64), 0.0 if band == "C02" else 280.0)
    path = write_sector(hour, instead={band: flat})
    folder = run(tmp_path / "raw", preset=preset)
    rejected = csv.DictReader((folder / "rejected.csv").read_text().splitlines())
    found = [(row["granule"], row["reason"]) for row in rejected]
    assert found == ([(path.name, reason)] if reason else [])


def test_noise_of_the_visible_band_at_night_is_no_fault(
    tmp_path: Path, write_sector: Callable[..., Path], run: Callable[..., Path]
) -> None:
    counts = np.random.default_rng(1).poisson(0.2, (64, 64))
    write_sector(4, instead={"C02": 0.0002 * np.minimum(counts, 1)})
    write_sector(17)
    folder = run(tmp_path / "raw", preset="infrared_window")
    scenes = stores.open_product(folder / "scenes.zarr")
    assert scenes.sizes["scene"] == 2
    assert scenes.valid.all()
    folder = run(tmp_path / "raw", preset="visible_infrared")
    [row] = csv.DictReader((folder / "rejected.csv").read_text().splitlines())
    assert row["reason"] == "night"


def test_oblique_views_are_invalid(
    write_sector: Callable[..., Path], run: Callable[..., Path], tmp_path: Path
) -> None:
    write_sector(17.0)
    far = write_sector(17.5, latitude=0.0, longitude=-10.0)
    edge = write_sector(18.0, latitude=0.0, longitude=-13.0)
    folder = run(tmp_path / "raw")
    rejected = (folder / "rejected.csv").read_text()
    assert f"{far.name},view zenith" in rejected
    scenes = stores.open_product(folder / "scenes.zarr")
    assert list(scenes.granule.values)[1:] == [edge.name]
    view = scenes.angles.sel(angle="view_zenith_angle").values[1]
    valid = scenes.valid.values[1, ::8, ::8]
    assert 0 < valid.mean() < 1
    np.testing.assert_array_equal(valid, view <= 70)


@pytest.mark.parametrize(
    ("preset", "longitude", "hour", "n_scenes"),
    [
        ("visible_infrared", -85.0, 18.5, 1),  # where the Pacific mirrors the sun
        ("visible_infrared", -85.0, 14.0, 2),
        ("visible_infrared", -75.0, 17.0, 2),  # the same over the forest
        ("infrared_window", -85.0, 18.5, 2),
    ],
)
def test_glint_is_invalid_where_water_mirrors_the_sun_and_the_preset_shows_it(
    write_sector: Callable[..., Path],
    run: Callable[..., Path],
    tmp_path: Path,
    preset: str,
    longitude: float,
    hour: float,
    n_scenes: int,
) -> None:
    write_sector(15.5)
    write_sector(hour, longitude=longitude)
    folder = run(tmp_path / "raw", preset=preset)
    scenes = stores.open_product(folder / "scenes.zarr")
    assert scenes.sizes["scene"] == n_scenes
    rejected = list(csv.DictReader((folder / "rejected.csv").read_text().splitlines()))
    assert [row["reason"] for row in rejected] == ["glint"] * (2 - n_scenes)
    nearest = scenes.angles.sel(angle="glint_angle").min(["lattice_row", "lattice_column"])
    assert (nearest.values[1:] < 5).all() == (hour != 14.0)


def test_sectors_of_one_minute_that_overlap_are_counted(
    write_sector: Callable[..., Path],
    run: Callable[..., Path],
    tmp_path: Path,
    ingest_params: ingest.IngestParams,
) -> None:
    write_sector(15.0)
    near = write_sector(15.0 + 30 / 3600, sector="M2", longitude=-75.2)
    write_sector(15.0 + 90 / 3600, sector="M2", longitude=-75.2)  # of the next minute
    write_sector(15.0 + 40 / 3600, sector="M2", longitude=-70.0)
    folder = run(tmp_path / "raw")
    [row] = csv.DictReader((folder / "rejected.csv").read_text().splitlines())
    assert (row["granule"], row["reason"]) == (near.name, "overlaps another")
    assert "covers 0." in row["detail"]
    lifted = run(tmp_path / "raw", quality=replace(ingest_params.quality, max_overlap=1.0))
    assert stores.open_product(lifted / "scenes.zarr").sizes["scene"] == 4


def test_low_sun_makes_pixels_invalid(
    tmp_path: Path, write_geotiff: Callable[..., Path], run: Callable[..., Path]
) -> None:
    wide = np.tile(
        np.linspace(40.0, 60.0, 2000), (2, 1)
    )  # 40 degrees of longitude across the terminator
    bands = {"visible": wide, "infrared_10_7um": wide + 200}
    write_geotiff(tmp_path / "raw/a.tif", bands, start_time="2020-01-10T20:00:00Z", west=-60)
    scenes = stores.open_product(run(tmp_path / "raw") / "scenes.zarr")
    sun, _ = solar_angles(
        scenes.time.values[0], scenes.latitude.values[0], scenes.longitude.values[0]
    )
    assert 0 < (sun <= 75).mean() < 1
    clear = abs(sun - 75) > 0.01  # of the limit, where interpolation may go either way
    np.testing.assert_array_equal(scenes.valid.values[0][clear], (sun <= 75)[clear])
    assert (scenes.colour.values[0][:, ~scenes.valid.values[0]] == 0).all()


def test_an_infrared_preset_works_at_night(
    tmp_path: Path, write_geotiff: Callable[..., Path], run: Callable[..., Path]
) -> None:
    write_geotiff(
        tmp_path / "raw/a.tif", {"infrared_10_7um": INFRARED}, start_time="2020-01-10T03:00:00Z"
    )
    folder = run(tmp_path / "raw", preset="infrared_window")
    scenes = stores.open_product(folder / "scenes.zarr")
    assert (scenes.colour == 128).all()
    assert "reflectance" not in scenes


def test_a_preset_no_granule_suits_is_named(
    tmp_path: Path, write_geotiff: Callable[..., Path], run: Callable[..., Path]
) -> None:
    write_geotiff(tmp_path / "raw/a.tif", {"visible": VISIBLE})
    with pytest.raises(
        ValueError,
        match=r"none of 1 granules suits the preset day_microphysics \(1 lacks a band; the first, "
        r"a\.tif: it has no shortwave_infrared \(C07 or M12 .*change ingest\.preset or fetch\.s",
    ):
        run(tmp_path / "raw", preset="day_microphysics")


def test_an_unknown_preset_is_named(tmp_path: Path, run: Callable[..., Path]) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.tif").write_text("x")
    with pytest.raises(ValueError, match=r"ingest\.preset 'sandwich' is unknown; choose from day_"):
        run(tmp_path / "raw", preset="sandwich")


def test_workers_do_not_change_scenes(
    granule_folder: Path, run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "1")
    alone = stores.open_product(run(granule_folder) / "scenes.zarr").load()
    monkeypatch.setenv("TILE2VEC_WORKERS", "2")
    together = stores.open_product(run(granule_folder) / "scenes.zarr").load()
    assert alone.sizes["scene"] == 10
    xr.testing.assert_identical(alone, together)
