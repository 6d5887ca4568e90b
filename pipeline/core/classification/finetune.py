"""Labels predicted by a network trained end to end, backbone and all."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pipeline.core.augmentation import turn_and_flip
from pipeline.core.averaging import running_mean
from pipeline.core.classification.calibration import fit_temperature
from pipeline.core.classification.probe import fit_probe
from pipeline.core.encoder import Encoder, autocast, pool_tiles
from pipeline.core.label_network import LabelNetwork
from pipeline.core.schedule import learning_rate_factor
from pipeline.core.tile import orientations

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Tiles = NDArray[np.uint8]

TEST_BATCH = 256
STRENGTHS = (1.0, 10.0, 100.0, 1000.0)  # of the regularisation of the first, linear classifier
UNKNOWN = -20.0  # score of a label that was not trained on
Fraction = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class FineTuning:
    """How a network is trained on labels.

    Attributes:
        n_epochs: Passes over the training tiles, each with fresh turns and flips, at most.
        batch_size: Most tiles of a step, at least 4; an epoch's batches differ by one tile at most.
        learning_rate: Of the last layer at its highest; it warms up, then falls as a cosine.
        layer_decay: Factor of the learning rate from one layer to the one before.
        head_learning_rate: Of the head.
        weight_decay: Of AdamW.
        warm_up_share: Part of the steps over which the learning rates rise.
        label_smoothing: Fraction of each label's probability that is spread over all labels.
        averaging: Fraction of the mean of the weights that stays in a step.
        validation_share: Of the days, set aside to stop by and to calibrate with; 0 for none.
        patience: Epochs without a lower loss on these days, after which training stops.
        orientations: Of a tile, over which probabilities are averaged.
    """

    n_epochs: PositiveInt
    batch_size: Annotated[int, Field(ge=4)]
    learning_rate: PositiveFloat
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    head_learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat
    warm_up_share: Fraction
    label_smoothing: Fraction
    averaging: Fraction
    validation_share: Fraction
    patience: PositiveInt
    orientations: Literal[1, 4, 8]


def probabilities_by_fine_tuning(
    encoder: Encoder,
    tiles: Tiles,
    labels: IntArray,
    days: IntArray,
    train: IntArray,
    test: IntArray,
    *,
    settings: FineTuning,
    seed: int,
    device: torch.device,
) -> FloatArray:
    """Probability of each label of the tested tiles, (tested tile, label).

    They are of a copy of `encoder` fine-tuned on the training tiles.

    Args:
        encoder: Where training starts; it stays as it is.
        tiles: Shape (tile, channel, row, column).
        labels: Number of each tile's label, shape (tile,).
        days: Number of each tile's day, shape (tile,).
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
        days[train],
        n_labels=int(labels.max()) + 1,
        settings=settings,
        seed=seed,
        device=device,
    )
    return predict_probabilities(network, tiles[test], device, n_orientations=settings.orientations)


def fine_tune(
    encoder: Encoder,
    tiles: Tiles,
    labels: IntArray,
    days: IntArray,
    *,
    n_labels: int,
    settings: FineTuning,
    seed: int,
    device: torch.device,
) -> LabelNetwork:
    """A copy of `encoder` with a linear head on its features, trained end to end on labelled tiles.

    The head starts from logistic regression on the features as they are, so that the encoder is not
    pulled about by an untrained head (Kumar et al. 2022, arXiv:2202.10054); earlier layers learn
    more slowly (Howard & Ruder 2018, doi:10.18653/v1/P18-1031). The mean of the weights is kept, of
    the epoch that predicts labels of days set aside best, which also calibrate the probabilities.

    Args:
        encoder: Where training starts; it stays as it is.
        tiles: At least 2, shape (tile, channel, row, column).
        labels: Number of each tile's label, shape (tile,).
        days: Number of each tile's day, shape (tile,).
        n_labels: There are.
        settings: How.
        seed: Days set aside, order of the tiles, turns and flips.
        device: Where to compute.
    """
    aside = _set_aside(labels, days, settings.validation_share, seed)
    seen = np.flatnonzero(~aside)
    network = LabelNetwork(encoder, n_labels=n_labels).to(device)
    _start_from_probe(network, tiles[seen], labels[seen], days[seen], device)
    average = AveragedModel(network, avg_fn=running_mean(settings.averaging))
    best = copy.deepcopy(network.state_dict())  # of the probe, which may be the best already
    least, n_worse = _loss(network, tiles[aside], labels[aside], device), 0
    for _ in _epochs(network, average, tiles[seen], labels[seen], settings, seed, device):
        loss = _loss(average.module, tiles[aside], labels[aside], device)
        n_worse = 0 if loss < least or not aside.any() else n_worse + 1
        if not n_worse:
            least, best = loss, copy.deepcopy(average.module.state_dict())
        if n_worse == settings.patience:
            break
    network.load_state_dict(best)
    if aside.any():
        scores = _scores(network, tiles[aside], device, n_orientations=settings.orientations)
        network.temperature.fill_(fit_temperature(scores.double().numpy(), labels[aside]))
    return network


def _set_aside(labels: IntArray, days: IntArray, share: float, seed: int) -> BoolArray:
    """Tiles (tile,) of so many of the days, if every label is left on others."""
    found = np.unique(days)
    drawn = np.random.default_rng(seed).permutation(found)[: round(share * len(found))]
    aside = np.isin(days, drawn)
    is_left = np.isin(labels[aside], labels[~aside]).all() and len(np.unique(labels[~aside])) > 1
    return aside if is_left else np.zeros_like(aside)


def _start_from_probe(
    network: LabelNetwork, tiles: Tiles, labels: IntArray, days: IntArray, device: torch.device
) -> None:
    """Let the network predict what logistic regression on the features of its encoder does."""
    features = pool_tiles(network.encoder, tiles, device=device)
    n_labels = network.head.out_features
    probe = fit_probe(features, labels, days, n_labels=n_labels, strengths=STRENGTHS)
    state = {
        "standardise.running_mean": probe.mean,
        "standardise.running_var": probe.deviation**2,
        "head.weight": probe.weights,
        "head.bias": np.maximum(probe.intercept, UNKNOWN),
    }
    given = {name: torch.from_numpy(np.asarray(value)) for name, value in state.items()}
    network.load_state_dict({**network.state_dict(), **given})


def _epochs(
    network: LabelNetwork,
    average: AveragedModel,
    tiles: Tiles,
    labels: IntArray,
    settings: FineTuning,
    seed: int,
    device: torch.device,
) -> Iterator[None]:
    """Train for an epoch at a time."""
    groups = param_groups_layer_decay(
        network.encoder.backbone.network,
        weight_decay=settings.weight_decay,
        layer_decay=settings.layer_decay,
    )
    for group in groups:
        group["lr"] = settings.learning_rate * group.pop("lr_scale")
    groups.append({"params": network.head.parameters(), "lr": settings.head_learning_rate})
    optimiser = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
    n_batches = math.ceil(len(tiles) / settings.batch_size)
    n_steps = settings.n_epochs * n_batches
    rate = partial(
        learning_rate_factor, n_warm_up=round(settings.warm_up_share * n_steps), n_steps=n_steps
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    generator = torch.Generator().manual_seed(seed)
    criterion = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
    for _ in range(settings.n_epochs):
        network.train()
        order = torch.randperm(len(tiles), generator=generator).numpy()
        for batch in np.array_split(order, n_batches):
            batch_tiles = turn_and_flip(torch.from_numpy(tiles[batch]).to(device), generator)
            truth = torch.from_numpy(labels[batch]).to(device)
            with autocast(device):
                loss = criterion(network(batch_tiles), truth)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            average.update_parameters(network)
        yield


def _loss(network: nn.Module, tiles: Tiles, labels: IntArray, device: torch.device) -> float:
    """Cross-entropy of the labels once probabilities are calibrated; infinite for no tile."""
    if not len(tiles):
        return math.inf
    scores = _scores(network, tiles, device, n_orientations=1)
    scores = scores / fit_temperature(scores.double().numpy(), labels)
    return float(nn.functional.cross_entropy(scores, torch.from_numpy(labels)))


def predict_probabilities(
    network: LabelNetwork, tiles: Tiles, device: torch.device, *, n_orientations: int = 1
) -> FloatArray:
    """Probability of each label, (tile, label), by the mean scores over orientations."""
    scores = _scores(network.to(device), tiles, device, n_orientations=n_orientations)
    return (scores / network.temperature.cpu()).softmax(dim=1).numpy()


def _scores(
    network: nn.Module, tiles: Tiles, device: torch.device, *, n_orientations: int
) -> Tensor:
    """Mean scores over orientations, (tile, label), on the CPU."""
    network.eval()
    found = []
    with torch.inference_mode(), autocast(device):
        for turned in orientations(tiles)[:n_orientations]:
            batches = torch.from_numpy(np.ascontiguousarray(turned)).split(TEST_BATCH)
            found.append(torch.cat([network(batch.to(device)).cpu() for batch in batches]))
    return torch.stack(found).mean(dim=0)
