import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.core import engine
from pipeline.core.encoder import Encoder, create_encoder
from pipeline.core.objective import triplet_loss

SIZES = np.array([[3, 5]])  # one batch of two lanes


def _objective(vectors: Tensor, _: Tensor | None) -> Tensor:
    return triplet_loss(torch.nn.functional.normalize(vectors, dim=-1), margin=1.0)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    # In float32, so that gradients can be compared closely.
    monkeypatch.setattr(
        engine, "autocast", lambda device: torch.autocast(device.type, enabled=False)
    )
    return create_encoder(backbone="resnet10t", n_channels=1, n_dimensions=4, seed=0)


def _lanes() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(256, (size, 3, 1, 32, 32), generator=generator, dtype=torch.uint8)
        for size in SIZES[0]
    ]


def _train(encoder: Encoder, *, max_gradient_norm: float = 0.0) -> float:
    def micro_batches(members: Tensor) -> Iterator[engine.MicroBatch]:
        yield members, None

    return engine.train_epoch(
        encoder,
        engine.parallel(encoder),
        torch.optim.SGD(encoder.parameters(), lr=1.0),
        [micro_batches(members) for members in _lanes()],
        SIZES,
        n_triplets=int(SIZES.sum()),
        objective=_objective,
        learning_rate=lambda _: 1.0,
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
        losses.append(_objective(vectors, None) * int(size) / int(SIZES.sum()))
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


def test_weights_that_are_not_finite_are_refused(encoder: Encoder) -> None:
    with torch.no_grad():
        encoder.projection.weight[0, 0] = torch.inf
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
    torch.testing.assert_close(embeddings, expected, rtol=1e-4, atol=1e-5)
