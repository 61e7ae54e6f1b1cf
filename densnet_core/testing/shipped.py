"""Conformance suite for models that distributions carry.

A plugin's test subclasses ``ShippedModelTests`` and names the class of its model::

    class TestEthanol(ShippedModelTests):
        def shipped(self) -> type[ShippedModel]:
            return Ethanol
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Final

import numpy as np
import pytest

from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.shipped import CHECKS, ShippedModel
from densnet_core.stores.molecules import structure_from
from densnet_core.stores.packages import read_package
from densnet_core.testing.suites import ConformanceSuite, MakeOptions

TOLERANCES: Final = {"energy": 2e-5, "forces": 2e-5, "dipole": 2e-5}
"""Atomic units; what networks in float32 may differ by between machines."""


class ShippedModelTests(ConformanceSuite):
    """What every model that a distribution carries must do. Subclasses give ``shipped``; pytest finds the rest."""

    maker = "shipped"

    @classmethod
    def of_component(cls, target: type[Any], make_options: MakeOptions) -> type[ConformanceSuite]:
        return type(cls.__name__, (cls,), {cls.maker: lambda self: target, "__module__": cls.__module__})

    @abstractmethod
    def shipped(self) -> type[ShippedModel]:
        """The class that the component names."""

    @pytest.fixture
    def model(self) -> DenSNet:
        return DenSNet.load(self.shipped().path())

    def test_it_says_its_level_and_its_errors_on_frames_it_has_not_learned(self, model: DenSNet) -> None:
        assert model.document.get("level_of_theory"), "the package does not say the level of theory of its labels"
        held_out = model.document["metrics"].get("held_out", {})
        assert held_out.get("frames", 0) > 0, "the package has no errors on held-out frames (metrics.held_out)"

    def test_it_gives_what_it_gave_when_it_was_made(self, model: DenSNet) -> None:
        records = model.document.get(CHECKS, [])
        assert records, f"the package has no {CHECKS}: make it with 'densnet models pack'"
        predictions = model.predict([structure_from(record["structure"]) for record in records])
        for prediction, record in zip(predictions, records, strict=True):
            for name, tolerance in TOLERANCES.items():
                found = np.asarray(getattr(prediction, name))
                np.testing.assert_allclose(found, record[name], rtol=0, atol=tolerance, err_msg=name)

    def test_forces_are_the_gradient_of_the_energy(self, model: DenSNet) -> None:
        """Along the forces, where the energy changes most; float32 knows energies to some 1e-6 hartree."""
        structures = [structure_from(record["structure"]) for record in model.document[CHECKS]]
        changes = []
        for structure, middle in zip(structures, model.predict(structures), strict=True):
            step = 0.02 * middle.forces / np.linalg.norm(middle.forces)
            ends = [structure.with_positions(structure.positions + sign * step) for sign in (1.0, -1.0)]
            above, below = (prediction.energy for prediction in model.predict(ends))
            expected = -2.0 * float((middle.forces * step).sum())
            assert above - below == pytest.approx(expected, rel=0.02, abs=1e-5)
            changes.append(abs(expected))
        assert max(changes) > 1e-3, (
            f"the energy changes by {max(changes):.1e} hartree: check frames at rest show nothing"
        )

    def test_names_of_files_on_the_machine_that_made_it_are_not_told(self) -> None:
        document, _ = read_package(self.shipped().path())
        assert b'"/' not in document, "the package names absolute paths: make it with 'densnet models pack'"
