"""Interface of a quantum-chemistry backend and the records it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import Basis
from densnet_core.errors import InputError
from densnet_core.structures import Structure

Array = NDArray[np.float64]
Metric = Literal["coulomb", "overlap"]


@dataclass(frozen=True)
class LevelOfTheory:
    """What was computed: method (a density functional or ``HF``) and orbital basis, plus dispersion if any."""

    method: str
    basis: str
    dispersion: str | None = None

    @classmethod
    def parse(cls, text: str) -> LevelOfTheory:
        """From ``"PBE/aug-cc-pVDZ"`` or ``"PBE-D4/def2-SVP"`` (the part after the last hyphen, if D3BJ or D4)."""
        method, slash, basis = text.partition("/")
        if not slash or not method.strip() or not basis.strip():
            raise InputError(f"Level of theory {text!r} is not of the form METHOD/BASIS, for example PBE/aug-cc-pVDZ.")
        head, hyphen, tail = method.strip().rpartition("-")
        if hyphen and tail.upper() in ("D3BJ", "D4"):
            return cls(head, basis.strip(), tail.lower())
        return cls(method.strip(), basis.strip())

    def __str__(self) -> str:
        return f"{self.method}{'-' + self.dispersion.upper() if self.dispersion else ''}/{self.basis}"


@dataclass(frozen=True, eq=False)
class ReferenceResult:
    """One finished calculation, atomic units throughout.

    Parameters
    ----------
    energy : float
        Total energy, hartree.
    forces : (n_atoms, 3)
        Minus the gradient of the energy, hartree/bohr.
    dipole : (3,)
        Electric dipole moment sum_A Z_A R_A - integral r rho(r), e bohr; of a charged molecule about the origin.
    orbitals : (n_basis, n_occupied)
        Occupied molecular orbitals in the backend's ``orbital_basis`` (core convention of ``densnet_core.basis``);
        alpha then beta for an unrestricted calculation.
    occupations : (n_occupied,)
        2 for a doubly occupied orbital, 1 for a spin orbital.
    seconds : float
        Wall time.
    provenance : mapping
        Program and versions.
    """

    energy: float
    forces: Array
    dipole: Array
    orbitals: Array
    occupations: Array
    seconds: float = 0.0
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class RadialDensity:
    """Spherically averaged electron density of a free atom on a radial grid.

    Parameters
    ----------
    radii : (n,)
        Distances from the nucleus, bohr, ascending.
    weights : (n,)
        Quadrature weights of integral f(r) 4 pi r^2 dr = sum_i w_i f(r_i).
    values : (n,)
        Density, electrons per bohr^3.
    """

    radii: Array
    weights: Array
    values: Array


class ReferenceBackend(ABC):
    """Energies, forces, dipoles, orbitals and density projections from a quantum-chemistry program.

    A backend is made from a level of theory and its own validated options; it holds no state between calls, so that
    frames can be computed in any order and in any process.

    Parameters
    ----------
    level : LevelOfTheory
    options : object or None
        The validated options, an instance of the pydantic model that the component's ``config`` names; None means the
        defaults.
    """

    def __init__(self, level: LevelOfTheory, options: Any = None) -> None:
        self.level = level
        self.options = options

    @abstractmethod
    def compute(self, structure: Structure) -> ReferenceResult:
        """Energy, forces, dipole and occupied orbitals of a structure.

        Raises
        ------
        InputError
            Unknown method or basis, element without basis functions, coincident atoms.
        ConvergenceError
            The SCF did not converge: an unconverged result is never returned.
        ResourceError, TransientError
            Memory or time ran out; or a failure worth one more try.
        """

    @abstractmethod
    def orbital_basis(self, numbers: NDArray[np.int64]) -> Basis:
        """The orbital basis of these elements, with shells in the order of ``ReferenceResult.orbitals``.

        Functions of an atom follow the order of ``Basis.shells``; atoms follow the structure.
        """

    @abstractmethod
    def project(self, structure: Structure, orbitals: Array, occupations: Array, basis: Basis, metric: Metric) -> Array:
        """Right-hand side of a density fit in ``basis``: (n_functions,).

        <P|rho> for ``metric="overlap"``, the Coulomb repulsion (P|rho) for ``"coulomb"``, with rho the electron
        density (positive) of the orbitals and P the functions of ``basis`` in the core's order and normalisation.
        """

    @abstractmethod
    def atomic_density(self, number: int) -> RadialDensity:
        """Spherically averaged ground-state density of the free neutral atom at this level of theory.

        The values integrate to the number of electrons to 1e-7 relative.
        """

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Names and versions of the programs used."""
