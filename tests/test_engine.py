import copy
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from pipeline.core import engine
from pipeline.core.encoder import Encoder, create_encoder
from pipeline.core.label_network import LabelNetwork
from pipeline.core.objective import learner as learners
from pipeline.core.objective.choice import HeadShape, Loss, Objective, create_learner
from pipeline.core.objective.learner import Learner, MicroBatch, ViewLearner
from pipeline.core.objective.triplet import triplet_loss

SIZES = np.array([[3, 5, 4, 2]])  # one batch of four lanes


def _criterion(vectors: Tensor, _: MicroBatch) -> Tensor:
    return triplet_loss(torch.nn.functional.normalize(vectors, dim=-1), margin=1.0)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    for module in (engine, learners):
        monkeypatch.setattr(module, "autocast", _in_full)
    return _untrained()


def _in_full(device: torch.device) -> torch.autocast:
    """So that gradients can be compared closely."""
    return torch.autocast(device.type, enabled=False)


def _untrained() -> Encoder:
    """In float64: a rectifier that rounding turns on or off would move a whole gradient."""
    return _create(n_channels=1)


def _create(n_channels: int) -> Encoder:
    encoder = create_encoder(
        backbone="test_resnet",
        layers=["layer2", "layer3"],
        pooling="mean_deviation",
        n_channels=n_channels,
        seed=0,
    )
    return encoder.double()


def _lanes() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(256, (size, 3, 1, 32, 32), generator=generator, dtype=torch.uint8)
        for size in SIZES[0]
    ]


def _train(encoder: Encoder, *, max_gradient_norm: float = 0.0) -> float:
    def micro_batches(members: Tensor) -> Iterator[MicroBatch]:
        yield MicroBatch(members)

    learner = ViewLearner(
        encoder, torch.nn.Identity(), _criterion, l2_penalty=0.0, local_weight=0.0
    )
    return engine.train_epoch(
        learner,
        engine.parallel(learner),
        torch.optim.SGD(encoder.parameters(), lr=1.0),
        AveragedModel(encoder),
        [micro_batches(_lanes()[number]) for number in engine.own_lanes(SIZES.shape[1])],
        SIZES,
        n_triplets=int(SIZES.sum()),
        rate=lambda _: 1.0,
        done=lambda _: 0.5,
        max_gradient_norm=max_gradient_norm,
        check=lambda _: None,
    )


def _step(before: Encoder, after: Encoder) -> Tensor:
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    return torch.cat([(first - second).detach().flatten() for first, second in pairs])


def test_lanes_add_up_to_the_gradient_of_the_batch(encoder: Encoder) -> None:
    before, by_hand = copy.deepcopy(encoder), copy.deepcopy(encoder).train()
    losses = []
    for members, size in zip(_lanes(), SIZES[0], strict=True):
        vectors = by_hand(members.flatten(0, 1), unit_length=False).unflatten(0, members.shape[:2])
        losses.append(_criterion(vectors, MicroBatch(members)) * int(size) / int(SIZES.sum()))
    total = torch.stack(losses).sum()
    total.backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in by_hand.parameters()])
    assert _train(encoder) == pytest.approx(float(total.detach()), rel=1e-5)
    torch.testing.assert_close(_step(before, encoder), expected, rtol=1e-3, atol=1e-4)


def test_statistics_are_the_mean_of_what_each_lane_would_leave(encoder: Encoder) -> None:
    left = []
    for members in _lanes():
        alone = copy.deepcopy(encoder).train()
        alone(members.flatten(0, 1))
        left.append(dict(alone.named_buffers()))
    _train(encoder)
    for name, found in encoder.named_buffers():
        if "running_" in name:
            expected = torch.stack([buffers[name] for buffers in left]).mean(dim=0)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_long_gradients_are_shortened(encoder: Encoder) -> None:
    before = copy.deepcopy(encoder)
    _train(encoder, max_gradient_norm=0.01)
    assert float(_step(before, encoder).norm()) == pytest.approx(0.01, rel=1e-3)


def _train_together(rank: int, folder: Path, max_gradient_norm: float) -> None:
    """One of two processes."""
    engine.autocast = learners.autocast = _in_full  # type: ignore[assignment]
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2
    )
    encoder = _untrained()
    loss = _train(encoder, max_gradient_norm=max_gradient_norm)
    torch.save([loss, encoder.state_dict()], folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "max_gradient_norm", [0.0, pytest.param(0.01, marks=pytest.mark.slow("matrix"))]
)
def test_two_processes_step_as_one_does(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_gradient_norm: float
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1])  # where processes find this module
    torch.multiprocessing.spawn(_train_together, (tmp_path, max_gradient_norm), nprocs=2)
    before = copy.deepcopy(encoder)
    loss = _train(encoder, max_gradient_norm=max_gradient_norm)
    for rank in (0, 1):
        together = copy.deepcopy(encoder)
        found, state = torch.load(tmp_path / f"{rank}.pt")
        together.load_state_dict(state)
        assert found == pytest.approx(loss, rel=1e-5)
        expected = _step(before, encoder)
        difference = (_step(before, together) - expected).norm() / expected.norm()
        assert float(difference) < 1e-3
        for name, value in encoder.named_buffers():
            torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-5)


SHAPE = HeadShape(n_layers=2, n_hidden=6, n_dimensions=4)
LOSSES = [name for part in get_args(Loss) for name in (get_args(part) or (part,))]


def _learner(loss: Loss) -> Learner:
    objective = Objective(
        loss=loss,
        views="neighbour",
        distance="euclidean",
        margin=1.0,
        negatives="batch",
        guard_hours=24.0,
        guard_km=1000.0,
        temperature=0.2,
        redundancy_weight=0.01,
        momentum=0.9,
        queue_length=24,
        n_prototypes=5,
        n_crops=0,
        teacher_weight=0.5,
        local_weight=0.0,
        retain_weight=0.0,
        l2_penalty=0.0,
    )
    encoder = _create(n_channels=2)
    teacher = LabelNetwork(encoder, n_labels=3)
    return create_learner(encoder, objective, SHAPE, n_channels=2, seed=0, teacher=teacher)


def _train_learner(learner: Learner, loss: Loss) -> float:
    """Two batches of two lanes."""
    sizes = np.array([[3, 4], [4, 3]])
    n_views = 3 if loss == "triplet" else 2

    def lane(number: int) -> Iterator[MicroBatch]:
        generator = torch.Generator().manual_seed(number)
        for size in sizes[:, number]:
            tiles = torch.randint(256, (size, n_views, 2, 32, 32), generator=generator).double()
            targets = torch.randint(3, (size,), generator=generator)
            if loss == "rotation":
                targets = targets[:, None].repeat(1, 2)
            elif loss == "colour":
                targets = torch.rand((size, 2, 128), generator=generator)
            allowed = torch.ones(size * n_views, size * n_views, dtype=torch.bool)
            hours = 48.0 * torch.arange(size)[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
            places = hours.expand(-1, n_views, -1)
            yield MicroBatch(tiles, targets=targets, may_be_negative=allowed, places=places)

    parameters = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    return engine.train_epoch(
        learner,
        engine.parallel(learner),
        torch.optim.SGD(parameters, lr=0.1),
        AveragedModel(learner.encoder),
        [lane(number) for number in engine.own_lanes(2)],
        sizes,
        n_triplets=int(sizes.sum()),
        rate=lambda _: 1.0,
        done=lambda _: 0.5,
        max_gradient_norm=0.0,
        check=lambda _: None,
    )


def _train_learners_together(rank: int, folder: Path) -> None:
    engine.autocast = learners.autocast = _in_full  # type: ignore[assignment]
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2
    )
    for loss in LOSSES:
        learner = _learner(loss)
        mean = _train_learner(learner, loss)
        torch.save([mean, learner.state_dict()], folder / f"{loss}_{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def trained_together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes make of every loss."""
    folder = tmp_path_factory.mktemp("together")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1])
        torch.multiprocessing.spawn(_train_learners_together, (folder,), nprocs=2)
    return folder


@pytest.mark.slow("matrix")
@pytest.mark.parametrize("loss", LOSSES)
def test_two_processes_learn_by_every_loss_what_one_does(
    trained_together: Path, monkeypatch: pytest.MonkeyPatch, loss: Loss
) -> None:
    monkeypatch.setattr(learners, "autocast", _in_full)
    learner = _learner(loss)
    mean = _train_learner(learner, loss)
    for rank in (0, 1):
        found, state = torch.load(trained_together / f"{loss}_{rank}.pt")
        assert found == pytest.approx(mean, rel=1e-5)
        for name, value in learner.state_dict().items():
            torch.testing.assert_close(
                state[name], value, rtol=1e-4, atol=1e-5, equal_nan=True, msg=name
            )


def test_weights_that_are_not_finite_are_refused(encoder: Encoder) -> None:
    with torch.no_grad():
        encoder.backbone.network.layer3[0].conv1.weight[0] = torch.inf
    with pytest.raises(
        ValueError, match=r"the weights are not finite at a learning rate of 1; lower"
    ):
        _train(encoder)


def test_embeddings_come_in_the_order_of_their_triplets(encoder: Encoder) -> None:
    members = _lanes()[1].numpy()
    parts = [np.array([4, 1]), np.array([0, 3, 2])]
    embeddings = engine.embed_triplets(
        encoder, ((rows, members[rows]) for rows in parts), n_triplets=5
    )
    with torch.inference_mode():
        expected = encoder.eval()(torch.from_numpy(members).flatten(0, 1)).unflatten(0, (5, 3))
    torch.testing.assert_close(embeddings, expected.float(), rtol=1e-4, atol=1e-5)
