"""Encoders on disk: safetensors weights and a JSON description, nothing pickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

WEIGHTS = "encoder.safetensors"
DESCRIPTION = "encoder.json"


def write_encoder(
    folder: Path, weights: Mapping[str, Tensor], description: Mapping[str, Any]
) -> None:
    """Write an encoder's state and what is needed to rebuild and judge it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_plain(weights), folder / WEIGHTS)
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")


def read_encoder(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and description of the encoder in `folder`.

    Raises:
        FileNotFoundError: If there is none.
    """
    if not (folder / DESCRIPTION).exists():
        raise FileNotFoundError(f"{folder} holds no encoder; run dvc repro train")
    description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text())
    return load_file(folder / WEIGHTS), description


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a JSON state as one file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(_plain(tensors), partial, metadata={"state": json.dumps(state)})
    partial.replace(path)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and state of a checkpoint."""
    with safe_open(path, framework="pt") as file:
        state: dict[str, Any] = json.loads(file.metadata()["state"])
        return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # safetensors stores dense row-major tensors only; channels-last ones are converted.
    return {
        name: tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
