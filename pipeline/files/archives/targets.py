"""Where fetched files go: inside one folder, whole, and onto a disk with room for them."""

import hashlib
import shutil
from functools import partial
from pathlib import Path

RESERVE_BYTES = 2**30  # stay free on the disk


def local_path(folder: Path, key: str) -> Path:
    """Where the object `key` goes inside `folder`.

    Raises:
        ValueError: If the key, or a link on its way, leads out of the folder.
    """
    plain = {"", ".", ".."}.isdisjoint(key.split("/")) and {"\\", "\0"}.isdisjoint(key)
    if not plain or not (folder / key).resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"the key {key!r} is refused, since it leads out of {folder}; "
            "fetch from an archive which you trust"
        )
    return folder / key


def is_whole(path: Path, *, size: int | None, md5: str | None) -> bool:
    """Whether `path` is there with this size in bytes and this checksum, where they are known."""
    if not path.is_file() or size not in (None, path.stat().st_size):
        return False
    if md5 is None:
        return True
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False))
    return digest.hexdigest() == md5


def refuse_full_disk(folder: Path, n_bytes: int) -> None:
    """Check that the disk of `folder` can hold `n_bytes` more.

    Raises:
        ValueError: If it cannot, a reserve included.
    """
    free = shutil.disk_usage(folder).free
    if n_bytes + RESERVE_BYTES > free:
        raise ValueError(
            f"{n_bytes} bytes are to be fetched and {RESERVE_BYTES} kept free, but the disk of "
            f"{folder} has {free}; make room, or narrow start and end in section fetch"
        )
