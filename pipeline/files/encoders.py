"""Encoders on disk: safetensors weights and a JSON description, nothing pickled."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

WEIGHTS = "encoder.safetensors"
INITIAL = "initial.safetensors"
HEAD = "head.safetensors"
DESCRIPTION = "encoder.json"


def write_encoder(
    folder: Path,
    weights: Mapping[str, Tensor],
    description: Mapping[str, Any],
    initial: Mapping[str, Tensor] | None = None,
) -> None:
    """Write an encoder's state, what is needed to rebuild and judge it, and where it began."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_plain(weights), folder / WEIGHTS)
    if initial is not None:
        save_file(_plain(initial), folder / INITIAL)
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


def read_initial(folder: Path) -> dict[str, Tensor] | None:
    """State in which training found the encoder in `folder`; None where that was untrained."""
    return load_file(folder / INITIAL) if (folder / INITIAL).exists() else None


def write_head(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write what tells labels, beside the encoder that was fine-tuned for it."""
    save_file(_plain(weights), folder / HEAD)


def read_head(folder: Path) -> dict[str, Tensor]:
    """What tells labels from the encoder in `folder`.

    Raises:
        FileNotFoundError: If there is none.
    """
    if not (folder / HEAD).exists():
        raise FileNotFoundError(f"{folder} holds no teacher; run stage finetune")
    return load_file(folder / HEAD)


@dataclass(frozen=True)
class StoredEncoder:
    """The encoder in a folder as it was at one time, for workers that read it later."""

    folder: Path
    digest: str

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """State and description, as of `read_encoder`.

        Raises:
            ValueError: If the weights have changed since.
        """
        if digest(self.folder) != self.digest:
            raise ValueError(
                f"the weights in {self.folder} are not those of the start; run it again"
            )
        return read_encoder(self.folder)


def store(folder: Path) -> StoredEncoder:
    """What is in `folder` now."""
    return StoredEncoder(folder.absolute(), digest(folder))


def digest(folder: Path) -> str:
    """Changes with the weights in `folder`."""
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a JSON state as one file, whole or not at all.

    The state holds the `epoch`, and a `fingerprint` of the run.

    Raises:
        OSError: If the disk does not take it; what was at `path` stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        save_file(_plain(tensors), partial, metadata={"state": json.dumps(state)})
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # before it takes the place of the last good one
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        kept = read_state(path) if path.exists() else {}
        epoch = kept["epoch"] if kept.get("fingerprint") == state["fingerprint"] else 0
        raise OSError(
            f"the checkpoint of epoch {state['epoch']} could not be written to {path} ({error}), "
            f"that of epoch {epoch} is kept; free some space and start again"
        ) from error


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and state of a checkpoint."""
    return load_file(path), read_state(path)


def read_state(path: Path) -> dict[str, Any]:
    """The state alone."""
    with safe_open(path, framework="pt") as file:
        state: dict[str, Any] = json.loads(file.metadata()["state"])
    return state


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # safetensors stores dense row-major tensors only; channels-last ones are converted.
    return {
        name: tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
