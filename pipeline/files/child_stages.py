"""Stages that a stage starts as processes, each in a folder with parameters of its own."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

log = logging.getLogger(__name__)

CODE = Path(__file__).parents[2]


class StageRefusedError(ValueError):
    """What a stage said when it ended; its last sentence is the message."""


def prepare_folder(folder: Path, sections: Mapping[str, Any], flow: Path) -> None:
    """Make `folder` one where stages can be started.

    Args:
        folder: May be there already.
        sections: Of its params.yaml.
        flow: The dvc.yaml that paths come from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(dict(sections), sort_keys=False))
    shutil.copy(flow, folder / "dvc.yaml")


def start_stage(name: str, folder: Path, **paths: Path | str) -> None:
    """Run the stage `name` in `folder`, and pass on what it logs.

    Args:
        name: Of the stage.
        folder: Of `prepare_folder`; relative paths begin there.
        paths: Options of the stage; others are those of dvc.yaml.

    Raises:
        StageRefusedError: If it fails.
    """
    options = [word for key, path in paths.items() for word in (f"--{key}", str(path))]
    search = os.pathsep.join([str(CODE), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, "-m", f"pipeline.{name}", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": search},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        line = ""
        for line in process.stderr:
            log.info("%s", line.rstrip())
    if process.returncode:
        raise StageRefusedError(line.strip().removeprefix(f"{name}: "))
