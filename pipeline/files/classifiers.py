"""Trained classifiers on disk: safetensors arrays and a JSON description, nothing pickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

WEIGHTS = "classifier.safetensors"
DESCRIPTION = "classifier.json"


def write_classifier(
    folder: Path, arrays: Mapping[str, NDArray[np.floating]], description: Mapping[str, Any]
) -> None:
    """Write the arrays of a classifier and what is needed to apply and judge it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / WEIGHTS
    )
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")


def read_classifier(folder: Path) -> tuple[dict[str, NDArray[np.floating]], dict[str, Any]]:
    """Arrays and description of the classifier in `folder`.

    Raises:
        FileNotFoundError: If there is none.
    """
    if not (folder / DESCRIPTION).exists():
        raise FileNotFoundError(f"{folder} holds no classifier; run dvc repro classify")
    description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text())
    return load_file(folder / WEIGHTS), description
