"""PySCF backends with a fault or a memory, for tests of the runner; worker processes import this file."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from densnet_pyscf.backend import PySCFBackend

from densnet_core.reference.base import ReferenceResult
from densnet_core.structures import Structure


class CountingBackend(PySCFBackend):
    """Leaves one file in the folder DENSNET_TEST_FOLDER for every backend made, one for every calculation."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self._note("made")

    def calculate(self, structure: Structure, properties: frozenset[str]) -> ReferenceResult:
        self._note("computed")
        return super().calculate(structure, properties)

    def _note(self, what: str) -> None:
        folder = Path(os.environ["DENSNET_TEST_FOLDER"])
        with (folder / f"{what}-{os.getpid()}").open("a") as file:
            file.write("x")


class BackendWithoutForces(PySCFBackend):
    """Returns forces that are not a number."""

    def calculate(self, structure: Structure, properties: frozenset[str]) -> ReferenceResult:
        return replace(super().calculate(structure, properties), forces=np.full((structure.n_atoms, 3), np.nan))
