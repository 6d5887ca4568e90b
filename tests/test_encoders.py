from pathlib import Path

import pytest
import torch

from pipeline.files import encoders


def test_encoder_is_read_as_written(tmp_path: Path) -> None:
    weights = {"a": torch.arange(6.0).reshape(1, 1, 2, 3).to(memory_format=torch.channels_last)}
    encoders.write_encoder(tmp_path / "encoder", weights, {"tile_size": 64})
    read, description = encoders.read_encoder(tmp_path / "encoder")
    assert torch.equal(read["a"], weights["a"])
    assert description == {"tile_size": 64}
    names = sorted(path.name for path in (tmp_path / "encoder").iterdir())
    assert names == ["encoder.json", "encoder.safetensors"]


def test_missing_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no encoder; run dvc repro train"):
        encoders.read_encoder(tmp_path)


def test_checkpoint_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    encoders.write_checkpoint(path, {"a": torch.zeros(2)}, {"epoch": 1})
    encoders.write_checkpoint(path, {"a": torch.ones(2)}, {"epoch": 2})
    tensors, state = encoders.read_checkpoint(path)
    assert torch.equal(tensors["a"], torch.ones(2))
    assert state == {"epoch": 2}
    assert list(tmp_path.iterdir()) == [path]
