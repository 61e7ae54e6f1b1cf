"""Dynamics with the reference backend's own forces, in the processes of an executor."""

from __future__ import annotations

import numpy as np

from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.local import LocalExecutor
from densnet_core.reference.runner import BackendFactory
from densnet_core.sampling.base import SamplingContext
from densnet_core.sampling.config import LangevinOptions
from densnet_core.sampling.langevin import LangevinSampler
from densnet_core.structures import Structure

HYDROGEN = Structure(np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.4]]))


def test_hydrogen_vibrates_at_the_level_of_theory_of_the_data():
    factory = BackendFactory("densnet_pyscf.backend:PySCFBackend", LevelOfTheory("HF", "STO-3G"))
    context = SamplingContext(factory=factory, executor=LocalExecutor(LocalExecutorOptions(workers=2)))
    options = LangevinOptions(count=8, walkers=4, interval_fs=6.0, equilibration_fs=0.0, time_step_fs=0.5)
    frames = LangevinSampler(options).sample(HYDROGEN, context)
    lengths = [np.linalg.norm(np.subtract(*frame.positions)) for frame in frames]
    assert len({frame.content_hash() for frame in frames}) == 8
    # HF/STO-3G has its minimum at 1.346 bohr; at 500 K the spread is 0.05 bohr.
    assert 1.1 < min(lengths) < max(lengths) < 1.7
    assert np.std(lengths) > 0.01
