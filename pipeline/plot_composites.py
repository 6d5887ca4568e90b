"""Stage plot_composites: composites → figures of them."""

from pathlib import Path

from pipeline.core.composite_product import EFFECT
from pipeline.files import figures as draw
from pipeline.files import stage, stores


def run(composites: Path, figures: Path) -> None:
    """Write `figures` of all quantities, and of the reflectance beyond cloud fraction by itself."""
    product = stores.open_product(composites / "composites.nc").load()
    tiles = stores.open_product(composites / "tiles.nc")
    panels = {}
    for name in product.attrs["quantities"].split(","):
        panels[name] = (
            draw.quantity_label(name, product[name].units),
            draw.Dots(
                values=product[name].values,
                low=product[f"{name}_low"].values,
                high=product[f"{name}_high"].values,
                reference=float(tiles[name].mean()),
            ),
        )
    has_intervals = any(product[f"{name}_low"].notnull().any() for name in panels)
    why = "with 95 % intervals from days" if has_intervals else "days too few or near for intervals"
    title = f"{{}}, {why}"
    draw.cluster_dots(
        dict(panels.values()),
        figures / "composites.png",
        title=title.format(f"Composites of {product.attrs['k']} clusters (dashed: mean of tiles)"),
    )
    if EFFECT in panels:
        draw.cluster_dots(
            dict([panels[EFFECT]]),
            figures / f"{EFFECT}.png",
            title=title.format("Clusters beyond their cloud fraction"),
        )


if __name__ == "__main__":
    stage.start(run)
