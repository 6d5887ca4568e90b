import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
import xarray as xr
from small_products import write_untrained

from pipeline import map_labels
from pipeline.core.classification.probe import fit_probe
from pipeline.core.encoder import pool_tiles
from pipeline.files import classifiers, encoders, stores

PARAMS = map_labels.MapLabelsParams(
    granules=("east*",), stride=4, max_invalid_share=0.0, min_probability=0.5
)
SIZE = 16
SHAPE = (48, 72)
CHANNELS = ["red", "green", "blue"]
NAMES = ["west.nc", "east 1.nc", "east 2.nc"]
BORDER = 32  # stripes left of this column, checks right of it


def _pattern(rng: np.random.Generator) -> np.ndarray:
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    stripes, checks = 130 + 90 * (row // 4 % 2), 10 + 40 * ((row // 4 + column // 4) % 2)
    pattern = np.where(column < BORDER, stripes, checks)
    return np.stack([pattern + rng.integers(0, 20, SHAPE) for _ in CHANNELS]).astype(np.uint8)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes of two textures, an untrained encoder and a classifier that tells them apart."""
    folder = tmp_path_factory.mktemp("map_labels")
    rng = np.random.default_rng(0)
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    plane = ("scene", "row", "column")
    scenes = xr.Dataset(
        {
            "colour": (
                ("scene", "channel", "row", "column"),
                np.stack([_pattern(rng) for _ in NAMES]),
            ),
            "valid": (plane, np.ones((3, *SHAPE), bool)),
            "latitude": (plane, np.stack([20 - row / 10] * 3)),
            "longitude": (plane, np.stack([column / 10] * 3)),
        },
        coords={
            "granule": ("scene", NAMES),
            "platform": ("scene", ["P"] * 3),
            "time": ("scene", np.array(["2020-01-01T12", "2020-01-02", "2020-01-03"], "M8[ns]")),
            "channel": CHANNELS,
        },
    )
    stores.write_product(scenes, folder / "scenes.zarr", None)
    network = write_untrained(
        folder / "encoder",
        channels=CHANNELS,
        n_dimensions=8,
        seed=0,
        tile_size=SIZE,
    )
    left = np.array([0, 4, 8, 16, 32, 36, 44, 56])
    tiles = np.stack([scenes.colour.values[0][:, 8:24, at : at + SIZE] for at in left])
    features = pool_tiles(network, tiles, device=torch.device("cpu"))
    labels = (left >= BORDER).astype(int)
    probe = fit_probe(features, labels, np.zeros(8, int), n_labels=2, strengths=[1.0])
    arrays = {name: a for name, a in dataclasses.asdict(probe).items() if name != "temperature"}
    about = {
        "labels": ["stripes", "checks"],
        "temperature": probe.temperature,
        "encoder": encoders.digest(folder / "encoder"),
        "days": ["2020-01-01", "2020-01-02"],
    }
    classifiers.write_classifier(folder / "classifier", arrays, about)
    dense = xr.Dataset(coords={"granule": NAMES[0]})
    stores.write_product(dense, folder / "dense" / "dense.nc", None)
    return folder


def _run(workplace: Path, into: Path, **changes: object) -> None:
    names = ("scenes.zarr", "encoder", "classifier", "dense")
    params = dataclasses.replace(PARAMS, **changes)
    map_labels.run(params, *(workplace / name for name in names), into)


@pytest.fixture(scope="module")
def folder(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("maps") / "maps"
    _run(workplace, into)
    return into


@pytest.mark.parametrize("granule", NAMES[1:])
def test_two_textures_are_told_apart_on_whole_granules(folder: Path, granule: str) -> None:
    product = stores.open_product(folder / granule / "labels.nc").load()
    label = product.label.values
    # Whole tiles lie on either side of the border where their centres are 8 pixels from it.
    assert (label[6:42, 6:23] == 0).all()
    assert (label[6:42, 42:66] == 1).all()
    assert np.isnan(label[:6]).all()
    told = product.probability.values[:, 6:42, 6:66]
    np.testing.assert_allclose(told.sum(axis=0), 1, rtol=1e-5)
    assert product.attrs["day_in_training"] == ("yes" if granule == NAMES[1] else "no")


def test_maps_open_in_any_gis(folder: Path) -> None:
    for name, bands in (("labels.tif", ("label",)), ("probability.tif", ("stripes", "checks"))):
        with rasterio.open(folder / NAMES[2] / name) as file:
            assert file.descriptions == bands
            assert file.crs.to_epsg() == 4326
            assert file.tags()["granule"] == NAMES[2]


def test_shares_of_labels_add_up(folder: Path) -> None:
    shares = pd.read_csv(folder / "shares.csv")
    assert shares.granule.tolist() == NAMES[1:]
    np.testing.assert_allclose(shares[["stripes", "checks", "none"]].sum(axis=1), 1, atol=2e-4)
    assert (shares.stripes > 0.3).all()
    assert (shares.checks > 0.4).all()


def test_without_a_name_the_granule_of_map_granule_is_taken(
    workplace: Path, tmp_path: Path
) -> None:
    _run(workplace, tmp_path / "maps", granules=(), min_probability=1.0)
    product = stores.open_product(tmp_path / "maps" / NAMES[0] / "labels.nc").load()
    assert np.isnan(product.label.values).all()  # nothing is certain


def test_what_cannot_be_mapped_is_refused(workplace: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has 'north\*', which is none of the 3 scenes; name one"):
        _run(workplace, tmp_path / "maps", granules=("north*",))
    weights, description = encoders.read_encoder(workplace / "encoder")
    encoders.write_encoder(
        tmp_path / "encoder", {name: w + 1 for name, w in weights.items()}, description
    )
    with pytest.raises(ValueError, match=r"is of another encoder than .*; run dvc repro classify"):
        map_labels.run(
            PARAMS,
            workplace / "scenes.zarr",
            tmp_path / "encoder",
            workplace / "classifier",
            workplace / "dense",
            tmp_path / "maps",
        )
    assert not (tmp_path / "maps").exists()
