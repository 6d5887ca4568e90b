import copy
import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.core.encoder import Encoder, create_encoder
from pipeline.core.label_network import LabelNetwork
from pipeline.core.objective import choice
from pipeline.core.objective import learner as learners
from pipeline.core.objective.choice import HeadShape, Objective, check_objective, create_learner
from pipeline.core.objective.learner import MicroBatch
from pipeline.core.objective.momentum import Byol, Dino, Moco
from pipeline.core.objective.pretext import COLOUR_GRID, directions, take_colour, turn
from pipeline.core.objective.prototypes import Swav
from pipeline.core.objective.queue import far_apart

N_DIMENSIONS = 6
LOSSES = [name for part in get_args(choice.Loss) for name in (get_args(part) or (part,))]
SHAPES = {
    "linear": HeadShape(n_layers=1, n_hidden=7, n_dimensions=N_DIMENSIONS),
    "hidden": HeadShape(n_layers=2, n_hidden=7, n_dimensions=N_DIMENSIONS),
}


def _objective(loss: choice.Loss, **changes: object) -> Objective:
    usual = {
        "views": "neighbour",
        "distance": "euclidean",
        "margin": 1.0,
        "negatives": "distant",
        "guard_hours": 24.0,
        "guard_km": 1000.0,
        "temperature": 0.2,
        "redundancy_weight": 0.01,
        "momentum": 0.9,
        "queue_length": 8,
        "n_prototypes": 5,
        "n_crops": 0,
        "teacher_weight": 1.0,
        "local_weight": 0.0,
        "retain_weight": 0.0,
        "l2_penalty": 0.0,
    }
    return Objective(loss=loss, **{**usual, **changes})  # type: ignore[arg-type]


def _encoder() -> Encoder:
    return create_encoder(
        backbone="test_resnet",
        layers=["layer2", "layer3"],
        pooling="mean_deviation",
        n_channels=2,
        seed=0,
    )


def _learner(loss: choice.Loss, shape: str = "hidden", **changes: object) -> learners.Learner:
    outline = SHAPES[shape]
    objective = _objective(loss, **changes)
    learner = create_learner(
        _encoder(), objective, outline, n_channels=2, seed=0, teacher=_teacher()
    )
    return learner.train()


def _teacher() -> LabelNetwork:
    torch.manual_seed(5)
    network = LabelNetwork(_encoder(), n_labels=3)
    torch.nn.init.normal_(network.head.weight)
    return network


def _tiles(n_triplets: int, n_views: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (n_triplets, n_views, 2, 32, 32)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def _batch(loss: choice.Loss, seed: int = 0) -> MicroBatch:
    objective = _objective(loss)
    tiles = _tiles(4, objective.n_views, seed)
    generator = torch.Generator().manual_seed(seed)
    match loss:
        case "rotation":
            return MicroBatch(*_shown(*turn(tiles, generator)))
        case "relative_position":
            return MicroBatch(tiles, targets=torch.tensor([0, 3, 5, 7]))
        case "colour":
            return MicroBatch(*_shown(*take_colour(tiles)))
        case "moco":
            return MicroBatch(tiles, places=torch.zeros(4, 2, 3))
    return MicroBatch(tiles)


def _shown(tiles: Tensor, targets: Tensor) -> tuple[Tensor, None, Tensor]:
    return tiles, None, targets


@pytest.fixture(autouse=True)
def _in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        learners, "autocast", lambda device: torch.autocast(device.type, enabled=False)
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_reaches_every_weight(loss: choice.Loss, shape: str) -> None:
    learner = _learner(loss, shape)
    step = learner(_batch(loss))
    step.loss.backward()
    assert step.loss.ndim == 0
    assert step.features.shape[2] == learner.encoder.width
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
    assert any((parameter.grad != 0).any() for parameter in learner.encoder.parameters())


@pytest.mark.parametrize("loss", LOSSES)
def test_steps_of_every_loss_lower_it(loss: choice.Loss) -> None:
    learner = _learner(loss)
    batch = _batch(loss)
    if isinstance(learner, Dino):  # until the mean is found, all answers are alike
        for _ in range(50):
            learner.after_step(learner(batch).keys, 1.0)
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        step = learner(batch)
        step.loss.backward()
        optimizer.step()
        if loss != "moco":  # whose queue would fill with the batch itself
            learner.after_step(step.keys, 0.0)
        losses.append(float(step.loss.detach()))
    assert np.mean(losses[-3:]) < losses[0]


@pytest.mark.parametrize(("shape", "n_linear"), [("linear", 1), ("hidden", 2)])
def test_the_head_lies_between_features_and_loss(shape: str, n_linear: int) -> None:
    learner = _learner("nt_xent", shape)
    step = learner(_batch("nt_xent"))
    assert step.features.shape == (4, 2, learner.encoder.width)
    linear = [layer for layer in learner.head.modules() if isinstance(layer, torch.nn.Linear)]
    assert len(linear) == n_linear
    assert learner.project(_tiles(2, 2))[1].shape == (2, 2, N_DIMENSIONS)


def test_one_seed_gives_the_same_learner_and_leaves_the_global_state() -> None:
    state = torch.get_rng_state()
    first, second = _learner("moco").state_dict(), _learner("moco").state_dict()
    assert torch.equal(state, torch.get_rng_state())
    assert "queue.bank" in first
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0, equal_nan=True)


def test_the_length_of_outputs_is_penalised() -> None:
    plain, penalised = _learner("nt_xent"), _learner("nt_xent", l2_penalty=0.5)
    batch = _batch("nt_xent")
    outputs = plain.project(batch.tiles)[1]
    expected = 0.5 * outputs.square().sum(dim=-1).mean()
    difference = penalised(batch).loss - plain(batch).loss
    torch.testing.assert_close(difference, expected, rtol=1e-3, atol=1e-4)


def test_barlow_twins_is_the_plain_formula() -> None:
    learner = _learner("barlow_twins")
    batch = _batch("barlow_twins")
    outputs = learner.project(batch.tiles)[1].detach().numpy()
    mean, deviation = outputs.mean(axis=0), outputs.std(axis=0)
    first, second = ((outputs - mean) / np.sqrt(deviation**2 + 1e-5)).transpose(1, 0, 2)
    expected = 0.0
    for i in range(N_DIMENSIONS):
        for j in range(N_DIMENSIONS):
            correlation = float((first[:, i] * second[:, j]).mean())
            expected += (1 - correlation) ** 2 if i == j else 0.01 * correlation**2
    assert float(learner(batch).loss.detach()) == pytest.approx(expected, rel=1e-4)


def test_vicreg_is_the_plain_formula() -> None:
    learner = _learner("vicreg")
    batch = _batch("vicreg")
    first, second = learner.project(batch.tiles)[1].detach().numpy().transpose(1, 0, 2)
    expected = 25 * np.square(first - second).mean()
    for view in (first, second):
        deviation = np.sqrt(view.var(axis=0, ddof=1) + 1e-4)
        expected += 25 * np.maximum(0, 1 - deviation).mean() / 2
        covariance = np.cov(view.T)
        expected += np.square(covariance - np.diag(covariance.diagonal())).sum() / N_DIMENSIONS
    assert float(learner(batch).loss.detach()) == pytest.approx(expected, rel=1e-3)


def test_dino_is_the_plain_formula_and_takes_a_running_mean_off() -> None:
    learner = _learner("dino", momentum=0.8)
    assert isinstance(learner, Dino)
    for parameter in learner.target_encoder.parameters():
        parameter.mul_(1.1)
    crops = _tiles(4, 1, seed=1)[..., :16, :16]
    batch = MicroBatch(_tiles(4, 2), crops)
    learner.criterion.center.copy_(torch.linspace(-0.1, 0.1, 5).reshape(1, 1, 5))
    state = copy.deepcopy(learner.state_dict())
    views = torch.cat([learner.project(batch.tiles)[1], learner.project(crops)[1]], dim=1)
    views = views.detach().numpy()
    learner.load_state_dict(state)
    targets = learner.targets(batch.tiles).numpy()
    learner.load_state_dict(state)
    assert np.abs(views).max() <= 1  # cosines
    centre = np.linspace(-0.1, 0.1, 5)
    losses = []
    for target in (0, 1):
        shares = np.exp((targets[:, target] - centre) / 0.08)
        shares /= shares.sum(axis=1, keepdims=True)
        for view in {0, 1, 2} - {target}:
            logits = views[:, view] / 0.2
            log_shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            losses.append(-(shares * log_shares).sum(axis=1).mean())
    step = learner(batch)
    assert float(step.loss.detach()) == pytest.approx(np.mean(losses), rel=1e-4)
    np.testing.assert_array_equal(learner.criterion.center.flatten(), centre.astype(np.float32))
    own = learner.encoder.backbone.network.conv1[0].weight
    before = learner.target_encoder.backbone.network.conv1[0].weight.clone()
    learner.after_step(step.keys, 0.5)
    after = learner.target_encoder.backbone.network.conv1[0].weight
    torch.testing.assert_close(after, 0.9 * before + 0.1 * own)
    expected = 0.9 * centre + 0.1 * targets.mean(axis=(0, 1))
    np.testing.assert_allclose(learner.criterion.center.flatten(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["triplet", "nt_xent", "vicreg"])
def test_small_crops_stand_for_the_second_view(loss: choice.Loss) -> None:
    learner = _learner(loss)
    assert isinstance(learner, learners.ViewLearner)
    batch = replace(_batch(loss), crops=_tiles(4, 3, seed=7)[..., :16, :16])
    assert batch.crops is not None
    outputs = learner.project(batch.tiles)[1].detach()
    small = learner.project(batch.crops)[1].detach()
    losses = [learner.criterion(outputs, batch)]
    for crop in small.unbind(1):
        views = torch.cat([outputs[:, :1], crop[:, None], outputs[:, 2:]], dim=1)
        losses.append(learner.criterion(views, batch))
    assert len({round(float(each), 6) for each in losses}) == 4
    torch.testing.assert_close(learner(batch).loss.detach(), torch.stack(losses).mean())


def test_small_crops_are_told_what_the_followers_see() -> None:
    """Of BYOL and MoCo; that of DINO and SwAV is in their formulas."""
    crops = _tiles(4, 2, seed=7)[..., :16, :16]
    byol, batch = _learner("byol"), replace(_batch("byol"), crops=crops)
    assert isinstance(byol, Byol)
    outputs, small = byol.project(batch.tiles)[1], byol.project(crops)[1]
    predictions = byol.predictor(outputs.flatten(0, 1)).unflatten(0, (4, 2))
    first, second = byol.targets(batch.tiles).unbind(1)
    pairs = [(predictions[:, 0], second), (predictions[:, 1], first)]
    pairs += [(byol.predictor(crop), first) for crop in small.unbind(1)]
    cosines = [torch.cosine_similarity(*pair).mean() for pair in pairs]
    torch.testing.assert_close(byol(batch).loss, -torch.stack(cosines).mean())
    moco, batch = _learner("moco"), replace(_batch("moco"), crops=crops)
    assert isinstance(moco, Moco)
    queries = torch.cat([moco.project(batch.tiles[:, :1])[1], moco.project(crops)[1]], dim=1)
    queries = torch.nn.functional.normalize(queries, dim=2)
    keys = torch.nn.functional.normalize(moco.targets(batch.tiles[:, 1:])[:, 0], dim=1)
    queue = torch.nn.functional.normalize(moco.queue.bank, dim=1)
    positive = torch.einsum("tvd,td->tv", queries, keys)
    logits = torch.cat([positive[..., None], queries @ queue.T], dim=2) / 0.2
    expected = -logits.log_softmax(dim=2)[..., 0].mean()
    torch.testing.assert_close(moco(batch).loss, expected)


def test_quarters_are_samples_of_their_own() -> None:
    """Held to those of the other view, away from all but those of tiles that may be near."""
    learner = _learner("infonce", local_weight=1.0)
    tiles = _tiles(3, 2)
    near = torch.ones(6, 6, dtype=torch.bool)
    near[:2, :2] = near[2:4, 2:4] = near[4:, 4:] = False  # views of one triplet
    near[0:2, 2:4] = near[2:4, 0:2] = False  # the first two triplets are of one place
    batch = MicroBatch(tiles, may_be_negative=near)
    found = float(learner(batch).loss.detach())
    maps = learner.encoder.backbone(learner.encoder._normalise(tiles.flatten(0, 1)))
    parts = []
    for below, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        pooled = []
        for each in maps:
            half = each.shape[2] // 2
            quarter = each[:, :, below * half :, right * half :][:, :, :half, :half]
            deviation = (quarter.var((2, 3), correction=0) + 1e-6).sqrt()
            pooled += [quarter.mean((2, 3)), deviation]
        parts.append(torch.cat(pooled, dim=1))
    quarters = torch.stack(parts, dim=1)  # (tile, quarter, feature)
    flat = quarters.flatten(0, 1)
    flat = (flat - flat.mean(0)) / (flat.var(0, correction=0) + 1e-5).sqrt()
    outputs = torch.nn.functional.normalize(learner.head(flat), dim=1).detach().numpy()
    vectors = outputs.reshape(3, 2, 4, N_DIMENSIONS)  # (triplet, view, quarter, dimension)
    losses = []
    for triplet in range(3):
        for quarter in range(4):
            anchor = vectors[triplet, 0, quarter]
            positive = math.exp(anchor @ vectors[triplet, 1, quarter] / 0.2)
            others = [t for t in range(3) if t != triplet and {t, triplet} != {0, 1}]
            negatives = [
                math.exp(anchor @ vectors[other, 1, each] / 0.2)
                for other in others
                for each in range(4)
            ]
            losses.append(-math.log(positive / (positive + sum(negatives))))
    assert found == pytest.approx(np.mean(losses), rel=1e-3)


def test_tiles_whose_maps_have_no_quarters_are_refused() -> None:
    learner = _learner("nt_xent", local_weight=0.5)
    with pytest.raises(ValueError, match=r"tiles of 16 pixels have no quarters; set train\.obj"):
        learner(MicroBatch(_tiles(4, 2)[..., :16, :16]))


def test_features_that_were_there_are_retained() -> None:
    plain, held = _learner("nt_xent"), _learner("nt_xent", retain_weight=0.5)
    batch = _batch("nt_xent")
    assert held.initial is not None
    assert not held.initial.training
    assert not any(parameter.requires_grad for parameter in held.initial.parameters())
    with torch.no_grad():
        held.encoder.eval()  # as where statistics are kept: nothing has been lost yet
        features = learners.standardise(held.encoder.pool(batch.tiles.flatten(0, 1)))
        lost = learners.features_lost(features.unflatten(0, (4, 2)), batch.tiles, held.initial)
        assert float(lost) == pytest.approx(0, abs=1e-6)
        held.train()
        before = held.initial.pool(batch.tiles.flatten(0, 1))
        before = (before - before.mean(0)) / (before.var(0, correction=0) + 1e-5).sqrt()
        now = plain.project(batch.tiles)[0].flatten(0, 1)
    expected = 0.5 * (now - before).square().mean()
    difference = held(batch).loss.detach() - plain(batch).loss.detach()
    torch.testing.assert_close(difference, expected, rtol=1e-3, atol=1e-4)


def test_byol_is_the_plain_formula_and_its_followers_follow() -> None:
    learner = _learner("byol")
    assert isinstance(learner, Byol)
    for parameter in learner.target_encoder.parameters():
        parameter.mul_(1.1)
    batch = _batch("byol")
    state = copy.deepcopy(learner.state_dict())
    outputs = learner.project(batch.tiles)[1]
    predicted = learner.predictor(outputs.flatten(0, 1)).unflatten(0, (4, 2)).detach().numpy()
    learner.load_state_dict(state)
    targets = learner.targets(batch.tiles).numpy()
    learner.load_state_dict(state)
    cosines = [
        predicted[triplet, view]
        @ targets[triplet, 1 - view]
        / np.linalg.norm(predicted[triplet, view])
        / np.linalg.norm(targets[triplet, 1 - view])
        for triplet in range(4)
        for view in (0, 1)
    ]
    assert float(learner(batch).loss.detach()) == pytest.approx(-np.mean(cosines), rel=1e-4)
    own = learner.encoder.backbone.network.conv1[0].weight
    for done, momentum in ((0.0, 0.9), (0.5, 0.95), (1.0, 1.0)):
        weight = learner.target_encoder.backbone.network.conv1[0].weight
        before = weight.clone()
        learner.after_step(None, done)
        torch.testing.assert_close(weight, momentum * before + (1 - momentum) * own)


def test_moco_is_the_plain_formula_and_its_queue_is_filled_in_order() -> None:
    learner = _learner("moco")
    assert isinstance(learner, Moco)
    batch = _batch("moco")
    state = copy.deepcopy(learner.state_dict())
    queries = learner.project(batch.tiles[:, :1])[1][:, 0].detach().numpy()
    keys = learner.targets(batch.tiles[:, 1:])[:, 0].numpy()
    queue = state["queue.bank"].numpy()
    learner.load_state_dict(state)

    def direction(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    losses = []
    for query, key in zip(direction(queries), direction(keys), strict=True):
        positive = math.exp(query @ key / 0.2)
        negatives = [math.exp(query @ other / 0.2) for other in direction(queue)]
        losses.append(-math.log(positive / (positive + sum(negatives))))
    step = learner(batch)
    assert float(step.loss.detach()) == pytest.approx(np.mean(losses), rel=1e-4)
    np.testing.assert_allclose(step.keys[:, :-3], direction(keys), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(learner.queue.bank, queue)  # as it was, until the step is done
    learner.after_step(step.keys, 0.5)
    np.testing.assert_allclose(learner.queue.bank[:4], direction(keys), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(learner.queue.bank[4:], queue[4:])


def test_swav_is_the_plain_formula_with_small_crops() -> None:
    learner = _learner("swav")
    assert isinstance(learner, Swav)
    crops = _tiles(4, 3, seed=1)[..., :16, :16]
    batch = MicroBatch(_tiles(4, 2), crops)
    state = copy.deepcopy(learner.state_dict())
    outputs = learner.project(batch.tiles)[1].detach().numpy()
    small = learner.project(crops)[1].detach().numpy()
    learner.load_state_dict(state)
    prototypes = learner.prototypes.weight.detach().numpy()
    np.testing.assert_allclose(np.linalg.norm(prototypes, axis=1), 1, rtol=1e-5)
    views = np.concatenate([outputs, small], axis=1)
    similarity = views / np.linalg.norm(views, axis=2, keepdims=True) @ prototypes.T
    losses = []
    for code_view in (0, 1):
        assigned = np.exp(similarity[:, code_view] / 0.05)  # (triplet, prototype)
        for _ in range(3):
            assigned /= assigned.sum(axis=0) * assigned.shape[1]
            assigned /= assigned.sum(axis=1, keepdims=True) * len(assigned)
        assigned *= len(assigned)
        for view in set(range(5)) - {code_view}:
            logits = similarity[:, view] / 0.2
            log_shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            losses.append(-(assigned * log_shares).sum(axis=1).mean())
    assert float(learner(batch).loss.detach()) == pytest.approx(np.mean(losses), rel=1e-4)
    with torch.no_grad():
        learner.prototypes.weight.mul_(3)
    learner.after_step(torch.zeros(1, 2 * N_DIMENSIONS), 0.5)
    np.testing.assert_allclose(learner.prototypes.weight.norm(dim=1).detach(), 1)


def test_a_queue_of_swav_is_used_once_it_is_full() -> None:
    """Four tiles cannot be spread over five prototypes; with eight before them they can."""
    learner = _learner("swav")
    assert isinstance(learner, Swav)
    batch = MicroBatch(_tiles(4, 2))
    state = copy.deepcopy(learner.state_dict())
    alone = float(learner(batch).loss.detach())
    learner.load_state_dict(state)
    earlier = torch.nn.functional.normalize(torch.randn(8, 2, N_DIMENSIONS), dim=2)
    learner.after_step(earlier[:4].flatten(1), 0.1)
    state = copy.deepcopy(learner.state_dict())
    assert float(learner(batch).loss.detach()) == pytest.approx(alone, rel=1e-5)
    learner.load_state_dict(state)
    learner.after_step(earlier[4:].flatten(1), 0.2)
    state = copy.deepcopy(learner.state_dict())
    outputs = torch.nn.functional.normalize(learner.project(batch.tiles)[1], dim=2)
    learner.load_state_dict(state)
    prototypes = learner.prototypes.weight.detach().numpy()
    similarity = torch.cat([outputs.detach(), earlier]).numpy() @ prototypes.T
    losses = []
    for code_view in (0, 1):
        assigned = np.exp(similarity[:, code_view] / 0.05)
        for _ in range(3):
            assigned /= assigned.sum(axis=0) * assigned.shape[1]
            assigned /= assigned.sum(axis=1, keepdims=True) * len(assigned)
        assigned *= len(assigned)
        logits = similarity[:4, 1 - code_view] / 0.2
        log_shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        losses.append(-(assigned[:4] * log_shares).sum(axis=1).mean())
    found = float(learner(batch).loss.detach())
    assert found == pytest.approx(np.mean(losses), rel=1e-4)
    assert found != pytest.approx(alone, rel=1e-3)


def test_the_guard_of_moco_reaches_its_queue() -> None:
    """Of two tiles in the queue, the one of this hour and place repels no more."""
    learner = _learner("moco", queue_length=2)
    assert isinstance(learner, Moco)
    here, elsewhere = [10.0, 20.0, -60.0], [11.0, 20.0, 90.0]
    keys = torch.nn.functional.normalize(torch.randn(2, N_DIMENSIONS), dim=1)
    learner.after_step(torch.cat([keys, torch.tensor([here, elsewhere])], dim=1), 0.5)
    state = copy.deepcopy(learner.state_dict())
    batch = MicroBatch(_tiles(2, 2), places=torch.tensor([10.5, 20.0, -60.5]).expand(2, 2, 3))
    queries = torch.nn.functional.normalize(learner.project(batch.tiles[:, :1])[1][:, 0], dim=1)
    targets = torch.nn.functional.normalize(learner.targets(batch.tiles[:, 1:])[:, 0], dim=1)
    learner.load_state_dict(state)
    positive = ((queries * targets).sum(dim=1) / 0.2).exp()
    negative = (queries @ keys[1] / 0.2).exp()
    expected = -(positive / (positive + negative)).log().mean()
    torch.testing.assert_close(learner(batch).loss, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("hours", "km", "expected"),
    [(24.0, 1500.0, [False, True, True, True]), (0.0, 0.0, [True] * 4)],
)
def test_tiles_are_far_apart_by_time_or_by_place(
    hours: float, km: float, expected: list[bool]
) -> None:
    others = torch.tensor(
        [[5.0, 10.0, 179.9], [30.0, 10.0, 179.9], [5.0, 10.0, 165.0], [torch.nan] * 3]
    )
    found = far_apart(torch.tensor([[0.0, 10.0, -179.9]]), others, hours=hours, km=km)
    assert found.tolist() == [expected]


@pytest.mark.parametrize("labels", [None, [0, -1, 2, -1], [-1] * 4])
def test_distillation_is_the_plain_formula_with_and_without_labels(
    labels: list[int] | None,
) -> None:
    learner = _learner("distillation", teacher_weight=0.7)
    tiles = _tiles(4, 2)
    state = copy.deepcopy(learner.state_dict())
    scores = learner.project(tiles)[1].detach().numpy().reshape(8, 3)
    learner.load_state_dict(state)
    told = _teacher().eval()(tiles.flatten(0, 1)).detach().numpy()

    def shares(logits: np.ndarray) -> np.ndarray:
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    expected = -(0.2**2) * (shares(told / 0.2) * np.log(shares(scores / 0.2))).sum(axis=1).mean()
    if labels is not None and max(labels) >= 0:
        each = np.repeat(labels, 2)
        known = np.flatnonzero(each >= 0)
        expected = 0.7 * expected - 0.3 * np.log(shares(scores)[known, each[known]]).mean()
    targets = None if labels is None else torch.tensor(labels)
    found = learner(MicroBatch(tiles, targets=targets)).loss.detach()
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_the_teacher_stays_as_it_is() -> None:
    learner = _learner("distillation")
    before = copy.deepcopy(learner.teacher.state_dict())
    step = learner(_batch("distillation"))
    step.loss.backward()
    after = learner.teacher.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in learner.teacher.parameters())


def test_tiles_are_turned_by_what_is_asked() -> None:
    tiles = _tiles(20, 2)
    turned, turns = turn(tiles, torch.Generator().manual_seed(0))
    assert set(turns.flatten().tolist()) == {0, 1, 2, 3}
    for triplet in range(20):
        for view in range(2):
            expected = np.rot90(tiles[triplet, view], int(turns[triplet, view]), (1, 2))
            np.testing.assert_array_equal(turned[triplet, view], expected)


@pytest.mark.parametrize("number", range(8))
def test_directions_are_numbered_by_eighths(number: int) -> None:
    angle = number * math.pi / 4
    offsets = [
        [round(100 * math.sin(angle + off)), round(100 * math.cos(angle + off))]
        for off in (-0.35, 0.0, 0.35)
    ]
    assert directions(torch.tensor(offsets)).tolist() == [number] * 3


def test_colours_are_taken_from_tiles_and_asked_for() -> None:
    tiles = torch.zeros(1, 1, 2, 32, 32)
    tiles[0, 0, 0] = 100.0
    tiles[0, 0, 0, :4, :4] = 40.0
    shown, departures = take_colour(tiles)
    assert (shown[0, 0, 0] == shown[0, 0, 1]).all()
    assert shown[0, 0, 0, -1, -1] == 50
    asked = departures.reshape(2, COLOUR_GRID, COLOUR_GRID)
    assert asked[0, -1, -1] == pytest.approx(50 / 63.75)
    assert asked[1, -1, -1] == pytest.approx(-50 / 63.75)
    assert asked[0, 0, 0] == pytest.approx(20 / 63.75)


@pytest.mark.parametrize(
    ("loss", "changes", "given", "message"),
    [
        ("rotation", {}, {"turns": True}, r"rotation asks how tiles lie.*quarter_turn and rot"),
        ("relative_position", {}, {"turns": True}, r"relative_position asks how tiles lie"),
        ("relative_position", {}, {"flips": True}, r"set train\.augmentations\.flip to 0"),
        ("relative_position", {"views": "both"}, {}, r"train\.views is both; set it to neighbour"),
        ("colour", {}, {"n_channels": 1}, r"tiles of one channel have no colour"),
        ("swav", {"local_weight": 0.5}, {}, r"swav compares no quarters of tiles; set train\.obj"),
        ("nt_xent", {"views": "augmented"}, {}, r"both views are the same; turn some on"),
    ],
)
def test_what_cannot_be_learnt_is_refused(
    loss: choice.Loss, changes: dict[str, object], given: dict[str, object], message: str
) -> None:
    usual = {"n_channels": 3, "turns": False, "flips": False, "alters": False}
    with pytest.raises(ValueError, match=message):
        check_objective(_objective(loss, **changes), **{**usual, **given})  # type: ignore[arg-type]
