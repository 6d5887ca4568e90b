"""What encoders of the infrared window alone see of morphology beyond temperature.

    python benchmarks/infrared.py granules precipitation.nc weights.safetensors

For granules of the window band, day and night, with precipitation (time, latitude, longitude) at
the same times, and a ResNet-18 to start from. For each encoder: R² of 12 clusters of all tiles by
temperature (mean, spread and cloud fraction), and of precipitation by temperature alone, with the
clusters, and with the embedding, on days left out of each regression; the adjusted Rand index of
clusters fitted by day and by night; and the fraction of turned and mirrored tiles that keep their
cluster.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.metrics import adjusted_rand_score, r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from ways import judge_ways

from pipeline.core.validity import turned_agreement
from pipeline.files import stores

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

TEMPERATURE = ("brightness_temperature", "brightness_temperature_spread", "cloud_fraction")
K = 12
N_FOLDS = 3
N_TREES = 100
TILES_PER_LEAF = 5
N_DIMENSIONS = 16  # the embedding's first principal components
DAYLIGHT = 90.0  # degrees; largest solar zenith angle


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("granules", "precipitation", "weights"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    init = {"from_weights": {"init": str(given.weights.resolve())}}
    from_weights = {"recipe": "from_weights", "recipes": init}
    ways: dict[str, dict[str, Any]] = {
        "triplet, from scratch": {},
        "from weights": from_weights,
        "the same, standardised tiles": {**from_weights, "shortcuts": {"standardise": True}},
    }
    changes = {
        "fetch": {"source": "local", "local": {"granules": [str(given.granules.resolve())]}},
        "ingest": {"preset": "infrared_window"},
        "sample": {"holds": "places"},
        "embed": {"stride": 64, "turned_per_scene": 8},
    }
    found = judge_ways(changes, ways, partial(judge, precipitation=given.precipitation))
    print(found.to_string(float_format="{:.3f}".format))
    return 0


def judge(folder: Path, *, precipitation: Path) -> dict[str, float]:
    """The figures of one encoder."""
    tiles = stores.open_product(folder / "data/embeddings.zarr").load()
    embedding = tiles.embedding.values
    day = tiles.time.values.astype("datetime64[D]").astype(int)
    temperature = np.column_stack([tiles[name].values for name in TEMPERATURE])
    clusters = KMeans(K, n_init=5, random_state=0).fit(embedding)
    centroids = clusters.cluster_centers_[clusters.labels_]
    rain = np.log1p(mean_precipitation(tiles, precipitation))
    is_member = np.eye(K)[clusters.labels_]
    dark = tiles.solar_zenith_angle.values > DAYLIGHT
    turned = tiles.turned_embedding.values
    of_turned = clusters.predict(turned.reshape(-1, embedding.shape[1])).reshape(turned.shape[:2])
    return {
        "clusters by temperature": explained([temperature], centroids, day),
        "rain by temperature": explained([temperature], rain, day),
        "and clusters": explained([temperature, is_member], rain, day),
        "and embedding": explained([temperature, embedding[:, :N_DIMENSIONS]], rain, day),
        "day and night agree": agreement(embedding, dark),
        "turned tiles agree": turned_agreement(of_turned)[0],
    }


def explained(columns: list[FloatArray], target: FloatArray, day: IntArray) -> float:
    """R² of `target` by the columns of all arrays, on days that were not fitted to."""
    trees = ExtraTreesRegressor(N_TREES, min_samples_leaf=TILES_PER_LEAF, random_state=0)
    found = cross_val_predict(
        trees, np.column_stack(columns), target, groups=day, cv=GroupKFold(N_FOLDS)
    )
    return float(r2_score(target, found, multioutput="variance_weighted"))


def agreement(embedding: FloatArray, dark: NDArray[np.bool_]) -> float:
    """Adjusted Rand index of all tiles in clusters fitted by day and in those fitted by night."""
    by_day, by_night = (
        KMeans(K, n_init=5, random_state=0).fit(embedding[seen]).predict(embedding)
        for seen in (~dark, dark)
    )
    return float(adjusted_rand_score(by_day, by_night))


def mean_precipitation(tiles: xr.Dataset, path: Path) -> FloatArray:
    """Mean over each tile, in the units of the file, (tile,)."""
    with xr.open_dataset(path) as opened:
        fields = next(opened[name] for name in opened if opened[name].ndim == len(opened.sizes))
        fields = fields.sortby(["latitude", "longitude"]).load()
    means = np.empty(tiles.sizes["tile"])
    corners = {
        name: (tiles[f"{name}_bounds"].min("vertex"), tiles[f"{name}_bounds"].max("vertex"))
        for name in ("latitude", "longitude")
    }
    for time in np.unique(tiles.time.values):
        field = fields.sel(time=time, method="nearest")
        for tile in np.flatnonzero(tiles.time.values == time):
            box = {
                name: slice(float(low[tile]), float(high[tile]))
                for name, (low, high) in corners.items()
            }
            means[tile] = field.sel(box).mean()
    return means


if __name__ == "__main__":
    sys.exit(main())
