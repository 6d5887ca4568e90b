from collections.abc import Callable

import numpy as np
import pytest
import torch

from pipeline.core.device import compute_device
from pipeline.core.encoder import (
    LAYERS,
    Encoder,
    autocast,
    create_encoder,
    embed_tiles,
    fused,
    rebuild_encoder,
)
from pipeline.core.label_network import layer_width

CPU = torch.device("cpu")


def _tiles(n: int, channels: int = 3, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, channels, size, size), dtype=np.uint8)


def _encoder(channels: int = 3, seed: int = 0, *, standardise: bool = False) -> Encoder:
    return create_encoder(
        backbone="resnet18",
        n_channels=channels,
        n_dimensions=7,
        seed=seed,
        standardise=standardise,
    )


@pytest.fixture(scope="module")
def standardising() -> Encoder:
    return _encoder(standardise=True).eval()


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("size", [32, 50])
def test_any_channels_and_size_give_the_same_length(channels: int, size: int) -> None:
    embedded = embed_tiles(_encoder(channels), _tiles(3, channels, size), device=CPU)
    assert embedded.shape == (3, 7)
    assert embedded.dtype == np.float32


def test_one_seed_gives_the_same_weights_and_leaves_the_global_state() -> None:
    state = torch.get_rng_state()
    first, second, other = _encoder(seed=1), _encoder(seed=1), _encoder(seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.projection.weight, second.projection.weight)
    assert not torch.equal(first.projection.weight, other.projection.weight)


def test_features_are_those_of_timm() -> None:
    encoder = _encoder().eval()
    tiles = torch.from_numpy(_tiles(2))
    with torch.inference_mode():
        scaled = (tiles.float() - 127.5) / 63.75
        expected = encoder.backbone.forward_features(scaled).mean((2, 3))
        torch.testing.assert_close(encoder.features(tiles, "layer4"), expected)
        projected = encoder.projection(expected)
        unit = projected / torch.linalg.vector_norm(projected, dim=1, keepdim=True)
        torch.testing.assert_close(encoder(tiles), unit)
        assert encoder.features(tiles, "layer3").shape == (2, 256)


def test_batches_do_not_change_embeddings() -> None:
    encoder, tiles = _encoder(), _tiles(5)
    whole = embed_tiles(encoder, tiles, device=CPU)
    parts = embed_tiles(encoder, tiles, device=CPU, batch_size=2)
    np.testing.assert_allclose(whole, parts, atol=1e-5)


@pytest.mark.parametrize("prepare", [Encoder.eval, fused])
def test_embeddings_are_computed_in_single_precision(
    prepare: Callable[[Encoder], Encoder],
) -> None:
    """An atlas promises clusters for years, on machines with bfloat16 and without."""
    encoder, tiles = _encoder().eval(), _tiles(5)
    found = embed_tiles(prepare(encoder), tiles, device=CPU)
    with torch.inference_mode():
        exact = encoder.double().backbone((torch.from_numpy(tiles).double() - 127.5) / 63.75)
        exact = torch.nn.functional.normalize(encoder.projection(exact), dim=1)
    np.testing.assert_allclose(found, exact, atol=1e-5)


def test_vectors_before_they_are_scaled_point_where_embeddings_do() -> None:
    encoder, tiles = _encoder().eval(), torch.from_numpy(_tiles(4))
    with torch.inference_mode():
        vectors, embeddings = encoder(tiles, unit_length=False), encoder(tiles)
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    assert not torch.allclose(lengths, torch.ones(4, 1), atol=0.01)
    torch.testing.assert_close(vectors / lengths, embeddings)


def test_standardised_channels_have_mean_0_and_deviation_1(standardising: Encoder) -> None:
    tiles = _tiles(2)
    scaled = tiles - tiles.mean(axis=(2, 3), keepdims=True)
    scaled /= tiles.std(axis=(2, 3), keepdims=True)
    with torch.inference_mode():
        expected = standardising.backbone.forward_features(torch.from_numpy(scaled).float())
        found = standardising.features(torch.from_numpy(tiles), "layer4")
    torch.testing.assert_close(found, expected.mean((2, 3)), rtol=1e-5, atol=1e-5)


def test_a_standardised_tile_has_no_brightness_or_contrast(standardising: Encoder) -> None:
    rng = np.random.default_rng(1)
    gain, offset = rng.uniform(0.5, 2, (20, 3, 1, 1)), rng.uniform(-50, 50, (20, 3, 1, 1))
    tile = _tiles(1)
    with torch.inference_mode():
        changed, plain = (
            standardising(torch.from_numpy(each)) for each in (tile * gain + offset, tile)
        )
    # Embeddings are of length 1.
    torch.testing.assert_close(changed, plain.expand(20, 7), rtol=0, atol=1e-4)


def test_an_encoder_that_does_not_standardise_sees_brightness() -> None:
    tiles = torch.from_numpy(_tiles(2))
    encoder = _encoder().eval()
    with torch.inference_mode():
        assert (encoder(tiles) - encoder(tiles * 0.5)).abs().max() > 0.01


def test_standardised_flat_tiles_are_finite_and_alike(standardising: Encoder) -> None:
    colours = torch.tensor([0.0, 7.0, 200.0, 255.0]).reshape(4, 1, 1, 1)
    with torch.inference_mode():
        embeddings = standardising(colours.expand(4, 3, 32, 32))
    assert embeddings.isfinite().all()
    torch.testing.assert_close(embeddings, embeddings[:1].expand(4, 7))


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("resnet50", (256, 512, 1024, 2048)),
        ("resnet101", (256, 512, 1024, 2048)),
        ("resnet152", (256, 512, 1024, 2048)),
        ("wide_resnet50_2", (256, 512, 1024, 2048)),
        ("skresnet18", (64, 128, 256, 512)),
        ("skresnet50d", (256, 512, 1024, 2048)),
    ],
)
def test_larger_backbones_learn_and_have_the_same_layers(
    name: str, widths: tuple[int, ...]
) -> None:
    encoder = create_encoder(backbone=name, n_channels=2, n_dimensions=7, seed=0)
    tiles = torch.from_numpy(_tiles(2, 2))
    encoder.train()(tiles).sum().backward()
    assert all(weights.grad is not None for weights in encoder.parameters())
    with torch.inference_mode():
        for layer, width in zip(LAYERS, widths, strict=True):
            assert encoder.eval().features(tiles, layer).shape == (2, width)
            assert layer_width(encoder, layer) == width
        embeddings = fused(encoder)(tiles)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("standardise", [False, True])
def test_rebuilt_encoder_is_the_same(standardise: bool) -> None:
    encoder = _encoder(2, seed=5, standardise=standardise)
    description = {
        "backbone": "resnet18",
        "channels": ["a", "b"],
        "n_dimensions": 7,
        "standardise": standardise,
    }
    rebuilt = rebuild_encoder(encoder.state_dict(), description)
    tiles = _tiles(2, 2)
    np.testing.assert_array_equal(
        embed_tiles(rebuilt, tiles, device=CPU), embed_tiles(encoder, tiles, device=CPU)
    )


@pytest.mark.parametrize("name", ["resnet19", "vit_tiny_patch16_224"])
def test_other_networks_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"train.backbone '{name}' is no ResNet of timm"):
        create_encoder(backbone=name, n_channels=3, n_dimensions=2, seed=0)


def test_cpu_is_used_where_there_is_no_gpu() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert compute_device().type == expected
    with autocast(compute_device()):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).sum() == 8
