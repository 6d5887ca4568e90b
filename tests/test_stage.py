import importlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from pipeline.files import stage
from pipeline.train import TrainParams

ROOT = Path(__file__).parents[1]
FLOW = """
stages:
  double:
    cmd: python -m pipeline.double --source in.txt --target data/out.txt --figures data/figures
    deps: [in.txt]
    outs:
      - data/out.txt: {persist: true}
    plots:
      - data/figures
"""
DOUBLE = """
import gc
from dataclasses import dataclass
from pathlib import Path
from pipeline.files import stage

assert not gc.isenabled()  # so that imports take less time

@dataclass(frozen=True)
class DoubleParams:
    times: int
    fail: bool

def run(params: DoubleParams, source: Path, target: Path, figures: Path) -> None:
    assert gc.isenabled()
    target.write_text(source.read_text() * params.times)
    figures.mkdir()
    (figures / "a.png").write_text("figure")
    if params.fail:
        raise ValueError("double.fail is true; set it to false")

if __name__ == "__main__":
    stage.start(run, DoubleParams)
"""


@dataclass(frozen=True)
class Inner:
    share: Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class ToyParams:
    size: Annotated[int, Field(gt=0)]
    kind: Literal["a", "b"]
    name: Annotated[str, Field(pattern="^[A-Z]")]
    sides: Annotated[tuple[float, ...], Field(min_length=1)]
    inner: Inner


GOOD = {"size": 3, "kind": "a", "name": "Toy", "sides": [1, 2.5], "inner": {"share": 0.5}}


def test_params_become_the_dataclass() -> None:
    expected = ToyParams(3, "a", "Toy", (1.0, 2.5), Inner(0.5))
    assert stage.parse_params("toy", GOOD, ToyParams) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"sise": 3},
            r"unknown key toy\.sise; remove it \(toy has size, kind, name, sides, inner\)",
        ),
        ({"inner": {"share": 0.5, "x": 1}}, r"unknown key toy\.inner\.x"),
        ({"inner": {}}, r"lacks the key toy\.inner\.share; add it"),
        ({"size": 0}, r"toy\.size is 0 in params\.yaml; it should be greater than 0"),
        ({"size": "3"}, r"toy\.size is '3' in params\.yaml; it should be a valid integer"),
        ({"kind": "c"}, r"toy\.kind is 'c' in params\.yaml; it should be 'a' or 'b'"),
        (
            {"name": "toy"},
            r"toy\.name is 'toy' in params\.yaml; it should match pattern '\^\[A-Z\]'",
        ),
        ({"sides": []}, r"toy\.sides is \[\] in params\.yaml; it should have at least 1 item"),
        ({"inner": {"share": 1.5}}, r"toy\.inner\.share is 1\.5 .* less than 1"),
    ],
)
def test_wrong_params_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stage.parse_params("toy", {**GOOD, **change}, ToyParams)


def test_missing_section_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"params\.yaml is not in .*repository's root"):
        stage.read_params("toy", ToyParams)
    Path("params.yaml").write_text("other: {}\n")
    with pytest.raises(ValueError, match=r"params\.yaml has no section toy; add it"):
        stage.read_params("toy", ToyParams)


def test_paths_come_from_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(FLOW)
    assert stage.paths("double") == {
        "source": Path("in.txt"),
        "target": Path("data/out.txt"),
        "figures": Path("data/figures"),
    }
    with pytest.raises(ValueError, match=r"no stage triple; it has double"):
        stage.paths("triple")


def _run_double(folder: Path, params: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "on_demand").mkdir(exist_ok=True)
    (folder / "on_demand/dvc.yaml").write_text(
        FLOW.replace("double:", "thrice:").replace("data/", "other/")
    )
    (folder / "dvc.yaml").write_text(FLOW)
    (folder / "params.yaml").write_text(params)
    (folder / "in.txt").write_text("ab")
    package = folder / "pipeline"
    package.mkdir(exist_ok=True)
    (package / "double.py").write_text(DOUBLE)
    # The stage joins the installed package, as a stage of the product would.
    installed = Path(stage.__file__).parents[1]
    init = (installed / "__init__.py").read_text()
    (package / "__init__.py").write_text(
        f"{init}\n__path__ = [{str(package)!r}, {str(installed)!r}]\n"
    )
    return subprocess.run(
        [sys.executable, "-m", "pipeline.double", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_started_stage_writes_its_products(tmp_path: Path) -> None:
    result = _run_double(tmp_path, "double: {times: 2, fail: false}")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "data/out.txt").read_text() == "abab"
    assert (tmp_path / "data/figures/a.png").exists()
    result = _run_double(tmp_path, "double: {times: 3, fail: false}")
    assert (tmp_path / "data/out.txt").read_text() == "ababab"
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["figures", "out.txt"]


def test_a_stage_can_be_another_of_the_flow(tmp_path: Path) -> None:
    params = "{double: {times: 2, fail: false}, thrice: {times: 3}}"
    result = _run_double(tmp_path, params, "--as", "thrice")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "other/out.txt").read_text() == "ababab"
    assert not (tmp_path / "data").exists()
    result = _run_double(tmp_path, "double: {times: 2, fail: false}", "--as", "thrice")
    assert "params.yaml has no section thrice; add it" in result.stderr
    assert "stage of the flow to be" in _run_double(tmp_path, params, "--help").stdout


def test_a_stage_within_another_runs_in_its_folder_and_says_what_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())
    sections["fetch"] |= {"source": "local", "local": {"granules": ["nothing/*.nc"]}}
    folder = tmp_path / "inner"
    stage.prepare_folder(folder, sections)

    with pytest.raises(stage.StageRefusedError, match=r"^'nothing/\*.nc' is a pattern without"):
        stage.start_within("fetch", folder)

    assert Path.cwd() == tmp_path
    assert not (folder / "data/granules").exists()


def test_failed_stage_leaves_products_whole(tmp_path: Path) -> None:
    assert _run_double(tmp_path, "double: {times: 2, fail: false}").returncode == 0
    result = _run_double(tmp_path, "double: {times: 3, fail: true}")
    assert result.returncode == 1
    assert (tmp_path / "data/out.txt").read_text() == "abab"
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["figures", "out.txt"]


def test_files_of_people_in_a_product_are_kept(tmp_path: Path) -> None:
    params = "double: {times: 2, fail: false}"
    assert _run_double(tmp_path, params).returncode == 0
    (tmp_path / "data/figures/notes.txt").write_text("mine")
    result = _run_double(tmp_path, params.replace("2", "3"))
    assert result.returncode == 1
    assert result.stderr.startswith("double: data/figures holds notes.txt, which double did not")
    assert (tmp_path / "data/figures/notes.txt").read_text() == "mine"
    assert (tmp_path / "data/out.txt").read_text() == "abab"
    (tmp_path / "data/figures/notes.txt").unlink()
    assert _run_double(tmp_path, params.replace("2", "3")).returncode == 0


def test_files_that_come_while_a_stage_runs_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(FLOW)
    figures = Path("data/figures")

    def run() -> None:
        with stage._replacing("double", {"figures": figures}) as temporary:
            temporary["figures"].mkdir()
            figures.mkdir()
            (figures / "late.tif").touch()

    with pytest.raises(FileExistsError, match=r"holds late\.tif, which double did not write"):
        run()
    assert [path.name for path in Path("data").iterdir()] == ["figures"]
    assert (figures / "late.tif").exists()


def test_a_full_disk_ends_in_one_sentence() -> None:
    with pytest.raises(SystemExit) as ended, stage.one_sentence_errors("double"):
        Path("/dev/full").write_text("what no disk takes")
    assert str(ended.value) == (
        "double: [Errno 28] No space left on device; free some space and start again"
    )


def test_a_recipe_replaces_values_of_its_section(tmp_path: Path) -> None:
    params = "{double: {times: 2, fail: false, recipe: %s, recipes: {more: {times: 3}}}}"
    assert _run_double(tmp_path, params % "more").returncode == 0
    assert (tmp_path / "data/out.txt").read_text() == "ababab"
    assert _run_double(tmp_path, params % "none").returncode == 0
    assert (tmp_path / "data/out.txt").read_text() == "abab"
    assert _run_double(tmp_path, params % "less").stderr == (
        "double: recipe 'less' is not among the recipes in params.yaml; name one of none, more\n"
    )


def test_another_of_the_flow_can_name_a_recipe_of_its_own(tmp_path: Path) -> None:
    recipes = "recipe: none, recipes: {more: {times: 3}}"
    params = f"{{double: {{times: 2, fail: false, {recipes}}}, thrice: {{recipe: more}}}}"
    result = _run_double(tmp_path, params, "--as", "thrice")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "other/out.txt").read_text() == "ababab"


def test_bad_params_end_in_one_sentence(tmp_path: Path) -> None:
    result = _run_double(tmp_path, "double: {times: two, fail: false}")
    assert result.returncode == 1
    expected = "double: double.times is 'two' in params.yaml; it should be a valid integer\n"
    assert result.stderr == expected


@pytest.mark.parametrize("path", ["params.yaml", "docs/goes13.yaml", "docs/modis_true_colour.yaml"])
def test_committed_params_suit_every_stage(path: str) -> None:
    root = Path(__file__).parents[1]
    content = yaml.safe_load((root / path).read_text())
    student, trained = content.pop("distil"), content["train"]
    recipes = [stage.with_recipe(trained, name) for name in trained["recipes"]]
    for section in (*recipes, stage.changed(trained, student)):
        assert isinstance(stage.parse_params("train", section, TrainParams), TrainParams)
    content["train"] = stage.with_recipe(trained)
    for name, section in content.items():
        module = importlib.import_module(f"pipeline.{name}")
        words = "".join(word.title() for word in name.split("_"))
        params_type = getattr(module, f"{words}Params")
        assert isinstance(stage.parse_params(name, section, params_type), params_type)
