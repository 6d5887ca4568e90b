"""The manifest of granules: which files belong to which, and what they hold by checksum."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr


@dataclass(frozen=True)
class Entry:
    """A granule of the manifest, and its number there; without a time where none was told."""

    number: int
    name: str
    files: tuple[Path, ...]
    reader: str
    step: int
    start_time: np.datetime64
    checksums: tuple[str, ...]


@dataclass(frozen=True)
class Fingerprint:
    """Size in bytes and SHA-256 of a file; 0 and empty of what is no file."""

    size: int
    sha256: str


def fingerprints(paths: Iterable[Path], known: Path) -> Iterator[tuple[Path, Fingerprint]]:
    """Each path with its fingerprint; those in the file `known` are not computed again.

    A file counts as known while its size and time of change are as before. What was computed is
    added to `known` when all paths are through.
    """
    before = json.loads(known.read_text()) if known.exists() else {}
    seen: dict[str, Any] = {}
    for path in paths:
        if entry := seen.get(str(path)):  # of another granule in the same file
            yield path, Fingerprint(entry["stamp"][0], entry["sha256"])
            continue
        if not path.is_file():  # ingest says what it is
            yield path, Fingerprint(0, "")
            continue
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        entry = before.get(str(path), {})
        digest = entry["sha256"] if entry.get("stamp") == stamp else sha256(path)
        seen[str(path)] = {"stamp": stamp, "sha256": digest}
        yield path, Fingerprint(status.st_size, digest)
    known.parent.mkdir(parents=True, exist_ok=True)
    partial = known.with_suffix(".partial")
    partial.write_text(json.dumps({**before, **seen}, indent=1))
    partial.replace(known)


def sha256(path: Path) -> str:
    """Checksum of the content of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_entries(path: Path) -> list[Entry]:
    """The granules of the manifest at `path`, by number."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; run dvc repro fetch")
    with xr.open_dataset(path, engine="netcdf4") as manifest:
        table = manifest.to_dataframe()
    return [
        Entry(
            number=int(files.number.iloc[0]),
            name=str(files.granule.iloc[0]),
            files=tuple(path.absolute().parent / name for name in files.path),
            reader=str(files.reader.iloc[0]),
            step=int(files.step.iloc[0]),
            start_time=files.start_time.to_numpy()[0],
            checksums=tuple(files.sha256),
        )
        for _, files in table.groupby("number")
    ]
