"""Means of weights over the latest steps of training."""

from collections.abc import Callable

import torch
from torch import Tensor


def running_mean(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """How torch's `AveragedModel` takes up the weights of a step.

    Args:
        decay: Fraction of the mean that stays in a step; less at first, (1 + n) / (10 + n) after n
            steps, so that the mean does not lag behind. 0 for the weights themselves.

    Sources: Izmailov et al. (2018), arXiv:1803.05407, for means of weights; Polyak & Juditsky
    (1992), doi:10.1137/0330046, for those of every step.
    """

    def mean(average: Tensor, weight: Tensor, n_steps: Tensor | int) -> Tensor:
        return torch.lerp(weight, average, min(decay, (1 + n_steps) / (10 + n_steps)))

    return mean
