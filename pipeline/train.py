"""Stage train: triplets → encoder."""

import dataclasses
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from pipeline.core import engine, lane, training_run
from pipeline.core.annotation import label_members
from pipeline.core.augmentation import ColourScale
from pipeline.core.device import compute_device
from pipeline.core.encoder import (
    Encoder,
    create_encoder,
    describe_encoder,
    pool_tiles,
    renew_statistics,
)
from pipeline.core.judgement import check_collapse, collapse_measures, judge_triplets
from pipeline.core.label_network import LabelNetwork, rebuild_label_network
from pipeline.core.objective.choice import check_objective, create_learner
from pipeline.core.objective.learner import MicroBatch
from pipeline.core.pretrained import start_from
from pipeline.core.processes import joined, n_processes, rank
from pipeline.core.schedule import learning_rate_factor
from pipeline.core.training_params import TrainParams
from pipeline.core.training_run import TrainingRun
from pipeline.core.triplet import SPLITS, overlap
from pipeline.core.views import ViewMaker
from pipeline.files import batches, encoders, stage, stores
from pipeline.files.curves import Curves, curves_in
from pipeline.files.labels import read_labels
from pipeline.files.progress import progress
from pipeline.files.weights import read_imagenet

log = logging.getLogger(__name__)

JUDGED_AT_ONCE = 128  # triplets
MOST_FITTED = 1024  # triplets whose tiles standardise and reduce the embedding
LEAST_LABELLED = 0.5  # of an anchor's pixels are under its label …
MOST_OTHER = 0.1  # … and at most so many under any other


def run(
    params: TrainParams,
    triplets: Path,
    scenes: Path,
    rejected: Path,
    encoder: Path,
    curves: Path,
    metrics: Path,
    checkpoint: Path,
) -> None:
    """Train an encoder on `triplets`; a run that was killed goes on from its last epoch.

    Where torchrun started several processes, each takes a part of every batch.
    """
    splits = {name: stores.TripletTiles(triplets, name, scenes) for name in SPLITS}
    root = stores.open_product(triplets)
    if params.loss == "relative_position":
        _refuse_shared_pixels(splits["train"])
    labels = _label_anchors(params, scenes, rejected, splits["train"])
    views = view_maker(params, root, splits["train"].members, labels)
    fitted = read_fitted(splits["train"])
    with joined():
        training = start(params, fitted)
        fingerprint = training_run.fingerprint(
            training, params, root, splits["train"].members, labels
        )
        judge = partial(_judge, params=params, encoder=training.encoder)
        fit = partial(fit_embedding, training.encoder, fitted)
        fit(n_dimensions=params.embedding.n_dimensions)
        found = None
        if params.init != "none":
            found = {name: value.clone() for name, value in training.encoder.state_dict().items()}
        training.encoder.axes = training.encoder.axes[:0]  # not reduced while it is trained
        if checkpoint.exists():
            _resume(training, checkpoint, fingerprint)
        if not training.history:
            training.close_epoch(judge(splits["validation"]))
        first = rank() == 0
        with curves_in(curves) if first else nullcontext() as written:
            for entry in training.history:
                _log_epoch(written, entry)
            while training.epoch < params.n_epochs:
                train_loss = train_epoch(training, params, splits["train"], views)
                judged = judge(splits["validation"])
                training.close_epoch({**judged, "train_loss": train_loss})
                check_collapse(judged, params.least)
                if first:
                    state = {"epoch": training.epoch, "history": training.history}
                    encoders.write_checkpoint(
                        checkpoint, training.tensors(), {"fingerprint": fingerprint, **state}
                    )
                _log_epoch(written, training.history[-1])
        training.encoder.load_state_dict(training.average.module.state_dict())
        renew_statistics(training.encoder, fitted)
        fit(n_dimensions=params.embedding.n_dimensions)
        results = {
            "untrained": training.history[0],
            "validation": {"epoch": training.epoch, **judge(splits["validation"])},
            "test": {"epoch": training.epoch, **judge(splits["test"])},
        }
        if not first:
            return
    description = {
        **describe_encoder(training.encoder, backbone=params.backbone),
        "channels": views.scale.channels,
        "n_dimensions": training.encoder.n_dimensions,
        "n_views": params.choice.n_views,
        "tile_size": int(root.attrs["tile_size"]),
        "days": _days(root),
        "results": results,
        "parameters": dataclasses.asdict(params),
        "sample_parameters": json.loads(root.attrs["parameters"]),
    }
    encoders.write_encoder(encoder, training.encoder.state_dict(), description, found)
    stores.write_json(metrics, results)


def start(params: TrainParams, fitted: NDArray[np.uint8]) -> TrainingRun:
    """A run that has not begun; `fitted` are training tiles (tile, channel, row, column)."""
    n_channels = fitted.shape[1]
    altered = params.augmentations
    if altered.smallest_crop > altered.largest_crop:
        raise ValueError(
            f"train.augmentations.smallest_crop {altered.smallest_crop} is more than largest_crop "
            f"{altered.largest_crop}; lower it"
        )
    check_objective(
        params.choice,
        n_channels=n_channels,
        turns=altered.quarter_turn > 0 or altered.rotation > 0,
        flips=altered.flip > 0,
        alters=altered.alter,
    )
    encoder = create_encoder(
        backbone=params.backbone,
        layers=params.embedding.layers,
        pooling=params.embedding.pooling,
        n_scales=params.embedding.n_scales,
        n_channels=n_channels,
        standardise=params.shortcuts.standardise,
        seed=params.seed,
    )
    if params.init != "none":
        weights, reason = read_imagenet(params.init, params.backbone, key="train.init")
        if weights is None:
            raise ValueError(f"train.init is {params.init}: {reason}; name a file, or none")
        start_from(encoder, weights)
        encoder.keeps_statistics = True
        log.info("starting from the weights %s", params.init)
    encoder.fit_colours(fitted)
    learner = create_learner(
        encoder,
        params.choice,
        params.head,
        n_channels=n_channels,
        seed=params.seed,
        teacher=_read_teacher(params, n_channels),
    )
    return training_run.start(
        learner.to(compute_device()),
        learning_rate=params.learning_rate,
        head_learning_rate=params.head_learning_rate,
        weight_decay=params.weight_decay,
        averaging=params.averaging,
    )


def read_fitted(tiles: stores.TripletTiles) -> NDArray[np.uint8]:
    """Tiles (tile, channel, row, column) of the first training triplets, which are in any order."""
    n_triplets = min(MOST_FITTED, tiles.shape[0])
    members = np.empty((n_triplets, *tiles.shape[1:]), np.uint8)
    tiles.read(np.array([[0, n_triplets]]), members)
    return members.reshape(-1, *members.shape[2:])


def fit_embedding(encoder: Encoder, fitted: NDArray[np.uint8], *, n_dimensions: int) -> None:
    """Standardise and reduce by these tiles, which every process sees, so that all agree."""
    features = pool_tiles(encoder, fitted, device=compute_device())
    encoder.fit(torch.from_numpy(features), n_dimensions=n_dimensions)


def _refuse_shared_pixels(tiles: stores.TripletTiles) -> None:
    scene = tiles.members.scene.values
    if (elsewhere := scene[:, 0] != scene[:, 1]).any():
        raise ValueError(
            "train.loss relative_position asks where the neighbour is, and "
            f"{elsewhere.sum()} of {len(elsewhere)} neighbours are of another granule; set "
            "sample.neighbour_from.minutes to 0"
        )
    corners = np.stack([tiles.members.first_row, tiles.members.first_column], axis=-1)
    shared = overlap(corners[:, 0], corners[:, 1], tiles.tile_size)
    if shared.any():
        raise ValueError(
            "train.loss relative_position asks where the neighbour is, and "
            f"{(shared > 0).sum()} of {len(shared)} neighbours share pixels with their anchor, "
            "which give it away; set sample.nearest to 1 or more and sample.radius beyond it"
        )


def _label_anchors(
    params: TrainParams, scenes: Path, rejected: Path, tiles: stores.TripletTiles
) -> NDArray[np.int64] | None:
    """Number of each training anchor's label, -1 without one; None where no loss looks at them."""
    path = params.objective.labels
    if path == "none" or params.loss not in ("supcon", "distillation"):
        return None
    source = stores.open_product(scenes)
    shape = (source.sizes["row"], source.sizes["column"])
    granules = source.granule.values.tolist()
    given = read_labels(Path(path), rejected, granules=granules, scene_shape=shape)
    names = sorted(set(given.label))
    if params.loss == "distillation":
        taught = encoders.read_encoder(Path(params.objective.teacher))[1]["labels"]
        if unknown := [name for name in names if name not in taught]:
            raise ValueError(
                f"train.objective.labels has the label {unknown[0]!r}, of which the teacher does "
                "not know; run stage finetune on the same table"
            )
        names = taught
    place = [tiles.members[name].values[:, 0] for name in ("scene", "first_row", "first_column")]
    size = np.full(len(given.row), given.tile_size)
    labels = label_members(
        *(each.astype(np.int64) for each in place),
        tile_size=tiles.tile_size,
        marked_scene=given.scene,
        boxes=np.stack([given.row, given.column, size, size], axis=1),
        labels=np.array([names.index(label) for label in given.label]),
        shape=shape,
        min_share=LEAST_LABELLED,
        max_other_share=MOST_OTHER,
    )
    log.info("%d of %d anchors have a label", (labels >= 0).sum(), len(labels))
    return labels


def _read_teacher(params: TrainParams, n_channels: int) -> LabelNetwork | None:
    if params.loss != "distillation":
        return None
    if params.objective.teacher == "none":
        raise ValueError(
            "train.loss is distillation and train.objective.teacher is none; name the folder that "
            "stage finetune wrote"
        )
    folder = Path(params.objective.teacher)
    head = encoders.read_head(folder)
    weights, description = encoders.read_encoder(folder)
    if len(description["channels"]) != n_channels:
        raise ValueError(
            f"the teacher {folder} knows tiles of {len(description['channels'])} channels, the "
            f"triplets have {n_channels}; run stage finetune on these scenes"
        )
    return rebuild_label_network(weights, head, description)


def view_maker(
    params: TrainParams,
    triplets: xr.Dataset,
    members: xr.Dataset,
    labels: NDArray[np.int64] | None = None,
) -> ViewMaker:
    """What makes micro-batches of the training triplets, whose members these are."""
    return ViewMaker(
        objective=params.choice,
        augmentations=params.augmentations,
        equalised_share=params.shortcuts.equalised_share,
        scale=ColourScale(
            [str(name) for name in triplets.channel.values],
            triplets.minimum.values.tolist(),
            triplets.maximum.values.tolist(),
        ),
        members=members,
        labels=labels,
    )


def train_epoch(
    training: TrainingRun, params: TrainParams, tiles: stores.TripletTiles, views: ViewMaker
) -> float:
    """Train for one epoch; return the mean loss.

    All that is random is drawn from the seed, the epoch and the lane, so that a resumed run
    repeats it, and so do several processes.
    """
    sizes, lanes = _lanes(training, params, tiles, views)
    n_steps = len(sizes) * params.n_epochs
    before = training.epoch * len(sizes)
    warm_up = round(params.warm_up_share * n_steps)

    def rate(number: int) -> float:
        return learning_rate_factor(before + number, n_warm_up=warm_up, n_steps=n_steps)

    return engine.train_epoch(
        training.learner,
        training.network,
        training.optimizer,
        training.average,
        lanes,
        _shown(sizes, f"epoch {training.epoch + 1} of {params.n_epochs}"),
        n_triplets=tiles.shape[0],
        rate=rate,
        done=lambda number: (before + number + 1) / n_steps,
        max_gradient_norm=params.max_gradient_norm,
        check=lambda seen: check_collapse(collapse_measures(seen), params.least),
    )


def _lanes(
    training: TrainingRun, params: TrainParams, tiles: stores.TripletTiles, views: ViewMaker
) -> tuple[NDArray[np.int64], list[Iterator[MicroBatch]]]:
    """Triplets of each micro-batch of the coming epoch, (batch, lane), and this process's lanes."""
    sizes = lane.micro_batch_sizes(
        tiles.shape[0], n_lanes=params.micro_batches, batch_size=params.batch_size
    )
    lanes = [
        _micro_batches(params, tiles, views, training.epoch, number, sizes[:, number])
        for number in engine.own_lanes(params.micro_batches)
    ]
    return sizes, lanes


def _shown(sizes: NDArray[np.int64], description: str) -> Iterable[NDArray[np.int64]]:
    """The sizes of every batch, with a progress bar of the first process."""
    if rank():
        return sizes
    return progress(sizes, description, total=len(sizes), unit="batches")


def _micro_batches(
    params: TrainParams,
    tiles: stores.TripletTiles,
    views: ViewMaker,
    epoch: int,
    number: int,
    sizes: NDArray[np.int64],
) -> Iterator[MicroBatch]:
    """What one lane brings to each batch of an epoch."""
    rng = np.random.default_rng([params.seed, epoch, number])
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    spans = lane.lane_spans(
        tiles.shape[0],
        lane=number,
        n_lanes=params.micro_batches,
        chunk=stores.TRIPLETS_PER_CHUNK,
        rng=np.random.default_rng([params.seed, epoch]),
    )
    loaded = batches.shuffled_batches(
        tiles,
        spans=spans,
        sizes=sizes.tolist(),
        n_mixed=params.n_mixed // params.micro_batches,
        rng=rng,
    )
    device = compute_device()
    for batch in loaded:
        yield views.make(batch.triplets, engine.on_device(batch.tiles, device), generator)


def _judge(
    tiles: stores.TripletTiles, *, params: TrainParams, encoder: Encoder
) -> dict[str, float]:
    """How well triplets of days not trained on are told apart."""
    n_triplets = tiles.shape[0]
    firsts = np.arange(0, n_triplets, JUDGED_AT_ONCE)
    spans = np.stack([firsts, np.minimum(firsts + JUDGED_AT_ONCE, n_triplets)], axis=1)
    loaded = batches.ordered_batches(
        tiles, spans=spans[rank() :: n_processes()], batch_size=JUDGED_AT_ONCE
    )
    embeddings = engine.embed_triplets(
        encoder, ((batch.triplets, batch.tiles) for batch in loaded), n_triplets=n_triplets
    )
    return judge_triplets(
        embeddings, margin=params.objective.margin, distance=params.objective.distance
    )


def _log_epoch(written: Curves | None, entry: Mapping[str, float]) -> None:
    if written is None:
        return
    written.log(entry)
    log.info(
        "after epoch %d: validation loss %.4f, triplet accuracy %.4f, effective rank %.1f, "
        "participation ratio %.1f",
        entry["epoch"],
        entry["loss"],
        entry["triplet_accuracy"],
        entry["effective_rank"],
        entry["participation_ratio"],
    )


def _resume(training: TrainingRun, path: Path, fingerprint: str) -> None:
    """Bring `training` to the state of the checkpoint, unless it is of another run."""
    tensors, state = encoders.read_checkpoint(path)
    if state["fingerprint"] != fingerprint:
        log.info("%s is of another run; starting anew", path)
        return
    training.resume(tensors, state["history"])
    log.info("resuming after epoch %d", training.epoch)


def _days(triplets: xr.Dataset) -> dict[str, list[str]]:
    """The UTC days of each split."""
    days = triplets.time.values.astype("datetime64[D]").astype(str)
    return {name: sorted(set(days[triplets.split.values == name])) for name in SPLITS}


if __name__ == "__main__":
    stage.start(run, TrainParams)
