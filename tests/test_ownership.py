from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.files.base.ownership import LEFT_BEHIND, refuse_to_lose, write_record


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A product as its stage left it."""
    folder = tmp_path / "granules"
    (folder / "inner").mkdir(parents=True)
    (folder / "labels.csv").write_text("granule,label\na.nc,Fish\n")
    (folder / "inner/tiles").write_bytes(bytes(2**20 + 1))
    write_record(folder)
    return folder


def _add(path: str) -> Callable[[Path], None]:
    return lambda product: (product / path).write_text("mine")


def _link_folder(product: Path) -> None:
    product.with_name("mine").mkdir()
    (product / "mine").symlink_to(product.with_name("mine"))


def _edit(product: Path) -> None:
    table = product / "labels.csv"
    table.write_text(table.read_text().replace("Fish", "Veil"))  # of the same size


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_add("mine.csv"), "mine.csv"),
        (_add("inner/.mine"), "inner/.mine"),
        (_add("inner/tiles"), "inner/tiles"),
        (_edit, "labels.csv"),
        (_link_folder, "mine"),
        (lambda product: (product / "gone").symlink_to("nowhere"), "gone"),
    ],
)
def test_what_the_stage_did_not_write_is_named(
    product: Path, change: Callable[[Path], None], named: str
) -> None:
    change(product)
    with pytest.raises(
        FileExistsError,
        match=f"granules holds {named}, which fetch did not write .* move what is yours to data/in",
    ):
        refuse_to_lose(product, "fetch")


def test_products_as_they_were_may_go(product: Path, tmp_path: Path) -> None:
    refuse_to_lose(product, "fetch")
    refuse_to_lose(tmp_path / "absent", "fetch")
    (product / "labels.csv").unlink()
    (product / "empty").mkdir()
    refuse_to_lose(product, "fetch")
    kept = tmp_path / "cache"
    (product / "inner/tiles").replace(kept)
    (product / "inner/tiles").symlink_to(kept)  # as DVC does where the cache is on another disk
    refuse_to_lose(product, "fetch")


@pytest.mark.parametrize(
    "path",
    [
        *(".DS_Store", "inner/._tiles", "inner/Thumbs.db", "map.tif.aux.xml"),
        *("inner/.nfs0000000000a1b2c3", ".ipynb_checkpoints/labels-checkpoint.csv"),
    ],
)
def test_what_programs_leave_behind_is_nobodys(product: Path, path: str) -> None:
    (product / path).parent.mkdir(exist_ok=True)
    _add(path)(product)
    refuse_to_lose(product, "fetch")


def test_what_programs_leave_behind_reruns_nothing() -> None:
    ignored = (Path(__file__).parents[1] / ".dvcignore").read_text().splitlines()
    assert set(LEFT_BEHIND) <= {line.rstrip("/") for line in ignored}


def test_a_folder_that_no_stage_made_is_nobody_elses(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.tif").touch()
    with pytest.raises(FileExistsError, match=r"holds 0\.tif, 1\.tif, 2\.tif and 2 more, which"):
        refuse_to_lose(tmp_path, "fetch")


def test_a_product_that_is_a_file_has_no_record(tmp_path: Path) -> None:
    (tmp_path / "rejected.csv").touch()
    write_record(tmp_path / "rejected.csv")
    refuse_to_lose(tmp_path / "rejected.csv", "ingest")
    assert [path.name for path in tmp_path.iterdir()] == ["rejected.csv"]
