"""A scene of several cloud morphologies, as bands of ABI and as truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from pipeline.core.synthetic.bands import observe
from pipeline.core.synthetic.climatology import MORPHOLOGIES, UNSEEN, climatology
from pipeline.core.synthetic.layers import FloatArray, Layers, no_cloud
from pipeline.core.synthetic.noise import step
from pipeline.core.synthetic.regions import split_scene
from pipeline.core.synthetic.textures import TEXTURES, BoolArray, ranked_texture
from pipeline.core.synthetic.weather import WEATHER

OFF_EARTH = 255
FADE = 16.0  # pixels over which clouds thin out towards the border of their region


@dataclass(frozen=True)
class Scene:
    """Bands of one sector and its true morphology.

    Bands C01 to C06 are reflectance factors, not divided by the cosine of the solar zenith
    angle; C07 to C16 brightness temperatures in K; all of shape (row, column) and NaN off the
    Earth. Morphologies are positions in MORPHOLOGIES, of UNSEEN their number, OFF_EARTH off the
    Earth.
    """

    bands: dict[str, FloatArray]
    morphology: NDArray[np.uint8]


def synthesise_scene(
    latitude: NDArray[np.floating],
    longitude: NDArray[np.floating],
    solar_zenith_angle: NDArray[np.floating],
    *,
    sun_distance: float = 1.0,
    with_unseen: bool = False,
    rng: np.random.Generator,
) -> Scene:
    """Scene of 2 to 5 regions whose morphologies suit their places.

    Args:
        latitude: In degrees north, shape (row, column); NaN off the Earth.
        longitude: In degrees east, shape (row, column).
        solar_zenith_angle: In degrees, shape (row, column).
        sun_distance: In astronomical units.
        with_unseen: Whether one of the regions holds UNSEEN.
        rng: The only source of randomness.

    Raises:
        ValueError: If the shapes differ.
    """
    if not latitude.shape == longitude.shape == solar_zenith_angle.shape:
        raise ValueError(
            f"latitude {latitude.shape}, longitude {longitude.shape} and solar zenith angle "
            f"{solar_zenith_angle.shape} differ in shape; give all three on one grid"
        )
    on_earth = np.isfinite(latitude) & np.isfinite(longitude)
    regions = split_scene(latitude.shape, rng=rng)
    morphology = np.full(latitude.shape, OFF_EARTH, dtype=np.uint8)
    whole = no_cloud(latitude.shape)
    weights = np.ones(len(MORPHOLOGIES))
    for region in range(regions.max() + 1):
        inside = (regions == region) & on_earth
        if not inside.any():
            continue
        row, column = _middle(inside)
        likely = weights * climatology(float(latitude[row, column]), float(longitude[row, column]))
        code = int(rng.choice(len(MORPHOLOGIES), p=likely / likely.sum()))
        weights[code] = 0  # no morphology twice: neighbouring regions would merge
        if with_unseen and region == 0:
            code = len(MORPHOLOGIES)
        morphology[inside] = code
        _paste_region(whole, inside, (*MORPHOLOGIES, UNSEEN)[code], rng=rng)
    bands = observe(
        Layers(**whole),
        latitude=np.where(on_earth, latitude, 0).astype(np.float32),
        solar_zenith_angle=solar_zenith_angle.astype(np.float32),
        sun_distance=sun_distance,
    )
    bands = {band: np.where(on_earth, values, np.float32(np.nan)) for band, values in bands.items()}
    return Scene(bands, morphology)


def _middle(inside: BoolArray) -> tuple[int, int]:
    """Row and column of the pixel of a region that lies nearest to its centre."""
    pixels = np.argwhere(inside)
    offsets = pixels - pixels.mean(axis=0)
    row, column = pixels[np.argmin((offsets**2).sum(axis=1))]
    return int(row), int(column)


def _paste_region(
    whole: dict[str, FloatArray], inside: BoolArray, morphology: str, *, rng: np.random.Generator
) -> None:
    """Put clouds of one morphology on the pixels of a region."""
    rows, columns = np.nonzero(inside)
    low = np.maximum([rows.min() - 1, columns.min() - 1], 0)
    box = np.s_[low[0] : rows.max() + 2, low[1] : columns.max() + 2]
    here = inside[box]
    if morphology in TEXTURES:
        whole["low_cloud"][box] += ranked_texture(morphology, here, rng=rng)
        return
    clouds = WEATHER[morphology](here.shape, rng=rng)
    fade = step(distance_transform_edt(here), 0, FADE) ** 2 if not here.all() else here
    for layer in ("low_cloud", "ice_thickness", "moisture", "glint"):
        whole[layer][box] += (clouds[layer] * fade).astype(np.float32)
    whole["ice_top"][box][here] = clouds["ice_top"][here]
