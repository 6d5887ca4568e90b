"""Organisation of the cloud in a tile: how many objects, how large, and how they lie."""

import numpy as np
from cloudmetrics import mask as mask_metrics
from cloudmetrics.objects import metrics as object_metrics
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from pipeline.core.sphere import great_circle_km

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.integer]
FloatArray = NDArray[np.floating]

N_PLACEMENTS = 20  # of the objects of a tile at random
N_SWEEPS = 18  # steps of each object
APART = 1.0  # pixels between objects, which would be one otherwise
SMALLEST_FRACTAL = 8  # pixels of a mask's edge, which holds boxes of two sizes

JANSSENS = "Janssens et al. (2021), doi:10.1029/2020GL091001"
ATTRIBUTES = {
    "number_of_objects": {
        "long_name": "number of cloud objects",
        "units": "1",
        "references": JANSSENS,
    },
    "mean_object_length": {
        "long_name": "square root of the mean area of cloud objects",
        "units": "km",
        "references": JANSSENS,
    },
    "max_object_length": {
        "long_name": "square root of the largest area of a cloud object",
        "units": "km",
        "references": JANSSENS,
    },
    "iorg": {
        "long_name": "organisation index I_org, 0.5 where points of no size lie at random",
        "units": "1",
        "references": "Weger et al. (1992), doi:10.1029/92JD02038; "
        "Tompkins and Semie (2017), doi:10.1002/2016MS000802",
    },
    "iorg_at_random": {
        "long_name": "mean I_org of the same objects placed at random in the tile",
        "units": "1",
        "references": "Biagioli and Tompkins (2023), doi:10.1029/2022MS003504",
    },
    "iorg_departure": {
        "long_name": "I_org less that at random: above 0 objects are clumped, below regular",
        "units": "1",
        "references": "Biagioli and Tompkins (2023), doi:10.1029/2022MS003504",
    },
    "scai": {
        "long_name": "simple convective aggregation index SCAI, 0 where all cloud is one object",
        "units": "1",
        "references": "Tobin et al. (2012), doi:10.1175/JCLI-D-11-00258.1",
    },
    "cop": {
        "long_name": "convective organisation potential COP",
        "units": "1",
        "references": "White et al. (2018), doi:10.1175/JAS-D-16-0307.1",
    },
    "fractal_dimension": {
        "long_name": "box-counting dimension of cloud edges",
        "units": "1",
        "references": JANSSENS,
    },
    "open_sky": {
        "long_name": "largest open sky, as a share of the tile",
        "units": "1",
        "references": JANSSENS,
    },
    "orientation": {
        "long_name": "alignment of cloud, from 0 for none to 1 for a line",
        "units": "1",
        "references": JANSSENS,
    },
}


def measure_tiles(
    clouds: FloatArray, pixel_km: FloatArray, *, smallest_object: int, at_random: bool = True
) -> FloatArray:
    """Metrics of tiles, shape (tile, metric); NaN where a pixel of the tile is not told.

    Args:
        clouds: 1 where there is cloud, 0 where not, NaN untold, shape (tile, row, column).
        pixel_km: Edge of a pixel in each tile, shape (tile,).
        smallest_object: In pixels; smaller ones do not count.
        at_random: Whether objects are placed at random for comparison, which takes most of the
            time; where not, metrics that need it are NaN.
    """
    found = np.full((len(clouds), len(ATTRIBUTES)), np.nan)
    for tile, (cloud, edge) in enumerate(zip(clouds, pixel_km, strict=True)):
        if np.isfinite(cloud).all():
            metrics = organisation(
                cloud > 0, pixel_km=edge, smallest_object=smallest_object, at_random=at_random
            )
            found[tile] = list(metrics.values())
    return found


def pixel_edges_km(
    latitude_bounds: FloatArray, longitude_bounds: FloatArray, tile_size: int
) -> FloatArray:
    """Edge of a square of the mean area of each tile's pixels, shape (tile,).

    Args:
        latitude_bounds: Centres of the pixels at a tile's corners, in turn, shape (tile, vertex).
        longitude_bounds: Likewise.
        tile_size: Edge of a tile in pixels.
    """
    following = np.roll(latitude_bounds, -1, axis=1), np.roll(longitude_bounds, -1, axis=1)
    sides = great_circle_km(latitude_bounds, longitude_bounds, *following)
    across, down = sides[:, ::2].mean(axis=1), sides[:, 1::2].mean(axis=1)
    return np.asarray(np.sqrt(across * down) / (tile_size - 1))


def organisation(
    cloudy: BoolArray, *, pixel_km: float, smallest_object: int, at_random: bool = True
) -> dict[str, float]:
    """The metrics named in `ATTRIBUTES`; NaN where a mask does not have one.

    Pixels that share an edge are of one object. A mask without objects has but their number and
    its open sky. The indices of how objects lie need two of them, except that the SCAI of a
    single one is 0; the fractal dimension needs edges in boxes of every size.

    Args:
        cloudy: Where there is cloud, shape (row, column).
        pixel_km: Edge of a pixel.
        smallest_object: In pixels; smaller ones are taken out of the mask first.
        at_random: As of `measure_tiles`.

    Source: the package cloudmetrics, but for I_org and the open sky.
    """
    objects = label_objects(cloudy, smallest_object)
    mask = objects > 0
    n_objects = len(np.unique(objects[mask]))
    found: dict[str, float] = {"number_of_objects": n_objects, "open_sky": open_sky(mask)}
    with np.errstate(divide="ignore", invalid="ignore"):  # where a metric is not defined
        if n_objects:
            found |= {
                "mean_object_length": pixel_km * object_metrics.mean_length_scale(objects),
                "max_object_length": pixel_km * object_metrics.max_length_scale(objects),
                "scai": 0.0,
                "fractal_dimension": fractal_dimension(mask),
                "orientation": mask_metrics.orientation(mask),
            }
        if n_objects > 1:
            lies, scattered = iorg(objects), iorg_at_random(objects) if at_random else np.nan
            found |= {
                "iorg": lies,
                "iorg_at_random": scattered,
                "iorg_departure": lies - scattered,
                "scai": object_metrics.scai(objects, reference_lengthscale=len(mask)),
                "cop": object_metrics.cop(objects),
            }
    return {
        name: float(found[name]) if np.isfinite(found.get(name, np.nan)) else np.nan
        for name in ATTRIBUTES
    }


def label_objects(cloudy: BoolArray, smallest_object: int) -> IntArray:
    """Number of each pixel's object, from 1; 0 where it is clear or its object too small."""
    objects, _ = ndimage.label(cloudy)
    sizes = np.bincount(objects.ravel())
    return np.asarray(np.where(sizes[objects] >= smallest_object, objects, 0))


def iorg(objects: IntArray) -> float:
    """I_org: chance that a random centre lies farther from its closest one than an object does.

    The area below the distribution of the distances from each object's centre to the closest
    other one, over that of as many random points, exp(-density π r²): 0.5 for random objects,
    more for clumped, less for regular ones, as long as they are points on an endless plane; for
    objects in a tile see `iorg_at_random`. The integral over the steps of the former is the mean
    of the latter; cloudmetrics 0.3 gets the same by a sum that needs numpy 1.

    Source: Weger et al. (1992), doi:10.1029/92JD02038.
    """
    numbers = np.unique(objects[objects > 0])
    centres = np.array(ndimage.center_of_mass(objects > 0, objects, numbers))
    distance = cKDTree(centres).query(centres, k=2)[0][:, 1]
    return float(np.exp(-len(numbers) / objects.size * np.pi * distance**2).mean())


def iorg_at_random(objects: IntArray) -> float:
    """Mean I_org of the same objects placed at random in the tile, apart from each other.

    Objects keep each other at a distance by their size, and the tile has edges, so that random
    ones have an I_org below 0.5. They are taken as discs of their area that stay inside the tile
    by their extent, and are moved from where they lie by random steps of all lengths, each of which
    is taken unless it brings two of them nearer than a pixel: hard discs in equilibrium, however
    full the tile is. The steps depend on nothing but the objects.

    Source: Biagioli and Tompkins (2023), doi:10.1029/2022MS003504, who measure from such a null;
    Metropolis et al. (1953), doi:10.1063/1.1699114.
    """
    numbers, areas = np.unique(objects[objects > 0], return_counts=True)
    boxes = [box for box in ndimage.find_objects(objects) if box]
    low = np.array([[part.start for part in box] for box in boxes])
    extent = np.array([[part.stop for part in box] for box in boxes]) - low
    last = np.array(objects.shape) - extent
    radii = np.sqrt(areas / np.pi)
    rng = np.random.default_rng([len(numbers), int(areas.sum())])
    corners = np.repeat(low[None].astype(float), N_PLACEMENTS, axis=0)  # (placement, object, 2)
    reach = radii + radii[:, None]
    np.fill_diagonal(reach, -np.inf)
    for sweep in range(N_SWEEPS):
        longest = max(objects.shape) * 2.0 ** -(sweep % 6)
        steps = rng.uniform(-longest, longest, corners.shape)
        for number in range(len(numbers)):
            centres = corners + extent / 2
            tried = corners[:, number] + steps[:, number]
            is_inside = ((tried >= 0) & (tried <= last[number])).all(axis=1)
            places = np.stack([centres[:, number], tried + extent[number] / 2], axis=1)
            apart = np.linalg.norm(places[:, :, None] - centres[:, None], axis=-1)
            now, then = (apart - reach[number]).min(axis=-1).T  # (placement,)
            is_taken = is_inside & (then >= np.minimum(APART, now))
            corners[is_taken, number] = tried[is_taken]
    centres = corners + extent / 2
    apart = np.linalg.norm(centres[:, :, None] - centres[:, None], axis=-1)
    np.einsum("pii->pi", apart)[:] = np.inf
    return float(np.exp(-len(numbers) / objects.size * np.pi * apart.min(axis=2) ** 2).mean())


def fractal_dimension(mask: BoolArray) -> float:
    """Box-counting dimension of cloud edges, over the largest square that halves into boxes."""
    edge = 2 ** int(np.log2(min(mask.shape)))
    if edge < SMALLEST_FRACTAL:
        return np.nan
    try:
        return float(mask_metrics.fractal_dimension(mask[:edge, :edge]))
    except np.linalg.LinAlgError:  # of some, where no box of a size has an edge in it
        return np.nan


def open_sky(mask: BoolArray) -> float:
    """Largest rectangle around a clear pixel, as a share of the mask.

    It reaches to the closest cloud in the pixel's row and column, or to the edge, and counts the
    cloudy pixel to the left and the one above, as cloudmetrics does, whose numbers these are
    without its seconds of compiling in each process.

    Source: Antonissen (2018), http://resolver.tudelft.nl/uuid:d868273a-b028-4273-8380-ff1628ecabd5.
    """
    width, height = _clear_run(mask, 1), _clear_run(mask, 0)
    return float((width * height)[~mask].max(initial=0) / mask.size)


def _clear_run(mask: BoolArray, axis: int) -> IntArray:
    """Pixels from the last cloud before each pixel to the one before the next cloud after it."""
    length = mask.shape[axis]
    place = np.indices(mask.shape)[axis]
    before = np.maximum.accumulate(np.where(mask, place, 0), axis=axis)
    backwards = np.flip(np.where(mask, place - 1, length), axis)
    after = np.flip(np.minimum.accumulate(backwards, axis=axis), axis)
    return np.asarray(after - before)
