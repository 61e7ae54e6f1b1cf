"""What a Parsl worker runs: it hands every task to one process of ours that stays, and that keeps the limits.

So a calculation that crashes takes that process with it and neither the Parsl worker nor its node's other work. What
travels are bytes, packed and unpacked by our own processes on both ends.
"""

from __future__ import annotations

import pickle
from typing import Any

from densnet_core.errors import DenSNetError
from densnet_core.reference.executors import Outcome
from densnet_core.reference.pool import ResidentWorker
from densnet_core.reference.process import Limits

_resident: dict[tuple[bytes, Limits], ResidentWorker[Any, Any]] = {}


def carry_out(function: bytes, task: bytes, seconds: float | None, memory_mb: int | None, path: list[str]) -> bytes:
    """The packed ``Outcome`` of a task, or the packed error for which no task can be carried out.

    Parameters
    ----------
    function, task : bytes
        From ``densnet_core.reference.process``.
    seconds, memory_mb
        Limits of the task.
    path : list of str
        Where the driver imports from.
    """
    key = (function, Limits(seconds, memory_mb, tuple(path)))
    if key not in _resident:
        for worker in _resident.values():
            worker.close()
        _resident.clear()
        _resident[key] = ResidentWorker(*key)
    try:
        answer: Outcome[Any] | DenSNetError = _resident[key].answer(task)
    except DenSNetError as error:
        answer = error
    return pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)
