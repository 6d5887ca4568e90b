"""The device that arithmetic runs on."""

import os

import torch


def compute_device() -> torch.device:
    """CUDA where there is a device (`CUDA_VISIBLE_DEVICES` chooses), else the CPU.

    Of several devices each process that torchrun starts takes its own.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
