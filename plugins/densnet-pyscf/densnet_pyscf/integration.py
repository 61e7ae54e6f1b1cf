"""Exchange-correlation energy and potential on an integration grid, in blocks that stay in the processor's cache.

PySCF integrates in blocks of 67 200 points and multiplies matrices with a library of its own. Small blocks, numpy's
product and, for a coarse grid, function values that are kept give the same numbers to rounding in less time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pyscf import dft, gto
from pyscf.gto.eval_gto import BLKSIZE

Array = NDArray[np.float64]
Orbitals = tuple[Array, Array]
"""Coefficients (n_basis, n_orbitals) and occupations (n_orbitals,) of one spin, or of both together."""

POINTS_AT_ONCE: Final = 40 * BLKSIZE
"""A multiple of the points that share an entry of PySCF's screening."""
DERIVATIVES: Final = {"LDA": 0, "GGA": 1, "MGGA": 1}
"""Of the functions, for the potential of each kind of functional."""
SPARSE: Final = 0.7
"""Share of the functions that are not negligible in a block; below it the others are taken out."""
EMPTY: Final = 1e-14
"""Occupations below this are left out of a density matrix that comes without its orbitals."""


class Integrator(dft.numint.NumInt):  # type: ignore[misc] # PySCF has no types
    """PySCF's numerical integration, with its energy and potential of a ground state replaced by faster ones.

    Parameters
    ----------
    keep_mb : float
        Function values are kept between calls if they take no more memory than this, MB. The object must then serve
        one molecule and one grid only.
    """

    def __init__(self, keep_mb: float = 0.0) -> None:
        super().__init__()
        self._keep_mb, self._kept = keep_mb, list[tuple[slice, Any, Array]]()

    def nr_rks(self, mol: gto.Mole, grids: Any, xc_code: str, dms: Any, *rest: Any, **settings: Any) -> Any:
        """Electrons, energy and potential matrix (n_basis, n_basis) of a restricted density matrix."""
        if not self._is_ground_state(xc_code, dms, 2):
            return super().nr_rks(mol, grids, xc_code, dms, *rest, **settings)
        electrons, energy, potentials = self._integrate(mol, grids, xc_code, orbitals_of(dms))
        return electrons[0], energy, potentials[0]

    def nr_uks(self, mol: gto.Mole, grids: Any, xc_code: str, dms: Any, *rest: Any, **settings: Any) -> Any:
        """The same of alpha and beta: (2,), energy, (2, n_basis, n_basis)."""
        if not self._is_ground_state(xc_code, dms, 3):
            return super().nr_uks(mol, grids, xc_code, dms, *rest, **settings)
        return self._integrate(mol, grids, xc_code, orbitals_of(dms))

    def _is_ground_state(self, method: str, matrices: Any, dimensions: int) -> bool:
        plain = isinstance(matrices, np.ndarray) and matrices.ndim == dimensions and matrices.dtype == np.float64
        return plain and self._xc_type(method) in DERIVATIVES

    def _integrate(
        self, molecule: gto.Mole, grids: Any, method: str, spins: Sequence[Orbitals]
    ) -> tuple[Array, float, Array]:
        kind = self._xc_type(method)
        electrons, energy = np.zeros(len(spins)), 0.0
        potentials = np.zeros((len(spins), molecule.nao_nr(), molecule.nao_nr()))
        for some, kept, functions in self._values(molecule, grids, DERIVATIVES[kind]):
            densities = np.stack([density_components(kind, functions, c[kept], n)[1] for c, n in spins])
            weights = grids.weights[some]
            per_electron, derivatives = self.potential(method, densities)
            electrons += densities[:, 0] @ weights
            energy += float(densities[:, 0].sum(axis=0) @ (weights * per_electron))
            for matrix, derivative in zip(potentials, derivatives, strict=True):
                part = potential_matrix(kind, functions, weights * derivative)
                if isinstance(kept, slice):
                    matrix += part
                else:
                    matrix[np.ix_(kept, kept)] += part
        return electrons, energy, potentials + potentials.transpose(0, 2, 1)

    def potential(self, method: str, densities: Array) -> tuple[Array, Array]:
        """Energy per electron (n_points,) and derivatives of the energy per volume by the components of each density.

        Parameters
        ----------
        method : str
        densities : (n_spins, n_components, n_points)
            One, without spin polarisation, or alpha and beta.
        """
        spin, kind = len(densities) - 1, self._xc_type(method)
        argument = densities if spin else densities[0]
        if kind == "LDA":
            argument = argument[..., 0, :]
        per_electron, derivatives, *_ = self.eval_xc_eff(method, argument, deriv=1, xctype=kind, spin=spin)
        return per_electron, derivatives.reshape(densities.shape)

    def _values(self, molecule: gto.Mole, grids: Any, derivatives: int) -> Iterator[tuple[slice, Any, Array]]:
        """Points, functions that are not negligible there, and their values (and gradients)."""
        if self._kept:
            yield from self._kept
            return
        n_components = 4 if derivatives else 1
        keep = n_components * grids.weights.size * molecule.nao_nr() * 8e-6 <= self._keep_mb
        for block in function_blocks(molecule, grids.coords, derivatives, grids.non0tab, grids.cutoff):
            if keep:
                self._kept.append(block)
            yield block


def orbitals_of(matrices: Any) -> list[Orbitals]:
    """Orbitals and occupations of a density matrix (n_basis, n_basis), or of alpha and beta (2, n_basis, n_basis)."""
    known = getattr(matrices, "mo_coeff", None)
    if known is None:
        pairs = [np.linalg.eigh(matrix) for matrix in (matrices if matrices.ndim == 3 else matrices[None])]
        return [(vectors[:, abs(n) > EMPTY], n[abs(n) > EMPTY]) for n, vectors in pairs]
    coefficients, occupations = np.asarray(known), np.asarray(matrices.mo_occ)
    if matrices.ndim == 2:
        coefficients, occupations = coefficients[None], occupations[None]
    return [(np.ascontiguousarray(c[:, n > 0]), n[n > 0]) for c, n in zip(coefficients, occupations, strict=True)]


def function_blocks(
    molecule: gto.Mole, points: Array, derivatives: int, screening: Any, cutoff: float
) -> Iterator[tuple[slice, Any, Array]]:
    """Values of the orbital basis, block by block of points.

    Parameters
    ----------
    molecule : Mole
    points : (n_points, 3)
        Bohr.
    derivatives : int
        Highest order: 0, 1 or 2.
    screening : (n_blocks, n_shells) or None
        PySCF's ``non0tab`` of these points: zero where a shell is negligible.
    cutoff : float
        Below which a function is negligible.

    Yields
    ------
    slice
        Which points.
    slice or (n_kept,) int
        Which functions: all, or those that are not negligible.
    (n_components, n_kept, n_points_of_block)
        1, 4 or 10 components: the values, d/dx d/dy d/dz, xx xy xz yy yz zz.
    """
    name = "GTOval_sph" if derivatives == 0 else f"GTOval_sph_deriv{derivatives}"
    places = molecule.ao_loc_nr()
    for start in range(0, len(points), POINTS_AT_ONCE):
        some = slice(start, start + POINTS_AT_ONCE)
        mask = None if screening is None else screening[start // BLKSIZE : -(-some.stop // BLKSIZE)]
        values = molecule.eval_gto(name, points[some], non0tab=mask, cutoff=cutoff)
        values = values.reshape(-1, *values.shape[-2:]).transpose(0, 2, 1)
        kept: Any = slice(None)
        if mask is not None:
            present = np.repeat(mask.any(axis=0), np.diff(places))
            if present.mean() < SPARSE:
                kept = np.flatnonzero(present)
                values = values[:, kept]
        yield some, kept, values


def density_components(kind: str, functions: Array, orbitals: Array, occupations: Array) -> tuple[Array, Array]:
    """Orbitals and the components of their density that a functional of this kind needs.

    Parameters
    ----------
    kind : {"LDA", "GGA", "MGGA"}
    functions : (at least 1 or 4, n_basis, n_points)
    orbitals, occupations : (n_basis, n_orbitals), (n_orbitals,)

    Returns
    -------
    (1 or 4, n_orbitals, n_points)
        Values and gradients of the orbitals.
    (1, 4 or 5, n_points)
        rho, its gradient, and tau = sum_i n_i |grad phi_i|^2 / 2.
    """
    amplitudes = orbitals.T @ functions[: 1 if kind == "LDA" else 4]
    filled = occupations[:, None] * amplitudes[0]
    components = np.einsum("ip,xip->xp", filled, amplitudes)
    components[1:] *= 2.0
    if kind != "MGGA":
        return amplitudes, components
    kinetic = 0.5 * np.einsum("i,xip,xip->p", occupations, amplitudes[1:], amplitudes[1:], optimize=True)
    return amplitudes, np.concatenate([components, kinetic[None]])


def potential_matrix(kind: str, functions: Array, derivatives: Array) -> Array:
    """Half of the matrix of a potential: its transpose is the other half.

    With the energy per volume f(rho, grad rho, tau), an element is the integral of df/drho phi_i phi_j +
    df/d(grad rho) . grad(phi_i phi_j) + df/dtau grad phi_i . grad phi_j / 2: Pople, Gill and Johnson, Chem. Phys. Lett.
    199, 557 (1992); Neumann, Nobes and Handy, Mol. Phys. 87, 1 (1996).

    Parameters
    ----------
    kind : {"LDA", "GGA", "MGGA"}
    functions : (at least 1 or 4, n_basis, n_points)
    derivatives : (1, 4 or 5, n_points)
        By rho, its gradient and tau, times the weights.
    """
    factors = derivatives[:4].copy()
    factors[0] *= 0.5
    matrix = functions[0] @ np.einsum("xp,xip->pi", factors, functions[: len(factors)])
    if kind == "MGGA":
        for gradient in functions[1:4]:
            matrix += gradient @ (0.25 * derivatives[4] * gradient).T
    return np.asarray(matrix)
