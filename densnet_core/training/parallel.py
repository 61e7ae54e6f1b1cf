"""Several processes that train one model together, as torchrun starts them.

Every process takes its part of each batch; losses are parts of one sum over the whole batch, so gradients are added,
not averaged. Parameters, optimiser and moving average are the same everywhere; files are written by the first process.
``torch.nn.parallel.DistributedDataParallel`` is not used: its hooks belong to calls of the module's ``forward``, and
forces are a gradient inside the loss; the networks are small, so one sum of all gradients costs less than its buckets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn

from densnet_core.errors import InputError

Result = TypeVar("Result")
WAIT = timedelta(days=7)
"""The first process may compute references while the others wait for their first batch."""


def world_size() -> int:
    """Number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Index of this process; 0 is the one that writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def started_by_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ


@contextmanager
def process_group() -> Iterator[None]:
    """Join the other processes that torchrun started, if there are any."""
    if distributed.is_initialized() or not started_by_torchrun():
        yield
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl"
    with _stdout_to_stderr():
        distributed.init_process_group(backend, timeout=WAIT)
        distributed.barrier()
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Gloo greets on the standard output, which belongs to results."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def own_part(indices: Sequence[int]) -> list[int]:
    """The frames of a batch that this process takes.

    Raises
    ------
    InputError
        The batch has fewer frames than there are processes.
    """
    if len(indices) < world_size():
        raise InputError(
            f"A batch of {len(indices)} frames cannot be divided among {world_size()} processes; raise [training] "
            "batch_size, or start fewer."
        )
    return [int(i) for i in np.array_split(np.asarray(indices), world_size())[rank()]]


def add_up(tensors: Sequence[Tensor]) -> None:
    """Replace tensors of one dtype and device by their sums over all processes, in one message."""
    if world_size() == 1:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    distributed.all_reduce(flat)
    for tensor, part in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def from_first(make: Callable[[], Result]) -> Result:
    """What the first process makes, in all of them; an error there is raised everywhere."""
    if world_size() == 1:
        return make()
    outcome: list[Any] = [None, None]
    if rank() == 0:
        try:
            outcome[0] = make()
        except Exception as error:
            outcome[1] = error
    distributed.broadcast_object_list(outcome, src=0)
    if outcome[1] is not None:
        raise outcome[1]
    made: Result = outcome[0]
    return made


def from_all(own: Any) -> list[Any]:
    """The objects of all processes, by rank."""
    if world_size() == 1:
        return [own]
    found: list[Any] = [None] * world_size()
    distributed.all_gather_object(found, own)
    return found


def share(module: nn.Module) -> None:
    """Give all processes the parameters and buffers of the first."""
    if world_size() > 1:
        state = from_first(lambda: {name: value.cpu() for name, value in module.state_dict().items()})
        module.load_state_dict(state)
