"""Stage plot_tsne: positions on the plane, clusters, tiles → figures of the plane."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import PositiveInt

from pipeline.files import figures as draw
from pipeline.files import stage, stores

LABELS = {
    "brightness": "brightness (1)",
    "brightness_temperature": "brightness temperature (K)",
    "latitude": "latitude (°N)",
}


@dataclass(frozen=True)
class PlotTsneParams:
    """Section `plot_tsne` of params.yaml."""

    n_thumbnails: PositiveInt


def run(
    params: PlotTsneParams,
    embeddings: Path,
    clusters: Path,
    scenes: Path,
    tsne: Path,
    figures: Path,
) -> None:
    """Write `figures` of `tsne` coloured by values of `embeddings` and by `clusters`, and tiles."""
    source = stores.open_product(embeddings)
    positions = stores.open_joined(tsne, source).position.values
    found = stores.open_joined(clusters, source)
    k = int(found.attrs["recommended_k"])
    numbers = found.cluster.sel(k=k).values
    warmth = "brightness_temperature" if "brightness_temperature" in source else "brightness"
    for name in (warmth, "latitude"):
        draw.scatter_values(
            positions,
            source[name].values,
            figures / f"{name}.png",
            label=LABELS[name],
            title=f"t-SNE, coloured by {name.replace('_', ' ')}",
        )
    draw.scatter_clusters(
        positions,
        numbers,
        figures / "clusters.png",
        n_clusters=k,
        title=f"t-SNE, coloured by {k} clusters",
    )
    picked = draw.pick_thumbnails(positions, n_columns=params.n_thumbnails)
    draw.thumbnails(
        positions,
        picked,
        stores.cut_embedded_tiles(scenes, source.isel(tile=picked)),
        figures / "thumbnails.png",
        n_columns=params.n_thumbnails,
        colours=draw.cluster_colours(k)[numbers[picked]],
        title="t-SNE, tiles in the colours of their clusters",
    )


if __name__ == "__main__":
    stage.start(run, PlotTsneParams)
