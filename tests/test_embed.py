from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from small_products import small_encoder, write_untrained

from pipeline import embed
from pipeline.core.encoder import embed_tiles
from pipeline.files import encoders, stores

PARAMS = embed.EmbedParams(
    stride=8,
    orientations=1,
    turned_per_scene=3,
    max_invalid_share=0.0,
    cloud_reflectance=20.0,
    cloud_brightness_temperature=285.0,
)
TILE_SIZE = 16


def _write_scenes(path: Path, *, physical: dict[str, np.ndarray]) -> xr.Dataset:
    rng = np.random.default_rng(0)
    shape = (3, 30, 40)
    valid = np.ones(shape, bool)
    valid[0, 0, 0] = False
    valid[1, :, 10:] = False  # no complete tile is left
    row, column = np.mgrid[:30, :40]
    plane = ("scene", "row", "column")
    dataset = xr.Dataset(
        {
            "colour": (
                ("scene", "channel", "row", "column"),
                rng.integers(0, 256, (3, 2, 30, 40), dtype=np.uint8),
            ),
            "valid": (plane, valid),
            "latitude": (plane, np.broadcast_to(30.0 - row, shape).astype(np.float32)),
            "longitude": (plane, np.broadcast_to(column - 20.0, shape).astype(np.float32)),
            **{name: (plane, values) for name, values in physical.items()},
        },
        coords={
            "granule": ("scene", ["a.nc", "b.nc", "c.nc"]),
            "platform": ("scene", ["P", "P", "P"]),
            "time": (
                "scene",
                np.array(["2020-01-01T12", "2020-01-02T12", "2020-01-09T12"], "M8[ns]"),
            ),
            "channel": ["one", "two"],
        },
    )
    stores.write_product(dataset, path, None)
    return dataset


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    write_untrained(
        tmp_path / "encoder",
        channels=["one", "two"],
        n_dimensions=5,
        seed=0,
        tile_size=TILE_SIZE,
        days={"train": ["2020-01-01"], "validation": ["2020-01-02"], "test": []},
    )
    return tmp_path / "encoder"


def test_an_encoder_trained_anew_is_read_anew(tmp_path: Path, encoder: Path) -> None:
    _write_scenes(tmp_path / "scenes.zarr", physical={})
    products = []
    for seed in (0, 1):
        network = small_encoder(2, n_dimensions=5, seed=seed)
        _, description = encoders.read_encoder(encoder)
        encoders.write_encoder(encoder, network.state_dict(), description)
        path = tmp_path / f"{seed}.zarr"
        embed.run(PARAMS, tmp_path / "scenes.zarr", encoder, path)
        products.append(stores.open_product(path).embedding.values)
    assert not np.allclose(products[0], products[1], atol=0.01)


def test_every_complete_tile_is_embedded_with_its_place(tmp_path: Path, encoder: Path) -> None:
    rng = np.random.default_rng(1)
    physical = {
        "reflectance": rng.uniform(0, 40, (3, 30, 40)).astype(np.float32),
        "brightness_temperature": rng.uniform(270, 300, (3, 30, 40)).astype(np.float32),
    }
    scenes = _write_scenes(tmp_path / "scenes.zarr", physical=physical)
    embed.run(PARAMS, tmp_path / "scenes.zarr", encoder, tmp_path / "embeddings.zarr")
    found = stores.open_product(tmp_path / "embeddings.zarr").load()
    places = [(0, row, column) for row in (0, 8) for column in (0, 8, 16, 24)][1:]
    places += [(2, row, column) for row in (0, 8) for column in (0, 8, 16, 24)]
    assert (
        list(zip(found.scene.values, found.row.values, found.column.values, strict=True)) == places
    )
    assert list(found.split.values) == ["train"] * 7 + ["unseen"] * 8
    np.testing.assert_array_equal(found.time, scenes.time.values[found.scene])
    tiles = np.stack([scenes.colour.values[s, :, r : r + 16, c : c + 16] for s, r, c in places])
    network = small_encoder(2, n_dimensions=5, seed=0)
    expected = embed_tiles(network, tiles, device=torch.device("cpu"))
    np.testing.assert_allclose(found.embedding, expected, atol=0.02 * np.abs(expected).max())
    np.testing.assert_allclose(found.latitude, [22.5 - r for _, r, _ in places], atol=0.003)
    np.testing.assert_allclose(found.longitude, [c - 12.5 for _, _, c in places], atol=1e-4)
    corners = [[r, r, r + 15, r + 15] for _, r, _ in places]
    np.testing.assert_allclose(found.latitude_bounds, 30.0 - np.array(corners))
    for index, (s, r, c) in enumerate(places):
        window = physical["reflectance"][s, r : r + 16, c : c + 16]
        assert found.reflectance.values[index] == pytest.approx(window.mean(), rel=1e-5)
        assert found.cloud_fraction.values[index] == pytest.approx((window >= 20).mean())
    np.testing.assert_allclose(found.brightness, tiles.mean((1, 2, 3)) / 255, rtol=1e-5)
    assert found.brightness_temperature.attrs["units"] == "K"
    assert "20.0 percent" in found.cloud_fraction.attrs["long_name"]


def test_some_tiles_of_each_scene_are_embedded_turned_and_mirrored(
    tmp_path: Path, encoder: Path
) -> None:
    scenes = _write_scenes(tmp_path / "scenes.zarr", physical={})
    embed.run(PARAMS, tmp_path / "scenes.zarr", encoder, tmp_path / "embeddings.zarr")
    found = stores.open_product(tmp_path / "embeddings.zarr").load()
    np.testing.assert_array_equal(found.turned_tile, [0, 3, 6, 7, 11, 14])
    assert found.turned_embedding.shape == (6, 8, 5)
    assert found.attrs["tile_size"] == 16
    assert "parameters" in found.attrs
    upright = found.embedding.isel(tile=found.turned_tile)
    np.testing.assert_allclose(found.turned_embedding[:, 0], upright, atol=0.02)
    place = found.isel(tile=3)
    tile = scenes.colour.values[
        int(place.scene), :, int(place.row) : int(place.row) + 16, int(place.column) :
    ][..., :16]
    network = small_encoder(2, n_dimensions=5, seed=0)
    copies = [np.rot90(each, k, (1, 2)) for each in (tile, tile[..., ::-1]) for k in range(4)]
    expected = embed_tiles(network, np.stack(copies), device=torch.device("cpu"))
    np.testing.assert_allclose(found.turned_embedding[1], expected, atol=0.03)


def test_no_tile_need_be_turned(tmp_path: Path, encoder: Path) -> None:
    _write_scenes(tmp_path / "scenes.zarr", physical={})
    params = replace(PARAMS, turned_per_scene=0)
    embed.run(params, tmp_path / "scenes.zarr", encoder, tmp_path / "embeddings.zarr")
    assert "turned_embedding" not in stores.open_product(tmp_path / "embeddings.zarr")


def test_cloud_is_cold_where_nothing_visible_was_measured(tmp_path: Path, encoder: Path) -> None:
    temperature = np.full((3, 30, 40), 290, np.float32)
    temperature[:, :, :20] = 280
    _write_scenes(tmp_path / "scenes.zarr", physical={"brightness_temperature": temperature})
    embed.run(PARAMS, tmp_path / "scenes.zarr", encoder, tmp_path / "embeddings.zarr")
    found = stores.open_product(tmp_path / "embeddings.zarr").load()
    expected = np.clip(20 - found.column.values, 0, 16) / 16
    np.testing.assert_allclose(found.cloud_fraction, expected, rtol=1e-6)
    assert "reflectance" not in found


def test_scenes_of_other_channels_are_refused(tmp_path: Path, encoder: Path) -> None:
    scenes = _write_scenes(tmp_path / "scenes.zarr", physical={})
    other = scenes.assign_coords(channel=["one", "three"])
    stores.write_product(other, tmp_path / "other.zarr", None)
    with pytest.raises(ValueError, match="has the channels one, three, the encoder was trained on"):
        embed.run(PARAMS, tmp_path / "other.zarr", encoder, tmp_path / "embeddings.zarr")


def test_a_grid_without_a_complete_tile_is_refused(tmp_path: Path, encoder: Path) -> None:
    scenes = _write_scenes(tmp_path / "scenes.zarr", physical={})
    stores.write_product(scenes.assign(valid=scenes.valid & False), tmp_path / "bad.zarr", None)
    with pytest.raises(ValueError, match=r"no scene holds a complete tile of 16 pixels .* of 8;"):
        embed.run(replace(PARAMS), tmp_path / "bad.zarr", encoder, tmp_path / "embeddings.zarr")
