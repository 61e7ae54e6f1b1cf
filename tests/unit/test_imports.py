"""What plugins and models of options import: they are loaded at every start of the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from densnet_core.plugins.manager import Manager

HEAVY = {"torch", "pyscf", "e3nn", "openmm", "openmmtorch", "zarr", "matplotlib", "scipy", "basis_set_exchange", "ase"}


def imported_by(statement: str) -> set[str]:
    """Top-level names of the heavy modules that a statement imports in a fresh interpreter."""
    program = f"import sys\n{statement}\nprint(*(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return HEAVY & set(done.stdout.split())


def test_the_check_sees_a_heavy_import():
    assert imported_by("import scipy") == {"scipy"}


@pytest.mark.parametrize(
    "module",
    [
        "densnet_pyscf",
        "densnet_psi4",
        "densnet_e3nn",
        "densnet_gaunt",
        "densnet_openmm",
        "densnet_core.plugins.manager",
        "densnet_core.cli.app",
    ],
)
def test_packages_and_manager_are_light(module):
    assert imported_by(f"import {module}") == set()


def test_discovery_and_every_model_of_options_are_light():
    assert (
        imported_by(
            "from densnet_core.plugins.manager import Manager\n"
            "found = Manager(environment={})\n"
            "models = [found.options_model(component) for component in found.components()]\n"
            "assert models"
        )
        == set()
    )


def test_a_configuration_is_read_without_torch():
    assert not imported_by("import densnet_core.config, densnet_core.config.starter") & {"torch", "zarr", "matplotlib"}


@pytest.mark.parametrize("module", ["densnet_pyscf.backend", "densnet_psi4.backend"])
def test_a_worker_that_computes_labels_starts_without_torch(module):
    """It takes a quarter of the time and of the memory."""
    assert "torch" not in imported_by(f"import {module}")


def test_the_components_of_this_repository_are_all_found():
    names = {(str(c.kind), c.name) for c in Manager(environment={}).components()}
    assert names >= {("reference", "pyscf"), ("backbone", "e3nn"), ("md_engine", "openmm"), ("executor", "local")}
