"""A small network learns from a larger one that was fine-tuned on labels."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, softmax

from pipeline.core.encoder import Encoder
from pipeline.core.label_network import LabelNetwork
from pipeline.core.objective.learner import Learner, MicroBatch, Step, without_gradients


class Distillation(Learner):
    """Tells what a teacher tells of each tile, and the true label of those that have one.

    The loss is (1 - w) · H(label, student) + w · t² · H(softmax(teacher / t),
    softmax(student / t)), H being the cross-entropy, and t² what keeps its gradient as large at
    every temperature; where no tile of the micro-batch has a label, the latter alone.

    Args:
        encoder: The student.
        head: Takes its embeddings to scores of the labels.
        teacher: Stays as it is.
        temperature: The t.
        teacher_weight: The w; with 1 no label is looked at.

    Source: Chen et al. (2020), arXiv:2006.10029, equations 2 and 3; Hinton et al. (2015),
    arXiv:1503.02531, for t².
    """

    def __init__(
        self,
        encoder: Encoder,
        head: nn.Module,
        *,
        teacher: LabelNetwork,
        temperature: float,
        teacher_weight: float,
    ) -> None:
        super().__init__(encoder, head)
        self.teacher = without_gradients(teacher)
        self.temperature = temperature
        self.teacher_weight = teacher_weight

    def train(self, mode: bool = True) -> Self:
        """Training mode for the student alone."""
        super().train(mode)
        self.teacher.eval()
        return self

    def compare(self, batch: MicroBatch) -> Step:
        """The loss of a micro-batch."""
        features, outputs = self.project(batch.tiles)
        scores = outputs.flatten(0, 1)
        with torch.no_grad():
            told = self.teacher(batch.tiles.flatten(0, 1))
        loss = distillation_loss(scores, told, temperature=self.temperature)
        if batch.targets is not None and self.teacher_weight < 1:
            labels = batch.targets.repeat_interleave(batch.tiles.shape[1])
            known = labels >= 0
            if known.any():
                of_labels = cross_entropy(scores[known], labels[known])
                loss = self.teacher_weight * loss + (1 - self.teacher_weight) * of_labels
        return Step(loss, features)


def distillation_loss(scores: Tensor, told: Tensor, *, temperature: float) -> Tensor:
    """Cross-entropy of softened answers times t², of student and teacher, (tile, label) each."""
    shares = softmax(told / temperature, dim=1)
    softened = log_softmax(scores / temperature, dim=1)
    return -(temperature**2) * (shares * softened).sum(dim=1).mean()
