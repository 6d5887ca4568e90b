"""How fast training goes."""

import math


def learning_rate_factor(step: int, *, n_warm_up: int, n_steps: int) -> float:
    """Share of the full learning rate: a linear rise, then half a cosine down to zero.

    >>> [round(learning_rate_factor(step, n_warm_up=2, n_steps=6), 2) for step in range(6)]
    [0.5, 1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step < n_warm_up:
        return (step + 1) / n_warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (step - n_warm_up) / max(1, n_steps - n_warm_up))
