"""The arrows of the architecture, read from the imports."""

import ast
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline"
STAGES = {path.stem: path for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
FLOW: dict[str, Any] = {
    name: entry
    for file in ("dvc.yaml", "on_demand/dvc.yaml")
    for name, entry in yaml.safe_load((ROOT / file).read_text())["stages"].items()
}
ROLES = {"distil": "train"}  # stages of the flow that are another's module, `--as` themselves
BASE = PACKAGE / "files/base"  # what its siblings may import; each of its modules is a noun
# What only says how a stage is run, and never what comes of it: editing it reruns nothing.
RUNNERS = {
    PACKAGE / name
    for name in (
        "core/memory.py",
        "files/base/ownership.py",
        "files/base/placement.py",
        "files/progress.py",
        "files/stage.py",
        "files/workers.py",
    )
}
KEPT = {
    *("data/archive", "data/checkpoint.safetensors", "data/checksums.json"),
    *("data/comparison_runs", "data/student.safetensors"),
}
FIGURES = PACKAGE / "files/figures"
# Stages that draw, and neither fit, embed nor cluster.
DRAWING = {
    *(name for name in FLOW if name.startswith("plot_")),
    *("grid_clusters", "interpolate", "label", "map_clusters", "report", "retrieve"),
}


@cache
def _modules_imported(path: Path) -> set[Path]:
    """Modules of the package that `path` names in its imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            module = ROOT.joinpath(*name.split("."))
            found |= {
                file
                for file in (module.with_suffix(".py"), module / "__init__.py")
                if file.exists() and file.stat().st_size
            }
    return found - {path}


def _all_modules(path: Path) -> set[Path]:
    """Modules that `path` imports, directly or not."""
    reached: set[Path] = set()
    waiting = [path]
    while waiting:
        new = _modules_imported(waiting.pop()) - reached
        reached |= new
        waiting += new
    return reached


def _stages_started(path: Path) -> list[str]:
    """Stages that a stage starts as processes: its constant STAGES."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STAGES":
            return list(ast.literal_eval(node.value))
    return []


def _noun(path: Path) -> Path:
    """The module or, inside a folder of one noun, that folder."""
    parts = path.relative_to(PACKAGE).parts
    return path if BASE in path.parents else PACKAGE.joinpath(*parts[:2])


def products(entry: dict[str, Any]) -> list[str]:
    """Paths that a stage of the flow writes."""
    return [next(iter(out)) for key in ("outs", "metrics") for out in entry.get(key, [])]


def test_core_and_files_do_not_meet() -> None:
    for path in (PACKAGE / "core").rglob("*.py"):
        assert {module.relative_to(PACKAGE).parts[0] for module in _modules_imported(path)} <= {
            "core"
        }, path
    for path in (PACKAGE / "files").rglob("*.py"):
        others = {module for module in _modules_imported(path) if BASE not in module.parents}
        assert {_noun(module) for module in others} <= {_noun(path)}, path


def test_core_touches_no_disk() -> None:
    forbidden = {"pathlib", "logging", "yaml", "json", "zarr", "netCDF4", "rasterio", "satpy"}
    for path in (PACKAGE / "core").rglob("*.py"):
        tree = ast.parse(path.read_text())
        names = {
            name.split(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [str(node.module)]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not names & forbidden, path


def test_nothing_imports_a_stage() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert not _modules_imported(path) & set(STAGES.values()), path


def test_stages_have_a_section_a_flow_entry_and_a_test() -> None:
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert {*STAGES, *ROLES} == set(FLOW)
    assert set(sections) == {name for name in FLOW if "params" in FLOW[name]}
    for name in FLOW:
        assert (ROOT / "tests" / f"test_{name}.py").exists()
        started = ["sample", "train"] if name == "compare" else []
        others = [ROLES[name]] if name in ROLES else started
        tracked = {key.partition(".")[0] for key in FLOW[name].get("params", [])}
        assert tracked == {name, *others} & set(sections)
        assert (f"pipeline.{ROLES[name]} --as {name} " if name in ROLES else "") in FLOW[name][
            "cmd"
        ]


@pytest.mark.parametrize("template", list((PACKAGE / "files/templates").iterdir()))
def test_templates_are_dependencies_of_the_stages_that_fill_them(template: Path) -> None:
    users = {name for name, path in STAGES.items() if f'"{template.name}"' in path.read_text()}
    dependency = str(template.relative_to(ROOT))
    assert users == {name for name in FLOW if dependency in FLOW[name]["deps"]} != set()


@pytest.mark.parametrize("name", sorted(FLOW))
def test_code_dependencies_are_those_imported(name: str) -> None:
    """A folder of one noun may stand for all of its modules."""
    dependencies = [ROOT / dep for dep in FLOW[name]["deps"] if dep.endswith(".py")]
    folders = [ROOT / dep for dep in FLOW[name]["deps"] if (ROOT / dep).is_dir()]
    listed = {*dependencies, *(folder for folder in folders if PACKAGE in folder.parents)}
    own = STAGES[ROLES.get(name, name)]
    modules = [own, *(STAGES[each] for each in _stages_started(own))]
    imported = {*modules, *(each for path in modules for each in _all_modules(path))} - RUNNERS
    expected = {noun if (noun := _noun(path)).is_dir() else path for path in imported}
    assert {str(path.relative_to(ROOT)) for path in listed} == {
        str(path.relative_to(ROOT)) for path in expected
    }


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("fetch", {"local", "goes", "nasa", "synthetic"}),  # but for the one that is the source
        ("ingest", {"presets"}),  # but for the one that is used
        ("train", {"recipes"}),  # but for the one that is named
    ],
)
def test_all_keys_of_a_section_are_named_but_alternatives(name: str, left_out: set[str]) -> None:
    section = yaml.safe_load((ROOT / "params.yaml").read_text())[name]
    keys = [key.removeprefix(f"{name}.") for key in FLOW[name]["params"]]
    alternatives = [key for key in keys if "${" in key]
    assert len(alternatives) == 1
    assert set(keys) - {*alternatives} == set(section) - left_out


def test_what_fits_embeds_or_clusters_depends_on_no_figure() -> None:
    dependent = {name for name in FLOW if str(FIGURES.relative_to(ROOT)) in FLOW[name]["deps"]}
    assert dependent == DRAWING
    for name in DRAWING:
        assert PACKAGE / "core/encoder.py" not in _all_modules(STAGES[name])


@pytest.mark.parametrize("name", sorted(FLOW))
def test_every_path_of_a_command_is_a_dependency_or_a_product(name: str) -> None:
    """But for what is kept between runs, and a folder that is a parameter."""
    entry = FLOW[name]
    outs = products(entry)
    words = entry["cmd"].split()
    given = {word for option, word in pairwise(words) if option.startswith("--")} - {name}
    assert given - KEPT <= {*entry["deps"], *outs}
    assert set(outs) <= given


@pytest.mark.parametrize("name", sorted(FLOW))
def test_every_product_outlives_a_failed_rerun(name: str) -> None:
    """DVC removes outs before a stage starts, unless they persist."""
    for key in ("outs", "metrics"):
        for entry in FLOW[name].get(key, []):
            assert isinstance(entry, dict)
            assert next(iter(entry.values()))["persist"] is True
