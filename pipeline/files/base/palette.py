"""Colours of clusters and labels: one ordered sequence for every figure, map and atlas."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]

WARM_HUE, COLD_HUE = 15.0, 310.0  # degrees: red, through yellow, green and blue, to purple
COLOURS_PER_ROUND = 9
ROUND_OFFSETS = (0.0, 0.5, 0.25, 0.75)  # of a step in hue, so that rounds fall between each other
# Three lightnesses in turn: hue alone does not part neighbours for colour-blind readers.
LIGHTNESSES = (0.82, 0.66, 0.50)
DARKENING = 0.08  # from warm to cold, against red and green of one lightness
LARGEST_CHROMA = 0.16
OKLAB_TO_CONES = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
CONES_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def cluster_colours(n_clusters: int) -> npt.NDArray[np.float64]:
    """Return colours (cluster, 4): red, green, blue and opacity in 0..1.

    A number has one colour whatever the number of clusters. For every nine of them the hue runs
    from red to purple, as clusters do from warm to cold, while three lightnesses take turns, so
    that clusters next to each other in number differ in lightness as well. More than about ten
    colours cannot all be told apart: show the number too.

    Source: Oklab, B. Ottosson (2020), https://bottosson.github.io/posts/oklab/.

    >>> cluster_colours(9).shape
    (9, 4)
    """
    turn, place = np.divmod(np.arange(n_clusters), COLOURS_PER_ROUND)
    along = (place + np.take(ROUND_OFFSETS, turn, mode="wrap")) / (COLOURS_PER_ROUND - 1)
    hue = np.deg2rad(WARM_HUE + (COLD_HUE - WARM_HUE) * along)
    lightness = np.take(LIGHTNESSES, place + turn, mode="wrap") - DARKENING * along
    low, high = np.zeros(n_clusters), np.full(n_clusters, LARGEST_CHROMA)
    for _ in range(20):  # halves the interval: the strongest chroma a screen can show
        chroma = (low + high) / 2
        rgb = _linear_rgb(lightness, chroma, hue)
        shown = ((rgb >= 0) & (rgb <= 1)).all(axis=1)
        low, high = np.where(shown, chroma, low), np.where(shown, high, chroma)
    rgb = np.clip(_linear_rgb(lightness, low, hue), 0, 1)
    encoded = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)
    return np.column_stack([encoded, np.ones(n_clusters)])


def _linear_rgb(lightness: FloatArray, chroma: FloatArray, hue: FloatArray) -> FloatArray:
    oklab = np.column_stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)])
    linear: FloatArray = (oklab @ OKLAB_TO_CONES.T) ** 3 @ CONES_TO_RGB.T
    return linear
