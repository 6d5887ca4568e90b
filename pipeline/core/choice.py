"""Which of the numbers of clusters that were computed a stage looks at."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator

IntArray = NDArray[np.integer]


def _check_k(value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
    if value != "recommended" and not whole:
        raise ValueError(f"{value!r} is neither 'recommended' nor a number of clusters")
    return value


KOrRecommended = Annotated[Literal["recommended"] | int, BeforeValidator(_check_k)]


def choose_k(
    computed: IntArray, recommended: int, wanted: Literal["recommended"] | int, *, key: str
) -> int:
    """The number of clusters wanted.

    Args:
        computed: Values of k there are clusters for.
        recommended: One of them.
        wanted: A number, or the recommended one.
        key: Of params.yaml that `wanted` comes from.

    Raises:
        ValueError: If there are no clusters for the number wanted.

    >>> choose_k(np.array([9, 10, 11]), 10, "recommended", key="composite.k")
    10
    """
    k = recommended if wanted == "recommended" else wanted
    if k not in computed:
        raise ValueError(
            f"{key} is {k}, but the clusters were computed for k = {computed.min()} to "
            f"{computed.max()}; choose one of these or change cluster.k_min and cluster.k_max"
        )
    return k
