import json
from pathlib import Path

import pytest

from pipeline.files import atlases


@pytest.fixture
def atlas(tmp_path: Path) -> Path:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder/weights").write_bytes(b"weights")
    (tmp_path / "clusters.nc").write_bytes(b"centroids")
    atlases.seal(tmp_path, {"version": "1.0", "software": {"numpy": "2"}})
    return tmp_path


def test_a_sealed_atlas_is_read(atlas: Path) -> None:
    content = atlases.read_manifest(atlas)
    assert content["version"] == "1.0"
    assert set(content["sha256"]) == {"clusters.nc", "encoder/weights"}


@pytest.mark.parametrize("name", ["clusters.nc", "encoder/weights"])
def test_a_changed_or_missing_file_is_refused(atlas: Path, name: str) -> None:
    (atlas / name).write_bytes(b"other")
    with pytest.raises(ValueError, match=f"is damaged: {name} was changed; copy it anew"):
        atlases.read_manifest(atlas)
    (atlas / name).unlink()
    with pytest.raises(ValueError, match=f"is damaged: {name} is missing; copy it anew"):
        atlases.read_manifest(atlas)


@pytest.mark.parametrize("change", [{"version": "2.0"}, {"sha256": {}}, {"sealed": "0"}])
def test_a_changed_manifest_is_refused(atlas: Path, change: dict[str, object]) -> None:
    path = atlas / atlases.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=r"is damaged: atlas\.json was changed"):
        atlases.read_manifest(atlas)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"is damaged: atlas\.json was changed"):
        atlases.read_manifest(atlas)


def test_another_format_is_refused(atlas: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlases, "FORMAT", 2)
    with pytest.raises(ValueError, match=r"has format 1, this code reads 2; .*numpy.* freeze anew"):
        atlases.read_manifest(atlas)


def test_a_folder_without_an_atlas_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no atlas; run dvc repro freeze"):
        atlases.read_manifest(tmp_path)
