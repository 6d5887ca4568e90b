import math
from dataclasses import replace
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
    Augmentations,
    ColourScale,
    augment,
    equalise_members,
    local_crops,
    turn_and_flip,
)
from pipeline.core.augmentation.colours import jitter, make_grey, rotate_hue
from pipeline.core.augmentation.geometry import ASPECT, cut, draw_boxes
from pipeline.core.augmentation.texture import blur, cut_out, show_gradients

CHANNELS = {  # name: minimum, maximum
    "visible": (20.0, 71.0),  # 5 colours a percent
    "solar_reflectance_3_9um": (0.0, 25.5),  # 10
    "infrared_window": (300.0, 200.0),  # -2.55 colours a K
    "water_vapour": (200.0, 251.0),  # 5
    "split_window_difference": (-6.7, 2.6),
}
SCALE = ColourScale([*CHANNELS], *zip(*CHANNELS.values(), strict=True))
ROUNDING = 1e-4  # of colours, which are at most 255
NOTHING = Augmentations(
    flip=0.0,
    quarter_turn=0.0,
    rotation=0.0,
    smallest_crop=1.0,
    largest_crop=1.0,
    view_size=1.0,
    brightness=0.0,
    contrast=0.0,
    temperature=0.0,
    hue=0.0,
    grey=0.0,
    blur=0.0,
    sobel=0.0,
    cut_out=0.0,
)
STRONG = {
    "flip": 0.5,
    "quarter_turn": 1.0,
    "rotation": 45.0,
    "smallest_crop": 0.3,
    "brightness": 0.2,
    "contrast": 0.3,
    "temperature": 5.0,
    "grey": 0.3,
    "blur": 1.5,
    "sobel": 0.3,
    "cut_out": 0.4,
}  # all that suit any channels
TILES = arrays(np.uint8, (3, 3, 2, 5, 5))  # triplet, member, channel, row, column


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _middle_tiles(n_tiles: int) -> torch.Tensor:
    """Tiles so far from black and white that weak jitter clips none of their colours."""
    colours = np.random.default_rng(0).integers(100, 156, (n_tiles, len(CHANNELS), 4, 4))
    return torch.from_numpy(colours.astype(np.uint8))


def _jitter(
    tiles: torch.Tensor,
    brightness: float = 0.0,
    temperature: float = 0.0,
    seed: int = 0,
    contrast: float = 0.0,
) -> torch.Tensor:
    return jitter(
        tiles,
        SCALE,
        brightness=brightness,
        contrast=contrast,
        temperature=temperature,
        generator=_generator(seed),
    )


def _ramp(size: int, rows: float, columns: float) -> torch.Tensor:
    """A tile of one channel whose colours rise by so much a row and a column, 100 in its middle."""
    away = torch.arange(size) - (size - 1) / 2
    return (100 + rows * away[:, None] + columns * away)[None, None]


def _reflectances(n_channels: int) -> ColourScale:
    names = [f"band_{number}" for number in range(n_channels)]
    return ColourScale(names, [0.0] * n_channels, [100.0] * n_channels)


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


@pytest.mark.parametrize(("flip", "quarter_turn"), [(0.5, 1.0), (0.2, 0.0), (0.0, 0.6)])
def test_symmetries_are_as_frequent_as_asked_for(flip: float, quarter_turn: float) -> None:
    n_tiles = 4000
    tile = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 2, 2)
    drawn = turn_and_flip(
        tile.expand(n_tiles, 1, 2, 2), _generator(), flip=flip, quarter_turn=quarter_turn
    )
    for mirrored, turns in np.ndindex(2, 4):
        wanted = torch.rot90(tile.flip(3) if mirrored else tile, turns, (2, 3))
        share = (flip if mirrored else 1 - flip) * (
            quarter_turn / 4 + (turns == 0) * (1 - quarter_turn)
        )
        found = int((drawn == wanted).flatten(1).all(dim=1).sum())
        # Five standard deviations of a binomial count.
        assert found == pytest.approx(
            n_tiles * share, abs=5 * math.sqrt(n_tiles * share * (1 - share))
        )


# --- boxes ---


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_boxes_lie_inside_and_are_of_the_area_asked_for(
    one: float, other: float, seed: int
) -> None:
    area = (min(one, other), max(one, other))
    centres, edges = draw_boxes((50, 2), area=area, generator=_generator(seed))
    assert centres.shape == edges.shape == (50, 2, 2)
    assert (centres - edges / 2).min() >= -1e-6
    assert (centres + edges / 2).max() <= 1 + 1e-6
    share = edges.prod(dim=-1)
    assert area[0] - 1e-6 <= share.min()
    assert share.max() <= area[1] + 1e-6
    aspect = edges[..., 1] / edges[..., 0].clamp_min(1e-9)
    visible = edges.amin(dim=-1) > 1e-6
    assert (aspect[visible] < ASPECT + 1e-3).all()
    assert (aspect[visible] > 1 / ASPECT - 1e-3).all()


def test_boxes_are_spread_over_areas_aspects_and_places() -> None:
    centres, edges = draw_boxes((20000,), area=(0.1, 0.5), generator=_generator())
    share = edges.prod(dim=-1)
    wanted = torch.linspace(0.1, 0.5, 11)
    quantiles = torch.quantile(share, torch.linspace(0, 1, 11))
    torch.testing.assert_close(quantiles, wanted, rtol=0, atol=0.01)
    aspect = (edges[:, 1] / edges[:, 0]).log() / math.log(ASPECT)
    quantiles = torch.quantile(aspect, torch.linspace(0, 1, 5))
    torch.testing.assert_close(quantiles, torch.linspace(-1, 1, 5), rtol=0, atol=0.03)
    place = (centres - edges / 2) / (1 - edges)
    for axis in range(2):
        quantiles = torch.quantile(place[:, axis], torch.linspace(0, 1, 5))
        torch.testing.assert_close(quantiles, torch.linspace(0, 1, 5), rtol=0, atol=0.02)


def _cut(
    tiles: torch.Tensor,
    size: int,
    centre: tuple[float, float] = (0.5, 0.5),
    edges: tuple[float, float] = (1.0, 1.0),
    angle: float = 0.0,
) -> torch.Tensor:
    boxes = (torch.tensor(each).expand(len(tiles), 1, 2) for each in (centre, edges))
    return cut(tiles, *boxes, torch.full((len(tiles), 1), angle), size=size)[:, 0]


def test_the_whole_tile_is_cut_as_it_is() -> None:
    tiles = _middle_tiles(3)
    torch.testing.assert_close(_cut(tiles, 4), tiles.float(), rtol=0, atol=0.01)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_by_angle_is_one_of_pixels(turns: int) -> None:
    tiles = _middle_tiles(3)
    turned = torch.rot90(tiles, turns, (2, 3)).float()
    torch.testing.assert_close(_cut(tiles, 4, angle=90.0 * turns), turned, rtol=0, atol=0.01)


def test_a_crop_of_a_ramp_is_a_flatter_ramp() -> None:
    # Rows 8 to 40 and columns 24 to 40 of 64, each stretched to 64.
    shown = _cut(_ramp(64, rows=1.0, columns=2.0), 64, centre=(24 / 64, 0.5), edges=(0.5, 0.25))
    rows, columns = shown[0, 0].diff(dim=0), shown[0, 0].diff(dim=1)
    torch.testing.assert_close(rows, torch.full_like(rows, 0.5), rtol=0, atol=0.2)
    torch.testing.assert_close(columns, torch.full_like(columns, 0.5), rtol=0, atol=0.2)
    assert shown.mean().item() == pytest.approx(100 - 8, abs=0.1)


def test_a_crop_of_its_own_size_is_a_slice() -> None:
    tiles = torch.randint(256, (2, 6, 32, 32), generator=_generator(), dtype=torch.uint8)
    shown = _cut(tiles, 8, centre=(8 / 32, 20 / 32), edges=(0.25, 0.25))
    torch.testing.assert_close(shown, tiles[:, :, 4:12, 16:24].float(), rtol=0, atol=0.02)


@pytest.mark.parametrize("angle", [30.0, -45.0])
def test_a_turned_ramp_rises_in_another_direction(angle: float) -> None:
    # Small enough to stay inside however it is turned.
    shown = _cut(_ramp(64, rows=0.0, columns=2.0), 32, edges=(0.5, 0.5), angle=angle)[0, 0]
    radians = math.radians(angle)
    rows, columns = shown.diff(dim=0), shown.diff(dim=1)
    wanted = -2 * math.sin(radians)  # counterclockwise: what lay right now lies above
    torch.testing.assert_close(rows, torch.full_like(rows, wanted), rtol=0, atol=0.2)
    wanted = 2 * math.cos(radians)
    torch.testing.assert_close(columns, torch.full_like(columns, wanted), rtol=0, atol=0.2)


def test_corners_that_leave_the_tile_mirror_it() -> None:
    tile = torch.zeros(1, 1, 33, 33)
    tile[..., 16] = 100.0  # a line through the middle, mirrored beyond the edge as a bent one
    shown = _cut(tile + 50, 33, angle=45.0)
    assert shown.min() > 35  # no black corners; cubic convolution undershoots beside the line
    assert shown[0, 0, 16, 16].item() == pytest.approx(150, abs=0.1)


def test_turning_by_any_angle_keeps_tiles_sharp_and_in_range() -> None:
    """Noise of pixels of 40 counts was 27 after linear interpolation."""
    noise = 40 * torch.randn(64, 1, 64, 64, generator=_generator())
    tiles = (128 + noise).clamp(0, 255)
    angles = 360 * torch.rand(64, 1, generator=_generator())
    boxes = (torch.full((64, 1, 2), each) for each in (0.5, 0.7))
    shown = cut(tiles, *boxes, angles, size=45)
    assert 33 < shown.std().item() < 40
    assert 0 <= shown.min() < shown.max() <= 255


def test_angles_are_uniform_up_to_the_strength() -> None:
    tiles = _ramp(32, rows=0.0, columns=2.0).expand(600, 1, 32, 32)
    shown = augment(tiles, _reflectances(1), replace(NOTHING, rotation=20.0), _generator())
    middle = shown[:, 0, 12:20, 12:20]
    angle = torch.atan2(-middle.diff(dim=1).mean((1, 2)), middle.diff(dim=2).mean((1, 2))).rad2deg()
    quantiles = torch.quantile(angle, torch.linspace(0, 1, 5))
    torch.testing.assert_close(quantiles, torch.linspace(-20, 20, 5), rtol=0, atol=2.0)
    assert angle.abs().max() <= 20.6  # a slope is read to 3 %


def test_crops_show_from_the_smallest_share_to_all() -> None:
    tiles = _ramp(32, rows=2.0, columns=2.0).expand(600, 1, 32, 32)
    shown = augment(tiles, _reflectances(1), replace(NOTHING, smallest_crop=0.4), _generator())
    middle = shown[:, 0, 8:24, 8:24]
    area = middle.diff(dim=1).mean((1, 2)) * middle.diff(dim=2).mean((1, 2)) / 4
    quantiles = torch.quantile(area, torch.linspace(0, 1, 5))
    torch.testing.assert_close(quantiles, torch.linspace(0.4, 1, 5), rtol=0, atol=0.04)


def test_small_views_show_crops_up_to_the_largest() -> None:
    """Of a ramp of 2 colours a pixel; half as many pixels have twice the step."""
    tiles = _ramp(32, rows=2.0, columns=2.0).expand(600, 1, 32, 32)
    small = replace(NOTHING, smallest_crop=0.2, largest_crop=0.5, view_size=0.5)
    shown = augment(tiles, _reflectances(1), small, _generator())
    assert shown.shape == (600, 1, 16, 16)
    middle = shown[:, 0, 4:12, 4:12]
    area = middle.diff(dim=1).mean((1, 2)) * middle.diff(dim=2).mean((1, 2)) / 4 / 4
    quantiles = torch.quantile(area, torch.linspace(0, 1, 5))
    torch.testing.assert_close(quantiles, torch.linspace(0.2, 0.5, 5), rtol=0, atol=0.03)


# --- jitter ---


def test_contrast_stretches_reflectances_about_their_mean() -> None:
    tiles = _middle_tiles(300)
    jittered = _jitter(tiles, contrast=0.2)
    before, after = tiles[:, :2].double(), jittered[:, :2].double()
    mean = before.mean((2, 3), keepdim=True)
    torch.testing.assert_close(after.mean((2, 3), keepdim=True), mean, rtol=0, atol=100 * ROUNDING)
    stretch = (after - mean).std((1, 2, 3)) / (before - mean).std((1, 2, 3))
    assert 0.8 - ROUNDING <= stretch.min() < 0.82
    assert 1.18 < stretch.max() <= 1.2 + ROUNDING
    expected = mean + stretch[:, None, None, None] * (before - mean)
    torch.testing.assert_close(after, expected, rtol=0, atol=100 * ROUNDING)
    assert torch.equal(jittered[:, 2:], tiles[:, 2:].float())


def test_contrast_and_brightness_are_one_after_the_other() -> None:
    tiles = _middle_tiles(100)
    both = _jitter(tiles, brightness=0.1, contrast=0.2)
    brighter = _jitter(tiles, brightness=0.1)  # the same draws
    stretched = _jitter(brighter, contrast=0.2)
    torch.testing.assert_close(both, stretched, rtol=0, atol=10 * ROUNDING)


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


# --- colours of no meaning ---


def test_grey_channels_of_a_kind_are_equal() -> None:
    tiles = _middle_tiles(20)
    grey = make_grey(tiles, SCALE, share=1.0, generator=_generator())
    mean = tiles[:, :2].float().mean(dim=1)
    torch.testing.assert_close(grey[:, 0], mean, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(grey[:, 1], mean, rtol=0, atol=ROUNDING)
    # Warm is dark in the one and bright in the other.
    mean = (255 - tiles[:, 2].float() + tiles[:, 3].float()) / 2
    torch.testing.assert_close(255 - grey[:, 2], mean, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(grey[:, 3], mean, rtol=0, atol=ROUNDING)
    assert torch.equal(grey[:, 4], tiles[:, 4].float())


@settings(deadline=None)
@given(arrays(np.uint8, (3, 3, 4, 4)))
def test_grey_reflectances_are_their_mean(tiles: np.ndarray) -> None:
    drawn = torch.from_numpy(tiles)
    grey = make_grey(drawn, _reflectances(3), share=1.0, generator=_generator())
    mean = tiles.mean(axis=1, keepdims=True).repeat(3, axis=1)
    np.testing.assert_allclose(grey.numpy(), mean, rtol=0, atol=ROUNDING)


def _hue(tiles: torch.Tensor, degrees: float, seed: int = 0) -> torch.Tensor:
    return rotate_hue(tiles, degrees=degrees, generator=_generator(seed))


def test_a_rotation_of_hue_by_a_third_permutes_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = torch.randint(256, (5, 3, 4, 4), generator=_generator(), dtype=torch.uint8)
    ones = "pipeline.core.augmentation.colours.draw_between"
    monkeypatch.setattr(ones, lambda shape, _: torch.ones(shape))
    for degrees, shift in ((120.0, 1), (240.0, 2), (360.0, 0)):
        expected = tiles.roll(shift, dims=1).float()
        torch.testing.assert_close(_hue(tiles, degrees), expected, rtol=0, atol=10 * ROUNDING)


def test_hue_keeps_grey_and_brightness() -> None:
    tiles = 120 + torch.randint(16, (50, 3, 4, 4), generator=_generator())
    rotated = _hue(tiles, 180.0)
    before, after = (each.float().mean(dim=1) for each in (tiles, rotated))
    torch.testing.assert_close(after, before, rtol=0, atol=10 * ROUNDING)
    lengths = [each.float().std(dim=1) for each in (tiles, rotated)]
    torch.testing.assert_close(*lengths, rtol=0, atol=10 * ROUNDING)
    grey = tiles[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(_hue(grey, 180.0), grey.float(), rtol=0, atol=10 * ROUNDING)
    assert (rotated - tiles).abs().amax((1, 2, 3)).min() > 0


def test_hue_wants_three_channels() -> None:
    with pytest.raises(ValueError, match=r"5 channels have no hue; set train\.augmentations\.hue"):
        augment(_middle_tiles(1), SCALE, replace(NOTHING, hue=10.0), _generator())


# --- blur, gradients, holes ---


def test_blur_spreads_a_point_as_a_gaussian_does() -> None:
    tiles = torch.zeros(200, 1, 41, 41)
    tiles[:, :, 20, 20] = 255.0
    blurred = blur(tiles, largest=3.0, generator=_generator())
    total = blurred.sum((1, 2, 3))
    torch.testing.assert_close(total, torch.full_like(total, 255.0), rtol=1e-5, atol=0)
    along = blurred.sum((1, 2)) / 255
    sigma = (along * (torch.arange(41) - 20.0) ** 2).sum(dim=1).sqrt()
    torch.testing.assert_close(along, blurred.sum((1, 3)) / 255, rtol=0, atol=1e-6)
    # Uniform from 0 to the largest, but for the narrowest, whose pixels hardly differ from points.
    quantiles = torch.quantile(sigma, torch.linspace(0.25, 1, 4))
    torch.testing.assert_close(quantiles, torch.linspace(0.75, 3, 4), rtol=0, atol=0.3)
    assert sigma.max() <= 3.0
    wide = sigma > 1
    peak = along.amax(dim=1)[wide] * sigma[wide]
    torch.testing.assert_close(
        peak, torch.full_like(peak, (2 * math.pi) ** -0.5), rtol=0.05, atol=0
    )


def test_blur_keeps_the_mean_and_lowers_the_variance_of_noise() -> None:
    noise = torch.rand(40, 2, 96, 96, generator=_generator()) * 255
    blurred = blur(noise, largest=2.0, generator=_generator(1))
    torch.testing.assert_close(blurred.mean((2, 3)), noise.mean((2, 3)), rtol=0, atol=2.0)
    sigma = 2.0 * torch.rand(40, generator=_generator(1))  # as drawn
    wide = sigma > 0.7
    inner = blurred[wide, :, 6:-6, 6:-6]  # beyond the edge the noise comes again, mirrored
    lowered = inner.var((2, 3)) / noise[wide].var((2, 3))
    expected = (1 / (4 * math.pi * sigma[wide] ** 2))[:, None].expand(-1, 2)
    assert (lowered / expected).mean().item() == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(lowered, expected, rtol=0.5, atol=0)


def test_gradients_of_a_ramp_are_its_slope_twice() -> None:
    tiles = _ramp(16, rows=3.0, columns=4.0)
    shown = show_gradients(tiles, share=1.0, generator=_generator())
    middle = shown[..., 1:-1, 1:-1]
    torch.testing.assert_close(middle, torch.full_like(middle, 10.0), rtol=0, atol=ROUNDING)


def test_gradients_of_an_edge_are_white_and_of_nothing_black() -> None:
    tiles = torch.zeros(1, 2, 8, 8, dtype=torch.uint8)
    tiles[:, 1, :, 4:] = 255
    shown = show_gradients(tiles, share=1.0, generator=_generator())
    assert not shown[:, 0].any()
    assert shown[0, 1, 3].tolist() == [0, 0, 0, 255, 255, 0, 0, 0]


def test_holes_show_the_mean_and_are_of_the_share_asked_for() -> None:
    tiles = torch.rand(800, 2, 48, 48, generator=_generator()) * 255
    holed = cut_out(tiles, largest=0.5, generator=_generator())
    changed = (holed != tiles).any(dim=1)
    mean = tiles.mean((2, 3), keepdim=True).expand_as(tiles)
    hidden = changed[:, None].expand_as(tiles)
    torch.testing.assert_close(holed[hidden], mean[hidden], rtol=0, atol=ROUNDING)
    share = changed.float().mean((1, 2))
    quantiles = torch.quantile(share, torch.linspace(0, 1, 5))
    torch.testing.assert_close(quantiles, torch.linspace(0, 0.5, 5), rtol=0, atol=0.04)
    for rows, columns in ((1, 2), (2, 1)):  # a box: as many pixels as its rows times its columns
        sides = changed.any(dim=columns).sum(dim=1) * changed.any(dim=rows).sum(dim=1)
        assert torch.equal(sides, changed.sum((1, 2)))


# --- all of it ---


def _tiles(n_tiles: int, n_channels: int, size: int = 16) -> torch.Tensor:
    shape = (n_tiles, n_channels, size, size)
    return torch.randint(256, shape, generator=_generator(9), dtype=torch.uint8)


@settings(deadline=None)
@given(arrays(np.uint8, (2, 3, 4, 4)))
def test_nothing_leaves_tiles_as_they_are(tiles: np.ndarray) -> None:
    drawn = torch.from_numpy(tiles)
    generator = _generator()
    assert augment(drawn, _reflectances(3), NOTHING, generator) is drawn
    assert torch.equal(generator.get_state(), _generator().get_state())  # nothing was drawn


@pytest.mark.parametrize("n_channels", [1, 3, 6])
def test_any_channels_can_be_altered(n_channels: int) -> None:
    names = ["visible", "infrared_window", "water_vapour", "blue", "green", "shortwave_difference"]
    minimum, maximum = [0.0, 300.0, 200.0, 0.0, 0.0, -5.0], [100.0, 200.0, 250.0, 90.0, 80.0, 5.0]
    scale = ColourScale(names[:n_channels], minimum[:n_channels], maximum[:n_channels])
    strengths = STRONG | ({"hue": 30.0} if n_channels == 3 else {})
    tiles = _tiles(40, n_channels)
    before = tiles.clone()
    altered = augment(tiles, scale, replace(NOTHING, **strengths), _generator())
    assert altered.dtype == torch.float32
    assert altered.shape == tiles.shape
    assert altered.min() >= 0
    assert altered.max() <= 255.001
    assert (altered - tiles).abs().amax((1, 2, 3)).min() > 1
    assert torch.equal(tiles, before)


@pytest.mark.parametrize("name", [*STRONG, "hue"])
def test_each_strength_is_heeded_and_repeatable(name: str) -> None:
    alone = replace(NOTHING, **{name: 40.0 if name == "hue" else STRONG[name]})
    scale = ColourScale(
        ["visible", "blue", "infrared_window"], [0.0, 0.0, 300.0], [100.0, 90.0, 200.0]
    )
    tiles = _tiles(30, 3)
    before = torch.get_rng_state()
    first, second, other = (augment(tiles, scale, alone, _generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert not torch.equal(first, tiles.to(first.dtype))
    assert first.dtype == (torch.uint8 if name in ("flip", "quarter_turn") else torch.float32)
    laid_out = tiles.to(memory_format=torch.channels_last)
    torch.testing.assert_close(augment(laid_out, scale, alone, _generator(1)), first)


@pytest.mark.parametrize("name", ["flip", "grey", "sobel"])
def test_a_share_of_the_tiles_is_altered(name: str) -> None:
    tiles = _tiles(1000, 2, size=4)
    altered = augment(tiles, _reflectances(2), replace(NOTHING, **{name: 0.3}), _generator())
    changed = (altered != tiles).flatten(1).any(dim=1)
    # Five standard deviations of a binomial count.
    assert int(changed.sum()) == pytest.approx(300, abs=5 * math.sqrt(1000 * 0.3 * 0.7))


# --- local crops ---


def test_local_crops_are_small_parts_of_their_tile() -> None:
    tiles = (
        _ramp(32, rows=1.0, columns=3.0).expand(300, 2, 32, 32)
        + torch.tensor([0, 50])[:, None, None]
    )
    before = torch.get_rng_state()
    crops = local_crops(
        tiles,
        _reflectances(2),
        NOTHING,
        n_crops=3,
        size_share=0.5,
        area=(0.05, 0.25),
        generator=_generator(),
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert crops.shape == (300, 3, 2, 16, 16)
    torch.testing.assert_close(crops[:, :, 0] + 50, crops[:, :, 1], rtol=0, atol=0.01)
    middle = crops[:, :, 0, 4:12, 4:12]
    rows, columns = (middle.diff(dim=dim).mean((2, 3)) for dim in (2, 3))
    area = (rows * columns / 3 * 16**2 / 32**2).flatten()
    quantiles = torch.quantile(area, torch.linspace(0, 1, 5))
    torch.testing.assert_close(quantiles, torch.linspace(0.05, 0.25, 5), rtol=0, atol=0.02)
    assert (rows.diff(dim=1).abs() > 1e-4).all()  # each of its own size


def test_local_crops_of_a_tile_are_altered_each_by_itself() -> None:
    tiles = _tiles(50, 2, size=32)
    strong = replace(NOTHING, **STRONG)
    crops, again = (
        local_crops(
            tiles,
            _reflectances(2),
            strong,
            n_crops=2,
            size_share=0.5,
            area=(0.25, 0.25),
            generator=_generator(),
        )
        for _ in range(2)
    )
    assert torch.equal(crops, again)
    assert crops.min() >= 0
    assert crops.max() <= 255.001
    assert ((crops[:, 0] - crops[:, 1]).abs().amax((1, 2, 3)) > 1).all()
    turned = replace(NOTHING, flip=0.5)
    ramps = _ramp(32, rows=0.0, columns=2.0).expand(100, 1, 32, 32)
    flipped = local_crops(
        ramps,
        _reflectances(1),
        turned,
        n_crops=2,
        size_share=0.5,
        area=(0.25, 0.25),
        generator=_generator(),
    )
    falls = flipped.diff(dim=4).mean((2, 3, 4)) < 0
    assert 30 < int((falls[:, 0] != falls[:, 1]).sum()) < 70


def test_local_crops_leave_no_pixels_out() -> None:
    with pytest.raises(ValueError, match=r"shrunk 2\.3 times"):
        local_crops(
            _tiles(1, 1),
            _reflectances(1),
            NOTHING,
            n_crops=1,
            size_share=0.25,
            area=(0.1, 0.25),
            generator=_generator(),
        )
