import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pipeline import composite as composite_stage
from pipeline.composite import CompositeParams
from pipeline.core.bootstrap import draw_days
from pipeline.core.composite import Days, composite, spread_over_days
from pipeline.core.composite_product import compose
from pipeline.core.reflectance_effect import beyond_cloud_fraction
from pipeline.files import stores
from pipeline.files.granules import Level2Variable
from pipeline.files.gridded import GriddedVariable

PARAMS = CompositeParams(
    k="recommended",
    n_draws=200,
    organisation_per_cluster=6,
    smallest_object=2,
    gridded=[],
    level2=[],
    seed=0,
)
CLOUD = {"cloud_reflectance": 20.0, "cloud_brightness_temperature": 285.0}
TILE_SIZE = 16
N_CLUSTERS = 4


def _days(number: np.ndarray, n_days: int, *, draws: np.ndarray | None = None) -> Days:
    """Days so far from each other that they are independent."""
    drawn = _draws(n_days) if draws is None else draws
    return Days(number, 30 * np.arange(n_days), drawn)


def _draws(n_days: int, *, n_draws: int = 400, seed: int = 0) -> np.ndarray:
    return draw_days(n_days, n_draws=n_draws, rng=np.random.default_rng(seed))


def _planted_days(rng: np.random.Generator, *, n_days: int) -> tuple[np.ndarray, ...]:
    """Values of mean 10 and 20 in two clusters, of which each day has its own."""
    days = np.repeat(np.arange(n_days), 40)
    clusters = np.tile([0, 1], len(days) // 2)
    effects = rng.normal(0, 2, (n_days, 2))
    values = np.array([10.0, 20.0])[clusters] + effects[days, clusters]
    return values + rng.normal(0, 1, len(days)), clusters, days


def test_means_and_spreads_are_those_of_the_known_tiles() -> None:
    values = np.array([1.0, 3.0, np.nan, 7.0, 4.0])
    clusters, days = np.array([0, 0, 0, 1, 2]), np.array([0, 1, 1, 0, 1])

    found = composite(values, clusters, _days(days, 2), n_clusters=4)

    np.testing.assert_array_equal(found.mean, [2, 7, 4, np.nan])
    np.testing.assert_array_equal(found.spread, [1, 0, 0, np.nan])
    np.testing.assert_array_equal(found.n_tiles, [2, 1, 1, 0])
    np.testing.assert_array_equal(found.n_days, [2, 1, 1, 0])
    # Clusters seen on one day cannot tell how days differ.
    np.testing.assert_array_equal(np.isnan(found.low), [False, True, True, True])
    np.testing.assert_array_equal([found.low[0], found.high[0]], [1, 7])  # of all tiles at most


@pytest.mark.parametrize("n_days", [4, 10])
def test_intervals_from_days_cover_where_those_from_tiles_do_not(n_days: int) -> None:
    rng = np.random.default_rng(2)
    covered, by_tiles = [], []
    for seed in range(150):
        values, clusters, days = _planted_days(rng, n_days=n_days)
        drawn = _days(days, n_days, draws=_draws(n_days, seed=seed))
        found = composite(values, clusters, drawn, n_clusters=2)
        covered += [*((found.low < [10, 20]) & (found.high > [10, 20]))]
        error = 1.96 * found.spread / np.sqrt(found.n_tiles)
        by_tiles += [*(np.abs(found.mean - [10, 20]) < error)]
        assert (found.high - found.low > 2 * error).all()

    assert np.mean(covered) == pytest.approx(0.95, abs=0.045)
    assert np.mean(by_tiles) < 0.7


def _planted_clouds(
    rng: np.random.Generator, *, excess: float, n_days: int = 20
) -> dict[str, np.ndarray]:
    """Four clusters, the second with more cloud, the third brighter by `excess`."""
    days = np.repeat(np.arange(n_days), 100)
    clusters = rng.integers(0, 4, len(days))
    fraction = np.clip(rng.beta(2, 2, len(days)) + 0.25 * (clusters == 1), 0, 1)
    zenith = rng.uniform(10, 70, len(days))
    μ = np.cos(np.radians(zenith))
    reflectance = 5 + 30 * fraction**2 + 8 * μ + 4 * μ * fraction + excess * (clusters == 2)
    reflectance += rng.normal(0, 1, n_days)[days] + rng.normal(0, 2, len(days))
    return {
        "reflectance": reflectance,
        "cloud_fraction": fraction,
        "solar_zenith": zenith,
        "clusters": clusters,
        "days": _days(days, n_days),
    }


def test_a_brighter_cluster_is_found_and_one_of_more_cloud_is_not() -> None:
    rng = np.random.default_rng(4)
    planted = _planted_clouds(rng, excess=5.0)
    raw = composite(
        planted["reflectance"],
        planted["clusters"],
        planted["days"],
        n_clusters=4,
    )

    found, remainder = beyond_cloud_fraction(**planted, n_clusters=4)

    share = (planted["clusters"] == 2).mean()  # of the mean of all tiles, which is no effect
    assert raw.mean[1] > raw.mean[2] > raw.mean[0]
    np.testing.assert_allclose(found.mean + 5 * share, [0, 0, 5, 0], atol=0.35)
    assert found.low[2] < 5 * (1 - share) < found.high[2]
    assert found.low[2] > 3
    assert found.high[1] - found.low[1] < 1
    for number in range(4):
        of_tiles = remainder[planted["clusters"] == number]
        assert found.mean[number] == pytest.approx(of_tiles.mean())
        assert found.spread[number] == pytest.approx(of_tiles.std())


def _cloudy_tiles(rng: np.random.Generator, *, contrast: float) -> tuple[np.ndarray, ...]:
    """Clusters, reflectance, and cloud fraction by infrared and by a reflectance of 20 percent.

    Cloud of the second cluster is brighter by `contrast`, that of the first darker, all of it
    colder than 285 K, and its edges are faint.
    """
    clusters = np.repeat([0, 1], 1500)
    fraction = rng.uniform(0.1, 0.9, len(clusters))
    is_cloud = rng.random((len(clusters), 256)) < fraction[:, None]
    thickness = rng.gamma(2.0, 10.0, is_cloud.shape) * (
        1 + contrast * np.where(clusters, 1, -1)[:, None]
    )
    pixels = np.where(is_cloud, 5 + thickness, 5 + rng.normal(0, 1, is_cloud.shape))
    return clusters, pixels.mean(axis=1), is_cloud.mean(axis=1), (pixels >= 20).mean(axis=1)


def test_contrast_comes_out_whole_with_a_mask_of_its_own() -> None:
    """With a threshold of the reflectance itself a third of it is left."""
    clusters, reflectance, infrared, bright = _cloudy_tiles(np.random.default_rng(0), contrast=0.25)
    days = np.arange(len(clusters)) % 30
    means = {}
    for name, fraction in (("infrared", infrared), ("bright", bright)):
        sun = np.full(len(clusters), 30.0)
        found, _ = beyond_cloud_fraction(
            reflectance, fraction, sun, clusters, _days(days, 30), n_clusters=2
        )
        means[name] = found.mean
    # Half of the pixels are cloud, of 20 percent beyond the sea: a quarter of it either way is 2.5.
    np.testing.assert_allclose(means["infrared"], [-2.5, 2.5], atol=0.15)
    assert abs(means["bright"]).max() < 1.25


def test_uneven_days_count_as_few() -> None:
    """Of a hundred tiles of one day and one each of ten others hardly more than one day counts."""
    rng = np.random.default_rng(8)
    number = np.concatenate([np.zeros(100, int), np.arange(1, 11)])
    even = np.repeat(np.arange(11), 10)
    values, clusters = rng.normal(size=110), np.zeros(110, int)
    found = composite(values, clusters, _days(number, 11), n_clusters=1)
    assert found.n_days.tolist() == [11]
    assert np.isnan(found.low).all()
    assert np.isfinite(composite(values, clusters, _days(even, 11), n_clusters=1).low).all()


def test_correlated_days_widen_intervals_until_they_hold_the_truth() -> None:
    rng = np.random.default_rng(9)
    n_days, held, independent = 40, [], []
    for _ in range(150):
        weather = rng.normal(size=n_days)
        for day in range(1, n_days):
            weather[day] = 0.5 * weather[day - 1] + np.sqrt(0.75) * weather[day]
        number = np.repeat(np.arange(n_days), 5)
        values = weather[number] + rng.normal(scale=0.1, size=len(number))
        for each, apart in ((held, 1), (independent, 30)):
            days = Days(number, apart * np.arange(n_days), _draws(n_days, n_draws=200))
            found = composite(values, np.zeros(len(number), int), days, n_clusters=1)
            each.append(found.low[0] <= 0 <= found.high[0])
    assert 0.88 < np.mean(held) < 0.99
    assert np.mean(independent) < 0.8


def test_without_an_effect_intervals_hold_zero() -> None:
    rng = np.random.default_rng(5)
    held = []
    for _ in range(40):
        planted = _planted_clouds(rng, excess=0.0)
        found, _ = beyond_cloud_fraction(**planted, n_clusters=4)
        held += [*((found.low <= 0) & (found.high >= 0))]

    assert np.mean(held) > 0.88


def test_the_fit_is_made_anew_in_each_sample_of_days() -> None:
    planted = _planted_clouds(np.random.default_rng(6), excess=5.0, n_days=6)
    number = planted.pop("days").number
    days = _days(number, 6, draws=_draws(6, n_draws=50))

    found, _ = beyond_cloud_fraction(**planted, days=days, n_clusters=4)

    means = []
    for counts in days.draws:
        tiles = np.repeat(np.arange(len(number)), counts[number])
        of_sample = {name: values[tiles] for name, values in planted.items()}
        once = _days(number[tiles], 6, draws=days.draws[:1])
        means.append(beyond_cloud_fraction(**of_sample, days=once, n_clusters=4)[0].mean)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    widened = np.sqrt(6 / 5) * 2.5706 / 1.95996  # of days of nearly as many tiles each
    np.testing.assert_allclose(found.low - found.mean, widened * (low - found.mean), rtol=0.02)
    np.testing.assert_allclose(found.high - found.mean, widened * (high - found.mean), rtol=0.02)


@pytest.mark.parametrize("zenith", [np.nan, 30.0])
def test_the_sun_may_be_unknown_or_the_same_and_knots_without_tiles(zenith: float) -> None:
    fraction = np.tile([0.0, 0.25, 0.5], 8)
    planted = {
        "reflectance": 10 + 40 * fraction + np.repeat([0.0, 1.0], 12),
        "cloud_fraction": fraction,
        "solar_zenith": np.full(24, zenith),
        "clusters": np.repeat([0, 1], 12),
        "days": _days(np.tile(np.repeat([0, 1], 6), 2), 2),
    }

    found, remainder = beyond_cloud_fraction(**planted, n_clusters=2)

    np.testing.assert_allclose(remainder, np.repeat([-0.5, 0.5], 12), atol=1e-8)
    np.testing.assert_allclose([found.low, found.high], [[-0.5, 0.5]] * 2, atol=1e-8)


def test_tiles_without_reflectance_or_sun_are_left_out() -> None:
    planted = _planted_clouds(np.random.default_rng(7), excess=5.0)
    planted["reflectance"][::7] = np.nan
    planted["solar_zenith"][1::7] = np.nan

    found, remainder = beyond_cloud_fraction(**planted, n_clusters=4)

    known = np.isfinite(planted["reflectance"] + planted["solar_zenith"])
    np.testing.assert_array_equal(np.isfinite(remainder), known)
    np.testing.assert_array_equal(found.n_tiles, np.bincount(planted["clusters"][known]))
    assert np.isfinite(found.mean).all()


def test_a_sample_of_tiles_takes_days_in_turn() -> None:
    clusters = np.array([0] * 10 + [1] * 3)
    days = np.array([0] * 7 + [1] * 2 + [2] + [0, 0, 1])

    drawn = spread_over_days(clusters, days, most=5, rng=np.random.default_rng(0))

    assert (np.diff(drawn) > 0).all()
    assert sorted(days[drawn[clusters[drawn] == 0]]) == [0, 0, 1, 1, 2]
    np.testing.assert_array_equal(drawn[-3:], [10, 11, 12])


@pytest.fixture(scope="module")
def inputs(
    toy_embeddings: Path,
    toy_scenes: Path,
    toy_clusters: Path,
    toy_textures: np.ndarray,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Path]:
    """The toy products with clouds: 0, 4, 16 or 64 objects in the tiles of a texture."""
    folder = tmp_path_factory.mktemp("composite")
    pattern = np.zeros((N_CLUSTERS, TILE_SIZE, TILE_SIZE))
    for texture, step in enumerate([16, 8, 4]):
        pattern[texture, ::step, ::step] = pattern[texture, 1::step, ::step] = 40.0
    tiles = pattern[toy_textures].reshape(-1, 4, 4, TILE_SIZE, TILE_SIZE)
    reflectance = 5 + tiles.swapaxes(2, 3).reshape(-1, 64, 64)
    scenes = stores.open_product(toy_scenes).load().drop_encoding()
    scenes["reflectance"] = ("scene", "row", "column"), reflectance.astype(np.float32)
    stores.write_product(scenes, folder / "scenes.zarr", None)
    source = stores.open_product(toy_embeddings).load().drop_encoding()
    source["cloud_fraction"] = "tile", (tiles > 0).mean((-2, -1)).ravel(), {"units": "1"}
    source["infrared_cloud_fraction"] = source.cloud_fraction.copy()
    on_land = np.arange(source.sizes["tile"]) % 4 == 0
    source["land_fraction"] = "tile", on_land.astype(np.float32), {"units": "1"}
    mean = 5 + tiles.mean((-2, -1)).ravel()
    source["reflectance"] = "tile", mean.astype(np.float32), {"units": "percent"}
    source.brightness_temperature.attrs |= {"units": "K", "long_name": "temperature"}
    source.attrs["parameters"] = json.dumps(CLOUD)
    stores.write_product(source, folder / "embeddings.zarr", None)
    return [folder / "embeddings.zarr", toy_clusters, folder / "scenes.zarr"]


def _run(inputs: list[Path], folder: Path, **changes: Any) -> xr.Dataset:
    params = dataclasses.replace(PARAMS, **changes)
    composite_stage.run(params, *inputs, folder / "composites", folder / "composite.json")
    return stores.open_product(folder / "composites/composites.nc").load()


@pytest.fixture(scope="module")
def folder(inputs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("products")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILE2VEC_WORKERS", "0")
        _run(inputs, path)
    return path


@pytest.fixture
def product(folder: Path) -> xr.Dataset:
    return stores.open_product(folder / "composites/composites.nc").load()


def test_the_product_holds_each_quantity_of_each_cluster(
    product: xr.Dataset, toy_textures: np.ndarray
) -> None:
    quantities = product.attrs["quantities"].split(",")
    assert quantities[:6] == [
        "brightness_temperature",
        "reflectance",
        "reflectance_beyond_cloud_fraction",
        "cloud_fraction",
        "infrared_cloud_fraction",
        "number_of_objects",
    ]
    effect = product.reflectance_beyond_cloud_fraction
    assert effect.attrs["source"] == "c is infrared_cloud_fraction; tiles over sea alone"
    assert product.reflectance_beyond_cloud_fraction_n_tiles.sum() == 0.75 * product.n_tiles.sum()
    for name in quantities:
        assert {"long_name", "units"} <= set(product[name].attrs)
        for beside in product[name].attrs["ancillary_variables"].split():
            assert product[beside].dims == ("cluster",)
        low, mean, high = (product[f"{name}{end}"].values for end in ("_low", "", "_high"))
        known = np.isfinite(low)
        assert (low[known] <= mean[known] + 1e-9).all()
        assert (mean[known] <= high[known] + 1e-9).all()
    np.testing.assert_allclose(product.brightness_temperature, [290, 275, 250, 230], atol=0.5)
    np.testing.assert_array_equal(product.number_of_objects, [4, 0, 16, 1])
    np.testing.assert_array_equal(product.number_of_objects_n_tiles, [6] * 4)
    np.testing.assert_allclose(product.cloud_fraction, [8 / 256, 0, 32 / 256, 2 / 256])
    np.testing.assert_array_equal(
        product.n_tiles, np.bincount(toy_textures)[np.array([1, 3, 2, 0])]
    )
    assert product.attrs["n_days"] == 4
    assert "4 UTC days" in product.attrs["comment"]


def test_a_table_and_the_tiles_go_with_it(folder: Path, product: xr.Dataset) -> None:
    table = pd.read_csv(folder / "composites/composites.csv")
    assert len(table) == 4 * len(product.attrs["quantities"].split(","))
    scai = table[table.quantity == "scai"]
    np.testing.assert_allclose(scai["mean"], product.scai, rtol=1e-6)
    np.testing.assert_allclose(scai.low, product.scai_low, rtol=1e-6)
    tiles = stores.open_product(folder / "composites/tiles.nc").load()
    np.testing.assert_array_equal(
        tiles.number_of_objects.groupby(tiles.cluster).mean(), product.number_of_objects
    )
    assert int(tiles.number_of_objects.notnull().sum()) == 24
    assert {"latitude", "longitude", "time", "scene", "row", "column"} <= set(tiles.coords)
    metrics = json.loads((folder / "composite.json").read_text())
    assert metrics["n_tiles"] == tiles.sizes["tile"]
    assert metrics["n_organisation_tiles"] == 24


def test_neither_a_second_run_nor_the_workers_change_the_composites(
    inputs: list[Path],
    folder: Path,
    product: xr.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "2")

    xr.testing.assert_identical(_run(inputs, tmp_path), product)

    for name in ("tiles.nc", "composites.csv"):
        path = Path("composites") / name
        assert (tmp_path / path).read_bytes() == (folder / path).read_bytes()


def test_without_clouds_there_is_what_is_left(
    toy_embeddings: Path, toy_clusters: Path, toy_scenes: Path, tmp_path: Path
) -> None:
    source = stores.open_product(toy_embeddings).load().drop_encoding()
    source.brightness_temperature.attrs["units"] = "K"
    stores.write_product(source, tmp_path / "embeddings.zarr", None)

    product = _run([tmp_path / "embeddings.zarr", toy_clusters, toy_scenes], tmp_path, k=5)

    assert product.attrs["quantities"] == "brightness_temperature"
    assert product.sizes["cluster"] == 5
    assert np.isnan(product.brightness_temperature[4])


def test_without_a_mask_of_its_own_there_is_no_effect(inputs: list[Path], tmp_path: Path) -> None:
    embeddings, *others = inputs
    source = stores.open_product(embeddings).load().drop_encoding()
    visible = source.drop_vars("infrared_cloud_fraction")
    stores.write_product(visible, tmp_path / "visible.zarr", None)
    product = _run([tmp_path / "visible.zarr", *others], tmp_path / "visible")
    assert "reflectance_beyond_cloud_fraction" not in product
    given = {"standard_name": "cloud_area_fraction", "units": "percent"}
    visible["product"] = ("tile", 100 * source.cloud_fraction.values, given)
    tiles, draws = visible.drop_vars("embedding"), np.ones((2, 4), int)
    tiles = tiles[["reflectance", "product"]].assign(cluster=("tile", np.arange(128) % 4))
    found, _ = compose(tiles, n_clusters=4, draws=draws)
    assert found.reflectance_beyond_cloud_fraction.attrs["source"].startswith("c is product;")


def test_one_day_gives_no_intervals(
    inputs: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    embeddings, *others = inputs
    source = stores.open_product(embeddings).load().drop_encoding()
    source["time"] = source.time.dt.floor("h").copy(data=np.full(128, source.time.values[0]))
    stores.write_product(source, tmp_path / "embeddings.zarr", None)
    caplog.set_level("INFO")

    product = _run([tmp_path / "embeddings.zarr", *others], tmp_path)

    assert np.isnan(product.cloud_fraction_low).all()
    assert np.isfinite(product.cloud_fraction).all()
    assert "no intervals, since all tiles are of one UTC day" in caplog.text


def test_an_unknown_k_is_refused(inputs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"composite\.k is 7, .* for k = 4 to 5"):
        _run(inputs, tmp_path, k=7)


def test_gridded_variables_are_composited_like_any_other(
    inputs: list[Path], tmp_path: Path
) -> None:
    embeddings, clusters, _ = inputs
    source = stores.open_product(embeddings).load()
    numbers = stores.open_product(clusters).cluster.sel(k=4).values
    latitude, longitude = np.arange(-15.0, 12), np.arange(28.0, 36)
    # Each scene has its own latitudes: half a degree of temperature for each of them.
    field = xr.DataArray(
        280 + 0.5 * latitude[:, None] + np.zeros(len(longitude)),
        coords={"lat": latitude, "lon": longitude},
        dims=("lat", "lon"),
        attrs={"units": "K", "long_name": "sea surface temperature"},
    )
    field.to_dataset(name="sst").to_netcdf(tmp_path / "sst.nc")
    wanted = GriddedVariable("era5_sst", str(tmp_path / "sst.nc"), "sst", {}, 3.0)

    product = _run(inputs, tmp_path, gridded=[wanted], organisation_per_cluster=0)

    expected = [280 + 0.5 * source.latitude.values[numbers == number].mean() for number in range(4)]
    np.testing.assert_allclose(product.era5_sst, expected)
    assert product.era5_sst.attrs["units"] == "K"
    assert product.era5_sst.attrs["missing_tiles"] == "none"
    assert "number_of_objects" not in product
    with pytest.raises(ValueError, match=r"scai in composite\.gridded is the name of another"):
        _run(inputs, tmp_path, gridded=[dataclasses.replace(wanted, name="scai")])


def _write_level2(path: Path, source: xr.Dataset, **attributes: str) -> None:
    """Optical thickness twice the latitude on a swath over all tiles, none in the east."""
    latitude, longitude = np.meshgrid(np.arange(-15.0, 12, 0.05), np.arange(28.0, 36, 0.05))
    thickness = np.where(longitude < 31, 2 * latitude, np.nan)
    places = {"lat": (("y", "x"), latitude), "lon": (("y", "x"), longitude)}
    time = {"time": ((), source.time.values[0] + np.timedelta64(10, "m"))}
    cloud = xr.Dataset({"cot": (("y", "x"), thickness, attributes)}, places | time)
    cloud.to_netcdf(path)


def _level2(folder: Path, **changes: Any) -> Level2Variable:
    wanted = Level2Variable("thickness", str(folder / "l2_*.nc"), "cot", {}, "lat", "lon", "", 1e4)
    return dataclasses.replace(wanted, **changes)


def test_level_2_variables_are_means_over_the_pixels_of_a_tile(
    inputs: list[Path], tmp_path: Path
) -> None:
    embeddings, clusters, _ = inputs
    source = stores.open_product(embeddings).load()
    _write_level2(tmp_path / "l2_a.nc", source, units="1")
    (tmp_path / "l2_b.nc").write_bytes(b"<html>log in</html>")
    product = _run(inputs, tmp_path, level2=[_level2(tmp_path)], organisation_per_cluster=0)
    tiles = stores.open_product(tmp_path / "composites/tiles.nc")
    known = np.isfinite(tiles.thickness.values)
    assert 0 < known.sum() < len(known)
    np.testing.assert_allclose(tiles.thickness[known], 2 * source.latitude.values[known], atol=0.2)
    assert tiles.thickness.attrs["unusable_granules"] == 1
    assert tiles.thickness.attrs["missing_tiles"].startswith(
        f"{(~known).sum()} without a known pixel within"
    )
    numbers = stores.open_product(clusters).cluster.sel(k=4).values
    expected = [tiles.thickness.values[known & (numbers == number)].mean() for number in range(4)]
    np.testing.assert_allclose(product.thickness, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("attributes", "changes", "message"),
    [
        ({}, {}, r"has no units; give them in the file or by cot in composite\.level2\.units"),
        ({"units": "1"}, {"latitude": "φ"}, r"no φ; name them by composite\.level2"),
        ({"units": "1"}, {"variable": "tau"}, r"variable in composite\.level2 names"),
        ({"units": "1"}, {"files": "none_*.nc"}, r"change files of thickness in composite\.level2"),
        ({"units": "1"}, {"name": "scai"}, r"scai in composite\.level2 is the name of another"),
    ],
)
def test_level_2_files_that_cannot_serve_are_named(
    inputs: list[Path],
    tmp_path: Path,
    attributes: dict[str, str],
    changes: dict[str, Any],
    message: str,
) -> None:
    source = stores.open_product(inputs[0]).load()
    _write_level2(tmp_path / "l2_a.nc", source, **attributes)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        _run(inputs, tmp_path, level2=[_level2(tmp_path, **changes)], organisation_per_cluster=0)


def test_level_2_granules_of_another_time_tell_nothing(inputs: list[Path], tmp_path: Path) -> None:
    source = stores.open_product(inputs[0]).load()
    _write_level2(tmp_path / "l2_a.nc", source, units="1")
    wanted = _level2(tmp_path, max_hours=0.05)
    _run(inputs, tmp_path, level2=[wanted], organisation_per_cluster=0)
    tiles = stores.open_product(tmp_path / "composites/tiles.nc")
    assert np.isnan(tiles.thickness).all()
