"""Stage tsne: embeddings → positions on a plane that keep near tiles together."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt

from pipeline.core import plane
from pipeline.files import stage, stores
from pipeline.files.progress import progress
from pipeline.files.workers import n_workers

log = logging.getLogger(__name__)

TILES_PER_BLOCK = 10_000


@dataclass(frozen=True)
class TsneParams:
    """Section `tsne` of params.yaml."""

    n_sample: Annotated[int, Field(ge=4)]
    perplexity: Annotated[float, Field(ge=1)]
    seed: NonNegativeInt


def run(params: TsneParams, embeddings: Path, tsne: Path) -> None:
    """Read `embeddings`, write `tsne`."""
    source = stores.open_product(embeddings)
    sample = draw_sample(source.sizes["tile"], params)
    product = _lay_out(source.embedding.values, sample, params)
    stores.write_product(product.assign_coords(stores.tile_places(source)), tsne, params)


def draw_sample(n_tiles: int, params: TsneParams) -> NDArray[np.int64]:
    """Ascending indices of the tiles t-SNE is fitted on, all where there are few.

    Raises:
        ValueError: If they are too few for the perplexity.
    """
    rng = np.random.default_rng(params.seed)
    sample = rng.choice(n_tiles, min(params.n_sample, n_tiles), replace=False)
    # A perplexity p looks at the 3 p nearest tiles.
    largest = (len(sample) - 1) / 3
    if params.perplexity > largest:
        raise ValueError(
            f"tsne.perplexity {params.perplexity:g} is too large for a sample of {len(sample)} "
            f"tiles, which allows {largest:.1f} at most; lower it"
            + (" or raise tsne.n_sample" if len(sample) < n_tiles else "")
        )
    return np.sort(sample)


def _lay_out(
    embeddings: NDArray[np.float32], sample: NDArray[np.int64], params: TsneParams
) -> xr.Dataset:
    """The product: t-SNE of the sample, with every other tile placed among it."""
    log.info("fitting t-SNE to %d of %d tiles", len(sample), len(embeddings))
    in_sample = np.isin(np.arange(len(embeddings)), sample)
    n_threads = max(1, n_workers())
    positions = np.empty((len(embeddings), 2), np.float32)
    positions[sample], divergence = plane.fit_plane(
        embeddings[sample], perplexity=params.perplexity, seed=params.seed, n_threads=n_threads
    )
    fitted = plane.Plane(embeddings[sample], positions[sample], n_threads=n_threads)
    rest = np.flatnonzero(~in_sample)
    starts = range(0, len(rest), TILES_PER_BLOCK)
    for start in progress(starts, "placing tiles", unit=f"{TILES_PER_BLOCK} tiles"):
        block = rest[start : start + TILES_PER_BLOCK]
        positions[block] = fitted.place(embeddings[block])
    return xr.Dataset(
        {
            "position": (("tile", "axis"), positions, _attributes("position on the plane")),
            "in_sample": ("tile", in_sample, _attributes("t-SNE was fitted on the tile")),
        },
        attrs={"title": "t-SNE of tiles", "divergence": divergence},
    )


def _attributes(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}


if __name__ == "__main__":
    stage.start(run, TsneParams)
