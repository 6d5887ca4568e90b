"""What each way of closing shortcuts leaves of morphology, and of temperature, in the embedding.

    python benchmarks/shortcuts.py

On synthetic granules, whose truth is known, for tiles of days not trained on: accuracy of a k-NN
classifier (15) of the four morphologies of equal histograms, and how well a tile's mean brightness
temperature can be read from its embedding (R² of a ridge regression). Both learn from tiles of the
training days.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from ways import judge_ways

from pipeline.core.synthetic import EQUAL_HISTOGRAM, MORPHOLOGIES
from pipeline.core.tile import pure_tiles
from pipeline.files import stores

# Values of section train; one at a time, and then together.
WAYS: dict[str, dict[str, Any]] = {
    "none": {},
    "brightness jitter of 30 %": {"augmentations": {"brightness": 0.3}},
    "temperature jitter of 20 K": {"augmentations": {"temperature": 20.0}},
    "standardised tiles": {"shortcuts": {"standardise": True}},
    "histograms equalised in half": {"shortcuts": {"equalised_share": 0.5}},
    "both of the last": {"shortcuts": {"standardise": True, "equalised_share": 0.5}},
}
CHANGES = {"fetch": {"synthetic": {"hours_utc": [17]}}, "train": {"n_epochs": 2}}
MIN_SHARE = 0.9  # of a tile's pixels are of its morphology


def main() -> int:
    """Print the table."""
    print(judge_ways(CHANGES, WAYS, judge).to_string(float_format="{:.3f}".format))
    return 0


def judge(folder: Path) -> dict[str, float]:
    """k-NN accuracy of morphologies and R² of temperature on the test days."""
    embeddings = stores.open_product(folder / "data/embeddings.zarr").load()
    split = embeddings.split.values
    features = embeddings.embedding.values
    train, test = split == "train", split == "test"
    temperature = embeddings.brightness_temperature.values
    ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 7)))
    ridge.fit(features[train], temperature[train])
    morphology = true_morphology(embeddings, folder / "data/granules/truth")
    equal = np.isin(morphology, [MORPHOLOGIES.index(name) for name in EQUAL_HISTOGRAM])
    nearest = make_pipeline(StandardScaler(), KNeighborsClassifier(15))
    nearest.fit(features[train & equal], morphology[train & equal])
    return {
        "k-NN accuracy": float(nearest.score(features[test & equal], morphology[test & equal])),
        "R² of temperature": float(ridge.score(features[test], temperature[test])),
    }


def true_morphology(embeddings: xr.Dataset, truth: Path) -> NDArray[np.int64]:
    """Code of the morphology of nearly all of each tile, -1 where there is none."""
    codes = np.full(embeddings.sizes["tile"], -1)
    for scene, granule in enumerate(embeddings.granule.values):
        places, found = pure_tiles(
            stores.open_product(truth / str(granule)).morphology.values,
            tile_size=embeddings.attrs["tile_size"],
            stride=embeddings.attrs["stride"],
            min_share=MIN_SHARE,
        )
        code_of_place = dict(zip(map(tuple, places.tolist()), found.tolist(), strict=True))
        for tile in np.flatnonzero(embeddings.scene.values == scene):
            place = int(embeddings.row[tile]), int(embeddings.column[tile])
            codes[tile] = code_of_place.get(place, -1)
    return codes


if __name__ == "__main__":
    sys.exit(main())
