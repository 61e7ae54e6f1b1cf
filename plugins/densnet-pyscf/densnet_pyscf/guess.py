"""A density matrix to start an SCF from, made from a predicted or fitted electron density.

The density gives the Coulomb potential and, by the functional, the exchange-correlation potential of the molecule; the
orbitals of the Kohn-Sham operator with these two are the starting orbitals (one diagonalisation, no iteration).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from pyscf import dft, gto, lib, scf
from pyscf.dft import libxc

from densnet_core.errors import InputError
from densnet_pyscf.auxiliary import AuxiliaryShell, libcint_shells, three_center_blocks

if TYPE_CHECKING:
    from densnet_core.basis.molecular import MolecularBasis
    from densnet_core.density.electron import ExpandedDensity

Array = NDArray[np.float64]
Expansion = tuple[list[AuxiliaryShell], Array]
GRID_LEVEL: Final = 1
"""Ethanol, PBE/def2-SVP, from a fit: 6 SCF iterations with the grid of level 0, 4 with those of levels 1, 2 and 3."""
STAND_IN: Final = "PBE"
"""Potential for functionals that need more than a density and its gradient (see ``potential_functional``)."""
NEGLIGIBLE: Final = 1e-10
"""Electrons per bohr^3. Below it, and where a fit is negative, there is no exchange-correlation potential."""
POINTS_AT_ONCE: Final = 4096
SPIN_STEPS: Final = 3
"""Potentials of an open shell's spin densities. PBE/def2-SVP with 0, 1, 2, 3 and 5 of them: 7, 5, 5, 4, 4 iterations
for the water cation (PySCF's guess: 8); 6, 5, 4, 4, 4 for O2 (7); 7, 7, 6, 6, 6 for OH, a hole in degenerate pi (8)."""
DEPENDENT: Final = 1e-8
"""Eigenvalues of the overlap matrix below this are left out."""
SAME_PLACE: Final = 1e-3
"""Bohr. A molecule built in angstrom differs by less, through another value of the bohr."""


def scf_guess(solver: Any, density: ExpandedDensity) -> Array:
    """Density matrix in the orbital basis of a PySCF mean-field object, to be given to its ``kernel`` as ``dm0``.

    Parameters
    ----------
    solver : RHF, RKS, UHF, UKS, ROHF or ROKS object of PySCF
        Unsolved; with or without density fitting. Its molecule is the density's, in any all-electron basis set of
        spherical functions.
    density : ExpandedDensity
        Superposed atoms and a difference: predicted by a model, or a fit.

    Returns
    -------
    (n_basis, n_basis), or (2, n_basis, n_basis) alpha and beta for unrestricted and restricted open-shell objects
        In PySCF's order of functions. An expansion has no spin: the spin density of an open shell comes from its
        starting orbitals, in a few steps in which the total density and its Coulomb matrix stay as they are.

    Raises
    ------
    InputError
        The molecule is another one, has Cartesian functions or effective core potentials, or the object is of another
        kind.

    Notes
    -----
    PySCF's own ``minao`` starts from atoms; this starts from bonds. See ``benchmarks/bench_scf_guess.py``.
    """
    _check(solver, density)
    molecule = solver.mol
    expansions = [
        (_shells(density.difference_part.functions), density.difference_part.coefficients.numpy()),
        (_shells(density.atoms_part.functions), density.atoms_part.coefficients.numpy()),
    ]
    functional = potential_functional(getattr(solver, "xc", "HF"))
    points, weights = quadrature(molecule)
    values = expanded_values(molecule, expansions, points, n_components(functional))
    fixed, overlap = solver.get_hcore() + coulomb_matrix(molecule, expansions), solver.get_ovlp()

    def filled(spin_densities: Array) -> Array:
        """(2, n_basis, n_basis) of the lowest orbitals in the potential of one (shared) or two spin densities."""
        fock = fixed + exchange_correlation_matrices(molecule, functional, points, weights, spin_densities)
        orbitals = [_orbitals(matrix, overlap) for matrix in fock]
        return np.stack(
            [c[:, :n] @ c[:, :n].T for c, n in zip((orbitals[0], orbitals[-1]), molecule.nelec, strict=True)]
        )

    spins = filled(values[None])
    for _ in range(SPIN_STEPS if molecule.spin else 0):
        polarisation = orbital_values(molecule, spins[0] - spins[1], points, n_components(functional))
        spins = filled(np.stack([values + polarisation, values - polarisation]) / 2)
    return spins if isinstance(solver, scf.uhf.UHF | scf.rohf.ROHF) else spins.sum(axis=0)


def potential_functional(method: str) -> str:
    """The functional whose potential makes the guess for ``method``.

    A density and its gradient give the potential of a local or gradient-corrected functional and no other: an exchange
    operator and a kinetic-energy density need orbitals. For these PBE stands in. SCF iterations from PySCF's default
    guess, and from PBE's potential in the functional's own density (ethanol, def2-SVP): r2SCAN 10 and 7, B3LYP 9 and 7,
    PBE0 9 and 7, Hartree-Fock 9 and 8. Scaling the functional's own exchange is no better (B3LYP 8), nor are other
    gradient-corrected functionals (BLYP); a first exchange operator from the orbitals of PBE saves one iteration more
    and costs as much as one.
    """
    if method.strip().upper() == "HF" or libxc.is_hybrid_xc(method) or libxc.xc_type(method) not in ("LDA", "GGA"):
        return STAND_IN
    return method


def coulomb_matrix(molecule: gto.Mole, expansions: list[Expansion]) -> Array:
    """(ij|rho), (n_basis, n_basis), hartree."""
    n_basis = molecule.nao_nr()
    packed = np.zeros(n_basis * (n_basis + 1) // 2)
    for shells, coefficients in expansions:
        for some, block in three_center_blocks(molecule, shells, "coulomb"):
            packed += block @ coefficients[some]
    return np.asarray(lib.unpack_tril(packed))


def n_components(functional: str) -> int:
    """Of a density that the functional needs: 1 (the values) for LDA, 4 (with the gradient) for GGA."""
    return 4 if libxc.xc_type(functional) == "GGA" else 1


def quadrature(molecule: gto.Mole) -> tuple[Array, Array]:
    """Points (n, 3) in bohr and weights (n,) of PySCF's grid."""
    grid = dft.gen_grid.Grids(molecule)
    grid.level = GRID_LEVEL
    grid.build(with_non0tab=False)
    return grid.coords, grid.weights


def expanded_values(molecule: gto.Mole, expansions: list[Expansion], points: Array, components: int) -> Array:
    """The density and, for four components, its gradient at points: (components, n_points)."""
    values = np.zeros((components, len(points)))
    for shells, coefficients in expansions:
        functions = molecule.copy(deep=False)  # the same nuclei with these functions, for evaluation only
        functions._bas, functions._env = libcint_shells(molecule, shells)
        for some in _blocks(points):
            values[:, some] += _functions(functions, points[some], components) @ coefficients
    return values


def orbital_values(molecule: gto.Mole, matrix: Array, points: Array, components: int) -> Array:
    """The same of a symmetric density matrix (n_basis, n_basis)."""
    values = np.empty((components, len(points)))
    for some in _blocks(points):
        orbitals = _functions(molecule, points[some], components)
        values[:, some] = np.einsum("pi,xpi->xp", orbitals[0] @ matrix, orbitals)
    values[1:] *= 2.0
    return values


def exchange_correlation_matrices(
    molecule: gto.Mole, functional: str, points: Array, weights: Array, densities: Array
) -> Array:
    """Matrices (n_spins, n_basis, n_basis) of the potential of an LDA or GGA functional, hartree.

    With the energy per volume f(rho, grad rho), an element is the integral of df/drho phi_i phi_j +
    df/d(grad rho) . grad(phi_i phi_j): Pople, Gill and Johnson, Chem. Phys. Lett. 199, 557 (1992).

    Parameters
    ----------
    molecule : Mole
    functional : str
    points, weights : (n_points, 3), (n_points,)
    densities : (n_spins, components, n_points)
        One, the total density without spin polarisation, or two, alpha and beta.
    """
    n_spins, components, _ = densities.shape
    numerical, kind = dft.numint.NumInt(), libxc.xc_type(functional)
    result = np.zeros((n_spins, molecule.nao_nr(), molecule.nao_nr()))
    for some in _blocks(points):
        argument = np.where(densities[:, :1, some] > NEGLIGIBLE, densities[:, :, some], 0.0)
        argument = argument if n_spins == 2 else argument[0]
        _, potential, *_ = numerical.eval_xc_eff(functional, argument, deriv=1, xctype=kind, spin=n_spins - 1)
        potential = weights[some] * potential.reshape(n_spins, components, -1)
        potential[:, 0] *= 0.5  # the transpose, added below, has the other half
        orbitals = _functions(molecule, points[some], components)
        for matrix, factors in zip(result, potential, strict=True):
            matrix += orbitals[0].T @ np.einsum("xp,xpi->pi", factors, orbitals)
    return result + result.transpose(0, 2, 1)


def _functions(molecule: gto.Mole, points: Array, components: int) -> Array:
    """(components, n_points, n_functions): values and, for four components, gradients of a molecule's functions."""
    values = molecule.eval_gto("GTOval_sph_deriv1" if components == 4 else "GTOval_sph", points)
    return np.asarray(values).reshape(components, len(points), -1)


def _blocks(points: Array) -> Iterator[slice]:
    return (slice(start, start + POINTS_AT_ONCE) for start in range(0, len(points), POINTS_AT_ONCE))


def _shells(functions: MolecularBasis) -> list[AuxiliaryShell]:
    """The shells of ``functions`` in their own order, as they are on each atom."""
    found: list[tuple[int, AuxiliaryShell]] = []
    for group in functions.groups:
        records = (group.functions[:, 0].tolist(), group.atoms.tolist(), group.widths.tolist())
        values = (group.exponents.numpy(), group.coefficients.numpy())
        for place, atom, width, exponents, coefficients in zip(*records, *values, strict=True):
            found.append((place, AuxiliaryShell(atom, group.l, exponents[:width], coefficients[:width])))
    return [shell for _, shell in sorted(found, key=lambda entry: entry[0])]


def _orbitals(fock: Array, overlap: Array) -> Array:
    """Eigenvectors by ascending energy, orthonormal in ``overlap``: (n_basis, n_independent)."""
    values, vectors = np.linalg.eigh(overlap)
    kept = values > DEPENDENT
    orthonormal = vectors[:, kept] / np.sqrt(values[kept])
    return np.asarray(orthonormal @ np.linalg.eigh(orthonormal.T @ fock @ orthonormal)[1])


def _check(solver: Any, density: ExpandedDensity) -> None:
    structure = density.structure
    if not isinstance(solver, scf.hf.RHF | scf.uhf.UHF):
        raise InputError(
            f"A starting density matrix is for RHF, RKS, UHF, UKS, ROHF and ROKS objects of PySCF, not for "
            f"{type(solver).__name__}."
        )
    molecule = solver.mol
    if molecule.cart or molecule.has_ecp():
        raise InputError(
            "A starting density matrix is made in spherical functions with all electrons; build the molecule with "
            "cart=False and without effective core potentials."
        )
    charges, positions = molecule.atom_charges(), molecule.atom_coords()
    same = np.array_equal(charges, structure.numbers)
    if not same or not np.abs(positions - structure.positions).max() < SAME_PLACE:
        found = f"atoms {charges.tolist()}" if not same else "other positions"
        raise InputError(
            f"The density belongs to {structure.formula} with atoms {structure.numbers.tolist()} and the molecule has "
            f"{found}. Build it from the structure's numbers and positions (bohr), in that order."
        )
    if molecule.nelectron != structure.n_electrons:
        raise InputError(
            f"The density is that of {structure.n_electrons} electrons and the molecule has {molecule.nelectron}; "
            "give both the same charge."
        )
