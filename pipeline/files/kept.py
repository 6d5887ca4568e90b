"""Arrays that were computed before, kept with what they were computed from."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_kept(path: Path, digest: str) -> dict[str, NDArray[np.floating]] | None:
    """What was kept at `path`, unless nothing was, or of something else."""
    if not path.exists():
        return None
    with np.load(path) as kept:
        if str(kept["digest"]) != digest:
            return None
        return {name: kept[name] for name in kept.files if name != "digest"}


def keep(path: Path, digest: str, values: Mapping[str, NDArray[np.floating]]) -> None:
    """Write `values` whole or not at all; `digest` says what they were computed from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, digest=np.array(digest), **dict(values))  # type: ignore[arg-type]
    partial.replace(path)
