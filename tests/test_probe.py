import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from small_products import write_untrained

from pipeline import plot_probe, probe
from pipeline.core.device import compute_device
from pipeline.core.encoder import embed_tiles, rebuild_encoder
from pipeline.core.representations import INITIAL, OWN, SHUFFLED, STATISTICS, UNTRAINED
from pipeline.files import encoders, stores

PARAMS = probe.ProbeParams(
    n_sample=10_000, n_folds=4, regularisation=(1.0, 10.0, 100.0, 1000.0), seed=0
)
N_DAYS, PER_DAY, TILE_SIZE = 16, 30, 32


def _cloud(rng: np.random.Generator, edge: int) -> np.ndarray:
    """A tile a quarter of which is cloud, in squares of this edge on a lattice, thrown anywhere."""
    tile = np.full((TILE_SIZE, TILE_SIZE), 40)
    for row in range(0, TILE_SIZE, 2 * edge):
        for column in range(0, TILE_SIZE, 2 * edge):
            tile[row : row + edge, column : column + edge] = 200
    return np.roll(tile, rng.integers(TILE_SIZE, size=2), axis=(0, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles of equal histograms with 1 to 64 objects, and their temperature, which is seen too."""
    path = tmp_path_factory.mktemp("probe")
    rng = np.random.default_rng(1)
    n_tiles = N_DAYS * PER_DAY
    edges = rng.choice([2, 4, 8, 16], n_tiles)
    warmth = rng.integers(-20, 20, n_tiles)
    pixels = np.stack([_cloud(rng, edge) for edge in edges]) + warmth[:, None, None]
    colour = pixels[:, None].repeat(3, axis=1).astype(np.uint8)
    channels = ["visible", "near_infrared", "infrared_window"]
    scenes = xr.Dataset(
        {"colour": (("scene", "channel", "row", "column"), colour)}, {"channel": channels}
    )
    stores.write_product(scenes, path / "scenes.zarr", None)
    write_untrained(path / "encoder", channels=channels, n_dimensions=64, seed=4)
    network = rebuild_encoder(*encoders.read_encoder(path / "encoder"))
    day = np.repeat(np.arange(N_DAYS), PER_DAY)
    scene = np.arange(n_tiles, dtype=np.int32)
    places = {
        "time": ("tile", np.datetime64("2020-01-01", "ns") + day * np.timedelta64(9, "D")),
        "granule": ("scene", np.array([f"{n}.nc" for n in scene], object)),
        "scene": ("tile", scene),
        "row": ("tile", 0 * scene),
        "column": ("tile", 0 * scene),
    }
    sizes = {"tile_size": TILE_SIZE, "stride": TILE_SIZE, "n_orientations": 1}
    embedding = embed_tiles(network, colour, device=compute_device())
    source = xr.Dataset({"embedding": (("tile", "dimension"), embedding)}, places, sizes)
    stores.write_product(source, path / "embeddings.zarr", None)
    objects = np.log2((TILE_SIZE / 2 / edges) ** 2)
    objects[::5] = np.nan  # not measured
    quantities = xr.Dataset(
        {
            "number_of_objects": ("tile", objects, {"long_name": "objects", "units": "1"}),
            "iorg": ("tile", np.full(n_tiles, np.nan), {"units": "1"}),
            "sst": ("tile", 290.0 + warmth, {"units": "K", "missing_tiles": "none"}),
            "reflectance": ("tile", 1.0 * warmth, {"units": "percent"}),
        },
        places,
        sizes,
    )
    stores.write_product(quantities, path / "composites/tiles.nc", None)
    return path


def _run(folder: Path, out: Path, **changes: object) -> xr.Dataset:
    inputs = [folder / name for name in ("embeddings.zarr", "composites", "scenes.zarr", "encoder")]
    probe.run(replace(PARAMS, **changes), *inputs, out / "probes", out / "probe.json")
    return stores.open_product(out / "probes/probes.nc").load()


@pytest.fixture(scope="module")
def product(folder: Path) -> xr.Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILE2VEC_WORKERS", "0")
        return _run(folder, folder)


def test_organisation_is_read_and_lost_with_the_order_of_pixels(product: xr.Dataset) -> None:
    share = product.explained.sel(quantity="number_of_objects").to_series()
    assert share[OWN] > 0.9
    assert share[UNTRAINED] > 0.5
    assert share[SHUFFLED] < 0.1
    assert share[STATISTICS] < 0.1
    assert product.gain_low.sel(representation=SHUFFLED, quantity="number_of_objects") > 0.5


def test_what_the_histogram_tells_stays_without_the_order(product: xr.Dataset) -> None:
    assert (product.explained.sel(quantity="sst") > 0.7).all()


def test_what_is_read_and_what_is_not_is_told(product: xr.Dataset, folder: Path) -> None:
    assert product.quantity.values.tolist() == ["number_of_objects", "sst"]
    assert product.attrs["left_out"] == "iorg: known for 0 tiles, fewer than 50"
    assert product.attrs["finding"].startswith("of the variance of 2 quantities")
    assert product.n_tiles.sel(quantity="sst") == N_DAYS * PER_DAY
    told = json.loads((folder / "probe.json").read_text())
    assert told[OWN]["sst"] == pytest.approx(
        float(product.explained.sel(representation=OWN, quantity="sst")), abs=1e-4
    )
    table = (folder / "probes/probes.csv").read_text().splitlines()
    assert len(table) == 1 + product.explained.size


def test_an_encoder_as_training_found_it_is_probed_too(folder: Path, tmp_path: Path) -> None:
    weights, description = encoders.read_encoder(folder / "encoder")
    encoders.write_encoder(tmp_path / "encoder", weights, description, initial=weights)
    for name in ("embeddings.zarr", "composites", "scenes.zarr"):
        (tmp_path / name).symlink_to(folder / name)
    found = _run(tmp_path, tmp_path).explained
    np.testing.assert_allclose(found.sel(representation=INITIAL), found.sel(representation=OWN))


def test_a_second_run_with_workers_gives_the_same(
    product: xr.Dataset, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILE2VEC_WORKERS", "2")
    xr.testing.assert_identical(_run(folder, tmp_path), product)


def test_of_too_many_tiles_those_are_taken_of_which_most_is_known(
    folder: Path, tmp_path: Path
) -> None:
    n_measured = N_DAYS * PER_DAY * 4 // 5
    assert _run(folder, tmp_path, n_sample=n_measured).n_tiles.values.tolist() == [n_measured] * 2


def test_where_nothing_is_known_nothing_is_read(folder: Path, tmp_path: Path) -> None:
    tiles = stores.open_product(folder / "composites/tiles.nc").load()
    unknown = tiles.drop_vars(["number_of_objects", "sst"])
    stores.write_product(unknown, tmp_path / "composites/tiles.nc", None)
    for name in ("embeddings.zarr", "scenes.zarr", "encoder"):
        (tmp_path / name).symlink_to(folder / name)
    product = _run(tmp_path, tmp_path)
    assert product.sizes == {"representation": 0, "quantity": 0}
    assert "raise composite.organisation_per_cluster" in product.attrs["finding"]
    plot_probe.run(tmp_path / "probes", tmp_path / "figures")
    assert list((tmp_path / "figures").iterdir()) == []
