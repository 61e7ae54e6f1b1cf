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

    def compute(self, structure: Structure) -> ReferenceResult:
        self._note("computed")
        return super().compute(structure)

    def _note(self, what: str) -> None:
        folder = Path(os.environ["DENSNET_TEST_FOLDER"])
        with (folder / f"{what}-{os.getpid()}").open("a") as file:
            file.write("x")


class BackendWithoutForces(PySCFBackend):
    """Returns forces that are not a number."""

    def compute(self, structure: Structure) -> ReferenceResult:
        return replace(super().compute(structure), forces=np.full((structure.n_atoms, 3), np.nan))
