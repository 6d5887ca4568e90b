"""Stage probe: embeddings, composites → how well organisation and cloud properties are read."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat
from threadpoolctl import threadpool_limits

from pipeline.core import probing
from pipeline.core.bootstrap import number_days
from pipeline.core.device import compute_device
from pipeline.core.encoder import embed_tiles, rebuild_encoder
from pipeline.core.organisation import ATTRIBUTES
from pipeline.core.other_days import Explained
from pipeline.core.references import reference_features, shuffle_pixels
from pipeline.core.representations import OWN, SHUFFLED
from pipeline.files import encoders, stage, stores
from pipeline.files.progress import progress
from pipeline.files.workers import n_workers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProbeParams:
    """Section `probe` of params.yaml."""

    n_sample: Annotated[int, Field(ge=probing.FEWEST_TILES)]
    n_folds: Annotated[int, Field(ge=2)]
    regularisation: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    seed: NonNegativeInt


def run(
    params: ProbeParams,
    embeddings: Path,
    composites: Path,
    scenes: Path,
    encoder: Path,
    probes: Path,
    metrics: Path,
) -> None:
    """Write netCDF and a table of what is read from the tiles' features to `probes`."""
    source = stores.open_product(embeddings)
    quantities, left_out, sample = _choose_quantities(params, composites / "tiles.nc", source)
    tiles = source.isel(tile=sample).load()
    found = _read_all(params, tiles, quantities, scenes, encoder) if quantities else {}
    product = probing.assemble(found, quantities)
    product.attrs |= {
        "title": "What is read from tiles of how clouds are organised and what they are like",
        "finding": probing.say(product),
        "left_out": "; ".join(f"{name}: {why}" for name, why in left_out.items()),
        "comment": "shares are of ridge regressions, cross-validated over days; below 0 the mean "
        "of the other days would have been the better guess; tiles are those of which composite "
        "knows most, where it measured cloud masks equally many of each cluster",
    }
    log.info("%s", product.attrs["finding"])
    stores.write_product(product, probes / "probes.nc", params)
    table = probing.tabulate(product)
    table.to_csv(probes / "probes.csv", index=False, float_format="%.4f", lineterminator="\n")
    stores.write_json(metrics, probing.summarise(product))


def _choose_quantities(
    params: ProbeParams, path: Path, source: xr.Dataset
) -> tuple[xr.Dataset, dict[str, str], NDArray[np.intp]]:
    """Organisation and the user's variables (tile,), why others are left out, and which tiles.

    The tiles are those of which most is known, and of equal ones any.
    """
    tiles = stores.open_joined(path, source).load()
    wanted = {
        str(name)
        for name, each in tiles.data_vars.items()
        if name in ATTRIBUTES or "missing_tiles" in each.attrs
    }
    n_unknown = sum(
        (np.isnan(tiles[name].values) for name in wanted), np.zeros(tiles.sizes["tile"], np.int64)
    )
    chance = np.random.default_rng(params.seed).random(len(n_unknown))
    sample = np.sort(np.lexsort((chance, n_unknown))[: params.n_sample])
    tiles = tiles.isel(tile=sample)
    days = number_days(tiles.time.values)
    left_out = {
        name: why
        for name in map(str, tiles.data_vars)
        if name in wanted and (why := probing.why_unread(tiles[name].values, days)) is not None
    }
    for name, why in left_out.items():
        log.info("%s is left out: %s", name, why)
    kept = wanted - left_out.keys()
    return tiles.drop_vars({*map(str, tiles.data_vars)} - kept), left_out, sample


def _read_all(
    params: ProbeParams, tiles: xr.Dataset, quantities: xr.Dataset, scenes: Path, encoder: Path
) -> dict[str, dict[str, tuple[Explained, Explained]]]:
    """By quantity and representation, as of `probing.read_quantity`."""
    with threadpool_limits(limits=1):  # BLAS would round by the number of its threads
        features = _gather_features(params, tiles, scenes, encoder)

        def read(name: str) -> dict[str, tuple[Explained, Explained]]:
            return probing.read_quantity(
                features,
                quantities[name].values,
                tiles.time.values,
                strengths=params.regularisation,
                n_folds=params.n_folds,
                seed=params.seed,
            )

        names = list(map(str, quantities.data_vars))
        with ThreadPoolExecutor(max(1, n_workers())) as executor:
            found = progress(executor.map(read, names), "probes", total=len(names), unit="fits")
            return dict(zip(names, found, strict=True))


def _gather_features(
    params: ProbeParams, tiles: xr.Dataset, scenes: Path, encoder: Path
) -> dict[str, NDArray[np.floating]]:
    """Of the own encoder, of it on shuffled pixels, and of what it is held against."""
    pictures = stores.cut_embedded_tiles(scenes, tiles)
    weights, description = encoders.read_encoder(encoder)
    shuffled = shuffle_pixels(pictures, seed=params.seed)
    network = rebuild_encoder(weights, description)
    embed = partial(
        embed_tiles, device=compute_device(), n_orientations=tiles.attrs["n_orientations"]
    )
    initial = encoders.read_initial(encoder)
    return {
        OWN: tiles.embedding.values,
        SHUFFLED: embed(network, shuffled),
        **reference_features(pictures, description, initial, embed=embed, seed=params.seed),
    }


if __name__ == "__main__":
    stage.start(run, ProbeParams)
