"""Flat graphs as native code: built by AOTInductor on demand, kept in the user's cache, compared before the first use.

A library in the cache is the user's own: it is never part of a model package, and one that anybody else could have
written is not loaded. Without a C++ compiler, or where the comparison fails, the flat graph itself stays in use.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, fx

log = logging.getLogger(__name__)
Function = Callable[..., tuple[Tensor, ...]]
DISPLACEMENT: Final = 0.05
"""Bohr; of the geometries at which the code is compared."""
N_COMPARED: Final = 3
SINGLE, DOUBLE = 1e-4, 1e-9
"""For networks of these precisions: of the largest change of an output between these geometries. Sums in another order
differ in the last digits."""
SMALLEST: Final = 1e-3
"""Atomic units; changes that count as this."""
FORMAT: Final = "1"
"""Of what the key of a library is made from."""


@dataclass(frozen=True, eq=False)
class Compiled:
    """A flat graph as the fastest function that can be had of it.

    Parameters
    ----------
    function : callable
        From what the graph takes, positions first, to the tuple of outputs.
    native : bool
        Whether it is native code.
    why : str
        Why it is not, and what to do about it; empty otherwise.
    """

    function: Function
    native: bool
    why: str = ""


def fastest(graph: fx.GraphModule, *example: Tensor) -> Function:
    """Native code for a flat graph where it can be had, else the graph; why not is said once.

    ``DENSNET_COMPILE=never`` in the environment leaves the graph as it is.
    """
    if os.environ.get("DENSNET_COMPILE") == "never":
        return graph
    found = compiled(graph, *example)
    if not found.native:
        log.warning("The potential is not compiled, calls take about three times as long. %s", found.why)
    return found.function


def compiled(graph: fx.GraphModule, *example: Tensor) -> Compiled:
    """Native code for a flat graph, from the cache or built: 20 to 40 seconds the first time.

    Parameters
    ----------
    graph : fx.GraphModule
        From ``flatten``.
    example : Tensor
        Arguments; it is compared with the graph at others of the first, near it.
    """
    compiler = cpp_compiler()
    if compiler is None:
        return Compiled(graph, False, "There is no C++ compiler; on Debian: apt-get install g++.")
    try:
        path = cache_folder() / f"{_key(graph, example, compiler)}.pt2"
        if not _is_own(path):
            _build(graph, example, path)
        function = torch._inductor.aoti_load_package(str(path))
    except Exception as error:  # whatever a compiler and a loader can raise: slower is better than nothing
        return Compiled(graph, False, f"Compiling failed: {type(error).__name__}: {str(error)[:300]}")
    differs = _difference(graph, function, example)
    if differs:
        path.unlink(missing_ok=True)
        return Compiled(graph, False, f"The compiled code differs from the network: {differs}.")
    return Compiled(function, True)


def cpp_compiler() -> str | None:
    """Path of the compiler that ``CXX`` names, else of g++ or clang++; None if there is none."""
    named = os.environ.get("CXX")
    return next((found for name in ([named] if named else ["g++", "clang++"]) if (found := shutil.which(name))), None)


def cache_folder(name: str = "compiled") -> Path:
    """A folder of the user's native code below ``DENSNET_CACHE`` or ~/.cache/densnet; made for the user alone.

    Raises
    ------
    PermissionError
        It belongs to somebody else, or others may write to it.
    """
    given = os.environ.get("DENSNET_CACHE")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "densnet"
    folder = base / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder} is not yours alone (chmod 700 it), so code in it is not run")
    return folder


def _key(graph: fx.GraphModule, example: Sequence[Tensor], compiler: str) -> str:
    """Of all that the code depends on: operations, constants, shapes, torch, compiler, processor, threads."""
    digest = hashlib.sha256(FORMAT.encode())
    for what in (
        graph.code,
        [(tuple(one.shape), one.dtype, one.device.type) for one in example],
        (torch.__version__, torch.get_num_threads(), compiler, platform.machine(), _processor()),
    ):
        digest.update(repr(what).encode())
    for name, value in sorted(graph.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:40]


def _processor() -> str:
    """What distinguishes processors whose code differs."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _is_own(path: Path) -> bool:
    """Whether a library is there, whole, and nobody but the user can have written it."""
    seal = path.with_suffix(".sha256")
    if not path.exists() or not seal.exists():
        return False
    found = path.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == seal.read_text().strip()


def _build(graph: fx.GraphModule, example: tuple[Tensor, ...], path: Path) -> None:
    """Compile into the cache; a kill leaves no library or a whole one."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, quietly(Path(folder)), torch.no_grad():
        exported = torch.export.export(graph, example, strict=False)
        options = {"cpp.threads": torch.get_num_threads()}
        made = Path(folder) / "made.pt2"
        torch._inductor.aoti_compile_and_package(exported, package_path=str(made), inductor_configs=options)
        seal = Path(folder) / "seal"
        seal.write_text(hashlib.sha256(made.read_bytes()).hexdigest())
        made.chmod(0o600)
        os.replace(seal, path.with_suffix(".sha256"))
        os.replace(made, path)


class quietly:
    """Inductor's temporary files in a folder of ours, and none of its remarks on missing accelerators."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(self.folder)
        self.logger = logging.getLogger("torch.utils.cpp_extension")
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *_: Any) -> None:
        self.logger.setLevel(self.level)
        if self.before is None:
            os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)
        else:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = self.before


def _difference(graph: fx.GraphModule, function: Function, example: Sequence[Tensor]) -> str:
    """Where two functions disagree at some geometries, in words; empty if they agree."""
    tolerance = SINGLE if any(one.dtype == torch.float32 for one in graph.state_dict().values()) else DOUBLE
    random = torch.Generator().manual_seed(0)
    first, *others = example
    noise = [number * DISPLACEMENT * torch.randn(first.shape, generator=random) for number in range(N_COMPARED)]
    geometries = [first + one.to(first) for one in noise]
    with torch.no_grad():
        found, expected = ([of(one, *others) for one in geometries] for of in (function, graph))
    for place, outputs in enumerate(zip(*expected, strict=True)):
        changes = [float((one - outputs[0]).abs().max()) if one.numel() else 0.0 for one in outputs]
        for own, one in zip(found, outputs, strict=True):
            largest = float((own[place] - one).abs().max()) if one.numel() else 0.0
            if not largest <= tolerance * max(*changes, SMALLEST):  # also where it is not a number
                return f"output {place} by {largest:.1e} au where it changes by {max(changes):.1e} au"
    return ""
