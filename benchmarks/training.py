"""Speed and memory of the training engine, each beside the fastest it could be, or a peer.

    python benchmarks/training.py [SECTION …]

Sections are `sampling`, `loading`, `training`, `embedding` and `memory`; all of them without an
argument. Tiles are 128 × 128 × 3, cut from synthetic granules. What is compared takes turns, so
that a busy spell of the machine falls on both, and the ratio is the median of the rounds. Nothing
that is read or copied is in the page cache beforehand. The peer convml-tt is installed into
`.peer`, a virtual environment of its own, at the first run (3 GB).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
import zarr
from growth import memory_rows
from measure import (
    ROOT,
    bytes_from_disk,
    forget,
    memory_of,
    resident_memory,
    run_stage,
    timed,
)
from PIL import Image
from table import Row, print_table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import ToTensor

from pipeline import embed, sample, train
from pipeline.core import lane
from pipeline.core.device import compute_device
from pipeline.core.encoder import Encoder, autocast, describe_encoder, fused
from pipeline.core.memory import keep_freed_memory
from pipeline.core.objective.learner import MicroBatch
from pipeline.files import batches, encoders, stage, stores, workers

SECTIONS = ("sampling", "loading", "training", "embedding", "memory")
TILE_SIZE = 128
N_TRIPLETS = {"train": 16384, "validation": 384, "test": 64}
N_PNG_TRIPLETS = 1024
BATCH_SIZE = 64
N_ROUNDS = 3
BACKBONES = ("resnet18", "resnet34")
PEER = ROOT / ".peer"
PEER_PACKAGE = "convml-tt==0.14.3"
PEER_NAMES = ("anchor", "neighbor", "distant")


def main(sections: Sequence[str]) -> int:
    """Print the table; 1 if a row falls short."""
    if unknown := set(sections) - set(SECTIONS):
        sys.exit(f"{', '.join(unknown)} is no section; choose among {', '.join(SECTIONS)}")
    os.environ["TILE2VEC_WORKERS"] = str(len(os.sched_getaffinity(0)))
    keep_freed_memory()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = make_project(Path(name) / "project")
        measured: dict[str, Callable[[Path], list[Row]]] = {
            "sampling": sampling,
            "loading": loading,
            "training": training,
            "embedding": embedding,
            "memory": memory_rows,
        }
        for section in SECTIONS:
            if section in (sections or SECTIONS):
                print(f"measuring {section}", file=sys.stderr, flush=True)
                rows += measured[section](folder)
    return print_table(rows)


def make_project(folder: Path) -> Path:
    """A folder with scenes and triplets, in which the stages run."""
    folder.mkdir()
    shutil.copy(ROOT / "dvc.yaml", folder)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["fetch"]["synthetic"].update(hours_utc=[17], n_labels_per_morphology=8)
    params["fetch"]["synthetic"].update(label_tile_size=TILE_SIZE, label_min_share=0.6)
    params["sample"].update(tile_size=TILE_SIZE, n_triplets=N_TRIPLETS)
    params["train"].update(n_epochs=1, batch_size=BATCH_SIZE)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for name in ("fetch", "ingest", "sample"):
        run_stage(name, folder, workers=os.environ["TILE2VEC_WORKERS"])
    return folder


def sampling(folder: Path) -> list[Row]:
    """Triplets drawn, cut and written, against a copy of what was written."""
    params = read_params(folder, "sample", sample.SampleParams)
    sample_into = partial(sample.run, params, folder / "data/scenes.zarr")
    written, copied = folder / "written.zarr", folder / "copied.zarr"
    sample_into(written, folder / "sample.json")  # starts the workers

    def sampled() -> float:
        shutil.rmtree(written)
        return sum(N_TRIPLETS.values()) / until_on_disk(sample_into, written, folder / "s.json")

    def copy() -> float:
        forget(written)
        rate = sum(N_TRIPLETS.values()) / until_on_disk(shutil.copytree, written, copied)
        shutil.rmtree(copied)
        return rate

    measure = "sampling into Zarr, of a copy of the same bytes"
    rows = compare({measure: (copy, 0.5)}, sampled, "triplets/s")
    shutil.rmtree(written)
    return rows


def until_on_disk(work: Callable[..., Any], *arguments: Any) -> float:
    """Seconds until what `work` writes is on the disk."""
    os.sync()

    def synced() -> None:
        work(*arguments)
        os.sync()

    return timed(synced)


def loading(folder: Path) -> list[Row]:
    """Batches from the store, against reading it, a file a tile, and tiles cut from the scenes."""
    tiles = triplet_tiles(folder, "train")
    store = folder / "data/triplets.zarr/train"
    scenes = folder / "data/scenes.zarr"
    params = read_params(folder, "sample", sample.SampleParams)
    sample.run(replace(params, holds="places"), scenes, folder / "places.zarr", folder / "s.json")
    places = stores.TripletTiles(folder / "places.zarr", "train", scenes)
    pngs = write_pngs(folder / "png", tiles, N_PNG_TRIPLETS)
    shares = []

    def cold(work: Callable[[], float], files: Path) -> float:
        forget(files)
        before = bytes_from_disk()
        rate = work()
        if files == store:
            shares.append((bytes_from_disk() - before) / n_bytes(store / "tiles"))
        return rate

    def loaded(tiles: stores.TripletTiles) -> float:
        return tiles.shape[0] / timed(lambda: [len(batch.tiles) for batch in load(tiles)])

    def read() -> float:
        return tiles.shape[0] / timed(read_chunks, store)

    rows = compare(
        {
            "loader, of reading the same chunks": (partial(cold, read, store), 0.8),
            "loader, of a DataLoader of one PNG a tile": (
                partial(cold, partial(rate_of_png_loader, pngs), pngs),
                15.0,
            ),
            "loader, of places and their scenes": (
                partial(cold, partial(loaded, places), scenes),
                None,
            ),
        },
        partial(cold, partial(loaded, tiles), store),
        "triplets/s",
    )
    print(f"{min(shares):.0%} of the store came from the disk", file=sys.stderr)
    return rows


def load(tiles: stores.TripletTiles) -> Iterator[batches.Batch]:
    """An epoch of batches, as training gets them."""
    n_triplets = tiles.shape[0]
    sizes = lane.micro_batch_sizes(n_triplets, n_lanes=1, batch_size=BATCH_SIZE)
    spans = lane.lane_spans(
        n_triplets,
        lane=0,
        n_lanes=1,
        chunk=stores.TRIPLETS_PER_CHUNK,
        rng=np.random.default_rng(0),
    )
    return batches.shuffled_batches(
        tiles,
        spans=spans,
        sizes=sizes[:, 0].tolist(),
        n_mixed=2048,
        rng=np.random.default_rng(0),
    )


def read_chunks(store: Path) -> None:
    """Every chunk once, as many at a time as the loader reads."""
    array = zarr.open_array(store / "tiles", mode="r")
    firsts = range(0, array.shape[0], array.chunks[0])
    with ThreadPoolExecutor(stores.N_READERS) as threads:
        for _ in threads.map(lambda first: len(array[first : first + array.chunks[0]]), firsts):
            pass


class PngTriplets(torch.utils.data.Dataset[list[Tensor]]):
    """Three files a triplet, decoded and made into tensors as torchvision's users do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.to_tensor = ToTensor()
        self.count = len(list(folder.glob("*.png"))) // len(PEER_NAMES)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> list[Tensor]:
        return [self.read(index, name) for name in PEER_NAMES]

    def read(self, index: int, name: str) -> Tensor:
        """One tile."""
        with Image.open(self.folder / f"{index:05d}_{name}.png") as image:
            return self.to_tensor(image)  # type: ignore[no-any-return]


def rate_of_png_loader(folder: Path) -> float:
    """Triplets/s of PyTorch's loader in as many processes as there are cores."""
    loader = torch.utils.data.DataLoader(
        PngTriplets(folder / "train"),
        batch_size=BATCH_SIZE,
        shuffle=True,
        num_workers=len(os.sched_getaffinity(0)),
    )
    batches_of_members = iter(loader)
    next(batches_of_members)  # starts the processes
    seconds = timed(lambda: [len(members) for members in batches_of_members])
    return (len(loader.dataset) - BATCH_SIZE) / seconds  # type: ignore[arg-type]


def training(folder: Path) -> list[Row]:
    """An epoch of the stage, against its bare step, and against the peer's epoch."""
    tiles = triplet_tiles(folder, "validation")
    peer_tiles = write_pngs(folder / "peer", tiles, tiles.shape[0])
    rows = []
    for backbone in BACKBONES:
        rows += compare(
            {
                f"training {backbone}, of the bare step": (
                    partial(rate_of_bare_step, folder, tiles, backbone),
                    0.9,
                ),
                f"training {backbone}, of convml-tt's": (
                    partial(rate_of_peer, peer_tiles, backbone),
                    3.0,
                ),
            },
            partial(rate_of_epoch, folder, tiles, backbone),
            "triplets/s",
        )
        rows += utilisation(folder, tiles, backbone)
    return rows


def rate_of_epoch(folder: Path, tiles: stores.TripletTiles, backbone: str) -> float:
    """Triplets/s of the stage: loader, augmentation and step."""
    params = train_params(folder, backbone)
    run = train.start(params, train.read_fitted(tiles))
    triplets = stores.open_product(folder / "data/triplets.zarr")
    views = train.view_maker(params, triplets, tiles.members)
    run.close_epoch({})  # nothing is measured before the first epoch
    warm_up(run, tiles)
    return tiles.shape[0] / timed(train.train_epoch, run, params, tiles, views)


def rate_of_bare_step(folder: Path, tiles: stores.TripletTiles, backbone: str) -> float:
    """Triplets/s of forward, backward and optimiser on one batch that is there already."""
    run = train.start(train_params(folder, backbone), train.read_fitted(tiles))
    n_batches = tiles.shape[0] // BATCH_SIZE
    return n_batches * BATCH_SIZE / warm_up(run, tiles, n_batches)


def utilisation(folder: Path, tiles: stores.TripletTiles, backbone: str) -> list[Row]:
    """Arithmetic of the bare step, against matrix products: a row without a bar."""
    run = train.start(train_params(folder, backbone), train.read_fitted(tiles))
    counter = FlopCounterMode(display=False)
    with counter:
        run.encoder(torch.zeros(tiles.shape[1:], device=compute_device())).sum().backward()
    gigaflop = counter.get_total_flops() / 1e9  # of a triplet

    def step() -> float:
        return gigaflop * rate_of_bare_step(folder, tiles, backbone)

    measure = f"bare step of {backbone}, of matrix products"
    return compare({measure: (rate_of_matrix_products, None)}, step, "GFLOP/s")


def rate_of_matrix_products() -> float:
    """GFLOP/s of the device in the type in which it trains."""
    edge = 16384 if compute_device().type == "cuda" else 4096
    matrix = torch.rand((edge, edge), device=compute_device())
    with autocast(compute_device()):
        matrix = matrix @ matrix / edge  # as autocast would have it, and warms up
    n_products = 10
    seconds = until_computed(lambda: [matrix @ matrix for _ in range(n_products)])
    return n_products * 2 * edge**3 / 1e9 / seconds


def until_computed(work: Callable[[], object]) -> float:
    """Seconds until the device is done with `work`."""

    def computed() -> None:
        work()
        if compute_device().type == "cuda":
            torch.cuda.synchronize()

    return timed(computed)


def warm_up(run: train.TrainingRun, tiles: stores.TripletTiles, n_batches: int = 1) -> float:
    """Seconds of `n_batches` steps on one batch, after a first one."""
    members = torch.from_numpy(next(load(tiles)).tiles).to(compute_device())
    run.learner.train()

    def step() -> None:
        loss = run.network(MicroBatch(members)).loss
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()

    until_computed(step)
    return until_computed(lambda: [step() for _ in range(n_batches)])


def rate_of_peer(folder: Path, backbone: str) -> float:
    """Triplets/s of convml-tt's trainer on the same tiles."""
    python = PEER / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", PEER], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PEER_PACKAGE], check=True)
    n_triplets = len(list((folder / "train").glob("*.png"))) // len(PEER_NAMES)
    share = 0.75  # the peer keeps a tenth for validation, and one batch warms it up
    arguments = [ROOT / "benchmarks/peer.py", folder, backbone, int(share * n_triplets)]
    # dask leaves one thread for each library in the environment of a process with workers.
    environment = {
        name: value for name, value in os.environ.items() if name not in workers.THREAD_COUNTS
    }
    done = subprocess.run(
        [python, *map(str, arguments)],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.split()[-1])


def embedding(folder: Path) -> list[Row]:
    """The stage on all scenes, against the bare forward pass."""
    # Tiles that are turned besides would count for nothing.
    params = replace(read_params(folder, "embed", embed.EmbedParams), turned_per_scene=0)
    scenes = folder / "data/scenes.zarr"
    rows = []
    for backbone in BACKBONES:
        encoder = write_untrained(folder / backbone, folder, backbone)
        product = folder / f"{backbone}.zarr"
        embed.run(params, scenes, encoder, product)  # starts the workers
        n_tiles = stores.open_product(product).sizes["tile"]

        def embedded(encoder: Path, product: Path, n_tiles: int) -> float:
            shutil.rmtree(product)
            return n_tiles / timed(embed.run, params, scenes, encoder, product)

        bare = partial(rate_of_bare_forward, folder, backbone, n_tiles)
        rows += compare(
            {
                f"embedding with {backbone}, of the bare forward pass": (bare, 0.9),
                "the same, of a pass with normalisation folded in": (partial(bare, fused), None),
                "the same, of a pass in bfloat16 where there is any": (
                    partial(bare, precision=autocast),
                    None,
                ),
            },
            partial(embedded, encoder, product, n_tiles),
            "tiles/s",
        )
    return rows


def rate_of_bare_forward(
    folder: Path,
    backbone: str,
    n_tiles: int,
    prepare: Callable[[Encoder], Encoder] = Encoder.eval,
    precision: Callable[[torch.device], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> float:
    """Tiles/s of batches that are there already, in float32 by default."""
    tiles = triplet_tiles(folder, "validation")
    run = train.start(train_params(folder, backbone), train.read_fitted(tiles))
    network = prepare(run.encoder)
    batch = torch.from_numpy(next(load(tiles)).tiles).flatten(0, 1).to(compute_device())
    n_batches = -(-n_tiles // len(batch))

    def forward() -> None:
        with torch.inference_mode(), precision(compute_device()):
            network(batch).cpu()

    forward()
    return n_batches * len(batch) / timed(lambda: [forward() for _ in range(n_batches)])


def compare(
    others: dict[str, tuple[Callable[[], float], float | None]],
    ours: Callable[[], float],
    unit: str,
) -> list[Row]:
    """Rates in turn: ours against each of the others, which may have a bar; the memory is ours."""
    rates, memories = [], []
    for _ in range(N_ROUNDS):
        with memory_of(None, resident_memory) as peak:
            mine = ours()
        memories.append(peak())
        rates.append([mine, *(other() for other, _ in others.values())])
    mine, *theirs = np.median(rates, axis=0)
    ratios = np.median([np.divide(first, rest) for first, *rest in rates], axis=0)
    return [
        Row(
            measure,
            f"{mine:.4g} {unit} against {rate:.4g}",
            float(ratio),
            at_least=bar,
            memory=max(memories),
        )
        for (measure, (_, bar)), rate, ratio in zip(others.items(), theirs, ratios, strict=True)
    ]


def write_pngs(folder: Path, tiles: stores.TripletTiles, n_triplets: int) -> Path:
    """A PNG a tile, under the names the peer wants."""
    (folder / "train").mkdir(parents=True)
    first = np.empty((n_triplets, *tiles.shape[1:]), np.uint8)
    tiles.read(np.array([[0, n_triplets]]), first)
    for number, members in enumerate(first):
        for name, tile in zip(PEER_NAMES, members, strict=True):
            image = Image.fromarray(tile.transpose(1, 2, 0))
            image.save(folder / "train" / f"{number:05d}_{name}.png")
    return folder


def write_untrained(folder: Path, project: Path, backbone: str) -> Path:
    """An encoder as training would write it."""
    params = train_params(project, backbone)
    root = stores.open_product(project / "data/triplets.zarr")
    fitted = train.read_fitted(triplet_tiles(project, "train"))
    run = train.start(params, fitted)
    train.fit_embedding(run.encoder, fitted, n_dimensions=params.embedding.n_dimensions)
    description = {
        **describe_encoder(run.encoder, backbone=backbone),
        "channels": [str(name) for name in root.channel.values],
        "n_dimensions": run.encoder.n_dimensions,
        "tile_size": TILE_SIZE,
        "days": {"train": [], "validation": [], "test": []},
    }
    encoders.write_encoder(folder, run.encoder.state_dict(), description)
    return folder


def triplet_tiles(folder: Path, split: str) -> stores.TripletTiles:
    """Those of the project."""
    return stores.TripletTiles(folder / "data/triplets.zarr", split, folder / "data/scenes.zarr")


def train_params(folder: Path, backbone: str) -> train.TrainParams:
    """Those of the project, with another backbone, on whole tiles and their own distant ones."""
    params = yaml.safe_load((folder / "params.yaml").read_text())["train"]
    whole = {"smallest_crop": 1.0, "largest_crop": 1.0, "view_size": 1.0, "rotation": 0.0}
    changes = {
        "backbone": backbone,
        "objective": {"negatives": "distant"},
        "augmentations": whole,
    }
    return stage.parse_params("train", stage.changed(params, changes), train.TrainParams)


def read_params(folder: Path, name: str, kind: type[Any]) -> Any:
    """A section of the project's parameters."""
    return stage.parse_params(
        name, yaml.safe_load((folder / "params.yaml").read_text())[name], kind
    )


def n_bytes(folder: Path) -> int:
    """Of all files under `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
