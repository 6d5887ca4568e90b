"""A training run between two epochs: what it has learnt, what it needs to go on, its history."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pipeline.core.averaging import running_mean
from pipeline.core.encoder import Encoder
from pipeline.core.engine import parallel
from pipeline.core.objective.learner import Learner
from pipeline.core.training_params import TrainParams

HARMLESS = ("min_effective_rank", "min_participation_ratio", "min_spread")  # change no weight


@dataclass
class TrainingRun:
    """The state of a run.

    Attributes:
        learner: What is trained.
        network: As it is trained, `engine.parallel` of the learner.
        optimizer: Of its parameters.
        average: The encoder with the mean of its weights over the latest steps, which is kept.
        history: What was measured before training and after each epoch.
    """

    learner: Learner
    network: nn.Module
    optimizer: torch.optim.AdamW
    average: AveragedModel
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def encoder(self) -> Encoder:
        """The one that is trained."""
        return self.learner.encoder

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history) - 1

    def close_epoch(self, entry: Mapping[str, float]) -> None:
        """Take up what was measured after an epoch."""
        self.history.append({"epoch": self.epoch + 1, **entry})

    def tensors(self) -> dict[str, Tensor]:
        """All that a run needs to go on but its history, to be written as a checkpoint."""
        moments = self.optimizer.state_dict()["state"]
        return {
            **{f"learner.{name}": value for name, value in self.learner.state_dict().items()},
            **{f"average.{name}": value for name, value in self.average.state_dict().items()},
            **{
                f"optimizer.{index}.{name}": value
                for index, values in moments.items()
                for name, value in values.items()
            },
        }

    def resume(self, tensors: Mapping[str, Tensor], history: list[dict[str, float]]) -> None:
        """Come to the state of a checkpoint."""
        self.learner.load_state_dict(_under("learner", tensors))
        self.average.load_state_dict(_under("average", tensors))
        self.history = history
        parameters = _trained(self.learner)
        moments: dict[int, dict[str, Any]] = {}
        for name, value in _under("optimizer", tensors).items():
            index, key = name.split(".")
            # The fused step walks through memory, so moments must lie as their parameters do.
            like = parameters[int(index)]
            laid_out = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            moments.setdefault(int(index), {})[key] = laid_out
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})


def start(
    learner: Learner,
    *,
    learning_rate: float,
    head_learning_rate: float,
    weight_decay: float,
    averaging: float,
) -> TrainingRun:
    """A run that has not begun.

    Args:
        learner: What is trained.
        learning_rate: Of the encoder.
        head_learning_rate: Of the layers behind it.
        weight_decay: Of AdamW.
        averaging: As of `running_mean`.
    """
    of_encoder = list(learner.encoder.parameters())
    groups = [
        {"params": of_encoder, "lr": learning_rate},
        {"params": _trained(learner)[len(of_encoder) :], "lr": head_learning_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=weight_decay, fused=True)
    average = AveragedModel(learner.encoder, avg_fn=running_mean(averaging))
    return TrainingRun(learner, parallel(learner), optimizer, average)


def fingerprint(
    training: TrainingRun,
    params: TrainParams,
    triplets: xr.Dataset,
    members: xr.Dataset,
    labels: NDArray[np.int64] | None,
) -> str:
    """Changes with whatever would lead to other weights after the same number of epochs.

    Args:
        training: A run that has not begun: weights it was given count, and those of a teacher.
        params: Of the run.
        triplets: What is said of all triplets.
        members: Of the training triplets.
        labels: Of the training anchors.
    """
    shaping = {name: value for name, value in asdict(params).items() if name not in HARMLESS}
    described = triplets.load().to_dict()
    made_by = hashlib.sha256(repr((shaping, described)).encode())
    for name in ("scene", "first_row", "first_column"):
        made_by.update(members[name].values.tobytes())
    for tensor in training.learner.state_dict().values():
        made_by.update(tensor.cpu().numpy().tobytes())
    if labels is not None:
        made_by.update(labels.tobytes())
    return made_by.hexdigest()


def _trained(learner: Learner) -> list[nn.Parameter]:
    """Those of the encoder, then the others."""
    return [parameter for parameter in learner.parameters() if parameter.requires_grad]


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): value
        for name, value in tensors.items()
        if name.startswith(f"{prefix}.")
    }
