from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from small_products import describe, small_encoder

from pipeline.core.device import compute_device
from pipeline.core.encoder import (
    Encoder,
    autocast,
    create_encoder,
    embed_orientations,
    embed_tiles,
    fused,
    pool_tiles,
    rebuild_encoder,
    renew_statistics,
)
from pipeline.core.tile import orientations

CPU = torch.device("cpu")
LAYERS = ["layer1", "layer2", "layer3"]


def _tiles(n: int, channels: int = 3, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, channels, size, size), dtype=np.uint8)


def _encoder(
    channels: int = 3, seed: int = 0, *, n_scales: int = 1, standardise: bool = False
) -> Encoder:
    encoder = create_encoder(
        backbone="resnet18",
        layers=LAYERS,
        pooling="mean_deviation",
        n_channels=channels,
        seed=seed,
        n_scales=n_scales,
        standardise=standardise,
    )
    return _fit(encoder, _tiles(20, channels), n_dimensions=7)


def _fit(encoder: Encoder, tiles: np.ndarray, n_dimensions: int) -> Encoder:
    features = torch.from_numpy(pool_tiles(encoder, tiles, device=CPU))
    encoder.fit(features, n_dimensions=n_dimensions)
    return encoder


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
    first, second, other = (
        _encoder(seed=seed).backbone.get_parameter("network.conv1.weight") for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_features_are_pooled_from_the_layers_of_timm() -> None:
    encoder = _encoder().eval()
    network, tiles = encoder.backbone.network, torch.from_numpy(_tiles(2))
    with torch.inference_mode():
        scaled = (tiles.float() - 127.5) / 63.75
        maps = network.maxpool(network.act1(network.bn1(network.conv1(scaled))))
        expected = []
        for name in LAYERS:
            maps = network.get_submodule(name)(maps)
            expected += [maps.mean((2, 3)), (maps.var((2, 3), correction=0) + 1e-6).sqrt()]
        torch.testing.assert_close(encoder.pool(tiles), torch.cat(expected, dim=1))
        torch.testing.assert_close(encoder.pool(tiles, "layer2"), torch.cat(expected[2:4], dim=1))
    assert encoder.width == 2 * (64 + 128 + 256)
    assert not any(name.startswith("layer4") for name, _ in network.named_parameters())


def test_embeddings_are_standardised_and_reduced_without_whitening() -> None:
    encoder, tiles = _encoder(), _tiles(20)
    features = pool_tiles(encoder, tiles, device=CPU).astype(float)
    scaled = (features - features.mean(axis=0)) / np.sqrt(features.var(axis=0) + 1e-5)
    _, deviations, axes = np.linalg.svd(scaled, full_matrices=False)
    expected = scaled @ axes[:7].T
    np.testing.assert_allclose(expected.std(axis=0), deviations[:7] / np.sqrt(20))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = embed_tiles(encoder, tiles, device=CPU)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-4)


def test_all_dimensions_are_the_standardised_features() -> None:
    tiles = _tiles(20)
    encoder = _fit(_encoder(), tiles, n_dimensions=0)
    features = pool_tiles(encoder, tiles, device=CPU).astype(float)
    scaled = (features - features.mean(axis=0)) / np.sqrt(features.var(axis=0) + 1e-5)
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    assert encoder.n_dimensions == encoder.width
    np.testing.assert_allclose(embed_tiles(encoder, tiles, device=CPU), scaled, atol=1e-4)


def test_colours_come_to_mean_0_and_deviation_1() -> None:
    encoder = _encoder(2)
    tiles = np.stack([np.full((3, 8, 8), 40), np.tile([10, 50], (3, 8, 4))], axis=1)
    encoder.fit_colours(tiles.astype(np.uint8))
    np.testing.assert_allclose(encoder.mean.flatten(), [40, 30])
    np.testing.assert_allclose(encoder.deviation.flatten(), [1, 20])  # 1 where nothing varies


@pytest.mark.parametrize("n_orientations", [4, 8])
def test_the_mean_over_orientations_does_not_depend_on_how_a_tile_lies(n_orientations: int) -> None:
    encoder, tiles = _encoder(), _tiles(3)
    turned = orientations(tiles)[:n_orientations]
    found = [
        embed_tiles(encoder, each, device=CPU, n_orientations=n_orientations) for each in turned
    ]
    for each in found:
        np.testing.assert_allclose(each, found[0], atol=1e-5)
    with torch.inference_mode():
        vectors = [
            encoder(torch.from_numpy(each.copy()), unit_length=False).numpy() for each in turned
        ]
    expected = np.mean(vectors, axis=0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    plain = embed_tiles(encoder, turned[1], device=CPU)
    assert np.abs(plain - embed_tiles(encoder, tiles, device=CPU)).max() > 0.01


@pytest.mark.parametrize("n_orientations", [1, 4, 8])
def test_each_orientation_is_embedded_as_a_tile_that_lies_so(n_orientations: int) -> None:
    encoder, tiles = _encoder(), _tiles(3)
    embed = partial(embed_tiles, encoder, device=CPU, n_orientations=n_orientations)
    found = embed_orientations(encoder, tiles, device=CPU, n_orientations=n_orientations)
    expected = np.stack([embed(each) for each in orientations(tiles)], axis=1)
    assert found.shape == (3, 8, encoder.n_dimensions)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_batches_do_not_change_embeddings() -> None:
    encoder, tiles = _encoder(), _tiles(5)
    whole = embed_tiles(encoder, tiles, device=CPU)
    parts = embed_tiles(encoder, tiles, device=CPU, batch_size=2)
    np.testing.assert_allclose(whole, parts, atol=1e-5)


def test_gradients_of_weights_used_twice_add_up_in_single_precision() -> None:
    """Whether another thread has emptied the cache of cast weights between the uses, or not."""
    torch.manual_seed(0)
    layer, uses = torch.nn.Conv2d(3, 8, 3), torch.randn(2, 4, 3, 16, 16)

    def gradient(*uses: torch.Tensor) -> torch.Tensor:
        with autocast(CPU):
            loss = sum(layer(each).float().square().sum() for each in uses)
        return torch.autograd.grad(loss, layer.weight)[0]

    torch.testing.assert_close(
        gradient(*uses), gradient(uses[0]) + gradient(uses[1]), rtol=0, atol=0
    )


@pytest.mark.parametrize("prepare", [Encoder.eval, fused])
def test_embeddings_are_computed_in_single_precision(
    prepare: Callable[[Encoder], Encoder],
) -> None:
    """An atlas promises clusters for years, on machines with bfloat16 and without."""
    encoder, tiles = _encoder().eval(), _tiles(5)
    found = embed_tiles(prepare(encoder), tiles, device=CPU)
    with torch.inference_mode():
        exact = encoder.double()
        maps = exact.backbone((torch.from_numpy(tiles).double() - 127.5) / 63.75)
        parts = [
            part
            for each in maps
            for part in (each.mean((2, 3)), (each.var((2, 3), correction=0) + 1e-6).sqrt())
        ]
        expected = exact.embed_features(torch.cat(parts, dim=1))
    np.testing.assert_allclose(found, expected, atol=2e-5)


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
        expected = standardising.backbone(torch.from_numpy(scaled).float())[-1]
        found = standardising.pool(torch.from_numpy(tiles), "layer3")
    torch.testing.assert_close(found[:, :256], expected.mean((2, 3)), rtol=1e-5, atol=1e-5)


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


def test_statistics_that_are_kept_do_not_change_in_training() -> None:
    encoder, tiles = _encoder(), torch.from_numpy(_tiles(4))
    encoder.keeps_statistics = True
    before = {name: value.clone() for name, value in encoder.backbone.state_dict().items()}
    encoder.train()(tiles).sum().backward()
    after = encoder.backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert encoder.standard.training
    encoder.keeps_statistics = False
    encoder.train()(tiles)
    name = "network.bn1.running_mean"
    assert not torch.equal(before[name], encoder.backbone.state_dict()[name])


@pytest.mark.parametrize(
    ("name", "layers", "width"),
    [
        ("resnet50", ["layer2", "layer3"], 2 * (512 + 1024)),
        ("resnet152", ["layer1"], 2 * 256),
        ("wide_resnet50_2", ["layer4"], 2 * 2048),
        ("skresnet18", ["layer1", "layer3"], 2 * (64 + 256)),
        ("tf_efficientnet_lite0", ["blocks.2", "blocks.3", "blocks.4"], 2 * (40 + 80 + 112)),
        ("convnext_atto", ["stages.0", "stages.2"], 2 * (40 + 160)),
        ("regnety_002", ["s2"], 2 * 56),
        ("vit_tiny_patch16_224", ["blocks.5"], 2 * 192),
        ("vit_small_patch14_dinov2", ["blocks.1"], 2 * 384),
        ("swin_tiny_patch4_window7_224", ["layers.1"], 2 * 192),
    ],
)
def test_backbones_learn_in_all_that_is_left_of_them(
    name: str, layers: list[str], width: int
) -> None:
    encoder = create_encoder(
        backbone=name, layers=layers, pooling="mean_deviation", n_channels=2, seed=0
    )
    assert (encoder.width, encoder.layers) == (width, layers)
    tiles = torch.from_numpy(_tiles(2, 2, 64))
    encoder.train()(tiles).sum().backward()
    trained = [name for name, weights in encoder.named_parameters() if weights.grad is not None]
    # Some transformers have a token that no map shows.
    left = {name for name, _ in encoder.named_parameters()} - set(trained)
    assert all(name.endswith(("cls_token", "mask_token")) for name in left)
    with torch.inference_mode():
        torch.testing.assert_close(fused(encoder)(tiles), encoder.eval()(tiles))


def test_layers_come_in_the_order_of_the_network() -> None:
    encoder = small_encoder(1, seed=0, layers=["layer3", "layer1"])
    assert encoder.layers == ["layer1", "layer3"]


def test_scales_are_the_layers_of_tiles_at_half_the_resolution_each() -> None:
    one, three = _encoder(), _encoder(n_scales=3)
    tiles = _tiles(2, size=64)
    of_two = tiles.reshape(2, 3, 32, 2, 32, 2).mean(axis=(3, 5))
    of_four = tiles.reshape(2, 3, 16, 4, 16, 4).mean(axis=(3, 5))
    with torch.inference_mode():
        expected = [one.eval().pool(torch.from_numpy(each)) for each in (tiles, of_two, of_four)]
        found = three.eval().pool(torch.from_numpy(tiles))
        of_layer = three.pool(torch.from_numpy(tiles), "layer2")
    assert three.width == found.shape[1] == 3 * one.width
    torch.testing.assert_close(found, torch.cat(expected, dim=1).float(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(of_layer, one.pool(torch.from_numpy(tiles), "layer2"))


@pytest.mark.parametrize(("n_scales", "standardise"), [(1, False), (3, True)])
def test_rebuilt_encoder_is_the_same(n_scales: int, standardise: bool) -> None:
    encoder = _encoder(2, seed=5, n_scales=n_scales, standardise=standardise)
    description = describe(encoder, channels=["a", "b"]) | {"backbone": "resnet18"}
    rebuilt = rebuild_encoder(encoder.state_dict(), description)
    tiles = _tiles(2, 2)
    np.testing.assert_array_equal(
        embed_tiles(rebuilt, tiles, device=CPU), embed_tiles(encoder, tiles, device=CPU)
    )


def test_encoders_of_earlier_versions_are_refused() -> None:
    description = {"backbone": "resnet18", "channels": ["a"], "standardise": False}
    with pytest.raises(ValueError, match=r"earlier version.+; train anew, or install"):
        rebuild_encoder(small_encoder(1, seed=0).state_dict(), description)


def test_other_networks_are_refused() -> None:
    message = "train.backbone 'resnet19' is no network of timm that yields feature maps; try"
    with pytest.raises(ValueError, match=message):
        create_encoder(backbone="resnet19", layers=["layer1"], pooling="mean", n_channels=3, seed=0)


def test_layers_that_a_backbone_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"names 'layer5', which the .+ act1, layer1, layer2"):
        small_encoder(1, seed=0, layers=["layer1", "layer5"])


def test_cpu_is_used_where_there_is_no_gpu() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert compute_device().type == expected
    with autocast(compute_device()):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).sum() == 8


def test_statistics_are_renewed_for_averaged_weights() -> None:
    """Means over all batches of the first layer's means, whatever it had gathered before."""
    encoder = small_encoder(1, seed=0)
    first = encoder.backbone.network.bn1
    with torch.no_grad():
        first.running_mean.fill_(50.0)
        first.running_var.fill_(9.0)
    seen = []

    def remember(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        seen.append(inputs[0].detach())

    handle = first.register_forward_pre_hook(remember)
    tiles = torch.randint(256, (200, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    renew_statistics(encoder, tiles.to(torch.uint8).numpy())
    handle.remove()
    assert [len(each) for each in seen] == [100, 100]
    means = torch.stack([each.mean((0, 2, 3)) for each in seen])
    variances = torch.stack([each.var((0, 2, 3)) for each in seen])
    close = partial(torch.testing.assert_close, rtol=0.01, atol=0.01)  # where there is bfloat16
    close(first.running_mean, means.float().mean(dim=0))
    close(first.running_var, variances.float().mean(dim=0))
    assert first.momentum == 0.1
    encoder.keeps_statistics = True
    before = first.running_mean.clone()
    renew_statistics(encoder, np.zeros((4, 1, 32, 32), np.uint8))
    assert torch.equal(first.running_mean, before)
