import numpy as np
import pytest
import torch

from pipeline.core import textures
from pipeline.core.scattering import N_DIFFERENCES, scattering
from pipeline.core.tile import orientations

SIZE = 64
N_SCALES = 4
SECOND = N_SCALES * (N_SCALES - 1) // 2 * N_DIFFERENCES


def _wave(wavelength: float, angle: float = 0.0) -> np.ndarray:
    """A wave along rows at angle 0, from 0 to 1."""
    row, column = np.mgrid[:SIZE, :SIZE]
    phase = (row * np.cos(angle) + column * np.sin(angle)) / wavelength
    return 0.5 + 0.5 * np.cos(2 * np.pi * phase)


def _tile(*channels: np.ndarray) -> np.ndarray:
    return (255 * np.stack(channels)).round().astype(np.uint8)[None]


@pytest.mark.parametrize("name", textures.TEXTURES)
def test_textures_are_numbers_of_each_tile_alone(name: str) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (3, 2, 32, 32), dtype=np.uint8)
    tiles[2] = 100  # of one colour
    found = textures.TEXTURES[name](tiles)
    assert len(found) == 3
    assert np.isfinite(found).all()
    if name != "organisation metrics":  # whose threshold is of all tiles
        np.testing.assert_allclose(textures.TEXTURES[name](tiles[1:2]), found[1:2], rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["power spectrum", "wavelet scattering", "Haralick", "local binary patterns"]
)
def test_textures_do_not_depend_on_how_tiles_lie(name: str) -> None:
    coarse = np.random.default_rng(1).integers(0, 256, (2, 3, 16, 16), dtype=np.uint8)
    tiles = coarse.repeat(4, axis=2).repeat(4, axis=3)
    expected = textures.TEXTURES[name](tiles)
    for turned in orientations(tiles)[1:]:
        found = textures.TEXTURES[name](np.ascontiguousarray(turned))
        np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("n_waves", [2, 5, 16])
def test_the_spectrum_of_a_wave_peaks_at_its_wavenumber(n_waves: int) -> None:
    found = textures.power_spectrum(_tile(_wave(SIZE / n_waves)))[0]
    assert found[0] == pytest.approx(0.5, abs=0.02)
    assert found[1] == pytest.approx(np.sqrt(1 / 8), abs=0.01)
    wavenumber = np.unique(
        np.digitize(
            SIZE * np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE))),
            np.geomspace(0.5, SIZE / 2, textures.N_BINS + 1),
        )
    )[1:-1]
    expected = np.digitize(n_waves, np.geomspace(0.5, SIZE / 2, textures.N_BINS + 1))
    assert abs(wavenumber[found[2:].argmax()] - expected) <= 1


@pytest.mark.parametrize("scale", range(N_SCALES))
@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2])
def test_a_wave_is_found_at_its_scale(scale: int, angle: float) -> None:
    """And nowhere in the second order: the modulus of a wave that fits a wavelet is constant."""
    wave = torch.from_numpy(_wave(8 / 3 * 2**scale, angle)).float()[None]
    found = scattering(wave, n_scales=N_SCALES)[0]
    assert len(found) == N_SCALES + SECOND
    first = found[_places_of_the_first_order()]
    assert int(first.argmax()) == scale


def _places_of_the_first_order() -> list[int]:
    """Each scale is followed by the second order of all larger ones."""
    places, place = [], 0
    for scale in range(N_SCALES):
        places.append(place)
        place += 1 + N_DIFFERENCES * (N_SCALES - 1 - scale)
    return places


def test_scattering_does_not_change_when_a_tile_is_rolled() -> None:
    tiles = torch.rand((1, SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    rolled = tiles.roll((8, 24), (1, 2))
    found, expected = (scattering(each, n_scales=N_SCALES) for each in (rolled, tiles))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_scattering_tells_patches_from_even_noise_of_the_same_spectrum() -> None:
    """The spectrum of white noise is flat, whether its strength varies over the tile or not."""
    rng = np.random.default_rng(2)
    even = rng.normal(size=(40, SIZE, SIZE))
    strength = 1 + np.sign(_wave(32) - 0.5) * 0.9
    patchy = even * strength / np.sqrt((strength**2).mean())
    tiles = torch.from_numpy(np.concatenate([even, patchy])).float()
    found = scattering(tiles, n_scales=N_SCALES)
    first = _places_of_the_first_order()
    second = [place for place in range(found.shape[1]) if place not in first]
    gap = (found[40:].mean(0) - found[:40].mean(0)).abs() / found[:40].std(0)
    assert gap[second].max() > 10


def test_co_occurrences_by_hand() -> None:
    """A tile of one colour; and stripes of grey levels 0 and 31, two pixels wide."""
    row, _ = np.mgrid[:SIZE, :SIZE]
    found = textures.haralick(_tile(np.full((SIZE, SIZE), 0.5), row // 2 % 2))[0]
    flat, striped = found.reshape(2, len(textures.HARALICK), len(textures.DISTANCES))
    of = dict(zip(textures.HARALICK, range(len(textures.HARALICK)), strict=True))
    np.testing.assert_allclose(flat[of["contrast"]], 0)
    np.testing.assert_allclose(flat[of["homogeneity"]], 1)
    # At distance 1 half of the neighbours above and below differ, those beside never.
    down = 31 / 63 * 31**2  # of 63 pairs of rows 31 lie across an edge
    diagonal = down
    assert striped[of["contrast"], 0] == pytest.approx((2 * diagonal + down) / 4, rel=1e-3)
    # At distance 2 all of those above and below differ; diagonals are one row apart.
    assert striped[of["contrast"], 1] == pytest.approx((2 * diagonal + 31**2) / 4, rel=1e-3)


def test_frequencies_of_patterns_add_up() -> None:
    found = textures.local_binary_patterns(_tile(_wave(9), _wave(9, 1.0)))[0]
    n_codes = sum(8 * radius + 2 for radius in textures.RADII)
    np.testing.assert_allclose(found.reshape(2, n_codes).sum(axis=1), len(textures.RADII))


def test_bright_objects_are_counted() -> None:
    tile = np.zeros((SIZE, SIZE))
    tile[10:20, 10:20] = tile[40:46, 30:50] = tile[50:60, 5:12] = 1.0
    tile[5, 50] = 1.0  # too small
    found = textures.organisation_metrics(_tile(tile, tile))
    assert found[0, 0] == 3
