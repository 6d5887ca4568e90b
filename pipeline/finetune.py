"""Stage finetune: encoder, a share of the labels → a teacher that tells labels."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt

from pipeline.core.classification.finetune import FineTuning, fine_tune, predict_probabilities
from pipeline.core.classification.scores import METRICS, count_confusions, score
from pipeline.core.classification.share import draw_share
from pipeline.core.classification.summary import find_splits
from pipeline.core.device import compute_device
from pipeline.core.encoder import rebuild_encoder
from pipeline.files import encoders, stage, stores
from pipeline.files.labels import gather_labelled

log = logging.getLogger(__name__)

Share = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class FinetuneParams:
    """Section `finetune` of params.yaml."""

    labels: Annotated[str, Field(min_length=1)]
    max_invalid_share: Annotated[float, Field(ge=0, le=1)]
    label_share: Share
    fine_tuning: FineTuning
    seed: NonNegativeInt


def run(
    params: FinetuneParams,
    scenes: Path,
    rejected: Path,
    encoder: Path,
    teacher: Path,
    metrics: Path,
) -> None:
    """Fine-tune `encoder` on labels of days that are not its test days, which judge it."""
    source = stores.open_product(scenes)
    labelled = gather_labelled(
        Path(params.labels),
        source,
        rejected,
        max_invalid_share=params.max_invalid_share,
        cut=stores.cut_tiles,
    )
    weights, description = encoders.read_encoder(encoder)
    splits = find_splits(labelled.day, description["days"])
    train, test = np.flatnonzero(splits != "test"), np.flatnonzero(splits == "test")
    train = train[draw_share(labelled.label[train], share=params.label_share, seed=params.seed)]
    device = compute_device()
    network = fine_tune(
        rebuild_encoder(weights, description),
        labelled.tiles[train],
        labelled.label[train],
        np.unique(labelled.day[train], return_inverse=True)[1],
        n_labels=len(labelled.names),
        settings=params.fine_tuning,
        seed=params.seed,
        device=device,
    )
    results: dict[str, Any] = {"n_labels": len(train), "n_tested": len(test)}
    if len(test):
        probabilities = predict_probabilities(
            network,
            labelled.tiles[test],
            device,
            n_orientations=params.fine_tuning.orientations,
        )
        predicted = probabilities.argmax(axis=1)
        confusions = count_confusions(labelled.label[test], predicted, len(labelled.names))
        results |= dict(zip(METRICS, score(confusions).round(4).tolist(), strict=True))
        log.info("balanced accuracy on test days %.3f", results["balanced_accuracy"])
    else:
        log.warning("no label lies on a test day of the encoder: the teacher is not judged")
    described = {
        **description,
        "labels": labelled.names,
        "label_days": _days(labelled.day[train]),
        "finetune_parameters": asdict(params),
        "finetune_results": results,
    }
    state = network.state_dict()
    encoders.write_encoder(teacher, network.encoder.state_dict(), described)
    encoders.write_head(
        teacher, {name: state[name] for name in state if not name.startswith("encoder.")}
    )
    stores.write_json(metrics, results)


def _days(days: NDArray[np.datetime64]) -> list[str]:
    return sorted(set(days.astype(str).tolist()))


if __name__ == "__main__":
    stage.start(run, FinetuneParams)
