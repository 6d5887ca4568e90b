"""Starts a stage: params.yaml and the paths of dvc.yaml become the arguments of its `run`."""

import argparse
import dataclasses
import errno
import gc
import importlib
import inspect
import itertools
import json
import logging
import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline.files.base.ownership import refuse_to_lose, write_record
from pipeline.files.base.placement import refuse_links_out_of_the_repository

PARAMS_FILE = Path("params.yaml")
FLOW_FILE = Path("dvc.yaml")
ON_DEMAND_FILE = Path("on_demand/dvc.yaml")  # stages that `dvc repro` alone does not run
PACKAGE = Path(__file__).parents[1]
NO_RECIPE = "none"
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast in C

Params = TypeVar("Params")


def start(
    run: Callable[..., None], params_type: type[Any] | None = None, *, epilog: str = ""
) -> None:
    """Run the stage whose module was started with `python -m`, and end as `main` says."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None, "start a stage with python -m"
    # Under its own name, since workers elsewhere cannot import what is in this __main__.
    module = importlib.import_module(spec.name)
    run = getattr(module, run.__name__)
    params_type = params_type and getattr(module, params_type.__name__)
    sys.modules["__main__"] = ModuleType("__main__")  # which every worker would run once more
    gc.freeze()  # what was imported stays
    gc.enable()
    sys.exit(main(run, params_type, sys.argv[1:], epilog=epilog))


def main(
    run: Callable[..., None],
    params_type: type[Any] | None,
    argv: Sequence[str],
    *,
    epilog: str = "",
) -> int:
    """Run a stage as the words `argv` of a command line ask; return the exit status.

    Every `Path` argument of `run` is an option; its default is the path in dvc.yaml. Products are
    swapped in when `run` has succeeded, so a failure leaves the earlier ones whole.

    With `--as other` the stage is that of this name in the flow: it has the paths of `other`, and
    the section `other` of params.yaml changes what stands in its own. Arguments of `run` with a
    default are options that are no paths.

    Args:
        run: Of the stage's module.
        params_type: Of its section in params.yaml; None where the stage has no numbers.
        argv: The options.
        epilog: Stands below the options in the help.
    """
    try:
        _carry_out(run, params_type, argv, epilog)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
            return 1
        return ended.code or 0
    return 0


class StageRefusedError(ValueError):
    """What a stage that another started ended with, a sentence."""


def prepare_folder(folder: Path, sections: Mapping[str, Any]) -> None:
    """Make `folder`, which may be there already, one where stages find these parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PARAMS_FILE).write_text(yaml.safe_dump(dict(sections), sort_keys=False))
    shutil.copy(FLOW_FILE, folder / FLOW_FILE)


def start_within(name: str, folder: Path, **given: Path | str) -> None:
    """Run the stage `name` on behalf of another, in this process, with `folder` as its own.

    Args:
        name: Of the stage.
        folder: Of `prepare_folder`; relative paths begin there.
        given: Options of the stage; others are those of dvc.yaml.

    Raises:
        StageRefusedError: If the stage ends with a sentence, which is the message.
    """
    run = importlib.import_module(f"pipeline.{name}").run
    argv = [word for key, value in given.items() for word in (f"--{key}", str(value))]
    try:
        with chdir(folder):
            _carry_out(run, get_type_hints(run).get("params"), argv)
    except SystemExit as ended:
        raise StageRefusedError(str(ended.code).removeprefix(f"{name}: ")) from None


def _carry_out(
    run: Callable[..., None], params_type: type[Any] | None, argv: Sequence[str], epilog: str = ""
) -> None:
    name = run.__module__.rpartition(".")[2]
    with one_sentence_errors(name):
        role, given = _parse_arguments(name, run, argv, epilog)
        params = {}
        if params_type:
            changed_by = None if role == name else role
            params["params"] = read_params(name, params_type, changed_by=changed_by)
        with _replacing(role, given) as arguments:
            run(**params, **arguments)


def read_params(name: str, params_type: type[Params], *, changed_by: str | None = None) -> Params:
    """Section `name` of params.yaml as `params_type`, with the values of another where it has some.

    Raises:
        ValueError: If a key is unknown, missing or of the wrong kind.
    """
    sections = _read_yaml(PARAMS_FILE)
    for each in (name, changed_by or name):
        if each not in sections:
            raise ValueError(f"{PARAMS_FILE} has no section {each}; add it")
    changes = sections[changed_by] if changed_by else {}
    return parse_params(name, changed(sections[name], changes), params_type)


def changed(section: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`section` with the values of `changes`, whose `recipe` stands in for the one it names.

    >>> changed({"loss": "triplet", "recipe": "none", "recipes": {"mine": {"loss": "byol"}}},
    ...         {"recipe": "mine", "seed": 2})
    {'loss': 'byol', 'seed': 2}
    """
    own = {key: value for key, value in changes.items() if key != "recipe"}
    return merged(with_recipe(section, changes.get("recipe")), own)


def with_recipe(section: Mapping[str, Any], recipe: str | None = None) -> dict[str, Any]:
    """`section` with the values of one of its `recipes`, where it has some, in place of its own.

    Args:
        section: With recipes, it names one of them, or none, under `recipe`.
        recipe: Stands in for the one that is named.

    Raises:
        ValueError: If there is no such recipe.

    >>> with_recipe({"loss": "triplet", "recipe": "mine", "recipes": {"mine": {"loss": "byol"}}})
    {'loss': 'byol'}
    """
    recipes = section.get("recipes", {})
    own = {key: section[key] for key in section if not recipes or key not in ("recipe", "recipes")}
    chosen = recipe or (section["recipe"] if recipes else NO_RECIPE)
    if chosen == NO_RECIPE:
        return own
    if chosen not in recipes:
        raise ValueError(
            f"recipe {chosen!r} is not among the recipes in {PARAMS_FILE}; name one of "
            f"{', '.join(dict.fromkeys([NO_RECIPE, *recipes]))}"
        )
    return merged(own, recipes[chosen])


def merged(section: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`section` with the values of `changes`, key by key at any depth.

    >>> merged({"loss": "triplet", "objective": {"margin": 1.0}}, {"objective": {"margin": 0.5}})
    {'loss': 'triplet', 'objective': {'margin': 0.5}}
    """
    result = dict(section)
    for key, value in changes.items():
        inner = result.get(key)
        if isinstance(inner, Mapping) and isinstance(value, Mapping):
            value = merged(inner, value)
        result[key] = value
    return result


def parse_params(name: str, section: object, params_type: type[Params]) -> Params:
    """`section` checked against the dataclass `params_type`, strictly and to any depth."""
    try:
        # JSON has one kind of list and no dates, so that YAML can hold tuples and dates.
        params = TypeAdapter(params_type).validate_json(
            json.dumps(section, default=str), strict=True, extra="forbid"
        )
    except ValidationError as error:
        raise ValueError(_first_problem(name, error, params_type)) from None
    return params


def paths(name: str) -> dict[str, Path]:
    """Paths which dvc.yaml gives to the stage `name`, by option."""
    words = shlex.split(_flow_stage(name)["cmd"])
    return {
        option.removeprefix("--").replace("-", "_"): Path(value)
        for option, value in itertools.pairwise(words)
        if option.startswith("--")
    }


@contextmanager
def one_sentence_errors(name: str) -> Iterator[None]:
    """Log progress lines; end with one sentence where we refuse our input, or the disk is full.

    Anything else raised inside a library keeps its traceback: it is a mistake of ours.
    """
    logging.basicConfig(format=f"{name}: %(message)s", level=logging.WARNING)
    for logger in ("__main__", "pipeline"):
        logging.getLogger(logger).setLevel(logging.INFO)
    try:
        yield
    except (ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            sys.exit(f"{name}: {error}; free some space and start again")
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if PACKAGE not in raised_in.parents:
            raise
        sys.exit(f"{name}: {error}")


def _parse_arguments(
    name: str, run: Callable[..., None], argv: Sequence[str], epilog: str
) -> tuple[str, dict[str, Path]]:
    """The stage of the flow that was started, and its paths and other options."""
    parser = argparse.ArgumentParser(
        prog=f"python -m pipeline.{name}",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--as",
        dest="role",
        default=name,
        help=f"stage of the flow to be; its section changes values of the section {name}",
    )
    words = [word for word in argv if word not in ("-h", "--help")]
    defaults = paths(parser.parse_known_args(words)[0].role)
    for argument, about in inspect.signature(run).parameters.items():
        if argument == "params":
            continue
        option = f"--{argument.replace('_', '-')}"
        if about.default is inspect.Parameter.empty:
            parser.add_argument(option, type=Path, default=defaults.get(argument))
        else:
            parser.add_argument(option, default=about.default)
    given = vars(parser.parse_args(argv))
    return given.pop("role"), given


@contextmanager
def _replacing(name: str, given: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Hand out temporary paths for the stage's outs; move them in place at the end.

    Of several processes that torchrun starts only the first has products.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        yield dict(given)
        return
    outs = {path for key in ("outs", "metrics", "plots") for path in _out_paths(name, key)}
    temporary = {
        argument: path.parent / f".{name}" / path.name
        for argument, path in given.items()
        if path in outs
    }
    refuse_links_out_of_the_repository(given[argument] for argument in temporary)
    for argument in temporary:
        refuse_to_lose(given[argument], name)
    folders = {path.parent for path in temporary.values()}
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        yield {**given, **temporary}
        for argument, path in temporary.items():
            refuse_to_lose(given[argument], name)  # what came while the stage was running
            write_record(path)
        for argument, path in temporary.items():
            if given[argument].exists():
                given[argument].replace(path.parent / f"replaced-{path.name}")
            path.replace(given[argument])
        if "checkpoint" in given:  # from which a stage killed up to here would have gone on
            given["checkpoint"].unlink(missing_ok=True)
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _out_paths(name: str, key: str) -> set[Path]:
    """Paths under `key` of the stage; an entry is a path, or a path with its settings."""
    return {
        Path(entry if isinstance(entry, str) else next(iter(entry)))
        for entry in _flow_stage(name).get(key, [])
    }


def _flow_stage(name: str) -> dict[str, Any]:
    stages = _read_yaml(FLOW_FILE)["stages"]
    if ON_DEMAND_FILE.exists():
        stages |= _read_yaml(ON_DEMAND_FILE)["stages"]
    if name not in stages:
        raise ValueError(f"{FLOW_FILE} has no stage {name}; it has {', '.join(stages)}")
    stage: dict[str, Any] = stages[name]
    return stage


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileNotFoundError(f"{path} is not in {Path.cwd()}; start from the repository's root")
    content: dict[str, Any] = yaml.load(path.read_text(), YAML_LOADER)
    return content


def _first_problem(name: str, error: ValidationError, params_type: type[Any]) -> str:
    problem = error.errors()[0]
    parts = [str(part) for part in problem["loc"] if not str(part).startswith("(")]  # as of a tag
    key = ".".join([name, *parts])
    match problem["type"]:
        case "unexpected_keyword_argument":
            known = ", ".join(field.name for field in dataclasses.fields(params_type))
            return f"{PARAMS_FILE} has the unknown key {key}; remove it ({name} has {known})"
        case "missing":
            return f"{PARAMS_FILE} lacks the key {key}; add it"
    if problem["type"] == "value_error":
        return f"{key} in {PARAMS_FILE}: {problem['ctx']['error']}"
    wish = problem["msg"].partition(" should ")[2]
    said = f"it should {wish}" if wish else problem["msg"]
    return f"{key} is {problem['input']!r} in {PARAMS_FILE}; {said}"
