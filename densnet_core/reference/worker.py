"""A worker process of ``LocalExecutor``: receives a function, then tasks, and answers each with its outcome.

It is started as a bare interpreter rather than by multiprocessing, so that the user's script is not run again in every
worker, the thread settings stand in the environment before numpy is imported, and everything that a task starts
belongs to one process group that can be ended as a whole.

What travels between parent and worker is pickled, which is safe because the two are one program; nothing that came
from a file or the network is ever unpickled.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any, Literal

from densnet_core.errors import DenSNetError, ResourceError

Message = tuple[Literal["ready", "broken", "value", "error"], Any, float]


def main(descriptor: int, memory_limit_mb: int | None) -> None:
    """Serve the connection on file ``descriptor`` until the parent closes it; end at once when the parent dies."""
    os.set_inheritable(descriptor, False)
    _die_with_parent()
    if memory_limit_mb is not None:
        _limit_memory(memory_limit_mb)
    connection = Connection(descriptor)
    try:
        function = pickle.loads(connection.recv_bytes())  # noqa: S301 - from our own parent process
    except EOFError:
        return
    except MemoryError:
        short = "A worker cannot even load the calculation within its memory. Raise memory_limit_mb."
        _send(connection, ("broken", ResourceError(short), 0.0))
        return
    except Exception as error:
        _send(connection, ("broken", f"{type(error).__name__}: {error}{_in_a_plugin(error)}", 0.0))
        return
    _send(connection, ("ready", None, 0.0))
    while True:
        try:
            request = connection.recv_bytes()
        except EOFError:
            return
        _send(connection, _answer(function, request))
        # What a calculation leaves in cycles of references (50 MB for a frame of ethanol with PySCF) would stay: Python
        # looks for cycles when there are many objects, not when they are large.
        gc.collect()


def _answer(function: Any, request: bytes) -> Message:
    start = time.perf_counter()
    try:
        task = pickle.loads(request)  # noqa: S301 - from our own parent process
        return "value", function(task), time.perf_counter() - start
    except MemoryError:
        error: DenSNetError = ResourceError(
            "The calculation ran out of memory. Raise memory_limit_mb or use fewer workers."
        )
    except DenSNetError as raised:
        error = raised
    except Exception as raised:
        error = DenSNetError(
            f"The calculation failed unexpectedly with {type(raised).__name__}: {raised}{_in_a_plugin(raised)}\n"
            f"{traceback.format_exc()}"
        )
    return "error", error, time.perf_counter() - start


def _in_a_plugin(error: Exception) -> str:
    """Names the plugin whose defect an exception is; the parent sees the message only, not the frames."""
    from densnet_core.plugins.blame import blame  # most workers need none of it
    from densnet_core.plugins.manager import get_manager

    guilty = blame(error, get_manager().plugins)
    return f" (a defect in {guilty}. {guilty.advice})" if guilty else ""


def _send(connection: Connection, message: Message) -> None:
    try:
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        pickle.loads(data)  # noqa: S301 - our own object: an exception may pickle and yet not come back
    except Exception as error:
        kind, content, seconds = message
        text = f"The {kind} of a calculation cannot be sent between processes ({error}): {content!r:.500}"
        data = pickle.dumps(("error", DenSNetError(text), seconds))
    connection.send_bytes(data)


def _die_with_parent() -> None:
    """Watch standard input, whose other end only the parent holds: when it closes, kill the whole process group."""
    watched = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)

    def watch() -> None:
        while os.read(watched, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _limit_memory(megabytes: int) -> None:
    import resource

    limit = megabytes * 2**20
    # Private writable memory: unlike the address space it does not count libraries, which are hundreds of megabytes.
    kind = resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
