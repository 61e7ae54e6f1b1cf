"""The core's own engine passes the suite; its Langevin dynamics samples positions right and continues its noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from densnet_core.errors import InputError
from densnet_core.md.base import MDEngine, Recording
from densnet_core.md.batched import TorchEngine, run_together
from densnet_core.md.config import TorchEngineOptions
from densnet_core.stores.dynamics import MDStage
from densnet_core.testing.md import NVE, NVT, MDEngineTests, at_rest, joined, replicas, shaken
from densnet_core.testing.potentials import PairPotential, ValencePotential
from densnet_core.testing.springs import ETHANOL


class TestTorch(MDEngineTests):
    def make_engine(self, **options: Any) -> MDEngine:
        return TorchEngine(TorchEngineOptions(**options))


def test_a_restarted_bath_continues_the_same_trajectory() -> None:
    potential = ValencePotential.water()
    structures, stage = replicas(potential, 2), replace(NVT, n_steps=20)
    whole = joined(list(TorchEngine().run(potential, structures, stage, at_rest(structures), Recording(5))))
    blocks = TorchEngine().run(potential, structures, stage, at_rest(structures), Recording(5))
    first = next(blocks)
    again = joined([first, *TorchEngine().run(potential, structures, stage, first.end)])
    np.testing.assert_array_equal(again.positions, whole.positions)


def test_observables_are_those_of_the_recorded_frames() -> None:
    potential = ValencePotential.water()
    structures, stage = replicas(potential, 3), replace(NVE, n_steps=6, record_every=2)
    recording = Recording(2, outputs=("dipole",))
    blocks = list(TorchEngine().run(potential, structures, stage, shaken(structures, 500.0), recording))
    assert [block.observables["dipole"].shape for block in blocks] == [(2, 3, 3), (2, 3, 3)]
    for block in blocks:
        expected = np.einsum("a,frax->frx", potential.charges.numpy(), block.positions)
        np.testing.assert_allclose(block.observables["dipole"], expected, atol=1e-12)
    recording = Recording(outputs=("polarizability",))
    with pytest.raises(InputError, match="polarizability"):
        list(TorchEngine().run(potential, structures, stage, at_rest(structures), recording))


@pytest.mark.parametrize("stage", [NVE, replace(NVT, temperature=0.0)], ids=["nve", "cold bath"])
def test_different_molecules_move_together_as_they_do_alone(stage: MDStage) -> None:
    stage, potential = replace(stage, n_steps=30, record_every=10), PairPotential()
    molecules = [ValencePotential.water().structure, ValencePotential.hydrogen_fluoride().structure, ETHANOL]
    starts = [shaken([one], 300.0) for one in molecules]
    velocities = [start.velocities[0] for start in starts]
    together = list(run_together(potential, molecules, velocities, stage, ("dipole",)))
    assert [one.step for one in together] == [0, 10, 20, 30]
    for index, (one, start) in enumerate(zip(molecules, starts, strict=True)):
        alone = joined(list(TorchEngine().run(potential, [one], stage, start, Recording(outputs=("dipole",)))))
        for snapshot, positions, dipole in zip(together, alone.positions, alone.observables["dipole"], strict=True):
            np.testing.assert_allclose(snapshot.positions[index], positions[0], atol=1e-10)
            np.testing.assert_allclose(snapshot.outputs["dipole"][index], dipole[0], atol=1e-9)
        np.testing.assert_allclose(together[-1].velocities[index], alone.end.velocities[0], atol=1e-12)
    with pytest.raises(InputError, match="for each molecule"):
        next(run_together(potential, molecules, velocities[:2], stage))
