"""Stage plot_dense: the dense map of one granule → a figure of it."""

from pathlib import Path

from pipeline.core.raster import raster_grid
from pipeline.files import figures as draw
from pipeline.files import stage, stores


def run(dense: Path, scenes: Path, figures: Path) -> None:
    """Draw the granule in `scenes` and beside it its clusters in `dense`."""
    product = stores.open_product(dense / "dense.nc").load()
    grid = raster_grid(product.latitude.values, product.longitude.values)
    draw.dense_map(
        grid.lay(draw.granule_picture(stores.open_product(scenes), product), 255),
        grid.lay(product.cluster.fillna(-1).astype(int).values, -1),
        grid.latitude_edges,
        grid.longitude_edges,
        figures / "dense",
        names=[str(number) for number in range(product.attrs["k"])],
        platform=product.attrs["platform"],
        time=product.time.values,
        subtitle=f"its tiles in {product.attrs['k']} clusters",
        legend_title="cluster and its share of the coloured pixels",
    )


if __name__ == "__main__":
    stage.start(run)
