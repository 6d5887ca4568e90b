"""Objects of an S3 bucket, listed and fetched in parallel, checked before they are there."""

import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from threading import Event

from obstore.store import S3Store
from tqdm import tqdm

from pipeline.files.archives.attempts import TransientError, retrying, spread
from pipeline.files.archives.bucket import (
    BucketError,
    RemoteFile,
    VanishedError,
    list_prefix,
    read_chunks,
)
from pipeline.files.archives.byte_bar import byte_bar
from pipeline.files.archives.targets import is_whole, local_path, refuse_full_disk

log = logging.getLogger(__name__)


class _StoppedError(Exception):
    """The transfer was ended from outside."""


def list_files(store: S3Store, prefixes: Iterable[str], *, n_parallel: int) -> list[RemoteFile]:
    """Objects under each of `prefixes`.

    Raises:
        MissingBucketError: If there is no such bucket.
        ValueError: If a key leads out of its folder.
        ConnectionError: If the bucket does not answer.
    """

    def work(prefix: str, stop: Event) -> list[RemoteFile]:
        try:
            return retrying(stop)(list_prefix, store, prefix)
        except (BucketError, TransientError) as error:
            raise ConnectionError(
                f"cannot list {error}; run the stage again later, or change its endpoint"
            ) from error

    return [file for files in spread(work, prefixes, n_parallel) for file in files]


def fetch_files(
    store: S3Store, files: Sequence[RemoteFile], folder: Path, *, n_parallel: int
) -> list[Path]:
    """Paths of `files`, under their keys in `folder`; those which are there are not fetched.

    A file has its final name only when its size and checksum are right. One that has vanished
    from the bucket since it was listed is logged and left out.

    Raises:
        ValueError: If a key leads out of the folder, or the disk cannot hold the files.
        ConnectionError: If a file cannot be fetched.
    """
    paths = {file: local_path(folder, file.key) for file in files}
    folder.mkdir(parents=True, exist_ok=True)
    whole = spread(
        lambda file, _: is_whole(paths[file], size=file.size, md5=file.md5), paths, n_parallel
    )
    waiting = [file for file, done in zip(paths, whole, strict=True) if not done]
    n_bytes = sum(max(0, file.size - _size(_partial(paths[file], file))) for file in waiting)
    refuse_full_disk(folder, n_bytes)
    log.info(
        "%d files to fetch, %s; %d are there already",
        len(waiting),
        tqdm.format_sizeof(n_bytes, "B"),
        len(paths) - len(waiting),
    )
    with byte_bar("fetched", n_bytes) as count:
        there = spread(
            lambda file, stop: _fetch(store, file, paths[file], count, stop), waiting, n_parallel
        )
    vanished = {file for file, found in zip(waiting, there, strict=True) if not found}
    if vanished:
        first = min(file.key for file in vanished)
        log.warning("%d listed files have vanished, %s the first of them", len(vanished), first)
    return [path for file, path in paths.items() if file not in vanished]


def _fetch(
    store: S3Store, file: RemoteFile, path: Path, count: Callable[[int], None], stop: Event
) -> bool:
    """Bring the file to `path`; False if it is no longer in the bucket."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        retrying(stop)(_attempt, store, file, path, count, stop)
    except VanishedError:
        _partial(path, file).unlink()
        return False
    except (BucketError, TransientError) as error:
        raise ConnectionError(
            f"cannot fetch {error}; run the stage again later, finished files are kept"
        ) from error
    return True


def _attempt(
    store: S3Store, file: RemoteFile, path: Path, count: Callable[[int], None], stop: Event
) -> None:
    """Bring the missing bytes under a hidden name, which becomes `path` when all are right."""
    partial = _partial(path, file)
    with partial.open("ab") as stream:
        if stream.tell() < file.size:
            for chunk in read_chunks(store, file, stream.tell()):
                stream.write(chunk)
                count(len(chunk))
                if stop.is_set():
                    raise _StoppedError
                if stream.tell() > file.size:
                    break
        stream.flush()
        os.fsync(stream.fileno())
    if is_whole(partial, size=file.size, md5=file.md5):
        partial.replace(path)
        return
    received = _size(partial)
    if received < file.size:
        raise TransientError(f"{file.key}: {received} bytes came of {file.size}")
    partial.unlink()
    count(-received)
    raise TransientError(f"{file.key}: the content is not the listed one by size or checksum")


def _partial(path: Path, file: RemoteFile) -> Path:
    """Hidden name beside `path`; another content of the same key has another."""
    return path.with_name(f".{path.name}.{re.sub('[^0-9a-zA-Z]', '', file.etag)}.part")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
