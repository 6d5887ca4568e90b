"""Climatologies drawn: maps of frequencies and anomalies, and transitions."""

from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pipeline.files.figures.layers import map_grid
from pipeline.files.figures.maps import map_panels
from pipeline.files.figures.style import FloatArray, new, save, style

NO_TILES = "#ededed"
COLOUR_BAR_INCHES = 0.9  # with its label, and a title above the maps
LARGEST_POWER = 3  # of two: transitions more frequent have the colour of eight times


def frequency_maps(product: xr.Dataset, stem: Path) -> None:
    """Write one small map per cluster, all with the same colours; `product` is of one period."""
    shown = trusted(product, "frequency")
    positive = shown[shown > 0]
    highest = float(np.percentile(positive, 98)) if positive.size else 1.0
    norm = Normalize(0, min(np.ceil(highest * 20) / 20, 1.0))
    label = f"frequency of occurrence (share of the tiles of a cell; {_why_grey(product)})"
    _cluster_maps(product, shown, stem, colour_map="YlGnBu", norm=norm, label=label)


def anomaly_maps(product: xr.Dataset, stem: Path, *, title: str) -> None:
    """Write one small map per cluster of what one period has more or less than all."""
    shown = trusted(product, "anomaly")
    known = np.abs(shown[np.isfinite(shown)])
    reach = max(np.ceil(np.percentile(known, 98) * 20) / 20, 0.05)
    norm = Normalize(-reach, reach)
    label = f"frequency minus that of the rest of the record ({_why_grey(product)})"
    _cluster_maps(product, shown, stem, colour_map="RdBu_r", norm=norm, label=label, title=title)


def _why_grey(product: xr.Dataset) -> str:
    enough = (product.sampling.values == 0).any()
    return "grey: too few tiles or days" if enough else "all of too few tiles or days"


def trusted(product: xr.Dataset, name: str) -> FloatArray:
    """Variable `name` (cluster, latitude, longitude), NaN where tiles or days do not suffice.

    Where they suffice nowhere, all cells with tiles are shown.
    """
    enough = product.sampling.values == 0
    values: FloatArray = product[name].values
    return np.where(enough, values, np.nan) if enough.any() else values


def transition_matrix(product: xr.Dataset, stem: Path) -> None:
    """Write the transitions of the shortest lag with pairs: their share, and against chance."""
    shortest = product.isel(lag=int(np.argmax(product.n_pairs.values > 0)))
    counts, expected = shortest.compared_count.values, shortest.expected_count.values
    ratio = np.divide(counts, expected, out=np.full(counts.shape, np.nan), where=expected > 0)
    probability = shortest.probability.values
    highest = np.ceil(np.nanmax(probability) * 10) / 10
    figure, axes = new(1, 2, height=4.1)
    with style():
        _draw_matrix(
            figure,
            axes[0, 0],
            probability,
            colour_map="YlGnBu",
            norm=Normalize(0, highest),
            label="share of the later cluster after the earlier",
        )
        bar = _draw_matrix(
            figure,
            axes[0, 1],
            np.log2(np.clip(ratio, 2.0**-LARGEST_POWER, 2.0**LARGEST_POWER)),
            colour_map="RdBu_r",
            norm=Normalize(-LARGEST_POWER, LARGEST_POWER),
            label="times as often as at that place and hour on other days",
        )
        powers = list(range(-LARGEST_POWER, LARGEST_POWER + 1))
        bar.set_ticks(powers, labels=[f"1/{2**-n}" if n < 0 else f"{2**n}" for n in powers])
        figure.suptitle(
            f"Cluster after {float(shortest.mean_lag):.1f} h at the same place, "
            f"{int(shortest.n_pairs)} pairs of tiles",
            x=0.01,
            ha="left",
        )
    save_both(figure, stem)


def _cluster_maps(
    product: xr.Dataset,
    values: FloatArray,
    stem: Path,
    *,
    colour_map: str,
    norm: Normalize,
    label: str,
    title: str = "",
) -> None:
    south_north, west_east = product.latitude_bounds.values, product.longitude_bounds.values
    figure, panels = map_panels(
        *np.meshgrid(south_north.ravel(), west_east.ravel()), n_panels=len(values)
    )
    n_tiles = product["count"].sum(("latitude", "longitude")).values
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + COLOUR_BAR_INCHES)
    with style():
        for number, panel in enumerate(panels):
            panel.set_facecolor(NO_TILES)
            mesh = map_grid(
                panel,
                np.append(south_north[:, 0], south_north[-1, 1]),
                np.append(west_east[:, 0], west_east[-1, 1]),
                values[number],
                colour_map=colour_map,
                norm=norm,
            )
            panel.set_title(f"{number}", loc="left")
            panel.set_title(
                f"{n_tiles[number]} tiles", loc="right", fontsize=7, fontweight="normal"
            )
        figure.colorbar(
            mesh,
            ax=panels,
            orientation="horizontal",
            shrink=0.5,
            aspect=40,
            extend="both" if norm.vmin else "max",
            label=label,
        )
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    save_both(figure, stem)


def _draw_matrix(
    figure: Figure, panel: Axes, values: FloatArray, *, colour_map: str, norm: Normalize, label: str
) -> Colorbar:
    panel.set_facecolor(NO_TILES)
    image = panel.imshow(np.ma.masked_invalid(values), cmap=colour_map, norm=norm)
    panel.grid(False)
    panel.set(xlabel="later cluster", ylabel="earlier cluster")
    numbers = np.arange(0, len(values), 1 if len(values) <= 15 else 3)
    panel.set_xticks(numbers)
    panel.set_yticks(numbers)
    return figure.colorbar(image, ax=panel, orientation="horizontal", shrink=0.8, label=label)


def save_both(figure: Figure, stem: Path) -> None:
    """Raster for the screen, vector for print."""
    save(figure, *(stem.with_name(stem.name + suffix) for suffix in (".png", ".pdf")))
