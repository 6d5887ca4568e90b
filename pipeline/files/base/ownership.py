"""Which files of a product its stage wrote, so that nothing of people is deleted with it."""

import hashlib
import json
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

RECORD = ".written.json"  # in every product that is a folder
PLACE = Path("data/input")  # for what people add
LARGEST_HASHED = 2**20  # bytes; nobody edits larger files by hand
# Created unasked by file managers, GDAL and QGIS, network file systems and notebooks.
LEFT_BEHIND = (
    *(".DS_Store", "._*", "Thumbs.db", "desktop.ini", ".directory"),
    *("*.aux.xml", ".nfs*", ".ipynb_checkpoints"),
)


def write_record(product: Path) -> None:
    """Note in a product what it holds: of each file its size and, where it is small, its SHA-256.

    Args:
        product: A folder; a product that is a file has no room for anybody else's.
    """
    if product.is_dir():
        content = {name: _describe(product / name) for name in sorted(_files(product))}
        (product / RECORD).write_text(json.dumps(content, indent=1))


def refuse_to_lose(product: Path, stage: str) -> None:
    """Raise an error if the product holds files that the last run of its stage did not write.

    Args:
        product: Perhaps not there.
        stage: Its name, for the sentence.

    Raises:
        FileExistsError: If there are such files, or some that were changed since.
    """
    if not product.is_dir():
        return
    record = product / RECORD
    written = json.loads(record.read_text()) if record.exists() else {}
    others = sorted(
        name for name in _files(product) if written.get(name) != _describe(product / name)
    )
    if others:
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if others[3:] else "")
        raise FileExistsError(
            f"{product} holds {shown}, which {stage} did not write and would delete; move what "
            f"is yours to {PLACE} or elsewhere outside of the products, and delete the rest"
        )


def _files(product: Path) -> Iterator[str]:
    """Whatever is no folder, and links to folders, by the path in the product."""
    for folder, folders, files in os.walk(product):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in (*files, *links):
            path = (Path(folder) / name).relative_to(product)
            if path != Path(RECORD) and not any(map(_is_left_behind, path.parts)):
                yield path.as_posix()


def _is_left_behind(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in LEFT_BEHIND)


def _describe(path: Path) -> list[int | str]:
    """Nothing of what is no file; DVC may have put a link to its cache in the place of one."""
    if not path.is_file():
        return []
    if (size := path.stat().st_size) > LARGEST_HASHED:
        return [size]
    return [size, hashlib.sha256(path.read_bytes()).hexdigest()]
