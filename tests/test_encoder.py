import numpy as np
import pytest
import torch

from pipeline.core.encoder import (
    autocast,
    compute_device,
    create_encoder,
    embed_tiles,
    rebuild_encoder,
    turn_and_flip,
)

CPU = torch.device("cpu")


def _tiles(n: int, channels: int = 3, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, channels, size, size), dtype=np.uint8)


def _encoder(channels: int = 3, seed: int = 0):
    return create_encoder(backbone="resnet18", n_channels=channels, n_dimensions=7, seed=seed)


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
    np.testing.assert_allclose(whole, parts, atol=0.02 * np.abs(whole).max())  # bfloat16


def test_rebuilt_encoder_is_the_same() -> None:
    encoder = _encoder(2, seed=5)
    description = {"backbone": "resnet18", "channels": ["a", "b"], "n_dimensions": 7}
    rebuilt = rebuild_encoder(encoder.state_dict(), description)
    tiles = _tiles(2, 2)
    np.testing.assert_array_equal(
        embed_tiles(rebuilt, tiles, device=CPU), embed_tiles(encoder, tiles, device=CPU)
    )


@pytest.mark.parametrize("name", ["resnet19", "vit_tiny_patch16_224"])
def test_other_networks_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"train.backbone '{name}' is no ResNet of timm"):
        create_encoder(backbone=name, n_channels=3, n_dimensions=2, seed=0)


def test_turns_and_flips_are_the_eight_symmetries() -> None:
    tile = torch.arange(4.0).reshape(1, 1, 2, 2)
    drawn = turn_and_flip(tile.expand(200, 1, 2, 2), torch.Generator().manual_seed(0))
    found = {tuple(values.flatten().tolist()) for values in drawn}
    assert len(found) == 8
    again = turn_and_flip(tile.expand(200, 1, 2, 2), torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_cpu_is_used_where_there_is_no_gpu() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert compute_device().type == expected
    with autocast(compute_device()):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).sum() == 8
