import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from small_products import write_untrained

from pipeline import audit
from pipeline.core import clustering, kmeans
from pipeline.files import encoders, stores

PARAMS = audit.AuditParams(n_sample=1200, n_components=4, n_folds=3, seed=0)
N_DAYS, PER_DAY = 12, 100
TILE_SIZE = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clusters that stand for temperature and latitude in equal parts, and for a pattern."""
    path = tmp_path_factory.mktemp("audit")
    rng = np.random.default_rng(1)
    n_tiles = N_DAYS * PER_DAY
    temperature, latitude, pattern, longitude = rng.uniform(-1, 1, (4, n_tiles))
    noise = 0.02 * rng.normal(size=(n_tiles, 3))
    embedding = np.column_stack([temperature, latitude, 0.8 * pattern]) + noise
    day = np.repeat(np.arange(N_DAYS), PER_DAY)
    times = np.datetime64("2020-01-01", "ns") + day * np.timedelta64(30, "D")
    scene = np.arange(n_tiles, dtype=np.int32)
    splits = np.where(day % 2 == 0, "train", "test").astype(object)
    tile = ("tile",)
    source = xr.Dataset(
        {
            "embedding": (("tile", "dimension"), embedding.astype(np.float32)),
            "brightness_temperature": (tile, 270 + 20 * temperature),
            "land_fraction": (tile, np.zeros(n_tiles)),
        },
        coords={
            "latitude": (tile, 30 * latitude),
            "longitude": (tile, 100 * longitude),
            "time": (tile, times),
            "split": (tile, splits),
            "granule": ("scene", np.array([f"{n}.nc" for n in scene], object)),
            "scene": (tile, scene),
            "row": (tile, 0 * scene),
            "column": (tile, 0 * scene),
        },
        attrs={"tile_size": TILE_SIZE, "stride": TILE_SIZE, "n_orientations": 1},
    )
    stores.write_product(source, path / "embeddings.zarr", None)
    # Of the pixels only temperature can be seen.
    colour = np.clip(127 + 100 * temperature[:, None, None, None], 0, 255)
    colour = colour + rng.integers(0, 9, (n_tiles, 1, TILE_SIZE, TILE_SIZE))
    scenes = xr.Dataset(
        {"colour": (("scene", "channel", "row", "column"), colour.clip(0, 255).astype(np.uint8))},
        coords={"channel": ["grey"]},
    )
    stores.write_product(scenes, path / "scenes.zarr", None)
    found = []
    for k in (20, 40):
        centroids, _ = kmeans.fit_centroids(
            embedding.astype(np.float32), n_clusters=k, n_starts=1, seed=0
        )
        clusters, _ = clustering.assign(embedding, centroids)
        padded = np.pad(centroids, [(0, 40 - k), (0, 0)], constant_values=np.nan)
        found.append(
            xr.Dataset(
                {"cluster": ("tile", clusters), "centroid": (("number", "dimension"), padded)}
            )
        )
    product = xr.concat(found, "k").assign_coords(k=[20, 40], **stores.tile_places(source))
    stores.write_product(product.assign_attrs(recommended_k=40), path / "clusters.zarr", None)
    write_untrained(path / "encoder", channels=["grey"], n_dimensions=4, seed=0)
    return path


def _run(folder: Path, out: Path, **changes: int) -> xr.Dataset:
    inputs = [folder / name for name in ("embeddings.zarr", "clusters.zarr", "scenes.zarr")]
    audit.run(
        replace(PARAMS, **changes), *inputs, folder / "encoder", out / "audit", out / "audit.json"
    )
    return stores.open_product(out / "audit/audit.nc").load()


@pytest.fixture(scope="module")
def product(folder: Path) -> xr.Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILE2VEC_WORKERS", "0")
        return _run(folder, folder)


def test_two_planted_confounders_are_found_and_only_they(product: xr.Dataset) -> None:
    own = product.sel(representation="own encoder", k=40)
    # Variances 1/3, 1/3 and 0.64/3, of which k-means keeps nearly as much.
    share = own.clusters_explained
    assert share.sel(explained_by="mean temperature") == pytest.approx(1 / 2.64, abs=0.06)
    assert share.sel(explained_by="latitude") == pytest.approx(1 / 2.64, abs=0.06)
    for other in ("longitude", "season"):
        assert share.sel(explained_by=other) < 0.05
        assert own.correlation_ratio.sel(explained_by=other) < 0.1
    assert share.sel(explained_by="all factors") == pytest.approx(2 / 2.64, abs=0.1)
    assert own.correlation_ratio.sel(explained_by="mean temperature") > 0.8
    assert own.correlation_ratio.sel(explained_by="latitude") > 0.8


def test_components_are_explained_by_what_drives_them(product: xr.Dataset) -> None:
    own = product.sel(representation="own encoder")
    last = own.components_explained.sel(component=3)  # the pattern
    assert (last < 0.1).all()
    both = own.embedding_explained.sel(explained_by="all factors")
    assert both == pytest.approx(2 / 2.64, abs=0.1)
    assert own.embedding_explained_low.sel(explained_by="all factors") < both


def test_pixel_statistics_are_nothing_but_temperature(product: xr.Dataset) -> None:
    share = product.clusters_explained.sel(representation="pixel statistics", k=20)
    assert share.sel(explained_by="mean temperature") > 0.8
    assert share.sel(explained_by="latitude") < 0.05
    assert set(product.representation.values) == {
        "own encoder",
        "pixel statistics",
        "untrained encoder",
    }


def test_shares_of_other_encoders_are_compared_with_the_own(product: xr.Dataset) -> None:
    share, difference = product.clusters_explained, product.difference_explained
    own = share.sel(representation="own encoder")
    xr.testing.assert_allclose(difference, (own - share).transpose(*difference.dims))
    statistics = product.sel(k=40, representation="pixel statistics")
    latitude = statistics.sel(explained_by="latitude")
    temperature = statistics.sel(explained_by="mean temperature")
    assert latitude.difference_explained_low > 0.2
    assert temperature.difference_explained_high < -0.2
    assert (product.difference_explained_low.sel(representation="own encoder") == 0).all()


def test_an_encoder_as_training_found_it_is_audited_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "0")
    for name in ("clusters.zarr", "scenes.zarr", "embeddings.zarr"):
        (tmp_path / name).symlink_to(folder / name)
    weights, description = encoders.read_encoder(folder / "encoder")
    encoders.write_encoder(tmp_path / "encoder", weights, description, weights)
    found = _run(tmp_path, tmp_path, n_sample=200)
    assert found.representation.values.tolist()[-1] == "encoder before training"
    assert "of the encoder before training's" in found.attrs["finding"]


def test_the_finding_and_what_was_left_out_are_told(product: xr.Dataset, folder: Path) -> None:
    assert product.attrs["finding"].startswith(
        "of what 40 clusters of the own encoder tell, the factors explain "
    )
    assert "land fraction: the same for all tiles" in product.attrs["left_out"]
    assert "view zenith angle: not measured" in product.attrs["left_out"]
    metrics = json.loads((folder / "audit.json").read_text())
    own = metrics["own encoder"]
    assert own["left"] == pytest.approx(1 - own["explained"]["best on other days"], abs=1e-4)
    assert own["left"] == pytest.approx(1 - own["explained"]["all factors"], abs=0.05)
    assert metrics["pixel statistics"]["left"] < 0.2
    assert {path.name for path in (folder / "audit").iterdir()} == {"audit.csv", "audit.nc"}
    for variable in product.variables.values():
        assert variable.attrs["units"] == "1"


def test_a_second_run_with_workers_gives_the_same(
    product: xr.Dataset, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "2")
    xr.testing.assert_identical(_run(folder, tmp_path), product)


def test_tiles_of_one_day_are_refused(folder: Path, tmp_path: Path) -> None:
    source = stores.open_product(folder / "embeddings.zarr").load().drop_encoding()
    times = source.time.values[:1].repeat(source.sizes["tile"])
    of_one_day = source.assign_coords(time=("tile", times))
    for name in ("clusters.zarr", "scenes.zarr", "encoder"):
        (tmp_path / name).symlink_to(folder / name)
    stores.write_product(of_one_day, tmp_path / "embeddings.zarr", None)
    with pytest.raises(ValueError, match="the tiles are of one day, so that nothing can be tried"):
        _run(tmp_path, tmp_path)
    assert not (tmp_path / "audit").exists()
