"""One scene seen by three imagers: the same colours, whoever looks.

Surface and clouds have reflectances and temperatures of their own; every band measures them at its
own wavelength, and near 3.9 µm what its spectral response gathers of the emitted and of the sun's
reflected radiance. Files, their counts, the reading and the stages are as they are with real
granules.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml
from instruments.abi_l1b import PACKING, write_abi_l1b
from instruments.abi_l1b import radiance as abi_radiance
from instruments.modis import CENTRES_UM as MODIS_UM
from instruments.modis import SPECTRAL, write_modis
from instruments.responses import response
from instruments.swath import swath_places
from instruments.viirs import CENTRES_UM as VIIRS_UM
from instruments.viirs import write_viirs
from scipy.ndimage import map_coordinates

from pipeline import fetch, ingest
from pipeline.core import planck
from pipeline.core.viewing import geostationary_view, solar_angles
from pipeline.files import stage, stores
from pipeline.files.mcmip import (
    SATELLITE_HEIGHT_M,
    SUBPOINT_LONGITUDE,
    WAVELENGTHS_UM,
    sector_grid,
)

PARAMS_FILE = Path(__file__).parents[1] / "params.yaml"
PLACE = {"latitude": 10.0, "longitude": -72.0}
NOON, MIDNIGHT = datetime(2025, 3, 20, 16), datetime(2025, 3, 20, 4)
WIDTH_KM = 200.0
MARGIN = 0.2  # of a patch at either side, where pixels of 2 km see two patches
LONGEST_UM = [0.5, 0.6, 0.75, 1.0, 2.0, 2.5]  # blue, green, red, near infrared, 1.6 and 2.2 µm


@dataclass(frozen=True)
class Patch:
    """A uniform part of the scene; reflectances in percent, up to each of `LONGEST_UM`."""

    reflectances: tuple[float, ...]
    reflectance_3_9um: float
    temperature: float
    split_window: float = 0.0  # K, 12 minus 11 µm


PATCHES = {
    "sea": Patch((9.0, 6.0, 4.0, 2.5, 1.0, 0.5), 1.5, 299.0, -1.5),
    "vegetation": Patch((8.0, 9.0, 7.0, 35.0, 20.0, 9.0), 4.0, 303.0, -0.5),
    "small droplets": Patch((55.0,) * 4 + (50.0, 42.0), 25.0, 286.0),
    "large droplets": Patch((60.0,) * 4 + (45.0, 28.0), 8.0, 275.0),
    "cirrus": Patch((30.0,) * 4 + (16.0, 12.0), 4.0, 255.0, -3.0),
    "deep convection": Patch((85.0,) * 4 + (25.0, 15.0), 2.5, 215.0),
}
See = Callable[[Mapping[str, float], Any, datetime, float], dict[str, np.ndarray]]
ABI_BANDS = ("C01", "C02", "C03", "C05", "C06", "C07", "C14", "C15")
VIIRS_BANDS = ("M03", "M04", "M05", "M07", "M10", "M11", "M12", "M15", "M16")
MODIS_BANDS = ("3", "4", "1", "2", "6", "7", "20", "31", "32")
THERMAL_MODIS_UM = {band: 1e4 / wavenumber for band, (wavenumber, *_) in SPECTRAL.items()}


def _patches_at(latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of the patch of each place, from west to east, and how far across it lies."""
    km = (longitude - PLACE["longitude"]) * 111.2 * np.cos(np.radians(latitude))
    position = np.clip((km / WIDTH_KM + 0.5) * len(PATCHES), 0, len(PATCHES) - 1e-9)
    return np.floor(position), position % 1


def _measured(band: str, wavelength: float, patch: np.ndarray, sun: np.ndarray) -> np.ndarray:
    """What a band measures: reflectance factors, or brightness temperatures in K."""

    def by_patch(values: list[float]) -> np.ndarray:
        return np.array(values)[patch.astype(int)]

    if wavelength < 3:
        index = np.searchsorted(LONGEST_UM, wavelength)
        reflectances = [each.reflectances[index] / 100 for each in PATCHES.values()]
        return by_patch(reflectances) * np.maximum(np.cos(np.radians(sun)), 0)
    temperature = by_patch([each.temperature for each in PATCHES.values()])
    if wavelength < 5:
        fraction = by_patch([each.reflectance_3_9um / 100 for each in PATCHES.values()])
        return response(band).seen(fraction, temperature, sun)
    if wavelength > 11.8:
        return temperature + by_patch([each.split_window for each in PATCHES.values()])
    return temperature


def _see_patches(
    wavelengths: Mapping[str, float], places: Any, start: datetime, _pixel_km: float
) -> dict[str, np.ndarray]:
    sun, _ = solar_angles(np.datetime64(start), *places)
    patch, _ = _patches_at(*places)
    return {band: _measured(band, each, patch, sun) for band, each in wavelengths.items()}


@cache
def _texture() -> np.ndarray:
    """Random cloud with the spectrum of turbulence, mean 0 and deviation 1, at 0.25 km."""
    n_points = 1024
    along, across = np.fft.fftfreq(n_points)[:, None], np.fft.rfftfreq(n_points)
    wavenumber = np.hypot(along, across)
    wavenumber[0, 0] = np.inf
    noise = np.random.default_rng(4).normal(size=(n_points, n_points))
    field = np.fft.irfft2(np.fft.rfft2(noise) * wavenumber ** (-4 / 3))
    return np.asarray((field - field.mean()) / field.std())


def _see_texture(
    wavelengths: Mapping[str, float], places: Any, start: datetime, pixel_km: float
) -> dict[str, np.ndarray]:
    """Means over square pixels of reflectances and of radiances of a textured cloud."""
    sun, _ = solar_angles(np.datetime64(start), *places)
    north = (places[0] - PLACE["latitude"]) * 111.2
    east = (places[1] - PLACE["longitude"]) * 111.2 * np.cos(np.radians(places[0]))
    offsets = (np.arange(6) - 2.5) / 6 * pixel_km
    texture = np.stack(
        [
            map_coordinates(_texture(), [(north + i) * 4, (east + j) * 4], order=1, mode="wrap")
            for i in offsets
            for j in offsets
        ]
    )  # (part of a pixel, row, column)
    temperature = 285 - 4 * texture
    seen = {}
    for band, wavelength in wavelengths.items():
        if wavelength < 3:
            reflectance = np.clip(0.4 + 0.1 * texture, 0.02, 0.9).mean(axis=0)
            seen[band] = reflectance * np.cos(np.radians(sun))
        elif wavelength < 5:
            eye = response(band)
            parts = eye.seen(np.clip(0.1 + 0.02 * texture, 0, 1), temperature, sun)
            seen[band] = eye.temperature(eye.of_black_body(parts).mean(axis=0))
        else:
            radiance = planck.radiance(wavelength, temperature).mean(axis=0)
            seen[band] = planck.brightness_temperature(wavelength, radiance)
    return seen


def _write_granules(folder: Path, start: datetime, see: See = _see_patches) -> None:
    """The scene as ABI, VIIRS and MODIS files."""
    grid = sector_grid(n_pixels=int(WIDTH_KM / 2), **PLACE)
    bands = {band: WAVELENGTHS_UM[band] for band in ABI_BANDS}
    seen = see(bands, (grid.latitude, grid.longitude), start, 2.0)
    write_abi_l1b(folder, bands=seen, start_time=start, **PLACE)
    for write, names, centres, pixel_km, rows_per_scan in (
        (write_viirs, VIIRS_BANDS, VIIRS_UM, 0.75, 16),
        (write_modis, MODIS_BANDS, {**MODIS_UM, **THERMAL_MODIS_UM}, 1.0, 10),
    ):
        n_columns = int(WIDTH_KM / pixel_km)
        n_rows = n_columns // rows_per_scan * rows_per_scan
        places = swath_places(
            n_rows=n_rows, n_columns=n_columns, resolution_km=pixel_km, heading=180.0, **PLACE
        )
        sun = solar_angles(np.datetime64(start), *places)
        view = geostationary_view(
            *places,
            satellite_latitude=0.0,
            satellite_longitude=SUBPOINT_LONGITUDE,
            satellite_height_m=SATELLITE_HEIGHT_M,
        )
        write(
            folder,
            bands=see({name: centres[name] for name in names}, places, start, pixel_km),
            latitude=places[0],
            longitude=places[1],
            solar_zenith=sun[0],
            solar_azimuth=sun[1],
            view_zenith=view[0],
            view_azimuth=view[1],
            start_time=start,
        )


# --- the stages ---

Ingest = Callable[..., xr.Dataset]
PLATFORMS = ["Terra", "GOES-19", "Suomi-NPP"]


def _fetch(folder: Path, start: datetime, params: dict[str, Any], see: See = _see_patches) -> Path:
    _write_granules(folder / "raw", start, see)
    local = {"granules": [str(folder / "raw")]}
    section = {**params["fetch"], "source": "local", "local": local}
    fetch.run(
        stage.parse_params("fetch", section, fetch.FetchParams),
        folder / "granules",
        folder / "archive",
        folder / "checksums.json",
    )
    return folder / "granules"


@pytest.fixture(scope="module")
def noon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _fetch(tmp_path_factory.mktemp("noon"), NOON, yaml.safe_load(PARAMS_FILE.read_text()))


@pytest.fixture(scope="module")
def midnight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    params = yaml.safe_load(PARAMS_FILE.read_text())
    return _fetch(tmp_path_factory.mktemp("midnight"), MIDNIGHT, params)


@pytest.fixture
def scenes_of(tmp_path: Path, params: dict[str, Any]) -> Ingest:
    """Scenes of the three granules, none of them rejected."""

    def scenes_of(granules: Path, preset: str, *, grid: str = "native") -> xr.Dataset:
        parsed = stage.parse_params("ingest", params["ingest"], ingest.IngestParams)
        changed = replace(
            parsed,
            preset=preset,
            grid=replace(parsed.grid, kind=grid),
            quality=replace(
                parsed.quality, max_saturated_share=1.0
            ),  # uniform patches are plateaus
        )
        outputs = [tmp_path / name for name in ("scenes.zarr", "rejected.csv", "ingest.json")]
        ingest.run(changed, granules, *outputs)
        assert outputs[1].read_text() == "granule,reason,detail\n"
        scenes = stores.open_product(outputs[0]).load()
        assert list(scenes.platform.values) == PLATFORMS
        return scenes

    return scenes_of


def _colours(scenes: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Mean colour of each patch, shape (scene, channel, patch), and its pixels, (scene, patch)."""
    colours = np.empty((3, scenes.sizes["channel"], len(PATCHES)))
    pixels = np.empty((3, len(PATCHES)), int)
    for index in range(3):
        scene = scenes.isel(scene=index)
        patch, across = _patches_at(scene.latitude.values, scene.longitude.values)
        inside = scene.valid.values & (np.abs(across - 0.5) < 0.5 - MARGIN)
        for number in range(len(PATCHES)):
            here = inside & (patch == number)
            colours[index, :, number] = scene.colour.values[:, here].mean(axis=1)
            pixels[index, number] = here.sum()
    return colours, pixels


def _assert_alike(scenes: xr.Dataset, tolerances: Mapping[str, Any]) -> None:
    """Colours of the three differ by less than 1 count, or what a channel's tolerance says."""
    colours, _ = _colours(scenes)
    spread = colours.max(axis=0) - colours.min(axis=0)
    for name, found in zip(scenes.channel.values, spread, strict=True):
        tolerance = tolerances.get(str(name), 1.01)
        assert (found <= tolerance).all(), f"{name}: {found.round(2)} of {list(PATCHES)}"
    assert (np.ptp(colours, axis=2).max(axis=0) > 80).all()  # the patches do differ


@pytest.mark.parametrize(
    ("preset", "tolerances"),
    [
        # One count of ABI at 0.86 µm is 0.12 %, which is half a count of colour.
        ("day_microphysics", {"near_infrared": 1.01, "solar_reflectance_3_9um": 0.6}),
        ("visible_infrared", {}),
        ("cloud_phase", {}),
        # ABI has no green band; what its neighbours make of vegetation is 1 % too bright.
        ("true_colour", {"green": 3.2}),
        ("infrared_window", {"infrared_window": 0.1}),
    ],
)
def test_by_day_colours_are_alike(
    preset: str, tolerances: dict[str, float], noon: Path, scenes_of: Ingest
) -> None:
    _assert_alike(scenes_of(noon, preset), tolerances)


def test_by_night_infrared_is_alike(midnight: Path, scenes_of: Ingest) -> None:
    _assert_alike(scenes_of(midnight, "infrared_window"), {"infrared_window": 0.1})


def test_by_night_colours_are_alike_but_for_the_counts_of_abi(
    midnight: Path, scenes_of: Ingest, params: dict[str, Any]
) -> None:
    """A count of ABI at 3.9 µm is 0.04 K of a warm sea, but 2.8 K of the coldest cloud here.

    An emissivity of 0.92 costs 1.7 K at 3.9 and 1.6 K at 3.7 µm, which is 3 counts of colour.
    """
    limits = params["ingest"]["presets"]["night_infrared"]
    counts_per_k = 255 / abs(limits["maximum"][1] - limits["minimum"][1])
    temperature = np.array([each.temperature for each in PATCHES.values()])
    slope = np.subtract(
        *(abi_radiance("C07", temperature + half, MIDNIGHT) for half in (0.5, -0.5))
    )
    half_a_count_k = 0.5 * PACKING["C07"].scale / slope
    tolerance = 3 + counts_per_k * half_a_count_k
    assert tolerance[0] < 4
    _assert_alike(scenes_of(midnight, "night_infrared"), {"shortwave_difference": tolerance})


def test_on_equal_areas_patches_have_as_many_pixels(noon: Path, scenes_of: Ingest) -> None:
    scenes = scenes_of(noon, "day_microphysics", grid="equal_area")
    _assert_alike(scenes, {"near_infrared": 1.01, "solar_reflectance_3_9um": 0.6})
    _, pixels = _colours(scenes)
    share = pixels / pixels.mean(axis=0)
    np.testing.assert_allclose(share, 1, atol=0.04)


def _contrast(scene: xr.Dataset) -> np.ndarray:
    """Typical difference of adjacent pixels' colours, by channel."""
    colour = scene.colour.values.astype(float)
    both = scene.valid.values[:, 1:] & scene.valid.values[:, :-1]
    steps = np.diff(colour, axis=-1)[:, both]
    return np.asarray(steps.std(axis=1))


def test_on_equal_areas_textures_have_one_contrast(
    tmp_path: Path, scenes_of: Ingest, params: dict[str, Any]
) -> None:
    """No imager is told by its noise, though their pixels are of 0.75, 1 and 2 km."""
    granules = _fetch(tmp_path / "noon", NOON, params, _see_texture)
    scenes = scenes_of(granules, "day_microphysics", grid="equal_area")
    contrasts = np.array([_contrast(scenes.isel(scene=index)) for index in range(3)])
    assert contrasts.min() > 1.5  # counts: there is a texture
    np.testing.assert_allclose(contrasts / contrasts[1], 1, atol=0.03)
