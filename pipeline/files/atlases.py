"""Atlases on disk: a folder of files, sealed by a manifest of their checksums."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MANIFEST = "atlas.json"
FORMAT = 1  # of the folder; raised when older code could not read it


def seal(folder: Path, description: Mapping[str, Any]) -> None:
    """Write the manifest: what the atlas is, and the checksums of its files and of itself."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = {
        "format": FORMAT,
        **description,
        "sha256": {path.relative_to(folder).as_posix(): _checksum(path) for path in files},
    }
    content["sealed"] = _seal_of(content)
    (folder / MANIFEST).write_text(json.dumps(content, indent=2) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the atlas in `folder`, every file of which is as it was when sealed.

    Raises:
        FileNotFoundError: If there is no atlas.
        ValueError: If the atlas is damaged, or of another format.
    """
    path = folder / MANIFEST
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds no atlas; run dvc repro freeze, or name another")
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        sealed = content.pop("sealed") == _seal_of(content)
    except (ValueError, KeyError, AttributeError):
        sealed = False
    if not sealed:
        raise ValueError(f"the atlas {folder} is damaged: {MANIFEST} was changed; copy it anew")
    if content["format"] != FORMAT:
        raise ValueError(
            f"the atlas {folder} has format {content['format']}, this code reads {FORMAT}; use the "
            f"code of its time ({content['software']}) or freeze anew"
        )
    for name, expected in content["sha256"].items():
        if not (folder / name).exists():
            raise ValueError(f"the atlas {folder} is damaged: {name} is missing; copy it anew")
        if _checksum(folder / name) != expected:
            raise ValueError(f"the atlas {folder} is damaged: {name} was changed; copy it anew")
    return content


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
