"""What encoders of the infrared window alone see of morphology beyond temperature.

    python benchmarks/infrared.py granules precipitation.nc weights.safetensors

For granules of the window band, day and night, with precipitation (time, latitude, longitude) at
the same times, and a ResNet-18 to start from. For each encoder, of tiles of days left out of every
fit: what temperature (mean, spread and cloud fraction) explains of 12 clusters; R² of precipitation
by temperature alone, with the clusters, and with the embedding; the adjusted Rand index of clusters
fitted by day and by night; and the fraction of turned and mirrored tiles that keep their cluster.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml
from growth import change
from measure import ROOT, run_stage
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.metrics import adjusted_rand_score, r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from pipeline.core.validity import turned_agreement
from pipeline.files import stores

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

TEMPERATURE = ("brightness_temperature", "brightness_temperature_spread", "cloud_fraction")
K = 12
N_FOLDS = 3
N_TREES = 100
TILES_PER_LEAF = 5
N_DIMENSIONS = 16  # first ones of the embedding
N_WORKERS = "2"
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "dvc.yaml", folder)
        shutil.copy(ROOT / "params.yaml", folder)
        changes = {
            "fetch": {"source": "local", "local": {"granules": [str(given.granules.resolve())]}},
            "ingest": {"preset": "infrared_window"},
            "sample": {"holds": "places"},
            "embed": {"stride": 64, "turned_per_scene": 8},
        }
        change(folder / "params.yaml", changes)
        for stage in ("fetch", "ingest", "sample"):
            run_stage(stage, folder, workers=N_WORKERS)
        usual = yaml.safe_load((folder / "params.yaml").read_text())["train"]
        rows = []
        for way, altered in ways.items():
            print(f"training {way}", file=sys.stderr, flush=True)
            change(folder / "params.yaml", {"train": usual})
            change(folder / "params.yaml", {"train": altered})
            for stage in ("train", "embed"):
                run_stage(stage, folder, workers=N_WORKERS)
            tiles = stores.open_product(folder / "data/embeddings.zarr").load()
            rows.append({"encoder": way, **judge(tiles, given.precipitation)})
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format))
    return 0


def judge(tiles: xr.Dataset, precipitation: Path) -> dict[str, float]:
    """The figures of one encoder."""
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
