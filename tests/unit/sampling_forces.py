"""Forces for the tests of dynamics: worker processes import this file, so it must be a module of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densnet_core.errors import ConvergenceError
from densnet_core.sampling.base import SamplingContext
from densnet_core.sampling.dynamics import DynamicsSampler
from densnet_core.sampling.integrator import Forces
from densnet_core.structures import Structure

WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.22], [0.0, 1.43, -0.89], [0.0, -1.43, -0.89]]))
PAIRS = ((0, 1), (0, 2), (1, 2))
STIFFNESS = (0.5, 0.5, 0.15)  # hartree/bohr^2


@dataclass(frozen=True)
class Springs:
    """Springs between the atoms of water; beyond ``fails_beyond`` (bohr) an O-H bond has no forces."""

    fails_beyond: float = np.inf

    def __call__(self, structure: Structure) -> np.ndarray:
        forces = np.zeros((3, 3))
        for (i, j), stiffness in zip(PAIRS, STIFFNESS, strict=True):
            arm = structure.positions[i] - structure.positions[j]
            length = float(np.linalg.norm(arm))
            rest = float(np.linalg.norm(WATER.positions[i] - WATER.positions[j]))
            if i == 0 and length > self.fails_beyond:
                raise ConvergenceError(f"the bond is {length:.1f} bohr long")
            pull = -stiffness * (length - rest) * arm / length
            forces[i] += pull
            forces[j] -= pull
        return forces


class SpringSampler(DynamicsSampler):
    """Dynamics of water held by springs."""

    frames_per_task = 3
    springs: Forces = Springs()

    def forces(self, structure: Structure, context: SamplingContext) -> Forces:
        return self.springs
