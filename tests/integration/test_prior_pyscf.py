"""The prior's expansion for orbital bases with and without diffuse functions."""

from __future__ import annotations

import pytest

from densnet_core.density.prior import AtomicPrior
from densnet_core.reference.level import LevelOfTheory
from densnet_core.workflow.stores import backend_factory


@pytest.mark.parametrize("level", ["HF/STO-3G", "HF/6-31G", "HF/cc-pVDZ", "PBE/def2-SVP", "PBE/aug-cc-pVDZ"])
def test_expansion_holds_for_any_orbital_basis(level: str) -> None:
    backend = backend_factory("pyscf", LevelOfTheory.parse(level)).make()
    densities = {number: backend.atomic_density(number) for number in (1, 6, 8)}
    prior = AtomicPrior.fit(densities)
    for number, density in densities.items():
        assert prior.radial_error(number, density) < 1e-5
