"""The PySCF plugin passes the suite that every reference backend passes."""

from typing import Any, ClassVar

from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions

from densnet_core.reference.level import LevelOfTheory
from densnet_core.testing.reference import ReferenceBackendTests


class TestDensityFitting(ReferenceBackendTests):
    without_convergence: ClassVar = {"max_cycle": 1}

    def make_backend(self, level: LevelOfTheory, **options: Any) -> PySCFBackend:
        return PySCFBackend(level, PySCFOptions(**options))


class TestExactIntegrals(TestDensityFitting):
    def make_backend(self, level: LevelOfTheory, **options: Any) -> PySCFBackend:
        return super().make_backend(level, density_fitting=False, **options)
