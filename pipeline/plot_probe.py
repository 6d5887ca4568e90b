"""Stage plot_probe: the probes → a figure of what is read from each representation."""

from pathlib import Path

from pipeline.files import figures as draw
from pipeline.files import stage, stores


def run(probes: Path, figures: Path) -> None:
    """Write `figures` of `probes`."""
    product = stores.open_product(probes / "probes.nc").load().clip(min=0.0)
    figures.mkdir(parents=True, exist_ok=True)
    if not product.sizes["quantity"]:
        return
    names = product.quantity.to_series().str.replace("_", " ")
    ends = [product[f"explained{end}"] for end in ("", "_low", "_high")]
    draw.intervals(
        {
            representation: dict(
                zip(
                    names,
                    zip(
                        *(each.sel(representation=representation).values for each in ends),
                        strict=True,
                    ),
                    strict=True,
                )
            )
            for representation in product.representation.values.tolist()
        },
        figures / "probes.png",
        limits=(-0.05, 1.05),
        title="What is read of each quantity on other days (R², at least 0)",
    )


if __name__ == "__main__":
    stage.start(run)
