"""Stage plot_applied: new tiles looked up in an atlas → figures of them."""

from pathlib import Path

import xarray as xr

from pipeline.core.footprint import own_cells
from pipeline.files import figures as draw
from pipeline.files import stage, stores

SHEET_COLUMNS = 8


def run(applied: Path, atlas: Path, figures: Path) -> None:
    """Draw the tiles in `applied` on the t-SNE of `atlas` and on a map, and the most novel."""
    tiles = stores.open_product(applied / "tiles.zarr").load()
    clusters, is_novel = tiles.cluster.values, tiles.is_novel.values
    draw.scatter_placed(
        stores.open_product(atlas / "tsne.nc").position.values,
        tiles.position.values,
        figures / "tsne.png",
        clusters=clusters,
        is_marked=is_novel,
        n_clusters=tiles.attrs["k"],
        mark="novel",
        title=f"{len(clusters)} new tiles on the t-SNE of atlas {tiles.attrs['atlas']}",
    )
    draw.map_marked(
        *own_cells(tiles),
        figures / "map.png",
        colours=draw.cluster_colours(tiles.attrs["k"])[clusters],
        is_marked=is_novel,
        title=f"Clusters of atlas {tiles.attrs['atlas']}; "
        f"outlined: novel, {tiles.attrs['novel_share']:.1%} of the tiles",
    )
    _draw_novel(stores.open_product(applied / "novel.nc").load(), figures / "novel.png")


def _draw_novel(novel: xr.Dataset, path: Path) -> None:
    labels = [
        f"{score:.1f}{'' if is_novel else ' (seen)'}\n{time}"
        for score, is_novel, time in zip(
            novel.novelty.values,
            novel.is_novel.values,
            novel.time.dt.strftime("%Y-%m-%d").values,
            strict=True,
        )
    ]
    rows = range(0, novel.sizes["tile"], SHEET_COLUMNS)
    draw.tile_sheet(
        [list(novel.colour.values[first : first + SHEET_COLUMNS]) for first in rows],
        path,
        row_labels=[f"{first + 1} …" for first in rows],
        tile_labels=[labels[first : first + SHEET_COLUMNS] for first in rows],
        title=f"{novel.attrs['title']} (novel above {novel.attrs['novelty_threshold']:.2f})",
    )


if __name__ == "__main__":
    stage.start(run)
