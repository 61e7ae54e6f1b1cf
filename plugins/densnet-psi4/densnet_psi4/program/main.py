"""What Psi4's interpreter runs: one job, read from a folder and answered there. Imports nothing of DenSNet.

``python -I main.py FOLDER [PATH ...]`` with the folders in which the module psi4 lies. The folder holds request.json
and arrays.npz; result.json and result.npz are the answer, result.json being the last that is written. Standard input
is a pipe that DenSNet holds open: when it closes, DenSNet is gone, and so go Psi4 and the folder.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any


def main(folder: str, paths: list[str]) -> None:
    """Do the job of ``folder`` and end the process."""
    _guard(folder)
    sys.path += paths
    _find_own_package()
    os.chdir(folder)
    request = json.loads(Path("request.json").read_text())
    try:
        if request["memory_limit_mb"] is not None:
            _limit_memory(request["memory_limit_mb"])
        answer = _run(request)
    except BaseException as error:  # the parent tells the user's mistakes from failures
        answer = {
            "error": {"type": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()[-4000:]}
        }
    Path("result.json.part").write_text(json.dumps(answer))
    Path("result.json.part").rename("result.json")
    sys.stdout.flush()
    os._exit(0)  # Psi4's own clean-up at exit writes files and takes time


def _find_own_package() -> None:
    """Make ``densnet_psi4`` importable, and nothing else of the environment it lies in."""
    package = Path(__file__).resolve().parents[1]
    place = importlib.util.spec_from_file_location(
        package.name, package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if place is None or place.loader is None:
        raise ImportError(f"{package} is no package")
    module = importlib.util.module_from_spec(place)
    sys.modules[package.name] = module
    place.loader.exec_module(module)


def _run(request: dict[str, Any]) -> dict[str, Any]:
    import numpy
    import psi4

    if int(numpy.__version__.split(".")[0]) > 1 and psi4.__version__.startswith(("1.0", "1.1", "1.2", "1.3")):
        raise ImportError(f"Psi4 {psi4.__version__} reads wrong numbers with numpy {numpy.__version__}")
    from densnet_psi4.program.tasks import TASKS

    arrays = dict(numpy.load("arrays.npz", allow_pickle=False))
    values, results = TASKS[request["task"]](request, arrays)
    numpy.savez("result.npz", **results)
    return {"values": values, "psi4": psi4.__version__}


def _limit_memory(megabytes: int) -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))


def _guard(folder: str) -> None:
    """Go on in a child; stay behind as the one who ends everything when DenSNet is gone.

    A thread beside Psi4 could not: Psi4 holds the interpreter's lock for as long as an integral takes.
    """
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        return
    threading.Thread(target=_end_with_parent, args=(folder, child), daemon=True).start()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))  # so that the one who waits sees the same signal
    os._exit(os.WEXITSTATUS(status))


def _end_with_parent(folder: str, child: int) -> None:
    while os.read(0, 1):
        pass
    os.kill(child, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
