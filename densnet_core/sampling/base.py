"""Interface of a geometry sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densnet_core.structures import Structure


@dataclass(frozen=True, eq=False)
class HarmonicReference:
    """Minimum, Hessian and dipole derivatives of a molecule, atomic units.

    Parameters
    ----------
    structure : Structure
        The minimum.
    energy : float
    hessian : (3 n_atoms, 3 n_atoms)
        Second derivatives of the energy, hartree/bohr^2, symmetric.
    dipole_derivatives : (3 n_atoms, 3)
        d mu / d R, e.
    """

    structure: Structure
    energy: float
    hessian: NDArray[np.float64]
    dipole_derivatives: NDArray[np.float64]


class Sampler(ABC):
    """Makes geometries around a starting molecule.

    Parameters
    ----------
    options : object or None
        Validated options of the component; every sampler is deterministic given its seed.
    """

    needs_harmonic: bool = False
    """True if ``sample`` must be given the harmonic reference."""

    def __init__(self, options: Any = None) -> None:
        self.options = options

    @abstractmethod
    def sample(self, structure: Structure, harmonic: HarmonicReference | None = None) -> list[Structure]:
        """Geometries, every one checked by ``densnet_core.sampling.checks``; equal seeds give equal lists."""
