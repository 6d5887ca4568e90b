"""Toy products: tiles of four textures, with embeddings that tell the textures apart."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr
import yaml
from archive_server import Bucket
from filelock import FileLock
from hypothesis import settings
from moto.server import ThreadedMotoServer
from tiny_flow import run_tiny_flow

from pipeline.files import stores

ROOT = Path(__file__).parents[1]
PARAMS_FILE = ROOT / "params.yaml"
TILE_SIZE = 16
GRID = 4  # tiles along the edge of a scene
DAYS = 4
SCENES_PER_DAY = 2
TEXTURES = 4
DIMENSIONS = 6
TEMPERATURES = np.array([230.0, 290.0, 250.0, 275.0])  # of each texture, K
SPLITS = np.array(["train", "train", "validation", "test"], dtype=object)  # of each day


REASONS = {"flow", "kill", "matrix", "many"}


def pytest_configure() -> None:
    """Leave a thread to each process of the tests, before it imports torch."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settings.register_profile("untimed", deadline=None)  # machines are busy, and differ
    settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process waits for another's last one."""
    for item in items:
        for marker in item.iter_markers("slow"):
            assert set(marker.args) <= REASONS, f"{item.nodeid} is slow for no known reason"
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def _work_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting workers takes longer than most tests; those about workers set their number."""
    monkeypatch.setenv("TILE2VEC_WORKERS", "0")


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A stage in this process lets its progress be logged, in tests that follow as well."""
    level = logging.getLogger("pipeline").level
    yield
    logging.getLogger("pipeline").setLevel(level)


def _draw_texture(texture: int, rng: np.random.Generator) -> np.ndarray:
    row, column = np.mgrid[:TILE_SIZE, :TILE_SIZE]
    shapes = [
        (row // 4) % 2,
        (row // 4 + column // 4) % 2,
        np.hypot(row - 7.5, column - 7.5) < 5,
        (row + column) / (2 * TILE_SIZE),
    ]
    pattern = 40 + 160 * shapes[texture] + rng.integers(0, 30, (TILE_SIZE, TILE_SIZE))
    colour = 1 - 0.6 * np.eye(3)[texture % 3]
    return (colour[:, None, None] * pattern).astype(np.uint8)


@pytest.fixture(scope="session")
def toy_textures() -> np.ndarray:
    """Texture of every tile, shape (tile,), in the order of the embeddings."""
    rng = np.random.default_rng(5)
    return rng.integers(0, TEXTURES, DAYS * SCENES_PER_DAY * GRID**2)


@pytest.fixture(scope="session")
def toy_scenes(toy_textures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(6)
    tiles = np.stack([_draw_texture(texture, rng) for texture in toy_textures])
    grid = tiles.reshape(-1, GRID, GRID, 3, TILE_SIZE, TILE_SIZE)
    edge = GRID * TILE_SIZE
    colour = grid.transpose(0, 3, 1, 4, 2, 5).reshape(-1, 3, edge, edge)
    dataset = xr.Dataset(
        {"colour": (("scene", "channel", "row", "column"), colour)},
        coords={
            "granule": ("scene", [f"granule_{n}.nc" for n in range(len(colour))]),
            "time": ("scene", _scene_times()),
            "channel": ["red", "green", "blue"],
        },
    )
    path = tmp_path_factory.mktemp("toy") / "scenes.zarr"
    stores.write_product(dataset, path, None)
    return path


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture(scope="session")
def toy_embeddings(toy_textures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(7)
    n_tiles = len(toy_textures)
    centres = np.eye(TEXTURES, DIMENSIONS)
    embedding = _unit(centres[toy_textures] + 0.1 * rng.normal(size=(n_tiles, DIMENSIONS)))
    scene = np.repeat(np.arange(DAYS * SCENES_PER_DAY, dtype=np.int32), GRID**2)
    row, column = np.divmod(np.tile(np.arange(GRID**2, dtype=np.int32), scene.max() + 1), GRID)
    latitude, longitude = 10.0 - row - 2 * scene, 30.0 + column
    half = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]])
    temperature = TEMPERATURES[toy_textures] + rng.normal(size=n_tiles)
    turned_tile = np.arange(0, n_tiles, 3, dtype=np.int32)
    copies = _unit(embedding[turned_tile, None] + 0.02 * rng.normal(size=(1, 8, DIMENSIONS)))
    copies[:, 0] = embedding[turned_tile]
    dataset = xr.Dataset(
        {
            "embedding": (("tile", "dimension"), embedding.astype(np.float32)),
            "brightness": ("tile", (1 - temperature / 400).astype(np.float32)),
            "brightness_temperature": ("tile", temperature.astype(np.float32)),
            "turned_embedding": (
                ("turned", "orientation", "dimension"),
                copies.astype(np.float32),
            ),
            "turned_tile": ("turned", turned_tile),
        },
        coords={
            "scene": ("tile", scene),
            "row": ("tile", row * TILE_SIZE),
            "column": ("tile", column * TILE_SIZE),
            "latitude": ("tile", latitude),
            "longitude": ("tile", longitude),
            "latitude_bounds": (("tile", "vertex"), latitude[:, None] + half[:, 0]),
            "longitude_bounds": (("tile", "vertex"), longitude[:, None] + half[:, 1]),
            "time": ("tile", _scene_times()[scene]),
            "split": ("tile", SPLITS[scene // SCENES_PER_DAY]),
            "granule": ("scene", [f"granule_{n}.nc" for n in range(scene.max() + 1)]),
            "tile_size": TILE_SIZE,
        },
        attrs={"tile_size": TILE_SIZE, "stride": TILE_SIZE, "n_orientations": 1},
    )
    path = tmp_path_factory.mktemp("toy") / "embeddings.zarr"
    stores.write_product(dataset, path, None)
    return path


@pytest.fixture(scope="session")
def toy_clusters(
    toy_embeddings: Path, toy_textures: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Clusters for k = 4 and 5, the recommended 4 being the textures from warm to cold."""
    source = stores.open_product(toy_embeddings).load()
    embedding = source.embedding.values
    warm_to_cold = np.argsort(-TEMPERATURES)
    cluster = np.argsort(warm_to_cold)[toy_textures]
    centroid = np.stack([embedding[cluster == number].mean(0) for number in range(TEXTURES)])
    padded = np.full((2, TEXTURES + 1, DIMENSIONS), np.nan, np.float32)
    padded[:, :TEXTURES] = centroid
    padded[1, TEXTURES] = 100
    distance = np.linalg.norm(embedding - centroid[cluster], axis=1).astype(np.float32)
    dataset = xr.Dataset(
        {
            "cluster": (("k", "tile"), np.stack([cluster, cluster]).astype(np.int16)),
            "distance": (("k", "tile"), np.stack([distance, distance])),
            "centroid": (("k", "number", "dimension"), padded),
        },
        coords={
            "k": [TEXTURES, TEXTURES + 1],
            "number": np.arange(TEXTURES + 1),
            **stores.tile_places(source),
        },
        attrs={"recommended_k": TEXTURES, "recommendation": "they are the textures"},
    )
    path = tmp_path_factory.mktemp("toy") / "clusters.zarr"
    stores.write_product(dataset, path, None)
    return path


def _scene_times() -> np.ndarray:
    hours = 24 * np.repeat(np.arange(DAYS), SCENES_PER_DAY)
    hours += np.tile(np.arange(SCENES_PER_DAY), DAYS) * 6 + 12
    return np.datetime64("2020-01-10T00", "ns") + hours.astype("timedelta64[h]")


@pytest.fixture(scope="session")
def write_geotiff() -> Callable[..., Path]:
    """Write a small GeoTIFF granule of bands in percent or K."""

    def write(
        path: Path,
        bands: Mapping[str, np.ndarray],
        *,
        start_time: str = "2020-01-10T15:00:00Z",
        west: float = -60.0,
        north: float = 20.0,
        **tags: str,
    ) -> Path:
        height, width = next(iter(bands.values())).shape
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=height,
            width=width,
            count=len(bands),
            dtype="uint16",
            crs="EPSG:4326",
            transform=rasterio.transform.from_origin(west, north, 0.02, 0.02),
            nodata=65535,
        ) as file:
            for index, (name, values) in enumerate(bands.items(), start=1):
                counts = np.where(np.isfinite(values), np.rint(np.nan_to_num(values) * 100), 65535)
                file.write(counts.astype(np.uint16), index)
                file.set_band_description(index, name)
            file.scales = (0.01,) * len(bands)
            file.units = ["percent" if name == "visible" else "K" for name in bands]
            file.update_tags(start_time=start_time, platform="GOES-13", **tags)
        return path

    return write


@pytest.fixture(scope="session")
def granule_folder(
    tmp_path_factory: pytest.TempPathFactory, write_geotiff: Callable[..., Path]
) -> Path:
    """Ten granules of five days with stripes, checks and noise of equal histograms."""
    folder = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(8)
    row, column = np.mgrid[:96, :120]
    for day in range(5):
        for hour in (13, 17):
            period = 4 + 2 * (hour == 17)
            visible = 20 + 60 * ((column // period + day) % 2) + rng.uniform(0, 5, row.shape)
            visible[:10, :10] = np.nan
            write_geotiff(
                folder / f"scene_{day}_{hour}.tif",
                {"visible": visible, "infrared_10_7um": 290 - 0.4 * visible},
                start_time=f"2020-01-{10 + day}T{hour}:00:00Z",
            )
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, int]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture(scope="session")
def whole_bucket(s3_server: tuple[str, int]) -> Bucket:
    return Bucket("http://{}:{}".format(*s3_server))


@pytest.fixture
def params() -> dict[str, Any]:
    """The committed params.yaml."""
    content: dict[str, Any] = yaml.safe_load(PARAMS_FILE.read_text())
    return content


def _copy_tree(folder: Path) -> None:
    """The working tree as git sees it, without products, as a repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "Start"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


@pytest.fixture(scope="session")
def dvc() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run dvc in a folder."""

    def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path}
        for name in ("TILE2VEC_WORKERS", "OMP_NUM_THREADS"):
            environment.pop(name, None)
        return subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return dvc


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A folder of this run of the tests that one of its processes fills, for all to read."""

    def made_once(name: str, make: Callable[[Path], None]) -> Path:
        root = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:
            root = root.parent
        folder, made = root / name, root / f"{name}.made"
        with FileLock(root / f"{name}.lock"):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed
                folder.mkdir()
                make(folder)
                made.touch()
        return folder

    return made_once


@pytest.fixture(scope="session")
def default_flow(
    made_once: Callable[..., Path], dvc: Callable[..., subprocess.CompletedProcess[str]]
) -> Path:
    """A copy of the tree with the products of the committed parameters.

    They come from DVC's cache where `dvc repro` has made them before, else they are made here.
    """

    def make(folder: Path) -> None:
        _copy_tree(folder)
        dvc(folder, "cache", "dir", "--local", str(ROOT / ".dvc/cache"))
        dvc(folder, "checkout")  # of what the cache holds
        result = dvc(folder, "repro")
        assert result.returncode == 0, result.stdout + result.stderr

    return made_once("default_flow", make)


@pytest.fixture(scope="session")
def tiny_flow(made_once: Callable[..., Path]) -> Path:
    """A folder in which every stage has run on a few scenes of 64 pixels."""
    return made_once("tiny_flow", run_tiny_flow)
