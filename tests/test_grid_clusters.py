"""The products of the stage, as others will open them."""

import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from compliance_checker.runner import CheckSuite, ComplianceChecker

from pipeline import grid_clusters
from pipeline.files import stores
from pipeline.files.figures import climatology as drawn
from pipeline.grid_clusters import GridClustersParams

PARAMS = GridClustersParams(
    k="recommended",
    grids=("equal_area", "latitude_longitude"),
    cell_degrees=5.0,
    cell_km=600.0,
    local_time_hours=6.0,
    fewest_tiles=2,
    fewest_days=2,
    lag_edges=(0.0, 2.0, 8.0),
    max_shift=0.25,
)
N_DAYS, HOURS, EDGE = 6, (0, 6, 7, 12), 4


def lay_tiles(*, drift: float = 0.0) -> xr.Dataset:
    """Scenes of some days, all of the same place but for a `drift` (degrees a scene)."""
    scene, row, column = (axis.ravel() for axis in np.indices((N_DAYS * len(HOURS), EDGE, EDGE)))
    day, slot = np.divmod(scene, len(HOURS))
    latitude = 30.0 - row + drift * scene
    longitude = (177.0 + column + 180) % 360 - 180
    half = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]])
    hours = np.array(HOURS)[slot] + 24 * 45 * day
    return xr.Dataset(
        coords={
            "granule": ("scene", np.array([f"{n}.nc" for n in range(scene.max() + 1)], object)),
            "scene": ("tile", scene.astype(np.int32)),
            "row": ("tile", 64 * row.astype(np.int32)),
            "column": ("tile", 64 * column.astype(np.int32)),
            "time": ("tile", np.datetime64("2019-11-20", "ns") + hours.astype("m8[h]")),
            "latitude": ("tile", latitude.astype(np.float32)),
            "longitude": ("tile", longitude.astype(np.float32)),
            "latitude_bounds": (("tile", "vertex"), latitude[:, None] + half[:, 0]),
            "longitude_bounds": (("tile", "vertex"), longitude[:, None] + half[:, 1]),
            "local_solar_time": ("tile", (np.array(HOURS)[slot] + 12.0) % 24),
            "platform": ("scene", ["GOES-18"] * (N_DAYS * len(HOURS))),
        },
        attrs={"stride": 64, "tile_size": 64},
    )


def grid_all(
    folder: Path, places: xr.Dataset | None = None, params: GridClustersParams = PARAMS
) -> Path:
    places = lay_tiles() if places is None else places
    numbers = np.random.default_rng(0).integers(0, 3, (2, places.sizes["tile"]))
    clusters = xr.Dataset(
        {"cluster": (("k", "tile"), numbers.astype(np.int16))},
        coords={"k": [3, 4], **stores.tile_places(places)},
        attrs={"recommended_k": 3},
    )
    stores.write_product(places, folder / "embeddings.zarr", None)
    stores.write_product(clusters, folder / "clusters.zarr", None)
    out = folder / "climatology"
    grid_clusters.run(params, folder / "embeddings.zarr", folder / "clusters.zarr", out)
    return out


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grid_all(tmp_path_factory.mktemp("grid_clusters"))


NAMES = [
    *(f"{axis}_{grid}" for axis in grid_clusters.GRIDDED for grid in PARAMS.grids),
    "diurnal_cycle",
    "seasonal_cycle",
    "transitions",
]


def test_all_products_and_figures_are_written(products: Path) -> None:
    assert {path.stem for path in products.glob("*.nc")} == set(NAMES)
    figures = {path.stem for path in products.glob("*.png")}
    assert figures == {path.stem for path in products.glob("*.pdf")}
    assert figures >= {
        "frequency_equal_area",
        "frequency_latitude_longitude",
        "zonal_equal_area",
        "diurnal_cycle",
        "seasonal_cycle",
        "transitions",
        "anomaly_12_to_18_h_local_solar_time",
    }


@pytest.mark.parametrize("name", NAMES)
def test_products_pass_the_cf_checker(name: str, products: Path, tmp_path: Path) -> None:
    CheckSuite.load_all_available_checkers()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the checker's own
        passed, errors = ComplianceChecker.run_checker(
            str(products / f"{name}.nc"),
            ["cf:1.11"],
            verbose=0,
            criteria="normal",
            output_filename=str(tmp_path / "report.json"),
            output_format="json",
        )
    report = json.loads((tmp_path / "report.json").read_text())["cf:1.11"]
    assert passed
    assert not errors
    assert report["high_count"] == 0
    complaints = [
        message
        for check in report["medium_priorities"] + report["low_priorities"]
        for message in check["msgs"]
    ]
    assert complaints == []


@pytest.mark.parametrize("name", NAMES)
def test_products_open_without_warnings(name: str, products: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xr.open_dataset(products / f"{name}.nc").load()
    assert opened.attrs["Conventions"] == "CF-1.11"
    assert json.loads(opened.attrs["parameters"])["k"] == "recommended"
    assert opened.attrs["k"] == 3


@pytest.mark.parametrize("name", NAMES[:8])
def test_totals_are_those_of_the_clusters(name: str, products: Path) -> None:
    opened = stores.open_product(products / f"{name}.nc")
    numbers = np.random.default_rng(0).integers(0, 3, (2, N_DAYS * len(HOURS) * EDGE**2))[0]
    totals = opened["count"].sum(set(opened["count"].dims) - {"cluster"})
    assert totals.values.tolist() == np.bincount(numbers).tolist()


def test_time_axes_have_the_months_and_seasons_of_the_record(products: Path) -> None:
    month = stores.open_product(products / "month_equal_area.nc")
    starts = month.time_bounds.values[:, 0].astype("M8[M]").astype(str).tolist()
    assert starts == ["2019-11", "2020-01", "2020-02", "2020-04", "2020-05", "2020-07"]
    season = stores.open_product(products / "season_equal_area.nc")
    assert season.time_bounds.values[1].astype("M8[M]").astype(str).tolist() == [
        "2019-12",
        "2020-03",
    ]
    hours = stores.open_product(products / "local_solar_time_equal_area.nc")
    assert hours.local_solar_time.values.tolist() == [3, 9, 15, 21]
    n_tiles = hours.n_tiles.sum(("latitude", "longitude")).values
    assert n_tiles.tolist() == [96, 0, 96, 192]


def test_transitions_are_of_the_same_place(products: Path) -> None:
    found = stores.open_product(products / "transitions.nc")
    # From 6 to 7 h; from 0 to 6 and 7, 6 and 7 to 12 h; but not over 12 h.
    assert found.n_pairs.values.tolist() == [N_DAYS * 16, 4 * N_DAYS * 16]
    assert int(found["count"].sum()) == 5 * N_DAYS * 16
    assert "note" not in found.attrs


def test_an_orbit_that_never_returns_has_no_transitions(tmp_path: Path) -> None:
    params = dataclasses.replace(PARAMS, k=4, grids=("latitude_longitude",))
    out = grid_all(tmp_path, lay_tiles(drift=0.6), params)
    assert not list(out.glob("*equal_area*"))
    assert stores.open_product(out / "diurnal_cycle.nc").sizes["cluster"] == 4
    found = stores.open_product(out / "transitions.nc")
    assert int(found["count"].sum()) == 0
    assert found.attrs["note"].startswith(
        "0 pairs of tiles are of one place, satellite and up to 8"
    )
    assert not (out / "transitions.png").exists()


def test_figures_leave_out_cells_with_too_few_unless_all_have(products: Path) -> None:
    product = stores.open_product(products / "record_equal_area.nc").isel(time=0).load()
    few = product.copy()
    few["sampling"] = few.sampling.where(np.arange(few.sizes["longitude"]) > 0, 2)
    shown = drawn.trusted(few, "frequency")
    assert np.isnan(shown[:, :, 0]).all()
    np.testing.assert_array_equal(shown[:, :, 1:], product.frequency[:, :, 1:])
    few["sampling"] = xr.full_like(few.sampling, 1)
    np.testing.assert_array_equal(drawn.trusted(few, "frequency"), product.frequency)


def test_a_second_run_gives_the_same_bytes(products: Path, tmp_path: Path) -> None:
    again = grid_all(tmp_path)
    for path in sorted(products.iterdir()):
        if path.suffix == ".nc":
            xr.testing.assert_identical(
                stores.open_product(path).load(), stores.open_product(again / path.name).load()
            )
        else:
            assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_unknown_k_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"grid_clusters\.k is 40, .* for k = 3 to 4"):
        grid_all(tmp_path, params=dataclasses.replace(PARAMS, k=40))
