"""Interface of a quantum-chemistry backend and the records it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import Basis, Metric
from densnet_core.density.radial import RadialDensity
from densnet_core.errors import InputError, nearest
from densnet_core.reference.dispersion import Dispersion
from densnet_core.reference.level import PROPERTIES, LevelOfTheory
from densnet_core.structures import Structure

if TYPE_CHECKING:  # a worker that computes labels then starts without torch: in a quarter of the time and memory
    from densnet_core.density.electron import ExpandedDensity

Array = NDArray[np.float64]


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
    quadrupole : (3, 3) or None
        Second moments of the charge, sum_A Z_A R_A R_A^T - integral r r^T rho(r), e bohr^2, about the origin; not
        traceless (``densnet_core.basis.moments.traceless`` makes it so). None where it was not asked for.
    polarizability : (3, 3) or None
        d dipole_a / d F_b of the static dipole polarizability, bohr^3, symmetric, with fixed nuclei.
    response : (3, n_basis, n_occupied) or None
        First-order orbitals d orbitals / d F_a in a uniform electric field F (H = H_0 - F . dipole), orthogonal to all
        occupied orbitals of the same spin; columns as in ``orbitals``. The first-order density is
        d rho / d F_a = 2 sum_i occupations_i phi_i phi_i^(a).
    more : mapping of str to array
        Labels beyond these by the name of the ``densnet_core.plugins.quantity.Quantity`` that describes them: shape
        (3, .., 3) by rank for a molecule, (n_atoms, 3, .., 3) for atoms; atomic units.
    """

    energy: float
    forces: Array
    dipole: Array
    orbitals: Array
    occupations: Array
    seconds: float = 0.0
    provenance: Mapping[str, str] = field(default_factory=dict)
    quadrupole: Array | None = None
    polarizability: Array | None = None
    response: Array | None = None
    more: Mapping[str, Array] = field(default_factory=dict)


class ReferenceBackend(ABC):
    """Energies, forces, dipoles, orbitals and density projections from a quantum-chemistry program.

    A backend is made from a level of theory and its own validated options; it holds no state between calls, so that
    frames can be computed in any order and in any process. It computes the functional and basis of the level; the
    dispersion correction is added here, by the same code for every backend.

    A backend with an option for a uniform electric field calls it ``electric_field``: three numbers, hartree/(e bohr),
    with H = H_0 - F . dipole, so that dE/dF = -dipole; energy and forces then include the nuclei in the field.

    Parameters
    ----------
    level : LevelOfTheory
    options : object or None
        The validated options, an instance of the pydantic model that the component's ``config`` names; None means the
        defaults.

    Attributes
    ----------
    properties : frozenset of str
        Which of ``PROPERTIES`` the backend computes; the component's ``capabilities`` name the same.

    Raises
    ------
    InputError
        Level or options are refused, or there is no such dispersion correction for the functional.
    """

    properties: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, level: LevelOfTheory, options: Any = None) -> None:
        self.level = level
        self.options = options
        self._dispersion = None if level.dispersion is None else Dispersion(level.method, level.dispersion)

    @final
    def compute(self, structure: Structure, properties: Collection[str] = ()) -> ReferenceResult:
        """Energy, forces, dipole and occupied orbitals of a structure, and the properties asked for.

        Parameters
        ----------
        structure : Structure
        properties : collection of str
            Of ``PROPERTIES``. ``spin_density`` adds nothing to the result: alpha and beta orbitals are there.

        Raises
        ------
        InputError
            Unknown method or basis, element without basis functions, coincident atoms, a property that the backend
            does not compute.
        ConvergenceError
            The SCF (or its response to the field) did not converge: an unconverged result is never returned.
        ResourceError, TransientError
            Memory or time ran out; or a failure worth one more try.
        """
        self.check_properties(properties)
        result = self.calculate(structure, frozenset(properties))
        if self._dispersion is None:
            return result
        energy, forces = self._dispersion.energy_and_forces(structure)
        return replace(
            result,
            energy=result.energy + energy,
            forces=result.forces + forces,
            provenance={**result.provenance, **self._dispersion.provenance},
        )

    def check_properties(self, properties: Collection[str]) -> None:
        """``InputError`` that names the first property which is unknown or which this backend does not compute."""
        for name in properties:
            if name not in PROPERTIES:
                raise InputError(f"There is no property {name!r}. {nearest(name, PROPERTIES)}")
            if name not in self.properties:
                raise InputError(
                    f"{type(self).__name__} does not compute the property {name!r}; it has: "
                    f"{', '.join(p for p in PROPERTIES if p in self.properties) or 'none'}."
                )

    @abstractmethod
    def calculate(self, structure: Structure, properties: frozenset[str]) -> ReferenceResult:
        """What ``compute`` returns, without the dispersion correction; ``properties`` are checked already.

        ``quadrupole``, ``polarizability`` and (for ``density_response``) ``response`` of the result must be there when
        asked for. A program without analytic response makes the last two with
        ``densnet_core.reference.finite_field.field_response``.
        """

    @abstractmethod
    def orbital_basis(self, numbers: NDArray[np.int64]) -> Basis:
        """The orbital basis of these elements, with shells in the order of ``ReferenceResult.orbitals``.

        Functions of an atom follow the order of ``Basis.shells``; atoms follow the structure.
        """

    @abstractmethod
    def project(self, structure: Structure, orbitals: Array, occupations: Array, basis: Basis, metric: Metric) -> Array:
        """Right-hand side of a density fit in ``basis``: (n_functions,), or (n_densities, n_functions).

        <P|rho> for ``metric="overlap"``, the Coulomb repulsion (P|rho) for ``"coulomb"``, with rho the electron
        density (positive) sum_i occupations_i phi_i^2 and P the functions of ``basis`` in the core's order and
        normalisation.

        Parameters
        ----------
        structure : Structure
        orbitals : (n_basis, n_orbitals)
            Any orbitals in the ``orbital_basis``, not necessarily orthonormal.
        occupations : (n_orbitals,) or (n_densities, n_orbitals)
            Of either sign: a spin density or the response to a field is such a density too
            (``densnet_core.reference.properties``). Several rows are several densities of the same orbitals.
        """

    @abstractmethod
    def atomic_density(self, number: int) -> RadialDensity:
        """Spherically averaged ground-state density of the free neutral atom at this level of theory.

        The values integrate to the number of electrons to 1e-7 relative.
        """

    def starting_density_matrix(self, density: ExpandedDensity) -> Array:
        """Density matrix from which an SCF at this level of theory starts, made from a density.

        Optional: a backend without it refuses.

        Parameters
        ----------
        density : ExpandedDensity
            Of the molecule, with its charge and multiplicity.

        Returns
        -------
        (n_basis, n_basis), or (2, n_basis, n_basis) alpha and beta of an open shell
            Of orbitals in the ``orbital_basis``, orthonormal and filled: idempotent in the overlap.

        Raises
        ------
        InputError
            The backend makes none, or not for this molecule.
        """
        raise InputError(
            f"{type(self).__name__} makes no density matrix to start an SCF from; the backend pyscf does "
            "(pip install densnet-pyscf)."
        )

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Names and versions of the programs used."""
