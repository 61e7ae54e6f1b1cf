"""The core's own engine passes the suite; its Langevin dynamics samples positions right and continues its noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from densnet_core.errors import InputError
from densnet_core.md.base import MDEngine, Recording
from densnet_core.md.batched import TorchEngine
from densnet_core.md.config import TorchEngineOptions
from densnet_core.testing.md import NVE, NVT, MDEngineTests, at_rest, joined, replicas, shaken
from densnet_core.testing.potentials import ValencePotential


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
