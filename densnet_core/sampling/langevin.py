"""Langevin dynamics with the reference backend's own forces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from densnet_core.errors import InputError
from densnet_core.reference.runner import BackendFactory
from densnet_core.sampling.base import SamplingContext
from densnet_core.sampling.config import LangevinOptions
from densnet_core.sampling.dynamics import DynamicsSampler
from densnet_core.sampling.integrator import Forces
from densnet_core.structures import Structure


class LangevinSampler(DynamicsSampler):
    """Dynamics at the level of theory of the data: exact for it, and one full calculation per time step.

    Parameters
    ----------
    options : LangevinOptions or None
    """

    needs_backend = True

    def __init__(self, options: LangevinOptions | None = None) -> None:
        super().__init__(options or LangevinOptions())

    def forces(self, structure: Structure, context: SamplingContext) -> Forces:
        """Forces from the backend.

        Raises
        ------
        InputError
            If the context has no factory of the backend.
        """
        if context.factory is None:
            raise InputError("The sampler 'langevin' needs the reference backend; none was given.")
        return _BackendForces(context.factory)


@dataclass(frozen=True, eq=False)
class _BackendForces:
    factory: BackendFactory

    def __call__(self, structure: Structure) -> NDArray[np.float64]:
        return self.factory.make().compute(structure).forces
