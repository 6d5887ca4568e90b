"""Stage compare: triplets, labels → which objective sees what labels show, and which baseline."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
import yaml
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from threadpoolctl import threadpool_limits

from pipeline.core.augmentation import THERMAL
from pipeline.core.classification.finetune import FineTuning, probabilities_by_fine_tuning
from pipeline.core.comparison import table
from pipeline.core.comparison.baselines import (
    Baseline,
    JoinedBaseline,
    NetworkBaseline,
    ShuffledBaseline,
    TextureBaseline,
    create_network,
    join,
    seen_by_network,
    seen_by_texture,
    shuffle,
)
from pipeline.core.comparison.folds import draw_per_label, draw_tested_folds, score_fold
from pipeline.core.comparison.judge import (
    EFFICIENCY,
    EMBEDDING,
    Representation,
    Task,
    measure,
    measure_stability,
)
from pipeline.core.comparison.table import Row
from pipeline.core.device import compute_device
from pipeline.core.encoder import rebuild_encoder
from pipeline.core.objective.choice import tiles_per_triplet
from pipeline.core.threads import sharing_cores
from pipeline.core.triplet import SPLITS
from pipeline.files import encoders, stage, stores
from pipeline.files.kept import keep, read_kept
from pipeline.files.labels import LabelledTiles, gather_labelled
from pipeline.files.progress import progress
from pipeline.files.weights import read_imagenet
from pipeline.files.workers import n_workers

log = logging.getLogger(__name__)

STAGES = ("sample", "train")  # started as they are, with the parameters of each row

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]

IRRELEVANT_TO_FROZEN = {  # parameters that the scores of frozen features do not depend on
    "objectives",
    "tuned",
    "n_seeds",
    "baselines",
    "n_tiles_seen",
    "n_unfrozen_repeats",
    "unfrozen_label_count",
    "fine_tuning",
}
REGION_DEGREES = 30  # edge of the cells of latitude and longitude that count as regions


@dataclass(frozen=True)
class CompareParams:
    """Section `compare` of params.yaml."""

    labels: Annotated[str, Field(min_length=1)]
    max_invalid_share: Annotated[float, Field(ge=0, le=1)]
    tested: Literal["validation", "test"]
    n_tiles_seen: PositiveInt
    n_seeds: PositiveInt
    objectives: dict[str, dict[str, Any]]
    tuned: tuple[str, ...]
    baselines: dict[str, Baseline]
    orientations: Literal[1, 4, 8]
    n_folds: Annotated[int, Field(ge=2)]
    n_repeats: PositiveInt
    n_unfrozen_repeats: NonNegativeInt
    unfrozen_label_count: NonNegativeInt
    n_nearest: PositiveInt
    cluster_counts: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    label_counts: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    regularisation: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    fine_tuning: FineTuning
    seed: NonNegativeInt


def run(
    params: CompareParams,
    scenes: Path,
    rejected: Path,
    triplets: Path,
    comparison: Path,
    metrics: Path,
    runs: Path,
    rows: str = "",
) -> None:
    """Train and judge the rows of `params`, or those named by `rows`; `runs` keeps what is done."""
    source = stores.open_product(scenes)
    root = stores.open_product(triplets)
    chosen = _choose_rows(params, rows)
    names, task = _prepare(params, source, rejected, root)
    for name in chosen:  # a missing teacher is refused before any training
        if name in params.objectives:
            _teacher_of(params, _section(params.objectives[name]), root)
    judge = Judge(params, task, _draw_tuned_on(params, task), _digest(params, task), runs)
    fitted = _training_tiles(source, root, task.tiles.shape[-1], params.seed)
    found: list[Row] = []
    for name in chosen:
        if name in params.objectives:
            found.append(_judge_objective(judge, name, scenes, rejected, triplets))
        elif seen := _see_baseline(params, name, fitted):
            found.append(judge.judge(name, seen))
    product = table.tabulate(found, counts=params.label_counts, n_folds=params.n_folds)
    tested = task.test.any(axis=0)
    product.attrs |= {
        "title": "Encoders compared on labelled tiles of days that none of them was trained on",
        "protocol": (
            "encoders were trained on the days of split train and know no label of a tested day; "
            f"tiles of split {params.tested} are tested in {params.n_folds} folds grouped by day "
            f"(UTC), drawn {params.n_repeats} times; fitted on labels of other folds and of the "
            f"splits before {params.tested}; {_seeds_in_words(params)}"
        ),
        "n_tiles": int(tested.sum()),
        "n_days": len(np.unique(task.day[tested])),
        "n_labels": len(names),
        "shortcut_target": _target_name(root),
    }
    stores.write_product(product, comparison / "comparison.nc", params)
    table.flatten(product).to_csv(comparison / "comparison.csv")
    means = product["mean"].sel(measure=table.PROBE).to_series().round(table.DIGITS)
    stores.write_json(metrics, {"linear_probe": means.to_dict()})


def _choose_rows(params: CompareParams, rows: str) -> list[str]:
    known = [*params.objectives, *params.baselines]
    if with_comma := [name for name in known if "," in name]:
        raise ValueError(
            f"compare.objectives has {with_comma[0]!r}, a comma in which divides names; change it"
        )
    if unknown := [name for name in params.tuned if name not in params.objectives]:
        raise ValueError(
            f"compare.tuned names {unknown[0]!r}, which compare.objectives lacks; remove it"
        )
    for name, baseline in params.baselines.items():
        for part in _parts(baseline):
            if part not in params.baselines or _parts(params.baselines[part]):
                raise ValueError(
                    f"compare.baselines has {name!r} of {part!r}, which is no texture or network "
                    "among them; correct it"
                )
    asked = [name.strip() for name in rows.split(",") if name.strip()] or known
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise ValueError(
            f"--rows names {unknown[0]!r}, which compare in params.yaml does not have; it has "
            f"{', '.join(known)}"
        )
    return asked


def _parts(baseline: Baseline) -> tuple[str, ...]:
    """Baselines that one is made of."""
    match baseline:
        case JoinedBaseline(joined):
            return joined
        case ShuffledBaseline(of):
            return (of,)
    return ()


def _seeds_in_words(params: CompareParams) -> str:
    if params.n_seeds == 1:
        return "each encoder was trained once, so that intervals hold no variance of training"
    return f"each encoder was trained from {params.n_seeds} seeds, whose variance intervals hold"


def _prepare(
    params: CompareParams,
    source: xr.Dataset,
    rejected: Path,
    root: xr.Dataset,
) -> tuple[list[str], Task]:
    """The labels, and what is judged on them."""
    labelled = gather_labelled(
        Path(params.labels),
        source,
        rejected,
        max_invalid_share=params.max_invalid_share,
        cut=stores.cut_tiles,
    )
    split_of_day = dict(zip(root.time.values.astype("M8[D]"), root.split.values, strict=True))
    split = np.array([split_of_day.get(day, "") for day in labelled.day])
    _, day = np.unique(labelled.day, return_inverse=True)
    train, test = draw_tested_folds(
        labelled.label,
        day,
        split == params.tested,
        np.isin(split, SPLITS[: SPLITS.index(params.tested)]),
        names=labelled.names,
        n_folds=params.n_folds,
        n_repeats=params.n_repeats,
        seed=params.seed,
    )
    warm = [index for index, name in enumerate(root.channel.values) if name in THERMAL]
    target = labelled.tiles[:, warm or slice(None)].mean(axis=(1, 2, 3), dtype=np.float64)
    task = Task(
        tiles=labelled.tiles,
        label=labelled.label,
        day=day,
        train=train,
        test=test,
        n_folds=params.n_folds,
        groups=_group(source, labelled.place),
        target=target,
        cluster_counts=params.cluster_counts,
        n_orientations=params.orientations,
        n_nearest=params.n_nearest,
        label_counts=params.label_counts,
        strengths=params.regularisation,
        seed=params.seed,
    )
    return labelled.names, task


def _group(source: xr.Dataset, place: LabelledTiles) -> dict[str, NDArray[np.int64]]:
    """Numbers of the region, season and platform of each labelled tile, where there are several."""
    middle = place.tile_size // 2
    pixel = {
        name: xr.DataArray(first, dims="tile")
        for name, first in (
            ("scene", place.scene),
            ("row", place.row + middle),
            ("column", place.column + middle),
        )
    }
    seen = source[["latitude", "longitude", "platform"]].isel(pixel).load()
    cells = [seen.latitude // REGION_DEGREES, seen.longitude % 360 // REGION_DEGREES]
    groups = {
        "region": np.unique(np.stack(cells), axis=1, return_inverse=True)[1].ravel(),
        "season": seen.time.dt.month.values % 12 // 3,
        "platform": np.unique(seen.platform.values, return_inverse=True)[1],
    }
    return {name: of for name, of in groups.items() if len(np.unique(of)) > 1}


def _target_name(root: xr.Dataset) -> str:
    has_warmth = any(name in THERMAL for name in root.channel.values)
    return "mean brightness temperature" if has_warmth else "mean brightness"


def _digest(params: CompareParams, task: Task) -> str:
    """Hash of everything that the scores of frozen features depend on, beside the features."""
    judged_by = {
        name: value for name, value in asdict(params).items() if name not in IRRELEVANT_TO_FROZEN
    }
    made_of = hashlib.sha256(json.dumps(judged_by, default=str).encode())
    for part in (task.tiles, task.label, task.train, task.test, *task.groups.values()):
        made_of.update(np.ascontiguousarray(part).tobytes())
    return made_of.hexdigest()


def _draw_tuned_on(params: CompareParams, task: Task) -> list[IntArray]:
    """Indices of the tiles that networks are fine-tuned on in each unfrozen fold.

    Raises:
        ValueError: If a label has too few tiles.
    """
    n_folds = min(params.n_unfrozen_repeats * params.n_folds, len(task.train))
    every = [np.flatnonzero(train) for train in task.train[:n_folds]]
    count = params.unfrozen_label_count
    if count == 0:
        return every
    drawn = []
    for fold, fitted in enumerate(every):
        rng = np.random.default_rng([params.seed, fold, count])
        chosen = draw_per_label(task.label[fitted], task.day[fitted], count, rng)
        if chosen is None:
            raise ValueError(
                f"compare.unfrozen_label_count is {count}, and a label has fewer tiles that fold "
                f"{fold} is fitted on; lower it, or set 0 for all tiles"
            )
        drawn.append(fitted[chosen])
    return drawn


@dataclass(frozen=True)
class Judge:
    """Makes rows of encoders and other features; what was judged before is read.

    Attributes:
        params: Of the stage.
        task: What rows are judged on.
        tuned_on: Indices of the tiles that networks are fine-tuned on in each unfrozen fold.
        digest: Hash of everything that the scores of frozen features depend on.
        runs: Where what is done is kept, in a folder a row and seed.
    """

    params: CompareParams
    task: Task
    tuned_on: Sequence[IntArray]
    digest: str
    runs: Path

    def folder(self, name: str, number: int = 0) -> Path:
        """Of the row `name`, and of its training of this number."""
        row = "".join(letter if letter.isalnum() else "_" for letter in name)
        return self.runs / row / f"seed_{number}"

    def judge(self, name: str, trained: Sequence[Representation], **about: Any) -> Row:
        """The row of a network or other features, by what each of its trainings sees.

        Args:
            name: Of the row.
            trained: From each seed, or the one there is.
            about: Further fields of the row.
        """
        every = []
        for number, each in enumerate(trained):
            judged = partial(self._measure, each, name, number)
            every.append(self._once(self.folder(name, number) / "frozen.npz", each.made_of, judged))
        together = [done.pop(EMBEDDING) for done in every]
        stability = self._once(
            self.folder(name) / "stability.npz",
            f"{len(together)} {''.join(each.made_of for each in trained)}",
            partial(measure_stability, together, self.task),
        )
        efficiency = np.stack([done.pop(EFFICIENCY) for done in every], axis=1)
        values = {measured: np.stack([done[measured] for done in every]) for measured in every[0]}
        if self.params.n_unfrozen_repeats and trained[0].encoder:
            values[table.UNFROZEN] = np.stack(
                [
                    self._fine_tune(name, trained[number % len(trained)], number)
                    for number in range(self.params.n_seeds)
                ]
            )
        return Row(name, values | stability, efficiency, **about)

    def _measure(
        self, representation: Representation, row: str, number: int
    ) -> dict[str, FloatArray]:
        log.info("judging %s, seed %d", row, number)
        return measure(representation, self.task)

    def _once(
        self, path: Path, made_of: str, compute: Callable[[], dict[str, FloatArray]]
    ) -> dict[str, FloatArray]:
        """What `compute` returns, or has returned before."""
        done = read_kept(path, self.digest + made_of)
        if done is None:
            with threadpool_limits(limits=1):
                done = compute()
            keep(path, self.digest + made_of, done)
        return done

    def _fine_tune(self, name: str, start: Representation, number: int) -> FloatArray:
        """Balanced accuracy of the network trained on labels, (fold,), NaN on folds left out."""
        params, task, device = self.params, self.task, compute_device()
        assert start.encoder is not None
        tune = partial(
            probabilities_by_fine_tuning, start.encoder, task.tiles, task.label, task.day
        )

        def fit(fold: int) -> float:
            def compute() -> dict[str, FloatArray]:
                probabilities = tune(
                    self.tuned_on[fold],
                    np.flatnonzero(task.test[fold]),
                    settings=params.fine_tuning,
                    seed=params.seed + number,
                    device=device,
                )
                truth, n_labels = task.label[task.test[fold]], int(task.label.max()) + 1
                return {
                    table.UNFROZEN: np.array(
                        score_fold(truth, probabilities.argmax(axis=1), n_labels)
                    )
                }

            kept = self.folder(name, number) / f"unfrozen_{fold}.npz"
            made_of = _hash([start.made_of, self.tuned_on[fold].tolist(), params.fine_tuning])
            return float(self._once(kept, made_of, compute)[table.UNFROZEN])

        scores = np.full(len(task.test), np.nan)
        n_fits = len(self.tuned_on)
        n_parallel = max(1, n_workers()) if device.type == "cpu" else 1
        # One thread a fit, so that the number of cores cannot change the rounding.
        with threadpool_limits(limits=1), sharing_cores(n_parallel) as threads:
            fits = threads.map(fit, range(n_fits))
            shown = progress(fits, f"fine-tuning {name}", total=n_fits, unit="fits")
            scores[:n_fits] = list(shown)
        return scores


def _judge_objective(judge: Judge, name: str, scenes: Path, rejected: Path, triplets: Path) -> Row:
    """The row of an objective; it is trained first, unless it was."""
    params = judge.params
    changes = params.objectives[name]
    usual = stores.open_product(triplets).load()
    if own := changes.get("sample"):
        triplets = _sample(judge.folder(name).parent, own, usual, scenes)
    root = stores.open_product(triplets).load()
    n_triplets = stores.open_product(triplets, "train").sizes["triplet"]
    section = _section(changes)
    of_epoch = n_triplets * tiles_per_triplet(section["loss"])
    section |= {"n_epochs": max(1, round(params.n_tiles_seen / of_epoch))}
    made_of = [root.to_dict(), *_teacher_of(params, section, root)]
    minutes, trained = [], []
    for number in range(params.n_seeds):
        seeded = section | {"seed": section["seed"] + number}
        folder = judge.folder(name, number)
        minutes.append(
            _train(
                folder,
                seeded,
                made_of=_hash([seeded, *made_of]),
                triplets=triplets,
                scenes=scenes,
                rejected=rejected,
            )
        )
        encoder = rebuild_encoder(*encoders.read_encoder(folder / "data/encoder"))
        trained.append(seen_by_network(encoder))
    return judge.judge(
        name,
        trained,
        minutes=float(np.mean(minutes)),
        n_tiles_seen=section["n_epochs"] * of_epoch,
        is_tuned=name in params.tuned,
    )


def _sample(folder: Path, changes: Mapping[str, Any], usual: xr.Dataset, scenes: Path) -> Path:
    """Triplets of a row that are drawn otherwise, as places, from the days of the usual ones.

    Raises:
        ValueError: If days are split otherwise.
    """
    section = stage.changed(_read_section("sample"), {**changes, "holds": "places"})
    state, triplets = folder / "sample.json", folder / "data/triplets.zarr"
    made_of = _hash([section, usual.to_dict()])
    if not (
        state.exists() and json.loads(state.read_text())["made_of"] == made_of and triplets.exists()
    ):
        stage.prepare_folder(folder, {"sample": section})
        stage.start_within("sample", folder, scenes=scenes.absolute())
        stores.write_json(state, {"made_of": made_of})
    if (stores.open_product(triplets).split.values != usual.split.values).any():
        raise ValueError(
            f"sample.{', '.join(changes)} of a row in compare.objectives splits days otherwise; "
            "leave seed, validation_share and test_share as they are"
        )
    return triplets


def _hash(made_of: object) -> str:
    return hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()


def _read_section(name: str) -> dict[str, Any]:
    section: dict[str, Any] = yaml.safe_load(stage.PARAMS_FILE.read_text())[name]
    return section


def _section(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Section `train` of a row, but for the number of epochs."""
    own = {name: value for name, value in changes.items() if name != "sample"}
    section = stage.changed(_read_section("train"), {"recipe": stage.NO_RECIPE, **own})
    objective = section["objective"]
    paths = {
        "init": _absolute(section["init"]),
        "objective": {key: _absolute(objective[key]) for key in ("labels", "teacher")},
    }
    return stage.merged(section, paths)


def _absolute(choice: str) -> str:
    """A file that train is to read in a folder of its own; what is no file stays."""
    return choice if choice in ("none", "timm") else str(Path(choice).absolute())


def _train(folder: Path, section: Mapping[str, Any], *, made_of: str, **inputs: Path) -> float:
    """Train a row in `folder`, from where it stopped; return the minutes that it took in all.

    It is trained anew where `made_of`, which stands for all that shapes it, is another.
    """
    state, minutes = folder / "row.json", 0.0
    if state.exists():
        done = json.loads(state.read_text())
        if done["made_of"] != made_of:
            log.info("%s has other parameters or triplets now; trained anew", folder.name)
            shutil.rmtree(folder)
        else:
            minutes = done["minutes"]
            if (folder / "data/encoder" / encoders.DESCRIPTION).exists():
                return float(minutes)
    stage.prepare_folder(folder, {"train": section})
    start = time.monotonic()
    try:
        given = {name: path.absolute() for name, path in inputs.items()}
        stage.start_within("train", folder, **given)
    finally:
        minutes += (time.monotonic() - start) / 60
        stores.write_json(state, {"made_of": made_of, "minutes": minutes})
    return minutes


def _teacher_of(params: CompareParams, section: Mapping[str, Any], root: xr.Dataset) -> list[str]:
    """Digest of the teacher that a row learns from, if it does.

    Raises:
        ValueError: If there is no teacher, or it has seen what is tested.
    """
    if section["loss"] != "distillation":
        return []
    folder = Path(section["objective"]["teacher"])
    tested = root.time.values[root.split.values == params.tested].astype("M8[D]")
    encoders.read_head(folder)
    known = np.array(encoders.read_encoder(folder)[1].get("label_days", []), "M8[D]")
    common = np.intersect1d(known, tested)
    if len(common):
        raise ValueError(
            f"the teacher {folder} learnt labels of {len(common)} days that are tested, "
            f"{common[0]} the first; run stage finetune on triplets whose test days these are"
        )
    return [encoders.digest(folder)]


def _see_baseline(
    params: CompareParams, name: str, fitted: NDArray[np.uint8]
) -> list[Representation]:
    """What tiles look like to a baseline, from each seed; nothing where weights cannot be had."""
    match params.baselines[name]:
        case TextureBaseline(texture):
            return [seen_by_texture(texture, fitted, seed=params.seed)]
        case ShuffledBaseline(of):
            return [shuffle(each, seed=params.seed) for each in _see_baseline(params, of, fitted)]
        case JoinedBaseline(joined):
            parts = [_see_baseline(params, each, fitted) for each in joined]
            return [join(seeds, fitted) for seeds in zip(*parts, strict=False)]
        case NetworkBaseline() as baseline:
            key = f"init of {name!r} in compare.baselines"
            weights, reason = read_imagenet(baseline.init, baseline.backbone, key=key)
            if weights is None and baseline.init != "none":
                log.warning("%s is left out: %s", name, reason)
                return []
            seeds = range(params.seed, params.seed + (1 if weights else params.n_seeds))
            return [
                seen_by_network(create_network(baseline, weights, fitted, seed=seed))
                for seed in seeds
            ]


def _training_tiles(
    source: xr.Dataset, root: xr.Dataset, tile_size: int, seed: int, n_tiles: int = 1000
) -> NDArray[np.uint8]:
    """Tiles of the training days, anywhere but where pixels are invalid."""
    rng = np.random.default_rng(seed)
    days = root.time.values[root.split.values == SPLITS[0]].astype("M8[D]")
    of_days = np.flatnonzero(np.isin(source.time.values.astype("M8[D]"), days))
    scene = np.sort(rng.choice(of_days, n_tiles))
    row = rng.integers(source.sizes["row"] - tile_size, size=n_tiles, endpoint=True)
    column = rng.integers(source.sizes["column"] - tile_size, size=n_tiles, endpoint=True)
    return stores.cut_tiles(source, scene, row, column, tile_size)


def _epilog() -> str:
    """How to choose rows, for the help."""
    text = (
        "Rows are the objectives in section compare of params.yaml, each with the keys of train "
        "that are\nothers for it, of which `recipe` names one of its recipes, and the baselines. "
        "--rows a,b judges\nonly those, by name; what was trained or judged before is read from "
        "--runs, and a stage that was\nstopped goes on from there."
    )
    if not stage.PARAMS_FILE.exists():
        return text
    section = yaml.safe_load(stage.PARAMS_FILE.read_text()).get("compare", {})
    names: Sequence[str] = [*section.get("objectives", []), *section.get("baselines", [])]
    return f"{text}\nHere they are: {', '.join(names)}"


if __name__ == "__main__":
    stage.start(run, CompareParams, epilog=_epilog())
