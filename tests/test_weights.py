import io
import urllib.error
import urllib.request
from pathlib import Path

import huggingface_hub
import pytest
import timm
from safetensors.torch import save_file

from pipeline.files.weights import read_imagenet

KEY = "classify.imagenet_weights"


def _no_connection(*_: object, **__: object) -> None:
    raise urllib.error.URLError("no route to host")


def test_downloaded_weights_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = timm.create_model("resnet10t", num_classes=0).state_dict()
    file = tmp_path / "model.safetensors"
    save_file(weights, file)
    asked = []
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO())
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *names: asked.append(names) or str(file)
    )
    found, note = read_imagenet("timm", "resnet10t", key=KEY)
    assert asked == [("timm/resnet10t.c3_in1k", "model.safetensors")]
    assert (set(found or {}), note) == (set(weights), "")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(file))
    monkeypatch.setattr(urllib.request, "urlopen", _no_connection)
    assert set(read_imagenet("timm", "resnet10t", key=KEY)[0] or {}) == set(weights)


def test_a_refused_connection_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_url", lambda *_: "http://127.0.0.1:9/weights")
    found, note = read_imagenet("timm", "resnet10t", key=KEY)
    assert found is None
    assert note.startswith("weights not available: <urlopen error")


def test_weights_which_are_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"weights none\.st do not exist; set classify\.im"):
        read_imagenet("none.st", "resnet10t", key=KEY)
    file = tmp_path / "text.safetensors"
    file.write_text("this is text, and longer than a header")
    with pytest.raises(ValueError, match=r"text\.safetensors is no safetensors file \(.*; correct"):
        read_imagenet(str(file), "resnet10t", key=KEY)
