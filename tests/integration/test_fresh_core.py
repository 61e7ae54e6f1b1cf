"""The core imports and starts where none of the programs that plugins wrap is installed."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import densnet_core

FORBIDDEN = ("pyscf", "psi4", "e3nn", "openmm", "openmmtorch", "simtk", "ase", "parsl", "torch_sim")

# Makes these modules as absent as an environment without them: an import fails, a look-up finds nothing.
BLOCKER = f"""
import importlib.abc, importlib.machinery, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FORBIDDEN!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""


def in_a_fresh_core(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCKER + program], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("name", FORBIDDEN)
def test_the_blocker_blocks(name):
    done = in_a_fresh_core(f"import {name}")
    assert f"No module named '{name}'" in done.stderr


def test_every_module_of_the_core_imports():
    modules = [module.name for module in pkgutil.walk_packages(densnet_core.__path__, "densnet_core.")]
    assert len(modules) > 30
    done = in_a_fresh_core(
        "import importlib, warnings\nwarnings.simplefilter('ignore')\n"
        f"for name in {modules!r}:\n    importlib.import_module(name)\n"
    )
    assert done.returncode == 0, done.stderr


def test_the_command_line_works_and_says_what_is_missing():
    done = in_a_fresh_core(
        "from densnet_core.cli.app import run\n"
        "from densnet_core.plugins.manager import get_manager\n"
        "assert run(['--help']) == 0\n"
        "assert run(['plugins']) == 0\n"
        "manager = get_manager()\n"
        "assert manager.load(manager.find('executor', 'local')).__name__ == 'LocalExecutor'\n"
        "manager.load(manager.find('reference', 'pyscf'))\n"
    )
    assert "the Python package pyscf" in done.stdout
    assert "needs the Python package pyscf. Install it with: pip install densnet-pyscf" in done.stderr
