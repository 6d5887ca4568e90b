"""Seconds and memory of what is done with a million tiles, and how they grow with the tiles.

    python benchmarks/clusters.py [SECTION …]

Sections are `clustering`, `tsne`, `search`, `gridding` and `growth`; all of them without an
argument, in about an hour. Tiles are made up, their embeddings have 128 dimensions. Stages run as
users run them, with the committed parameters but for the sample of t-SNE, on two cores.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from growth import change
from many_tiles import draw_embeddings, write_clusters, write_embeddings
from measure import ROOT, memory_of, peak_memory, resident_memory, timed
from numpy.typing import NDArray
from table import Row, print_table

from pipeline import grid_clusters
from pipeline.core import grid, kmeans, plane
from pipeline.core.climatology import grid_frequencies
from pipeline.core.embedding import nearest
from pipeline.core.search import ApproximateIndex, recall
from pipeline.files import stage, stores

N_TILES = 1_000_000
N_CORES = 2
N_FITTED = 100_000  # by t-SNE; the others are placed
N_CLUSTERS = 9
N_QUERIES = 512
N_NEAREST = 8
N_ROUNDS = 3
TILES_PER_PRODUCT = 32_768  # of a matrix product, so that it fits in the cache
GROWTH = (10_000, 30_000, 100_000, 300_000)
STAGE_GROWTH = (10_000, 100_000, N_TILES)  # for what takes minutes


def main(sections: Sequence[str]) -> int:
    """Print the table; 1 if a row falls short."""
    measured: dict[str, Callable[[Path], list[Row]]] = {
        "clustering": cluster_rows,
        "tsne": tsne_rows,
        "search": search_rows,
        "gridding": gridding_rows,
        "growth": growth_rows,
    }
    if unknown := set(sections) - set(measured):
        sys.exit(f"{', '.join(unknown)} is no section; choose among {', '.join(measured)}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:N_CORES])
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = make_project(Path(name) / "million", N_TILES)
        for section, measure in measured.items():
            if section in (sections or measured):
                print(f"measuring {section}", file=sys.stderr, flush=True)
                rows += measure(folder)
    return print_table(rows)


def make_project(folder: Path, n_tiles: int) -> Path:
    """A folder with embeddings and clusters, in which the stages run."""
    folder.mkdir()
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copy(ROOT / "params.yaml", folder)
    write_embeddings(folder / "data", n_tiles)
    write_clusters(folder / "data", n_clusters=N_CLUSTERS)
    return folder


def run_measured(stage_name: str, folder: Path) -> tuple[float, float]:
    """Minutes and MB of a stage."""
    command = [sys.executable, "-m", f"pipeline.{stage_name}"]
    peaks: list[float] = []
    seconds = timed(
        lambda: peaks.append(peak_memory(command, folder, str(N_CORES), resident_memory))
    )
    return seconds / 60, peaks[0]


def stage_rows(measure: str, minutes: float, megabytes: float, *, at_most: float) -> list[Row]:
    """A row for the minutes and one for the memory, against the most they may be."""
    return [
        Row(f"{measure}: minutes", f"{minutes:.1f} of {at_most:g}", minutes / at_most, at_most=1.0),
        Row(
            f"{measure}: memory",
            f"{megabytes:.0f} MB of 4000",
            megabytes / 4000,
            at_most=1.0,
            memory=megabytes,
        ),
    ]


def cluster_rows(folder: Path) -> list[Row]:
    """Stage cluster: every k from 9 to 30 with all its scores, and how it grows."""
    costs = {N_TILES: run_measured("cluster", folder)}
    for n_tiles in STAGE_GROWTH[:-1]:
        project = make_project(folder.parent / f"cluster_{n_tiles}", n_tiles)
        costs[n_tiles] = run_measured("cluster", project)
    return [
        *stage_rows(f"stage cluster, {N_TILES:,} tiles", *costs[N_TILES], at_most=30),
        exponent_row("stage cluster", lambda n_tiles: 60 * costs[n_tiles][0], STAGE_GROWTH),
    ]


def tsne_rows(folder: Path) -> list[Row]:
    """Stage tsne: a tenth of the tiles fitted, the others placed."""
    change(folder / "params.yaml", {"tsne": {"n_sample": N_FITTED}})
    measure = f"stage tsne, {N_FITTED:,} fitted and {N_TILES - N_FITTED:,} placed"
    return stage_rows(measure, *run_measured("tsne", folder), at_most=30)


def search_rows(folder: Path) -> list[Row]:
    """Nearest tiles exactly and by the index, each beside the matrix product alone."""
    embeddings = stores.open_product(folder / "data/embeddings.zarr").embedding.values
    queries = draw_queries(len(embeddings))
    built: list[ApproximateIndex] = []
    with memory_of(None, resident_memory) as peak:
        seconds = timed(lambda: built.append(ApproximateIndex(embeddings)))
    find = partial(nearest, embeddings, queries, n_nearest=N_NEAREST)
    rates: list[list[float]] = []
    for _ in range(N_ROUNDS):
        rates.append(
            [
                N_QUERIES / timed(work)
                for work in (
                    partial(multiply, embeddings, queries),
                    find,
                    partial(find, index=built[0]),
                )
            ]
        )
    bare, exact, approximate = np.median(rates, axis=0)
    found = recall(find(index=built[0])[0], find()[0])
    of_bare, of_exact = np.median([[b / a, c / b] for a, b, c in rates], axis=0)
    return [
        Row(
            "exact search, of the matrix product alone",
            f"{exact:.0f} queries/s against {bare:.0f}",
            float(of_bare),
            at_least=0.5,
        ),
        Row(
            "search by index, of exact search",
            f"{approximate:.0f} queries/s against {exact:.0f}",
            float(of_exact),
            at_least=4.0,  # on one core of the two: a query at a time, without its own tiles
        ),
        Row("recall of the index", f"{N_NEAREST} nearest of {N_QUERIES}", found, at_least=0.95),
        Row(
            "building the index: minutes",
            f"{seconds / 60:.1f} of 5",
            seconds / 300,
            at_most=1.0,
            memory=peak(),
        ),
    ]


def draw_queries(n_tiles: int) -> NDArray[np.int64]:
    """Tiles to search for."""
    return np.random.default_rng(2).choice(n_tiles, N_QUERIES, replace=False)


def multiply(embeddings: NDArray[np.float32], queries: NDArray[np.int64]) -> None:
    """The product that gives all distances from the queries."""
    points = embeddings[queries]
    for start in range(0, len(embeddings), TILES_PER_PRODUCT):
        points @ embeddings[start : start + TILES_PER_PRODUCT].T


def gridding_rows(folder: Path) -> list[Row]:
    """Frequencies of clusters on a grid, along each axis of time."""
    seconds, megabytes = grid_tiles(folder)
    return [
        Row(
            f"gridding {N_TILES:,} tiles along four axes: seconds",
            f"{seconds:.1f} of 10",
            seconds / 10,
            at_most=1.0,
            memory=megabytes,
        )
    ]


def grid_tiles(folder: Path) -> tuple[float, float]:
    """Seconds and MB of gridding, from the places of tiles to frequencies with errors."""
    section = yaml.safe_load((folder / "params.yaml").read_text())["grid_clusters"]
    params = stage.parse_params("grid_clusters", section, grid_clusters.GridClustersParams)
    places = stores.open_product(folder / "data/embeddings.zarr").drop_vars("embedding").load()
    tiles = grid_clusters.gather_tiles(
        params, places, stores.open_product(folder / "data/clusters.zarr")
    )

    def work() -> None:
        axes = grid_clusters.find_periods(params, places)
        globe = grid_clusters.make_grid(params, params.grids[0])
        cells = grid.find_cells(globe, places.latitude.values, places.longitude.values)
        for axis in grid_clusters.GRIDDED:
            grid_frequencies(tiles, cells, axes[axis], axes["record"], dimension="time")

    with memory_of(None, resident_memory) as peak:
        seconds = timed(work)
    return seconds, peak()


def growth_rows(folder: Path) -> list[Row]:
    """Exponents of time over tiles, 1 being linear."""
    embeddings = draw_embeddings(max(GROWTH), seed=0)
    fitted = embeddings[:: len(embeddings) // 2000]
    # Where the fitted tiles lie changes little of what it takes to place others.
    positions = 30 * np.random.default_rng(3).standard_normal((len(fitted), 2))
    placing = plane.Plane(fitted, positions, n_threads=N_CORES)
    placing.place(embeddings[:1000])  # lays the grid it interpolates on
    projects = {n_tiles: make_project(folder.parent / str(n_tiles), n_tiles) for n_tiles in GROWTH}

    def fit(n_tiles: int) -> float:
        return timed(kmeans.fit_centroids, embeddings[:n_tiles], n_clusters=30, n_starts=1, seed=0)

    def place(n_tiles: int) -> float:
        blocks = np.array_split(embeddings[:n_tiles], n_tiles // 10_000)
        return timed(lambda: [placing.place(block) for block in blocks])

    def search(n_tiles: int) -> float:
        return timed(nearest, embeddings[:n_tiles], draw_queries(n_tiles), n_nearest=N_NEAREST)

    def build(n_tiles: int) -> float:
        return timed(ApproximateIndex, embeddings[:n_tiles])

    def cells(n_tiles: int) -> float:
        return grid_tiles(projects[n_tiles])[0]

    return [
        # The fewest tiles fit into the cache, and more of them take some more iterations.
        exponent_row("k-means for k = 30", fit, GROWTH, at_most=1.2),
        exponent_row("placing tiles by t-SNE", place, GROWTH),
        exponent_row("exact search of a query", search, GROWTH),
        # As many lists as each holds tiles: so many distances are to be computed as n to 1.5.
        exponent_row("building the index", build, GROWTH, at_most=1.6),
        exponent_row("gridding", cells, GROWTH),
    ]


def exponent_row(
    measure: str,
    seconds_for: Callable[[int], float],
    sizes: Sequence[int],
    at_most: float | None = 1.1,
) -> Row:
    """The slope of a line through the logarithms of seconds and tiles."""
    seconds = [seconds_for(n_tiles) for n_tiles in sizes]
    slope = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
    figures = f"{seconds[0]:.2f} s for {sizes[0]:,}, {seconds[-1]:.1f} s for {sizes[-1]:,}"
    return Row(f"{measure}: exponent of growth", figures, slope, at_most=at_most)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
