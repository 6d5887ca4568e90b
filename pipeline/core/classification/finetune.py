"""Labels told by a network trained end to end, backbone and all."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn

from pipeline.core.augmentation import turn_and_flip
from pipeline.core.encoder import Encoder, autocast
from pipeline.core.label_network import LabelNetwork
from pipeline.core.schedule import learning_rate_factor

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]

TEST_BATCH = 256


@dataclass(frozen=True)
class FineTuning:
    """How a network is trained on labels.

    Attributes:
        n_epochs: Passes over the training tiles, each with fresh turns and flips.
        batch_size: Most tiles of a step, at least 4; an epoch's batches differ by one tile at most.
        learning_rate: Of the encoder at its highest; it warms up, then falls as a cosine.
        head_learning_rate: Of the head, likewise.
        weight_decay: Of AdamW.
        warm_up_share: Part of the steps over which the learning rates rise.
    """

    n_epochs: PositiveInt
    batch_size: Annotated[int, Field(ge=4)]
    learning_rate: PositiveFloat
    head_learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    warm_up_share: Annotated[float, Field(ge=0, lt=1)]


def probabilities_by_fine_tuning(
    encoder: Encoder,
    tiles: NDArray[np.uint8],
    labels: IntArray,
    train: IntArray,
    test: IntArray,
    *,
    settings: FineTuning,
    seed: int,
    device: torch.device,
) -> FloatArray:
    """Probability of each label of the tested tiles, (tested tile, label), as they come.

    They are of a copy of `encoder` fine-tuned on the training tiles, and not calibrated.

    Args:
        encoder: Where training starts; it stays as it is.
        tiles: Shape (tile, channel, row, column).
        labels: Number of each tile's label, shape (tile,).
        train: Indices of the training tiles, at least 2.
        test: Indices of the tested tiles.
        settings: How.
        seed: As of `fine_tune`.
        device: Where to compute.
    """
    network = fine_tune(
        encoder,
        tiles[train],
        labels[train],
        n_labels=int(labels.max()) + 1,
        settings=settings,
        seed=seed,
        device=device,
    )
    return tell_probabilities(network, tiles[test], device)


def fine_tune(
    encoder: Encoder,
    tiles: NDArray[np.uint8],
    labels: IntArray,
    *,
    n_labels: int,
    settings: FineTuning,
    seed: int,
    device: torch.device,
) -> LabelNetwork:
    """A copy of `encoder` with a linear head on its features, trained end to end on labelled tiles.

    Args:
        encoder: Where training starts; it stays as it is.
        tiles: At least 2, shape (tile, channel, row, column).
        labels: Number of each tile's label, shape (tile,).
        n_labels: There are.
        settings: How.
        seed: Order of the tiles, turns and flips.
        device: Where to compute.
    """
    network = LabelNetwork(encoder, n_labels=n_labels).to(device)
    groups = [
        {"params": network.encoder.parameters(), "lr": settings.learning_rate},
        {"params": network.head.parameters(), "lr": settings.head_learning_rate},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
    n_batches = math.ceil(len(tiles) / settings.batch_size)
    n_steps = settings.n_epochs * n_batches
    rate = partial(
        learning_rate_factor, n_warm_up=round(settings.warm_up_share * n_steps), n_steps=n_steps
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    generator = torch.Generator().manual_seed(seed)
    network.train()
    for _ in range(settings.n_epochs):
        order = torch.randperm(len(tiles), generator=generator).numpy()
        for batch in np.array_split(order, n_batches):
            batch_tiles = turn_and_flip(torch.from_numpy(tiles[batch]).to(device), generator)
            truth = torch.from_numpy(labels[batch]).to(device)
            with autocast(device):
                loss = nn.functional.cross_entropy(network(batch_tiles), truth)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    _settle_statistics(network, tiles, device)
    return network


def _settle_statistics(
    network: LabelNetwork, tiles: NDArray[np.uint8], device: torch.device
) -> None:
    """Take means and variances of batch normalisation from the training tiles anew.

    The running ones lag behind the weights, which shows after few steps.

    Source: Wu & Johnson (2021), arXiv:2105.07576.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # averages all batches alike
    n_batches = math.ceil(len(tiles) / TEST_BATCH)
    with torch.no_grad(), autocast(device):
        for batch in np.array_split(tiles, n_batches):
            network(torch.from_numpy(batch).to(device))


def tell_probabilities(
    network: LabelNetwork, tiles: NDArray[np.uint8], device: torch.device
) -> FloatArray:
    """Probability of each label, (tile, label)."""
    network.to(device).eval()
    with torch.inference_mode(), autocast(device):
        found = [
            network(batch.to(device)).softmax(dim=1).cpu()
            for batch in torch.from_numpy(tiles).split(TEST_BATCH)
        ]
    return torch.cat(found).numpy()
