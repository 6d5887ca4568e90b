"""Products of any number of made-up tiles: embeddings with kinds of tiles and days of weather."""

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.core import clustering
from pipeline.files import stores

FloatArray = NDArray[np.floating]

N_DIMENSIONS = 128
N_KINDS = 200
N_FACTORS = 8  # along which tiles of a kind differ
TILE_SIZE = 4  # pixels
GRID = (10, 25)  # tiles of a scene
SCENES_PER_DAY = 4
TURNED_PER_SCENE = 8
TILES_PER_DAY = SCENES_PER_DAY * GRID[0] * GRID[1]
SPLITS = np.repeat(["train", "validation", "test"], [7, 1, 2]).astype(object)  # of ten days


def draw_embeddings(n_tiles: int, *, seed: int) -> NDArray[np.float32]:
    """Unit-length embeddings (tile, dimension), `TILES_PER_DAY` a day.

    Kinds of tiles differ more along some dimensions than others, tiles of a kind along a few
    factors, and whole days by their weather.
    """
    rng = np.random.default_rng(0)  # kinds are the same for any seed
    scales = np.linspace(2, 0.2, N_DIMENSIONS)
    kinds = scales * rng.standard_normal((N_KINDS, N_DIMENSIONS))
    factors = 0.35 * rng.standard_normal((N_KINDS, N_FACTORS, N_DIMENSIONS))
    rng = np.random.default_rng(seed)
    embeddings = np.empty((n_tiles, N_DIMENSIONS), np.float32)
    for start in range(0, n_tiles, TILES_PER_DAY):
        day = embeddings[start : start + TILES_PER_DAY]
        weather = 0.2 * scales * rng.standard_normal(N_DIMENSIONS)
        kind = rng.integers(0, N_KINDS, len(day))
        along = rng.standard_normal((len(day), 1, N_FACTORS))
        noise = 0.15 * rng.standard_normal(day.shape)
        found = kinds[kind] + (along @ factors[kind])[:, 0] + weather + noise
        day[:] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return embeddings


def write_embeddings(folder: Path, n_tiles: int) -> None:
    """Write `embeddings.zarr` of `n_tiles`, whole days of them."""
    rng = np.random.default_rng(1)
    n_scenes = n_tiles // (GRID[0] * GRID[1])
    day = np.arange(n_scenes) // SCENES_PER_DAY
    hours = 24 * day + 24 // SCENES_PER_DAY * (np.arange(n_scenes) % SCENES_PER_DAY)
    time = np.datetime64("2020-01-01", "ns") + hours.astype("timedelta64[h]")
    granule = [f"granule_{number:05d}.nc" for number in range(n_scenes)]
    platform = np.full(n_scenes, "satellite", object)
    scene = np.repeat(np.arange(n_scenes, dtype=np.int32), GRID[0] * GRID[1])
    row, column = np.divmod(
        np.tile(np.arange(GRID[0] * GRID[1], dtype=np.int32), n_scenes), GRID[1]
    )
    latitude = rng.uniform(-60, 60, n_scenes)[scene] - 0.5 * row
    longitude = (rng.uniform(-180, 180, n_scenes)[scene] + 0.5 * column + 180) % 360 - 180
    corners = 0.25 * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    embedding = draw_embeddings(n_tiles, seed=0)
    temperature = 260 + 60 * embedding[:, 0] + rng.standard_normal(n_tiles)
    turned_tile = np.arange(0, n_tiles, GRID[0] * GRID[1] // TURNED_PER_SCENE, dtype=np.int32)
    turned = np.repeat(embedding[turned_tile, None], 8, axis=1)
    turned[:, 1:] += 0.03 * rng.standard_normal((1, 7, N_DIMENSIONS), np.float32)
    embeddings = xr.Dataset(
        {
            "embedding": (("tile", "dimension"), embedding),
            "brightness": ("tile", (1 - temperature / 400).astype(np.float32)),
            "brightness_temperature": ("tile", temperature.astype(np.float32)),
            "turned_embedding": (("turned", "orientation", "dimension"), turned),
            "turned_tile": ("turned", turned_tile),
        },
        coords={
            "scene": ("tile", scene),
            "row": ("tile", row * TILE_SIZE),
            "column": ("tile", column * TILE_SIZE),
            "latitude": ("tile", latitude),
            "longitude": ("tile", longitude),
            "latitude_bounds": (("tile", "vertex"), latitude[:, None] + corners[:, 0]),
            "longitude_bounds": (("tile", "vertex"), longitude[:, None] + corners[:, 1]),
            "time": ("tile", time[scene]),
            "split": ("tile", SPLITS[day % len(SPLITS)][scene]),
            "local_solar_time": ("tile", (hours[scene] + longitude / 15) % 24),
            "granule": ("scene", granule),
            "platform": ("scene", platform),
        },
        attrs={"tile_size": TILE_SIZE, "stride": TILE_SIZE},
    )
    stores.write_product(embeddings, folder / "embeddings.zarr", None)


def write_clusters(folder: Path, *, n_clusters: int) -> None:
    """Write `clusters.zarr` of the embeddings there, around as many of them."""
    embeddings = stores.open_product(folder / "embeddings.zarr").embedding.values
    cluster, distance = clustering.assign(embeddings, embeddings[:n_clusters])
    clusters = xr.Dataset(
        {"cluster": (("k", "tile"), cluster[None]), "distance": (("k", "tile"), distance[None])},
        coords={"k": [n_clusters]},
        attrs={"recommended_k": n_clusters},
    )
    stores.write_product(clusters, folder / "clusters.zarr", None)
