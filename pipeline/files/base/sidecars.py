"""Files that lie beside data: what describes them, and downloads that did not end."""

import glob
import logging
from collections.abc import Container
from pathlib import Path

log = logging.getLogger(__name__)

CONTROL = ".aria2"  # beside a file while aria2 fetches it
UNFINISHED = {
    *(".part", ".partial", ".filepart", ".tmp", ".temp", ".incomplete"),
    *(".crdownload", ".opdownload", ".download"),
}
SIDECARS = {
    *(".xml", ".met", ".dmrpp", ".ncml", ".json", ".txt", ".log", ".idx", ".asc", ".sig"),
    *(".md5", ".sha1", ".sha256", ".sha512", ".crc", ".sfv", CONTROL),
    *(".ovr", ".msk", ".tfw", ".prj", ".png", ".jpg", ".jpeg"),
}


def is_sidecar(path: Path) -> bool:
    """Whether it tells of another file: metadata, checksums, overviews, pictures."""
    return path.suffix.lower() in SIDECARS


def is_unfinished(path: Path, paths: Container[Path]) -> bool:
    """Whether a download of it did not end, by its name or a control file among `paths`."""
    return path.suffix.lower() in UNFINISHED or path.with_name(path.name + CONTROL) in paths


def as_finished(path: Path) -> Path:
    """Its name once its download has ended."""
    return path.with_suffix("") if path.suffix.lower() in UNFINISHED else path


def list_data(pattern: str, *, of: str) -> list[Path]:
    """The files, in order, that match a path or glob and are data; `of` names its entry of params.

    Raises:
        FileNotFoundError: If there are none.
    """
    found = set(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207
    unfinished = {path for path in found if is_unfinished(path, found)}
    if unfinished:
        log.warning(
            "the downloads of %d files of %s did not end, of %s first; fetch them again",
            len(unfinished),
            of,
            min(unfinished),
        )
    paths = sorted(path for path in found - unfinished if not is_sidecar(path))
    if not paths:
        raise FileNotFoundError(f"no file matches {pattern}; change files of {of}")
    return paths
