"""Stage map_labels: scenes, encoder, classifier → the label around every pixel, as maps."""

import json
import logging
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field, PositiveInt

from pipeline.core.classification.probe import Probe
from pipeline.core.dense import describe_block, lay_tiles, split_places, without_padding
from pipeline.core.device import compute_device
from pipeline.core.encoder import pool_tiles
from pipeline.core.label_map import NO_LABEL, map_labels
from pipeline.core.raster import raster_grid
from pipeline.files import classifiers, encoders, stage, stores
from pipeline.files.base.palette import cluster_colours
from pipeline.files.geotiffs import write_geotiff
from pipeline.files.progress import progress
from pipeline.files.workers import ordered_map

log = logging.getLogger(__name__)

NONE_ON_DISK = 255  # in GeoTIFF


@dataclass(frozen=True)
class MapLabelsParams:
    """Section `map_labels` of params.yaml; `stride` in pixels."""

    granules: tuple[str, ...]
    stride: PositiveInt
    max_invalid_share: Annotated[float, Field(ge=0, le=1)]
    min_probability: Annotated[float, Field(ge=0, le=1)]


def run(
    params: MapLabelsParams,
    scenes: Path,
    encoder: Path,
    classifier: Path,
    dense: Path,
    label_maps: Path,
) -> None:
    """Write a folder of `label_maps` for each granule; `dense` tells which where none is named."""
    opened = stores.open_product(scenes.absolute())  # for workers that start elsewhere
    arrays, about = classifiers.read_classifier(classifier)
    if about["encoder"] != encoders.digest(encoder):
        raise ValueError(
            f"the classifier in {classifier} is of another encoder than {encoder}; run dvc repro "
            "classify"
        )
    probe = Probe(**arrays, temperature=about["temperature"])
    chosen = _choose_scenes(params, opened, dense)
    shares = []
    for index in chosen:
        product = _map_scene(params, opened.isel(scene=index), encoder, probe, about)
        folder = label_maps / str(product.granule.values)
        stores.write_product(product, folder / "labels.nc", params)
        _write_geotiffs(params, product, folder)
        log.info("%s: %s", product.granule.values, product.attrs["comment"])
        shares.append(_count(product))
    pd.DataFrame(shares).round(4).to_csv(label_maps / "shares.csv", index=False)


def _choose_scenes(params: MapLabelsParams, scenes: xr.Dataset, dense: Path) -> list[int]:
    """Indices of the scenes whose granules are named.

    Raises:
        ValueError: If a name or pattern is that of none.
    """
    wanted = params.granules or (str(stores.open_product(dense / "dense.nc").granule.values),)
    names = scenes.granule.values.tolist()
    for pattern in wanted:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"map_labels.granules has {pattern!r}, which is none of the {len(names)} scenes; "
                f"name one of them, such as {names[0]!r}"
            )
    return [
        number
        for number, name in enumerate(names)
        if any(fnmatchcase(name, pattern) for pattern in wanted)
    ]


def _map_scene(
    params: MapLabelsParams, scene: xr.Dataset, encoder: Path, probe: Probe, about: dict[str, Any]
) -> xr.Dataset:
    """The map of labels of one scene."""
    _, description = encoders.read_encoder(encoder)
    whole = without_padding(scene)
    places = lay_tiles(
        whole,
        description,
        stride=params.stride,
        max_invalid_share=params.max_invalid_share,
        section="map_labels",
    )
    embed = partial(
        describe_block,
        colour=scene.colour.reset_coords(drop=True),
        tile_size=description["tile_size"],
        encoder=encoders.store(encoder),
        describe=partial(pool_tiles, device=compute_device()),
    )
    blocks = split_places(places)
    done = ordered_map(embed, blocks, at_most=0)  # which takes all cores of this machine by itself
    features = np.concatenate(list(progress(done, "map_labels", total=len(blocks), unit="blocks")))
    return map_labels(
        whole,
        places,
        probe.probabilities(features),
        names=about["labels"],
        tile_size=description["tile_size"],
        stride=params.stride,
        min_probability=params.min_probability,
        days=about["days"],
    )


def _write_geotiffs(params: MapLabelsParams, product: xr.Dataset, folder: Path) -> None:
    grid = raster_grid(product.latitude.values, product.longitude.values)
    names = product.kind.values.tolist()
    tags = {
        "granule": str(product.granule.values),
        "platform": product.attrs["platform"],
        "start_time": f"{product.time.values.astype('datetime64[s]')}Z",
        "labels": json.dumps(names),
        "pixels": "the scene's own" if grid.is_own else "the nearest of the scene, resampled",
        "parameters": json.dumps(asdict(params)),
    }
    write = partial(write_geotiff, crs=grid.crs, transform=grid.transform, tags=tags)
    numbers = np.where(product.label.values == NO_LABEL, NONE_ON_DISK, product.label.values)
    write(
        folder / "labels.tif",
        grid.lay(numbers.astype(np.uint8), NONE_ON_DISK)[None],
        ["label"],
        missing=NONE_ON_DISK,
        colours=cluster_colours(len(names)),
    )
    by_pixel = product.probability.transpose(..., "kind").values
    bands = np.moveaxis(grid.lay(by_pixel, np.nan), -1, 0)
    write(folder / "probability.tif", bands, names, missing=np.nan)


def _count(product: xr.Dataset) -> dict[str, Any]:
    """Shares of a scene's pixels, of those that tiles speak for."""
    seen = np.isfinite(product.probability.values[0])
    label = product.label.values[seen]
    return {
        "granule": str(product.granule.values),
        "time": str(product.time.values.astype("datetime64[s]")),
        "day_in_training": product.attrs["day_in_training"],
        **{name: (label == number).mean() for number, name in enumerate(product.kind.values)},
        "none": (label == NO_LABEL).mean(),
    }


if __name__ == "__main__":
    stage.start(run, MapLabelsParams)
