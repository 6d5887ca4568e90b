"""Stage classify: labelled tiles → how well labels are told, and a classifier that tells them."""

import json
import logging
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from threadpoolctl import threadpool_limits
from torch import Tensor

from pipeline.core.classification.classifiers import (
    PIXEL_STATISTICS,
    Classifier,
    Start,
    list_classifiers,
)
from pipeline.core.classification.finetune import FineTuning, probabilities_by_fine_tuning
from pipeline.core.classification.folds import check_days, draw_folds
from pipeline.core.classification.probe import fit_probe
from pipeline.core.classification.summary import (
    find_splits,
    flatten,
    flatten_labels,
    summarise,
)
from pipeline.core.classification.table import tabulate
from pipeline.core.device import compute_device
from pipeline.core.encoder import (
    create_described,
    create_untrained,
    pool_tiles,
    rebuild_encoder,
)
from pipeline.core.pretrained import start_from
from pipeline.core.threads import sharing_cores
from pipeline.files import classifiers, encoders, stage, stores
from pipeline.files.labels import Labelled, gather_labelled
from pipeline.files.progress import progress
from pipeline.files.weights import read_imagenet
from pipeline.files.workers import n_workers

log = logging.getLogger(__name__)

PROTOCOL = (
    "folds are grouped by day (UTC) and stratified by label, the same for every classifier; the "
    "own encoder was trained without labels, on days that may be tested here: "
    "balanced_accuracy_by_day tells them apart"
)

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class ClassifyParams:
    """Section `classify` of params.yaml."""

    labels: Annotated[str, Field(min_length=1)]
    max_invalid_share: Annotated[float, Field(ge=0, le=1)]
    imagenet_weights: Annotated[str, Field(min_length=1)]
    n_folds: Annotated[int, Field(ge=2)]
    n_repeats: PositiveInt
    regularisation: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    fine_tuning: FineTuning
    seed: NonNegativeInt


def run(
    params: ClassifyParams,
    scenes: Path,
    rejected: Path,
    encoder: Path,
    classifier: Path,
    metrics: Path,
) -> None:
    """Compare classifiers of labelled tiles of `scenes`; `encoder` is the one to judge.

    One of it, fitted to all tiles, is kept beside the scores in the folder `classifier`.
    """
    source = stores.open_product(scenes)
    labelled = gather_labelled(
        Path(params.labels),
        source,
        rejected,
        max_invalid_share=params.max_invalid_share,
        cut=stores.cut_tiles,
    )
    weights, description = encoders.read_encoder(encoder)
    _check_encoder(description, source, labelled.place.tile_size)
    _, day_number = np.unique(labelled.day, return_inverse=True)
    check_days(labelled.label, day_number, names=labelled.names, n_folds=params.n_folds)
    folds = draw_folds(
        labelled.label,
        day_number,
        n_folds=params.n_folds,
        n_repeats=params.n_repeats,
        seed=params.seed,
    )
    device = compute_device()
    rows = list_classifiers(
        _list_starts(params, labelled.tiles, weights, description, encoders.read_initial(encoder)),
        labelled.tiles,
        labelled.label,
        day_number,
        strengths=params.regularisation,
        fine_tune=partial(
            probabilities_by_fine_tuning,
            settings=params.fine_tuning,
            seed=params.seed,
            device=device,
        ),
        device=device,
    )
    splits = find_splits(labelled.day, description["days"])
    table = tabulate(
        _fit_all(rows, folds, len(labelled.names), device),
        folds,
        labelled.label,
        names=labelled.names,
        classifiers=rows,
        reference=PIXEL_STATISTICS,
        is_training_day=splits == "train",
        days=day_number,
        seed=params.seed,
    )
    product = _with_origin(table, labelled, source, splits).assign_attrs(
        _ceiling(Path(params.labels))
    )
    stores.write_product(product, classifier / "scores.nc", params)
    flatten(product).to_csv(classifier / "scores.csv")
    flatten_labels(product).to_csv(classifier / "labels.csv")
    kept = product.sel(classifier="own frozen")
    _keep_classifier(params, labelled, encoder, kept, classifier)
    stores.write_json(metrics, summarise(product))


def _ceiling(labels: Path) -> dict[str, str]:
    """What people score against one another, where stage label compared them."""
    path = labels.with_name("agreement.json")
    if not path.exists():
        return {}
    told = json.loads(path.read_text())
    mean, low, high = (told[end].get("balanced_accuracy") for end in ("mean", "low", "high"))
    ends = "" if low is None else f" ({low:.2f} to {high:.2f})"
    found = f"volunteers reach a balanced accuracy of {mean:.2f}{ends} against one another"
    return {"ceiling": found}


def _check_encoder(description: dict[str, Any], source: xr.Dataset, tile_size: int) -> None:
    channels = [str(channel) for channel in source.channel.values]
    if description["channels"] != channels:
        raise ValueError(
            f"the encoder was trained on channels {', '.join(description['channels'])}, the scenes "
            f"have {', '.join(channels)}; run dvc repro train"
        )
    if description["tile_size"] != tile_size:
        log.warning(
            "the encoder was trained on tiles of %d pixels, labelled ones have %d",
            description["tile_size"],
            tile_size,
        )


def _list_starts(
    params: ClassifyParams,
    tiles: NDArray[np.uint8],
    weights: dict[str, Tensor],
    description: dict[str, Any],
    initial: dict[str, Tensor] | None,
) -> list[Start]:
    starts = [Start("untrained", create_untrained(description, tiles, seed=params.seed))]
    if initial is not None:
        starts.append(Start("before training", rebuild_encoder(initial, description)))
    starts.append(Start("own", rebuild_encoder(weights, description)))
    imagenet, note = read_imagenet(
        params.imagenet_weights, description["backbone"], key="classify.imagenet_weights"
    )
    if imagenet is None:
        log.warning("the ImageNet network is left out: %s", note)
        return [*starts, Start("ImageNet", None, note)]
    pretrained = create_described(description, seed=params.seed)
    start_from(pretrained, imagenet)
    return [*starts, Start("ImageNet", pretrained)]


def _fit_all(
    rows: list[Classifier], folds: NDArray[np.bool_], n_labels: int, device: torch.device
) -> FloatArray:
    """Probabilities (classifier, repeat, tile, label); NaN without a classifier."""
    n_repeats, _, n_tiles = folds.shape
    told = np.full((len(rows), n_repeats, n_tiles, n_labels), np.nan)
    fits = [
        (row.predict, np.flatnonzero(~tested), told[number, repeat], np.flatnonzero(tested))
        for number, row in enumerate(rows)
        if row.predict is not None
        for repeat in range(n_repeats)
        for tested in folds[repeat]
    ]
    n_parallel = max(1, n_workers()) if device.type == "cpu" else 1
    # Small networks gain more from fits side by side, one thread each, than from threads within a
    # fit, and so the number of threads cannot change the rounding.
    with threadpool_limits(limits=1), sharing_cores(n_parallel) as threads:
        done = threads.map(lambda fit: fit[0](fit[1], fit[3]), fits)
        for (_, _, into, test), found in zip(
            fits, progress(done, "classifiers", total=len(fits), unit="fits"), strict=True
        ):
            into[test] = found
    return told


def _keep_classifier(
    params: ClassifyParams, labelled: Labelled, encoder: Path, scores: xr.Dataset, folder: Path
) -> None:
    """Write the classifier fitted to all labelled tiles, and what `scores` say of it."""
    weights, description = encoders.read_encoder(encoder)
    features = pool_tiles(
        rebuild_encoder(weights, description), labelled.tiles, device=compute_device()
    )
    with threadpool_limits(limits=1):
        probe = fit_probe(
            features,
            labelled.label,
            np.unique(labelled.day, return_inverse=True)[1],
            n_labels=len(labelled.names),
            strengths=params.regularisation,
        )
    arrays = {name: array for name, array in asdict(probe).items() if name != "temperature"}
    about = {
        "labels": labelled.names,
        "n_tiles": np.bincount(labelled.label).tolist(),
        "days": sorted(set(labelled.day.astype(str).tolist())),
        "temperature": probe.temperature,
        "encoder": encoders.digest(encoder),
        "tile_size": labelled.place.tile_size,
        "results": {
            **_round(scores["mean"].to_series().to_dict()),
            **_round(scores["calibration_mean"].to_series().to_dict()),
            "calibration_error": round(float(scores["calibration_error"]), 4),
        },
        "parameters": asdict(params),
    }
    classifiers.write_classifier(folder, arrays, about)


def _round(results: dict[Any, float]) -> dict[str, float]:
    return {str(name): round(value, 4) for name, value in results.items()}


def _with_origin(
    table: xr.Dataset, labelled: Labelled, source: xr.Dataset, splits: NDArray[np.object_]
) -> xr.Dataset:
    """`table` with the places of its tiles, and how many of them there are."""
    place = labelled.place
    return table.assign_coords(
        granule=("tile", source.granule.values[place.scene]),
        time=("tile", source.time.values[place.scene]),
        row=("tile", place.row),
        column=("tile", place.column),
        split=("tile", splits, {"long_name": "part of the encoder's days the tile's day is in"}),
        label=("tile", place.label, {"long_name": "label given"}),
    ).assign_attrs(
        title="Classifiers of labelled tiles, tested on days they were not trained on",
        protocol=PROTOCOL,
        tile_size=place.tile_size,
        n_tiles=len(place.row),
        n_incomplete_tiles=labelled.n_incomplete,
        n_rejected_tiles=place.n_rejected,
        n_days=len(np.unique(labelled.day)),
        n_tiles_on_training_days=int((splits == "train").sum()),
    )


if __name__ == "__main__":
    stage.start(run, ClassifyParams)
