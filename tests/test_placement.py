"""The folder of products as a link, as on clusters whose disks for work are others."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from subprocess import run as run_command

import pytest
from tiny_flow import prepare, run_stage

from pipeline.files.base.placement import refuse_links_out_of_the_repository


@pytest.fixture
def linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose data/ is a link to another disk, as DVC sees it."""
    folder, scratch = tmp_path / "repository", tmp_path / "scratch"
    (folder / ".dvc").mkdir(parents=True)
    scratch.mkdir()
    (folder / "data").symlink_to(scratch)
    monkeypatch.setenv("DVC_ROOT", str(folder))
    return folder


def test_a_stage_refuses_a_link_before_it_works(
    linked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(linked, {"fetch.source": "local", "fetch.local.granules": ["nowhere"]})
    assert run_stage(linked, "-m pipeline.fetch") == 1
    assert capsys.readouterr().err.strip() == (
        f"fetch: data is a link to {tmp_path / 'scratch'}, outside of the repository, where DVC "
        "takes no product; run: dvc config --local core.no_scm true"
    )
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("said", ["true", '"true"'])
@pytest.mark.parametrize(
    "file", [".dvc/config", ".dvc/config.local", "global/config", "system/config"]
)
def test_a_link_is_taken_where_dvc_does_without_git(
    linked: Path, file: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("global", "system"):
        monkeypatch.setenv(f"DVC_{kind.upper()}_CONFIG_DIR", str(linked / kind))
    (linked / file).parent.mkdir(exist_ok=True)
    (linked / file).write_text(f"[cache]\n    dir = /x/%y\n[core]\n    no_scm = {said}\n")
    refuse_links_out_of_the_repository([linked / "data/granules"])
    (linked / ".dvc/config.local").write_text("[core]\n    no_scm = false\n")
    with pytest.raises(ValueError, match="is a link to"):
        refuse_links_out_of_the_repository([linked / "data/granules"])


def test_links_inside_the_repository_and_stages_without_dvc_are_free(
    linked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (linked / "data").unlink()
    (linked / "disk").mkdir()
    (linked / "data").symlink_to("disk")
    refuse_links_out_of_the_repository([linked / "data/granules"])
    monkeypatch.delenv("DVC_ROOT")
    refuse_links_out_of_the_repository([Path("/anywhere/granules")])


@pytest.mark.slow("flow")
def test_products_behind_a_link_are_made_and_remembered(
    tmp_path: Path, dvc: Callable[..., CompletedProcess[str]]
) -> None:
    folder = tmp_path / "repository"
    root = Path(__file__).parents[1]
    run_command(["git", "clone", "-q", str(root), str(folder)], check=True)
    prepare(folder, {"fetch.synthetic.n_days": 1, "fetch.synthetic.n_pixels": 100})
    (folder / "data").rename(tmp_path / "scratch")
    (folder / "data").symlink_to(tmp_path / "scratch")
    refused = dvc(folder, "repro", "fetch")
    assert "run: dvc config --local core.no_scm true" in refused.stderr
    dvc(folder, "config", "--local", "core.no_scm", "true")
    dvc(folder, "cache", "dir", "--local", str(tmp_path / "cache"))
    made = dvc(folder, "repro", "fetch")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "scratch/granules/manifest.nc").exists()
    assert "Data and pipelines are up to date" in dvc(folder, "repro", "fetch").stdout
