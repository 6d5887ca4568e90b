"""Stage train: triplets → encoder."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import xarray as xr
from dvclive import Live
from pydantic import Field
from torch import Tensor

from pipeline.core.encoder import Encoder, autocast, compute_device, create_encoder, turn_and_flip
from pipeline.core.objective import judge_triplets, learning_rate_factor, triplet_loss
from pipeline.core.triplet import SPLITS
from pipeline.files import batches, encoders, stage, stores
from pipeline.files.progress import progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainParams:
    """Section `train` of params.yaml."""

    backbone: str
    n_dimensions: Annotated[int, Field(gt=0)]
    margin: Annotated[float, Field(gt=0)]
    n_epochs: Annotated[int, Field(gt=0)]
    batch_size: Annotated[int, Field(gt=1)]
    shards_in_memory: Annotated[int, Field(gt=0)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    warm_up_share: Annotated[float, Field(ge=0, lt=1)]
    seed: int


@dataclass
class _Run:
    """A training run at the end of an epoch."""

    encoder: Encoder
    optimizer: torch.optim.AdamW
    epoch: int
    history: list[dict[str, float]]


def run(
    params: TrainParams,
    triplets: Path,
    encoder: Path,
    curves: Path,
    metrics: Path,
    checkpoint: Path,
) -> None:
    """Train an encoder on `triplets`; a run that was killed goes on from its last epoch."""
    root = stores.open_product(triplets)
    channels = [str(name) for name in stores.open_product(triplets, "train").channel.values]
    fingerprint = _fingerprint(params, root)
    device = compute_device()
    training = _start(params, len(channels), device)
    if checkpoint.exists():
        _resume(training, checkpoint, fingerprint)
    if not training.history:
        training.history.append(_judge(training, triplets, "validation", params.margin, device))
    with Live(str(curves), save_dvc_exp=False, dvcyaml=None, report=None) as live:
        for entry in training.history:
            _log_epoch(live, entry)
        while training.epoch < params.n_epochs:
            train_loss = _train_epoch(training, params, triplets, device)
            judged = _judge(training, triplets, "validation", params.margin, device)
            training.history.append({**judged, "train_loss": train_loss})
            _log_epoch(live, training.history[-1])
            _write_checkpoint(training, checkpoint, fingerprint)
    results = {
        "untrained": training.history[0],
        "validation": training.history[-1],
        "test": _judge(training, triplets, "test", params.margin, device),
    }
    description = {
        "backbone": params.backbone,
        "channels": channels,
        "n_dimensions": params.n_dimensions,
        "tile_size": int(root.attrs["tile_size"]),
        "days": _days(root),
        "results": results,
        "parameters": dataclasses.asdict(params),
        "sample_parameters": json.loads(root.attrs["parameters"]),
    }
    encoders.write_encoder(encoder, training.encoder.state_dict(), description)
    stores.write_json(metrics, results)
    checkpoint.unlink(missing_ok=True)


def _start(params: TrainParams, n_channels: int, device: torch.device) -> _Run:
    encoder = create_encoder(
        backbone=params.backbone,
        n_channels=n_channels,
        n_dimensions=params.n_dimensions,
        seed=params.seed,
    ).to(device)
    optimizer = torch.optim.AdamW(
        encoder.parameters(),
        lr=params.learning_rate,
        weight_decay=params.weight_decay,
        fused=True,
    )
    return _Run(encoder, optimizer, 0, [])


def _train_epoch(
    training: _Run, params: TrainParams, triplets: Path, device: torch.device
) -> float:
    """Train for one epoch; return the mean loss.

    All that is random is drawn from the seed and the epoch, so that a resumed run repeats it.
    """
    tiles = stores.open_tiles(triplets, "train")
    n_triplets = tiles.shape[0]
    n_batches = -(-n_triplets // params.batch_size)
    n_steps = n_batches * params.n_epochs
    rng = np.random.default_rng([params.seed, training.epoch])
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    loaded = batches.shuffled_batches(
        tiles,
        batch_size=params.batch_size,
        shards_in_memory=params.shards_in_memory,
        rng=rng,
    )
    description = f"epoch {training.epoch + 1} of {params.n_epochs}"
    training.encoder.train()
    losses = []
    for number, batch in enumerate(progress(loaded, description, total=n_batches, unit="batches")):
        factor = learning_rate_factor(
            training.epoch * n_batches + number,
            n_warm_up=round(params.warm_up_share * n_steps),
            n_steps=n_steps,
        )
        for group in training.optimizer.param_groups:
            group["lr"] = params.learning_rate * factor
        members = torch.from_numpy(batch).to(device, non_blocking=True)
        augmented = turn_and_flip(members.flatten(0, 1), generator)  # (tile, channel, row, column)
        with autocast(device):
            embeddings = training.encoder(augmented)
        loss = triplet_loss(embeddings.unflatten(0, members.shape[:2]), margin=params.margin)
        training.optimizer.zero_grad()
        loss.backward()
        training.optimizer.step()
        losses.append(loss.detach() * len(batch))
    training.epoch += 1
    if not all(parameter.isfinite().all() for parameter in training.encoder.parameters()):
        raise ValueError(
            f"the weights are not finite after epoch {training.epoch}; lower "
            f"train.learning_rate from {params.learning_rate}"
        )
    return float(torch.stack(losses).sum() / n_triplets)


def _judge(
    training: _Run, triplets: Path, split: str, margin: float, device: torch.device
) -> dict[str, float]:
    """How well triplets of days not trained on are told apart."""
    training.encoder.eval()
    embedded: list[Tensor] = []
    with torch.inference_mode(), autocast(device):
        for batch in batches.ordered_batches(stores.open_tiles(triplets, split)):
            for part in torch.from_numpy(batch).split(128):
                members = part.to(device)
                embeddings = training.encoder(members.flatten(0, 1))
                embedded.append(embeddings.unflatten(0, members.shape[:2]).cpu())
    return {
        "epoch": training.epoch,
        **judge_triplets(torch.cat(embedded), margin=margin),
    }


def _log_epoch(live: Live, entry: Mapping[str, float]) -> None:
    live.step = int(entry["epoch"])
    for name, value in entry.items():
        if name != "epoch":
            live.log_metric(name if name == "train_loss" else f"validation_{name}", value)
    live.make_summary()
    log.info(
        "after epoch %d: validation loss %.4f, triplet accuracy %.4f, effective rank %.1f",
        entry["epoch"],
        entry["loss"],
        entry["triplet_accuracy"],
        entry["effective_rank"],
    )


def _fingerprint(params: TrainParams, triplets: xr.Dataset) -> str:
    """Changes with anything that would make a checkpoint part of another run."""
    made_by = [dataclasses.asdict(params), dict(triplets.attrs), triplets.granule.values.tolist()]
    return hashlib.sha256(json.dumps(made_by, default=str).encode()).hexdigest()


def _write_checkpoint(training: _Run, path: Path, fingerprint: str) -> None:
    tensors = {f"encoder.{name}": value for name, value in training.encoder.state_dict().items()}
    for index, values in training.optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{name}": value for name, value in values.items()})
    state = {
        "fingerprint": fingerprint,
        "epoch": training.epoch,
        "history": training.history,
    }
    encoders.write_checkpoint(path, tensors, state)


def _resume(training: _Run, path: Path, fingerprint: str) -> None:
    """Bring `training` to the state of the checkpoint, unless it is of another run."""
    tensors, state = encoders.read_checkpoint(path)
    if state["fingerprint"] != fingerprint:
        log.info("%s is of another run; starting anew", path)
        return
    training.encoder.load_state_dict(
        {
            name.removeprefix("encoder."): value
            for name, value in tensors.items()
            if name.startswith("encoder.")
        }
    )
    parameters = list(training.encoder.parameters())
    optimizer_state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            # The fused step walks through memory, so moments must lie as their parameters do.
            like = parameters[int(index)]
            laid_out = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            optimizer_state.setdefault(int(index), {})[key] = laid_out
    groups = training.optimizer.state_dict()["param_groups"]
    training.optimizer.load_state_dict({"state": optimizer_state, "param_groups": groups})
    training.epoch, training.history = state["epoch"], state["history"]
    log.info("resuming after epoch %d", training.epoch)


def _days(triplets: xr.Dataset) -> dict[str, list[str]]:
    """The UTC days of each split."""
    days = triplets.time.values.astype("datetime64[D]").astype(str)
    return {name: sorted(set(days[triplets.split.values == name])) for name in SPLITS}


if __name__ == "__main__":
    stage.start(run, TrainParams)
