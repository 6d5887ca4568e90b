"""The training engine: the steps of an epoch, and triplets embedded in their order.

A batch is put together from lanes (`pipeline.core.lane`). A process adds up the gradients of its
lanes, and several processes add up theirs, so that neither changes more than the rounding: batch
normalisation sees one lane at a time, and what it learns of the mean and variance for later is
averaged over the lanes at the end of each epoch.

On a CPU a process computes its lanes side by side, in a thread each. Threads that share every layer
of one lane wait for each other hundreds of times a step, for milliseconds each where other
processes use the cores as well; lanes meet once a step.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from pipeline.core.encoder import Encoder, autocast
from pipeline.core.objective.learner import Learner, MicroBatch, Step
from pipeline.core.processes import n_processes, rank, summed
from pipeline.core.threads import sharing_cores, side_by_side

# Makes a step of every lane, whose gradients add up, weighted by its share of the batch.
TakeSteps = Callable[[Sequence[float]], list[Step]]

CHECK_EVERY = 200  # batches


def own_lanes(n_lanes: int) -> list[int]:
    """The lanes of this process.

    Raises:
        ValueError: If the processes cannot share them equally.
    """
    if n_lanes % n_processes():
        raise ValueError(
            f"{n_processes()} processes cannot share the {n_lanes} micro-batches of a batch; let "
            f"train.micro_batches be {n_processes()} or a multiple of it"
        )
    return list(range(rank(), n_lanes, n_processes()))


def parallel(learner: Learner) -> nn.Module:
    """`learner` as it is trained: compiled on CUDA, and in step with other processes."""
    device = next(learner.parameters()).device
    if device.type == "cuda":
        learner.encoder.compile(dynamic=False)
    if n_processes() == 1:
        return learner
    ids = [device.index] if device.type == "cuda" else None
    with warnings.catch_warnings():
        # The argument has a successor, which older versions of torch do not know.
        warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
        return DistributedDataParallel(learner, device_ids=ids, broadcast_buffers=False)


def train_epoch(
    learner: Learner,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: AveragedModel,
    lanes: Sequence[Iterator[MicroBatch]],
    batches: Iterable[NDArray[np.int64]],
    *,
    n_triplets: int,
    rate: Callable[[int], float],
    done: Callable[[int], float],
    max_gradient_norm: float,
    check: Callable[[Tensor], None],
) -> float:
    """Train for an epoch; return the mean loss of a triplet.

    Args:
        learner: What is trained.
        network: `parallel` of it.
        optimizer: Of its parameters.
        average: Of the encoder's weights over the steps; takes up each of them.
        lanes: Micro-batches of each lane of this process.
        batches: Triplets of each micro-batch, those of every lane of all processes, (lane,) each.
        n_triplets: Of the epoch.
        rate: Factor of the learning rates that the optimizer began with, of the batch with this
            number.
        done: Share of all steps of the run that are done after it.
        max_gradient_norm: Longer gradients are shortened to it; 0 for none.
        check: Raises when embeddings (tile, dimension) are of no use; sees those of this process,
            of unit length, in every so many batches.

    Raises:
        ValueError: If the weights are no longer finite.
    """
    learner.train()
    device = next(learner.parameters()).device
    in_threads = device.type == "cpu" and n_processes() == 1 and len(lanes) > 1
    started = _in_threads(learner, lanes) if in_threads else _in_turn(learner, network, lanes)
    total = torch.zeros((), device=device, dtype=torch.float64)
    with started as take_steps:
        for number, sizes in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * rate(number)
            optimizer.zero_grad()
            own_sizes = sizes[rank() :: n_processes()]
            # Processes take the mean of their gradients, where the sum is meant.
            steps = take_steps((n_processes() * own_sizes / sizes.sum()).tolist())
            for step, size in zip(steps, own_sizes, strict=True):
                total += step.loss.detach() * int(size)
            if max_gradient_norm:
                nn.utils.clip_grad_norm_(learner.parameters(), max_gradient_norm)
            optimizer.step()
            average.update_parameters(learner.encoder)
            learner.after_step(_gather([step.keys for step in steps], sizes), done(number))
            if (number + 1) % CHECK_EVERY == 0:
                seen = torch.cat([step.features.detach().flatten(0, 1) for step in steps])
                check(nn.functional.normalize(seen, dim=1))
    if not all(parameter.isfinite().all() for parameter in learner.parameters()):
        rate_of_encoder = optimizer.param_groups[0]["lr"]
        raise ValueError(
            f"the weights are not finite at a learning rate of {rate_of_encoder:.2g}; lower "
            "train.learning_rate or head_learning_rate"
        )
    return float(summed(total) / n_triplets)


def embed_triplets(
    encoder: Encoder,
    batches: Iterable[tuple[NDArray[np.int64], NDArray[np.uint8]]],
    *,
    n_triplets: int,
) -> Tensor:
    """Embeddings of unit length (triplet, member, dimension), without gradients, on the CPU.

    Args:
        encoder: Put in evaluation mode here.
        batches: Numbers of triplets, and their tiles (triplet, member, channel, row, column); each
            process brings a part of them.
        n_triplets: Of all processes.
    """
    encoder.eval()
    device = next(encoder.parameters()).device
    embeddings = torch.zeros((n_triplets, 3, encoder.n_dimensions), device=device)

    def embed(batch: tuple[NDArray[np.int64], NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
        triplets, tiles = batch
        with torch.inference_mode(), autocast(device):
            members = on_device(tiles, device)
            vectors = encoder(members.flatten(0, 1)).float().unflatten(0, members.shape[:2])
        return torch.from_numpy(triplets).to(device), vectors

    for triplets, vectors in side_by_side(embed, batches, device):
        embeddings[triplets] = vectors
    return summed(embeddings).cpu()


def on_device(tiles: NDArray[np.uint8], device: torch.device) -> Tensor:
    """A copy on `device`, which goes on beside what that computes."""
    members = torch.from_numpy(tiles)
    return members.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else members


def _gather(keys: Sequence[Tensor | None], sizes: NDArray[np.int64]) -> Tensor | None:
    """What every lane of all processes made for `Learner.after_step`, in the lanes' order."""
    if keys[0] is None:
        return None
    gathered = keys[0].new_zeros((int(sizes.sum()), *keys[0].shape[1:]))
    parts = gathered.split(sizes.tolist())
    for part, own in zip(parts[rank() :: n_processes()], keys, strict=True):
        assert own is not None
        part.copy_(own)
    return summed(gathered)


@contextmanager
def _in_turn(
    learner: Learner, network: nn.Module, lanes: Sequence[Iterator[MicroBatch]]
) -> Iterator[TakeSteps]:
    """Lanes one after the other, each with statistics of batch normalisation of its own."""
    statistics = _statistics(learner)
    chains = [[statistic.clone() for statistic in statistics] for _ in lanes]

    def take_steps(shares: Sequence[float]) -> list[Step]:
        steps = []
        for lane, share, chain in zip(lanes, shares, chains, strict=True):
            batch = next(lane)
            _assign(statistics, chain)
            with _in_step(network, last=lane is lanes[-1]):
                step: Step = network(batch)
                (step.loss * share).backward()
            _assign(chain, statistics)
            steps.append(step)
        return steps

    yield take_steps
    _average(statistics, chains)


@contextmanager
def _in_threads(learner: Learner, lanes: Sequence[Iterator[MicroBatch]]) -> Iterator[TakeSteps]:
    """Lanes in a thread each, where all but the first have a twin of the learner."""
    twins = [learner, *(_twin(learner) for _ in lanes[1:])]
    parameters = [list(twin.parameters()) for twin in twins]

    def take_step(twin: Learner, lane: Iterator[MicroBatch], share: float) -> Step:
        step: Step = twin(next(lane))
        (step.loss * share).backward()
        return step

    def take_steps(shares: Sequence[float]) -> list[Step]:
        for first, *others in zip(*parameters, strict=True):
            for other in others:
                other.data = first.data
        steps = list(threads.map(take_step, twins, lanes, shares))
        for first, *others in zip(*parameters, strict=True):
            for other in others:
                if other.grad is not None:
                    first.grad = other.grad if first.grad is None else first.grad + other.grad
                other.grad = None
        return steps

    with sharing_cores(len(lanes)) as threads:
        yield take_steps
    _average(_statistics(learner), [_statistics(twin) for twin in twins])


def _twin(learner: Learner) -> Learner:
    """A copy that has all but the statistics of batch normalisation in common with `learner`."""
    own = {id(statistic) for statistic in _statistics(learner)}
    common = {id(each): each for each in learner.buffers() if id(each) not in own}
    return deepcopy(learner, dict(common))


def _statistics(network: nn.Module) -> list[Tensor]:
    """Means and variances that batch normalisation has gathered."""
    return [
        buffer
        for layer in network.modules()
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
        for buffer in layer.buffers()
    ]


def _assign(targets: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for target, value in zip(targets, values, strict=True):
        target.copy_(value)


def _average(statistics: Sequence[Tensor], chains: Sequence[Sequence[Tensor]]) -> None:
    """Over the lanes of all processes; the mean of running averages is one itself."""
    n_lanes = len(chains) * n_processes()
    for statistic, values in zip(statistics, zip(*chains, strict=True), strict=True):
        statistic.copy_(summed(torch.stack(values).sum(dim=0)) / n_lanes)


def _in_step(network: nn.Module, *, last: bool) -> AbstractContextManager[None]:
    """Gradients are exchanged with other processes once a batch."""
    if last or not isinstance(network, DistributedDataParallel):
        return nullcontext()
    return network.no_sync()
