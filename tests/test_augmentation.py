from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.core.augmentation import (
    DIFFERENCES,
    THERMAL,
    ColourScale,
    augment,
    equalise_members,
    jitter,
    turn_and_flip,
)

CHANNELS = {  # name: minimum, maximum
    "visible": (20.0, 71.0),  # 5 colours a percent
    "solar_reflectance_3_9um": (0.0, 25.5),  # 10
    "infrared_window": (300.0, 200.0),  # -2.55 colours a K
    "water_vapour": (200.0, 251.0),  # 5
    "split_window_difference": (-6.7, 2.6),
}
SCALE = ColourScale([*CHANNELS], *zip(*CHANNELS.values(), strict=True))
ROUNDING = 1e-4  # of colours, which are at most 255
TILES = arrays(np.uint8, (3, 3, 2, 5, 5))  # triplet, member, channel, row, column


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _middle_tiles(n_tiles: int) -> torch.Tensor:
    """Tiles so far from black and white that weak jitter clips none of their colours."""
    colours = np.random.default_rng(0).integers(100, 156, (n_tiles, len(CHANNELS), 4, 4))
    return torch.from_numpy(colours.astype(np.uint8))


def _jitter(
    tiles: torch.Tensor, brightness: float, temperature: float, seed: int = 0
) -> torch.Tensor:
    return jitter(
        tiles, SCALE, brightness=brightness, temperature=temperature, generator=_generator(seed)
    )


# --- symmetries ---


def test_turns_and_flips_are_the_eight_symmetries() -> None:
    tile = torch.arange(4.0).reshape(1, 1, 2, 2)
    drawn = turn_and_flip(tile.expand(200, 1, 2, 2), _generator())
    found = {tuple(values.flatten().tolist()) for values in drawn}
    assert len(found) == 8
    again = turn_and_flip(tile.expand(200, 1, 2, 2), _generator())
    assert torch.equal(drawn, again)


def test_channels_of_a_tile_are_turned_alike() -> None:
    tiles = torch.arange(9).reshape(1, 1, 3, 3) + torch.tensor([0, 100]).reshape(1, 2, 1, 1)
    drawn = turn_and_flip(tiles.expand(50, 2, 3, 3), _generator())
    assert torch.equal(drawn[:, 0] + 100, drawn[:, 1])


# --- jitter ---


def test_another_sun_multiplies_reflectances_alone() -> None:
    tiles = _middle_tiles(300)
    jittered = _jitter(tiles, brightness=0.1, temperature=0.0)
    before, after = 20 + tiles[:, 0].double() / 5, 20 + jittered[:, 0].double() / 5
    gain = (after / before).mean(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(after, gain * before, rtol=0, atol=ROUNDING)
    assert 0.9 <= gain.min() < 0.91
    assert 1.09 < gain.max() <= 1.1
    # The other reflectance has its minimum at 0, so that its colours are multiplied.
    torch.testing.assert_close(
        jittered[:, 1].double(), gain * tiles[:, 1].double(), rtol=0, atol=100 * ROUNDING
    )
    assert torch.equal(jittered[:, 2:], tiles[:, 2:].float())


def test_another_temperature_is_as_many_kelvin_in_every_thermal_channel() -> None:
    tiles = _middle_tiles(300)
    jittered = _jitter(tiles, brightness=0.0, temperature=5.0)
    change = jittered - tiles.float()
    kelvin = change[:, 2] / -2.55  # the inverted channel: warmer is darker
    shift = kelvin.mean(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(kelvin, shift.expand_as(kelvin), rtol=0, atol=ROUNDING)
    assert -5 <= shift.min() < -4.8
    assert 4.8 < shift.max() <= 5
    expected = (5 * shift).expand_as(kelvin)
    torch.testing.assert_close(change[:, 3], expected, rtol=0, atol=10 * ROUNDING)
    assert torch.equal(jittered[:, [0, 1, 4]], tiles[:, [0, 1, 4]].float())


def test_jittered_colours_stay_colours() -> None:
    tiles = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (40, len(CHANNELS), 8, 8), dtype=np.uint8)
    )
    jittered = _jitter(tiles, brightness=0.9, temperature=80.0)
    for channel in range(4):
        assert jittered[:, channel].min() == 0
        assert jittered[:, channel].max() == 255
    assert torch.equal(jittered[:, 4], tiles[:, 4].float())


@settings(deadline=None)
@given(arrays(np.uint8, (2, len(CHANNELS), 3, 3)))
def test_no_jitter_leaves_colours_as_they_are(tiles: np.ndarray) -> None:
    jittered = _jitter(torch.from_numpy(tiles), brightness=0.0, temperature=0.0)
    assert jittered.dtype == torch.float32
    np.testing.assert_array_equal(jittered.numpy(), tiles)


def test_one_seed_gives_the_same_jitter() -> None:
    tiles = _middle_tiles(3)
    first, second, other = (_jitter(tiles, 0.2, 3.0, seed) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_jitter_knows_the_unit_of_every_committed_channel(params: dict[str, Any]) -> None:
    for preset in params["ingest"]["presets"].values():
        limits = zip(preset["channels"], preset["minimum"], preset["maximum"], strict=True)
        for name, minimum, maximum in limits:
            assert (name in THERMAL) == (min(minimum, maximum) > 150)  # K
            assert (name in DIFFERENCES) == (min(minimum, maximum) < 0)


# --- histograms ---


def _cumulated(colours: np.ndarray) -> np.ndarray:
    """Pixels up to each colour."""
    return np.bincount(colours.ravel(), minlength=256).cumsum()


@settings(deadline=None)
@given(TILES)
def test_members_get_the_histogram_of_their_anchor(tiles: np.ndarray) -> None:
    found = equalise_members(torch.from_numpy(tiles), share=1.0, generator=_generator()).numpy()
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[:, 0], tiles[:, 0])
    for triplet, member, channel in np.ndindex(tiles.shape[:3]):
        wanted = _cumulated(tiles[triplet, 0, channel])
        missing = wanted - _cumulated(found[triplet, member, channel])
        # Pixels of one colour stay together, so that as many of them can be out of place.
        together = np.bincount(tiles[triplet, member, channel].ravel()).max()
        assert missing.min() >= 0
        assert missing.max() < together


@settings(deadline=None)
@given(TILES)
def test_darker_pixels_stay_darker(tiles: np.ndarray) -> None:
    found = equalise_members(torch.from_numpy(tiles), share=1.0, generator=_generator()).numpy()
    for before, after in zip(tiles.reshape(-1, 25), found.reshape(-1, 25), strict=True):
        order = before.argsort()
        steps = np.diff(after[order].astype(int))
        assert (steps >= 0).all()
        assert (steps[np.diff(before[order]) == 0] == 0).all()


@settings(deadline=None)
@given(arrays(np.uint8, (2, 25)), st.integers(0, 99))
def test_rearranged_anchors_are_left_as_they_are(values: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    members = [rng.permuted(values, axis=1).reshape(1, 2, 5, 5) for _ in range(3)]
    tiles = torch.from_numpy(np.stack(members, axis=1))
    assert torch.equal(equalise_members(tiles, share=1.0, generator=_generator()), tiles)


def test_histograms_by_hand() -> None:
    anchor, neighbour, distant = [10, 20, 20, 30], [1, 2, 3, 4], [7, 7, 9, 9]
    tiles = torch.tensor([anchor, neighbour, distant], dtype=torch.uint8).reshape(1, 3, 1, 2, 2)
    found = equalise_members(tiles, share=1.0, generator=_generator())
    expected = [[10, 20, 20, 30], [10, 20, 20, 30], [20, 20, 30, 30]]
    assert found.reshape(3, 4).tolist() == expected


def test_only_a_share_of_the_triplets_is_equalised() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (1000, 3, 1, 4, 4), dtype=np.uint8)
    tiles = torch.from_numpy(colours)
    none, some, again, every, other = (
        equalise_members(tiles, share=share, generator=_generator(seed))
        for share, seed in ((0.0, 1), (0.3, 1), (0.3, 1), (1.0, 1), (0.3, 2))
    )
    assert torch.equal(none, tiles)
    assert torch.equal(some, again)
    assert not torch.equal(some, other)
    changed = (some != tiles).flatten(1).any(dim=1)
    # Five standard deviations of a binomial count.
    assert int(changed.sum()) == pytest.approx(300, abs=5 * np.sqrt(1000 * 0.3 * 0.7))
    assert torch.equal(some[changed], every[changed])
    assert torch.equal(some[~changed], tiles[~changed])


# --- all of it ---


def _members(n_triplets: int) -> torch.Tensor:
    return _middle_tiles(3 * n_triplets).unflatten(0, (n_triplets, 3))


def _augment(members: torch.Tensor, **shortcuts: float) -> torch.Tensor:
    nothing = {"brightness": 0.0, "temperature": 0.0, "equalised_share": 0.0}
    return augment(members, SCALE, **{**nothing, **shortcuts}, generator=_generator())


def test_tiles_with_their_shortcuts_are_turned_alone() -> None:
    members = _members(20)
    turned = turn_and_flip(members.flatten(0, 1), _generator())
    assert torch.equal(_augment(members), turned.unflatten(0, (20, 3)))


def test_members_are_equalised_and_turned() -> None:
    members = _members(20)
    equalised = equalise_members(members, share=1.0, generator=_generator())
    augmented = _augment(members, equalised_share=1.0)
    assert not torch.equal(augmented, equalised)
    by_colour, expected = (each.flatten(3).sort().values for each in (augmented, equalised))
    assert torch.equal(by_colour, expected)


@pytest.mark.parametrize(
    ("shortcut", "jittered"),
    [({"brightness": 0.1}, [0, 1]), ({"temperature": 5.0}, [2, 3])],
)
def test_members_are_turned_and_jittered_each_by_itself(
    shortcut: dict[str, float], jittered: list[int]
) -> None:
    members = _members(20)[:, :1].expand(20, 3, -1, -1, -1).contiguous()  # three times the anchor
    augmented = _augment(members, **shortcut)
    assert augmented.shape == members.shape
    change = augmented.mean(dim=(3, 4)) - members.float().mean(dim=(3, 4))
    others = [channel for channel in range(len(CHANNELS)) if channel not in jittered]
    torch.testing.assert_close(change[:, :, others], torch.zeros(20, 3, len(others)))
    assert (change[:, :, jittered].abs() > ROUNDING).all()
    assert (change[:, :, jittered].diff(dim=1).abs() > ROUNDING).all()
