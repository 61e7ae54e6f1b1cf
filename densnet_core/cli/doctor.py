"""The verb ``doctor``: is the installation sound, and what can this machine do?"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import disk_usage, which
from typing import Annotated, Final, Literal

import typer

from densnet_core import __version__
from densnet_core.cli.output import print_json, print_table
from densnet_core.plugins.discovery import describe
from densnet_core.plugins.manager import ALLOW_VARIABLE, get_manager

app = typer.Typer(add_completion=False)

# openmmtorch is compiled against one release of torch. Tried: 1.5 runs with 2.9; with 2.10 it imports and fails at the
# first force, with 2.11 and 2.13 it does not import.
_TORCH_OF_OPENMMTORCH: Final = {"1.5": "2.9"}
_PACKAGES: Final = ("numpy", "scipy", "torch", "zarr", "pydantic", "pluggy", "pyscf", "e3nn", "openmm", "openmmtorch")
_DEBIAN_PSI4 = Path("/usr/lib/x86_64-linux-gnu/psi4/__init__.py")
_GB = 1e9
_ENOUGH_MEMORY_GB = 4.0
_ENOUGH_DISK_GB = 1.0


@dataclass(frozen=True)
class Check:
    """One finding; ``advice`` is empty where there is nothing to do."""

    name: str
    status: Literal["ok", "info", "warning", "problem"]
    found: str
    advice: str = ""


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check versions, plugins, accelerator, memory, disk and optional programs; exit code 1 if there is a problem."""
    checks = [check for group in _GROUPS for check in group()]
    sound = all(check.status != "problem" for check in checks)
    if as_json:
        print_json({"ok": sound, "checks": [asdict(check) for check in checks]})
    else:
        print_table(["check", "status", "found", "advice"], [[c.name, c.status, c.found, c.advice] for c in checks])
    if not sound:
        raise typer.Exit(1)


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution, without importing it."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def versions() -> Iterator[Check]:
    """Versions of Python, DenSNet and what it builds on."""
    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Check("densnet-core", "ok", __version__)
    for package in _PACKAGES:
        found = installed_version(package)
        yield Check(package, "ok" if found else "info", found or "not installed")


def torch_pairing(torch: str | None, openmmtorch: str | None) -> Check:
    """Whether this torch and this openmmtorch work together, by their versions."""
    name = "torch and openmmtorch"
    if torch is None:
        return Check(name, "problem", "torch is not installed", "pip install 'torch>=2.9'")
    python_route = 'use force = "python" in [md.options]'
    if openmmtorch is None:
        advice = f"for force = \"torchforce\": pip install 'densnet-openmm[torchforce]'; without it {python_route}"
        return Check(name, "info", "openmmtorch is not installed", advice)
    wanted = _TORCH_OF_OPENMMTORCH.get(openmmtorch)
    found = f"torch {torch}, openmmtorch {openmmtorch}"
    if wanted is None:
        return Check(name, "warning", found, f"this openmmtorch was never tried here; if it fails, {python_route}")
    if torch.split(".")[:2] != wanted.split("."):
        advice = f"openmmtorch {openmmtorch} works with torch {wanted} only: pip install 'torch=={wanted}.*', or "
        return Check(name, "warning", found, advice + python_route)
    return Check(name, "ok", found)


def _pairing() -> Iterator[Check]:
    yield torch_pairing(installed_version("torch"), installed_version("openmmtorch"))


def plugin_states() -> Iterator[Check]:
    """Components that cannot be used, and names in the allow-list that nothing answers to."""
    manager = get_manager()
    rows = manager.status()
    usable = [row for row in rows if row.status == "ok"]
    yield Check("plugins", "ok", f"{len(usable)} of {len(rows)} known components can be used")
    for row in rows:
        word = row.status.partition(":")[0]
        if word in ("broken", "refused", "conflict"):
            yield Check(f"{row.kind} {row.name}", "problem", f"{row.distribution}: {row.status}", "see densnet plugins")
        elif word == "missing":
            yield Check(f"{row.kind} {row.name}", "warning", row.status, row.install or "")
    for name in manager.unmatched_allowances():
        yield Check(ALLOW_VARIABLE, "warning", f"{name!r} matches no installed plugin", "correct or remove it")


def accelerator() -> Iterator[Check]:
    """The GPU as torch sees it."""
    try:
        import torch

        if torch.cuda.is_available():
            properties = torch.cuda.get_device_properties(0)
            yield Check("gpu", "ok", f"{properties.name}, {properties.total_memory / _GB:.0f} GB")
        else:
            yield Check("gpu", "info", "none that torch can use; everything runs on the CPU")
    except Exception as error:
        yield Check("gpu", "problem", f"torch cannot be used: {describe(error)}", "reinstall torch")


def compiler() -> Iterator[Check]:
    """What potentials are compiled with, and where the code is kept."""
    try:
        from densnet_core.potentials.compiled import cache_folder, cpp_compiler

        found, folder = cpp_compiler(), cache_folder()
    except OSError as error:
        yield Check("compiled potentials", "warning", str(error), "without a cache potentials are not compiled")
        return
    if found is None:
        advice = "apt-get install g++; a force call is then three times as fast"
        yield Check("compiled potentials", "info", "no C++ compiler", advice)
    else:
        yield Check("compiled potentials", "ok", f"{found}; kept in {folder}")


def machine() -> Iterator[Check]:
    """Cores, memory, disk and write access."""
    affinity = getattr(os, "sched_getaffinity", None)
    yield Check("cores", "ok", str(len(affinity(0)) if affinity else os.cpu_count()))
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GB
    enough = total >= _ENOUGH_MEMORY_GB
    advice = "" if enough else f"{_ENOUGH_MEMORY_GB:.0f} GB are recommended"
    yield Check("memory", "ok" if enough else "warning", f"{total:.1f} GB", advice)
    for name, folder in (("working directory", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        yield _writable(name, folder)


def _writable(name: str, folder: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = disk_usage(folder).free / _GB
    except OSError as error:
        return Check(name, "problem", f"{folder} cannot be written: {error.strerror}", "choose another directory")
    enough = free >= _ENOUGH_DISK_GB
    advice = "" if enough else f"make room; {_ENOUGH_DISK_GB:.0f} GB are recommended"
    return Check(name, "ok" if enough else "warning", f"{folder} is writable, {free:.1f} GB free", advice)


def psi4() -> Iterator[Check]:
    """The program behind the plugin densnet-psi4: on the PATH, or as Debian installs it."""
    program = which("psi4")
    found = program or (str(_DEBIAN_PSI4.parent) if _DEBIAN_PSI4.is_file() else None)
    if found or installed_version("densnet-psi4") is None:
        yield Check("psi4", "ok" if found else "info", found or "not found (optional)")
    else:
        advice = "apt-get install psi4, or conda-forge's psi4 on the PATH, or command in [reference.options]"
        yield Check("psi4", "warning", "the program that the reference backend psi4 runs is not found", advice)


_GROUPS: Final[tuple[Callable[[], Iterator[Check]], ...]] = (
    versions,
    _pairing,
    plugin_states,
    accelerator,
    compiler,
    machine,
    psi4,
)
