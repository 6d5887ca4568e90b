import dataclasses
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from small_products import write_untrained

from pipeline import map_granule
from pipeline.core import dense as core_dense
from pipeline.core.device import compute_device
from pipeline.core.encoder import embed_tiles, fused
from pipeline.files import encoders, stores
from pipeline.files.base.palette import cluster_colours

PARAMS = map_granule.MapGranuleParams(
    granule="fiji.nc", stride=4, max_invalid_share=0.0, k="recommended"
)
TILE_SIZE = 16
SHAPE = (48, 72)  # of a scene, of which the last eight columns are empty in "fiji.nc"
CHANNELS = ["red", "green", "blue"]
NAMES = ["plain.nc", "fiji.nc", "void.nc"]


def _mosaic(rng: np.random.Generator) -> np.ndarray:
    """Bright stripes left of column 32, dark checks right of it, (channel, row, column)."""
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    stripes, checks = 130 + 90 * (row // 4 % 2), 10 + 40 * ((row // 4 + column // 4) % 2)
    pattern = np.where(column < 32, stripes, checks)
    return np.stack([pattern + rng.integers(0, 20, SHAPE) for _ in CHANNELS]).astype(np.uint8)


def _write_scenes(path: Path) -> xr.Dataset:
    rng = np.random.default_rng(0)
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    # Of the second scene neither rows nor columns are even, and the date line runs through it.
    latitude = np.stack([30 - row / 10, -15 - row / 50 + column / 90, 0 * row])
    longitude = np.stack([column / 10, 179.3 + column / 50 + row / 90, column])
    valid = np.ones((3, *SHAPE), bool)
    valid[0, 20, 40] = False
    valid[2] = False
    latitude[1, :, 64:], longitude[1, :, 64:], valid[1, :, 64:] = np.nan, np.nan, False
    plane = ("scene", "row", "column")
    dataset = xr.Dataset(
        {
            "colour": (
                ("scene", "channel", "row", "column"),
                np.stack([_mosaic(rng) for _ in NAMES]),
            ),
            "valid": (plane, valid),
            "latitude": (plane, latitude.astype(np.float32)),
            "longitude": (plane, ((longitude + 180) % 360 - 180).astype(np.float32)),
        },
        coords={
            "granule": ("scene", NAMES),
            "platform": ("scene", ["P"] * 3),
            "time": ("scene", np.array(["2020-01-01T12", "2020-01-02T12", "2020-01-03"], "M8[ns]")),
            "channel": CHANNELS,
        },
    )
    stores.write_product(dataset, path, None)
    return dataset


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes, an untrained encoder, and clusters around the two textures and one of neither."""
    folder = tmp_path_factory.mktemp("map_granule")
    scenes = _write_scenes(folder / "scenes.zarr")
    network = write_untrained(
        folder / "encoder",
        channels=CHANNELS,
        n_dimensions=8,
        seed=0,
        tile_size=TILE_SIZE,
    )
    colour = scenes.colour.values[1]
    pure = np.stack([colour[:, 8:24, left : left + TILE_SIZE] for left in (4, 8, 36, 40)])
    vectors = embed_tiles(fused(network), pure, device=compute_device())
    centroid = np.full((2, 4, 8), np.nan, np.float32)
    centroid[:, 0], centroid[:, 2] = vectors[:2].mean(axis=0), vectors[2:].mean(axis=0)
    centroid[:, 1] = -vectors.mean(axis=0)
    centroid[1, 3] = 9
    tiles = {
        "granule": ("scene", np.array(NAMES, object)),
        "scene": ("tile", [0, 0, 0, 1, 1]),
        "row": ("tile", np.zeros(5, int)),
        "column": ("tile", 16 * np.array([0, 1, 2, 0, 1])),
    }
    stores.write_product(
        xr.Dataset(
            {
                "cluster": (("k", "tile"), np.array([[0, 1, 2, 0, 2]] * 2, np.int16)),
                "centroid": (("k", "number", "dimension"), centroid),
            },
            coords={"k": [3, 4], **tiles},
            attrs={"recommended_k": 3},
        ),
        folder / "clusters.zarr",
        None,
    )
    split = np.array(["train", "train", "train", "test", "test"], object)
    stores.write_product(
        xr.Dataset(coords={**tiles, "split": ("tile", split)}, attrs={"n_orientations": 1}),
        folder / "embeddings.zarr",
        None,
    )
    return folder


def _run(workplace: Path, dense: Path, **changes: object) -> xr.Dataset:
    names = ("scenes.zarr", "encoder", "embeddings.zarr", "clusters.zarr")
    params = dataclasses.replace(PARAMS, **changes)
    map_granule.run(params, *(workplace / name for name in names), dense)
    return stores.open_product(dense / "dense.nc").load()


@pytest.fixture(scope="module")
def folder(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dense") / "dense"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILE2VEC_WORKERS", "0")
        _run(workplace, path)
    return path


@pytest.fixture
def product(folder: Path) -> xr.Dataset:
    return stores.open_product(folder / "dense.nc").load()


def test_a_mosaic_is_found_again(product: xr.Dataset) -> None:
    cluster = product.cluster.values  # (row, column)

    assert cluster.shape == (48, 64)
    inner = cluster[6:42, 6:58]
    assert set(np.unique(inner)) <= {0.0, 1.0, 2.0}
    # Whole tiles lie on either side of column 32 where their centres are 8 pixels from it.
    assert (cluster[6:42, 6:23] == 0).all()
    assert (cluster[6:42, 42:58] == 2).all()
    row, column = np.nonzero(np.isfinite(cluster))
    assert (row.min(), row.max(), column.min(), column.max()) == (6, 41, 6, 57)


def test_a_margin_is_small_between_two_textures(product: xr.Dataset) -> None:
    margin = product.margin.values

    assert np.array_equal(np.isnan(margin), np.isnan(product.cluster))
    assert ((margin >= 0) & (margin <= 1))[np.isfinite(margin)].all()
    assert margin[20, [12, 50]].min() > 2 * margin[20, 26:38].min()


def test_the_product_says_what_it_is(product: xr.Dataset) -> None:
    assert product.granule.item() == "fiji.nc"
    assert product.attrs["k"] == 3
    assert product.attrs["comment"].startswith("2 of 3 clusters on 61% of the pixels; each has")
    assert json.loads(product.attrs["parameters"]) == dataclasses.asdict(PARAMS)
    assert product.cluster.attrs["flag_values"].tolist() == [0, 1, 2]
    assert product.cluster.attrs["flag_meanings"] == "cluster_0 cluster_1 cluster_2"
    assert all(
        "long_name" in each.attrs or "standard_name" in each.attrs
        for each in product.variables.values()
    )


@pytest.mark.parametrize("granule", ["plain.nc", "fiji.nc"])
def test_geotiffs_have_at_a_place_what_the_scene_has_there(
    granule: str, workplace: Path, tmp_path: Path
) -> None:
    product = _run(workplace, tmp_path / "dense", granule=granule)
    inner = product.isel(row=slice(10, 40, 3), column=slice(1, None, 3))
    places = np.stack([inner.longitude.values.ravel(), inner.latitude.values.ravel()], axis=1)
    files = [rasterio.open(tmp_path / "dense" / name) for name in ("clusters.tif", "margin.tif")]
    places[:, 0] = files[0].bounds.left + (places[:, 0] - files[0].bounds.left) % 360

    found, margin = (np.concatenate(list(file.sample(places))) for file in files)

    expected = inner.cluster.values.ravel()
    known = np.isfinite(expected)
    same = found[known] == expected[known]
    if granule == "plain.nc":
        assert files[0].tags()["pixels"] == "the scene's own"
        assert same.all()
        assert (found[~known] == 255).all()
        np.testing.assert_array_equal(margin, inner.margin.values.ravel())
    else:
        assert files[0].bounds.right > 180
        assert files[0].tags()["pixels"] == "the nearest of the scene, resampled"
        assert same.mean() > 0.97  # but for pixels beside another cluster or the edge
    for file in files:
        file.close()


def test_geotiffs_carry_colours_and_tags(folder: Path) -> None:
    with rasterio.open(folder / "clusters.tif") as file:
        assert file.dtypes == ("uint8",)
        assert file.nodata == 255
        assert file.descriptions == ("cluster",)
        colours = (cluster_colours(3) * 255).round().astype(int)
        assert [file.colormap(1)[number] for number in range(3)] == list(map(tuple, colours))
        tags = file.tags()
    assert tags["granule"] == "fiji.nc"
    assert tags["start_time"] == "2020-01-02T12:00:00Z"
    assert tags["k"] == "3"
    assert tags["TIFFTAG_SOFTWARE"] == "tile2vec-clouds"
    assert json.loads(tags["parameters"]) == dataclasses.asdict(PARAMS)


def test_the_scene_lies_on_the_grid_of_its_clusters(folder: Path, workplace: Path) -> None:
    colour = stores.open_product(workplace / "scenes.zarr").colour.values[1]
    with (
        rasterio.open(folder / "scene.tif") as scene,
        rasterio.open(folder / "clusters.tif") as clusters,
    ):
        assert scene.transform == clusters.transform
        assert scene.crs == clusters.crs
        assert scene.shape == clusters.shape
        seen = scene.dataset_mask() > 0
        assert (clusters.read(1)[~seen] == 255).all()
        assert set(scene.read(1)[seen]) <= set(colour[0].ravel())
        assert scene.colorinterp[0].name == "red"
        assert scene.descriptions[0] == "false-colour red"  # which ingest takes for no reflectance


def test_maps_are_written_beside_the_product(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}

    assert names == {"dense.nc", "clusters.tif", "margin.tif", "scene.tif"}


@pytest.mark.parametrize("n_threads", [1, 3])
def test_neither_a_second_run_nor_the_threads_change_a_byte(
    n_threads: int,
    workplace: Path,
    folder: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(n_threads)

    _run(workplace, tmp_path / "dense")

    for path in folder.iterdir():
        if path.suffix != ".nc":
            assert (tmp_path / "dense" / path.name).read_bytes() == path.read_bytes(), path.name
    with stores.open_product(folder / "dense.nc") as first:
        xr.testing.assert_identical(first, stores.open_product(tmp_path / "dense/dense.nc"))


def test_blocks_of_any_size_give_the_same_clusters(
    workplace: Path, product: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_dense, "TILES_AT_ONCE", 7)

    again = _run(workplace, tmp_path / "dense")

    np.testing.assert_array_equal(again.cluster, product.cluster)
    np.testing.assert_allclose(again.margin, product.margin, atol=0.01)


def test_without_a_name_the_most_varied_scene_of_the_test_days_is_taken(
    workplace: Path, tmp_path: Path
) -> None:
    product = _run(workplace, tmp_path / "dense", granule="", k=4)

    assert product.granule.item() == "fiji.nc"  # the other has more clusters, but was trained on
    assert product.attrs["k"] == 4


def test_a_tile_with_an_invalid_pixel_is_painted_where_so_many_are_allowed(
    workplace: Path, tmp_path: Path
) -> None:
    strict = _run(workplace, tmp_path / "strict", granule="plain.nc")
    loose = _run(workplace, tmp_path / "loose", granule="plain.nc", max_invalid_share=0.01)

    assert np.isnan(strict.cluster[20, 30:50]).sum() > 10
    assert np.flatnonzero(np.isnan(loose.cluster[20, 6:66])).tolist() == [40 - 6]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"granule": "atlantis.nc"},
            r"map_granule\.granule 'atlantis\.nc' is none of the 3 scenes; .* such as 'plain\.nc'",
        ),
        (
            {"granule": "void.nc"},
            r"void\.nc holds no tile of 16 pixels; name another granule in",
        ),
        ({"stride": 17}, r"map_granule\.stride 17 is larger than the encoder's tiles of 16 pixels"),
        ({"k": 5}, r"map_granule\.k is 5, but the clusters were computed for k = 3 to 4"),
    ],
)
def test_what_cannot_be_mapped_is_refused(
    changes: dict[str, object], sentence: str, workplace: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=sentence):
        _run(workplace, tmp_path / "dense", **changes)

    assert not any(tmp_path.iterdir())


def test_scenes_of_another_preset_are_refused(workplace: Path, tmp_path: Path) -> None:
    weights, description = encoders.read_encoder(workplace / "encoder")
    other = tmp_path / "other"
    other.mkdir()
    for path in workplace.glob("*.zarr"):
        (other / path.name).symlink_to(path)
    encoders.write_encoder(other / "encoder", weights, {**description, "channels": ["a", "b", "c"]})

    with pytest.raises(ValueError, match=r"fiji\.nc has the channels red, green, blue, the enc"):
        _run(other, tmp_path / "dense")
