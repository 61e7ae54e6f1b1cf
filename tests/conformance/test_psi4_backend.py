"""The Psi4 plugin passes the suite that every reference backend passes, with the Psi4 that is installed here."""

from typing import Any, ClassVar

from densnet_psi4.backend import Psi4Backend
from densnet_psi4.config import Psi4Options

from densnet_core.reference.level import LevelOfTheory
from densnet_core.testing.reference import ReferenceBackendTests


class TestPsi4(ReferenceBackendTests):
    without_convergence: ClassVar = {"max_cycle": 1}

    def make_backend(self, level: LevelOfTheory, **options: Any) -> Psi4Backend:
        # A grid of the size of PySCF's default: what the suite is about does not need a finer one.
        return Psi4Backend(level, Psi4Options(radial_points=75, angular_points=302, **options))
