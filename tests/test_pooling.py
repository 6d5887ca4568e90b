import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.pooling import Pooling, pool

# Two channels of a tile: 0 to 3, and 5, 1, 5, 1.
MAPS = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]], [[5.0, 1.0], [5.0, 1.0]]]])
EXPECTED: dict[Pooling, list[float]] = {
    "mean": [1.5, 3],
    "mean_deviation": [1.5, 3, np.sqrt(1.25), 2],
    "generalised_mean": [(36 / 4) ** (1 / 3), (252 / 4) ** (1 / 3)],
    "covariance": [1.25, -1.0, 4.0],  # of the first, of both, of the second
}


@pytest.mark.parametrize("pooling", EXPECTED)
def test_pooling_by_hand(pooling: Pooling) -> None:
    found = pool(MAPS, pooling)
    torch.testing.assert_close(
        found, torch.tensor([EXPECTED[pooling]]).float(), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("pooling", EXPECTED)
@given(order=st.permutations(range(12)))
def test_places_do_not_matter(pooling: Pooling, order: list[int]) -> None:
    maps = torch.rand((2, 40, 3, 4), generator=torch.Generator().manual_seed(0))
    moved = maps.flatten(2)[..., order].unflatten(2, (3, 4))
    torch.testing.assert_close(pool(moved, pooling), pool(maps, pooling), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", EXPECTED)
def test_gradients_are_finite_where_nothing_varies(pooling: Pooling) -> None:
    maps = torch.zeros((2, 3, 1, 1), requires_grad=True)
    pool(maps, pooling).sum().backward()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()


def test_many_channels_are_mixed_down_before_they_covary() -> None:
    maps = torch.randn((5, 100, 6, 6), generator=torch.Generator().manual_seed(0))
    found = pool(maps, "covariance")
    assert found.shape == (5, 32 * 33 / 2)
    torch.testing.assert_close(found, pool(maps, "covariance"))
    row, column = torch.triu_indices(32, 32)
    # Orthogonal directions hold 32 hundredths of the variance of independent channels.
    share = found[:, row == column].sum() / maps.flatten(2).var(dim=2, correction=0).sum()
    assert 0.2 < share < 0.45
