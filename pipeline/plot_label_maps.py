"""Stage plot_label_maps: maps of labels → a figure of each."""

from pathlib import Path

from pipeline.core.raster import raster_grid
from pipeline.files import figures as draw
from pipeline.files import stage, stores


def run(label_maps: Path, scenes: Path, figures: Path) -> None:
    """Draw each granule of `label_maps` as in `scenes`, and beside it its labels."""
    opened = stores.open_product(scenes)
    paths = sorted(label_maps.glob("*/labels.nc"))
    if not paths:
        raise FileNotFoundError(f"{label_maps} holds no map of labels; run dvc repro map_labels")
    for path in paths:
        product = stores.open_product(path).load()
        grid = raster_grid(product.latitude.values, product.longitude.values)
        draw.dense_map(
            grid.lay(draw.granule_picture(opened, product), 255),
            grid.lay(product.label.fillna(-1).astype(int).values, -1),
            grid.latitude_edges,
            grid.longitude_edges,
            figures / path.parent.name / "labels",
            names=product.kind.values.tolist(),
            platform=product.attrs["platform"],
            time=product.time.values,
            subtitle=f"labels of probability {product.attrs['min_probability']:.2f} and more",
            legend_title="label and its share of the coloured pixels",
        )


if __name__ == "__main__":
    stage.start(run)
