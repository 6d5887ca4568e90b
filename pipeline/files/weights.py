"""Weights of off-the-shelf networks: a file, or what timm offers, kept or downloaded."""

import logging
import urllib.request
from pathlib import Path

import huggingface_hub
import timm
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

log = logging.getLogger(__name__)

CONNECTION_TIMEOUT = 5.0  # seconds
HUB_FILE = "model.safetensors"


def read_imagenet(choice: str, backbone: str, *, key: str) -> tuple[dict[str, Tensor] | None, str]:
    """Weights which `choice` names, or None and the reason why not.

    Args:
        choice: `timm` for its own of the backbone, `none`, or a safetensors file.
        backbone: timm's name of a ResNet.
        key: Of params.yaml, whose value `choice` is.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no weights.
    """
    if choice == "none":
        return None, f"not asked for ({key} is none)"
    path = Path(choice)
    if choice == "timm":
        try:
            path = _download(backbone)
        except OSError as error:
            return None, f"weights not available: {error}"
    elif not path.is_file():
        raise FileNotFoundError(
            f"the weights {path} do not exist; set {key} to a safetensors file, timm or none"
        )
    try:
        return load_file(path), ""
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file ({error}); correct {key}") from None


def _download(backbone: str) -> Path:
    """Weights which timm offers for `backbone`: kept from before, else downloaded.

    The hub's client retries for most of a minute, so a single request first finds out whether
    there is a connection at all.

    Raises:
        OSError: If timm has none, or the hub cannot be reached.
    """
    config = timm.get_pretrained_cfg(backbone)
    if config is None or not config.hf_hub_id:
        raise OSError(f"timm has none for {backbone}")
    kept = huggingface_hub.try_to_load_from_cache(config.hf_hub_id, HUB_FILE)
    if isinstance(kept, str):
        return Path(kept)
    url = huggingface_hub.hf_hub_url(config.hf_hub_id, HUB_FILE)
    log.info("downloading %s", url)
    request = urllib.request.Request(url, method="HEAD")
    with urllib.request.urlopen(request, timeout=CONNECTION_TIMEOUT):
        pass
    return Path(huggingface_hub.hf_hub_download(config.hf_hub_id, HUB_FILE))
