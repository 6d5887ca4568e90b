"""The processes that torchrun starts to train together; without it there is one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed


@contextmanager
def joined() -> Iterator[None]:
    """Inside, the processes of torchrun know each other."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """The number of this process, from 0 on."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def n_processes() -> int:
    """How many there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def summed(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, in place."""
    if distributed.is_initialized():
        distributed.all_reduce(values)
    return values
