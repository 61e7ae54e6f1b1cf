"""Spherically averaged Kohn-Sham or Hartree-Fock atom, spin-restricted, with open shells spread over their functions.

The electrons of each angular momentum are given; they fill its radial functions from below, the last one in part. The
Fock matrix is averaged over m, so one small eigenvalue problem per angular momentum is solved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import psi4

from densnet_psi4.program.molecule import ORBITAL, Array, build_basis, make_molecule, register_basis, shell_record

Blocks = dict[int, Array]
"""One matrix per angular momentum."""


def atom(request: dict[str, Any], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Density matrix (n_l, n_l) per angular momentum: rho = sum_l sum_m D_l[a, b] chi_a,lm chi_b,lm."""
    register_basis(ORBITAL, request["orbital_basis"])
    number = request["number"]
    molecule = make_molecule(request["symbols"], arrays["positions"], 0, 1 + number % 2)
    psi4.core.be_quiet()
    psi4.core.set_output_file("output.txt", False)
    psi4.core.set_memory_bytes(request["max_memory_mb"] * 10**6, True)
    psi4.set_options(
        {
            "scf_type": "pk",
            "dft_radial_points": 200,
            "dft_spherical_points": 110,
            "ints_tolerance": 1e-14,
            "puream": True,
        }
    )
    basis = build_basis(molecule, ORBITAL)
    solver = _Atom(basis, request["functional"], number)
    matrices, energy = solver.solve(request["electrons_per_l"], request["max_cycle"])
    results = {f"matrix_{am}": matrix for am, matrix in matrices.items()}
    return {"energy": energy}, {**results, **shell_record(basis)}


class _Atom:
    """The integrals of one atom and the cycles of its self-consistent field."""

    def __init__(self, basis: Any, functional: dict[str, Any] | None, number: int) -> None:
        self.number = number
        integrals = psi4.core.MintsHelper(basis)
        self.n_basis = basis.nbf()
        self.functions: dict[int, list[range]] = {}
        for i in range(basis.nshell()):
            shell = basis.shell(i)
            first = shell.function_index
            self.functions.setdefault(shell.am, []).append(range(first, first + 2 * shell.am + 1))
        self.core = self._averaged(np.array(integrals.ao_kinetic()) + np.array(integrals.ao_potential()))
        self.orthogonal = {am: _inverse_root(s) for am, s in self._averaged(np.array(integrals.ao_overlap())).items()}
        # One electron without a functional: it must not repel itself.
        self.interacting = functional is not None or number > 1
        self.exchange, self.potential = 1.0, None
        self.coulomb = psi4.core.JK.build(basis, jk_type="PK")
        if functional is not None:
            superfunctional = psi4.driver.dft.build_superfunctional_from_dictionary(
                functional, psi4.core.get_global_option("DFT_BLOCK_MAX_POINTS"), 1, True
            )[0]
            superfunctional.set_max_points(psi4.core.get_global_option("DFT_BLOCK_MAX_POINTS"))
            superfunctional.set_deriv(1)
            superfunctional.allocate()
            self.exchange, self.long_range = superfunctional.x_alpha(), superfunctional.x_beta()
            self.potential = psi4.core.VBase.build(basis, superfunctional, "RV")
            self.potential.initialize()
            if superfunctional.is_x_lrc():
                self.coulomb.set_do_wK(True)
                self.coulomb.set_omega(superfunctional.x_omega())
        self.has_long_range = self.potential is not None and superfunctional.is_x_lrc()
        self.coulomb.set_do_K(self.exchange != 0.0)
        self.coulomb.initialize()

    def solve(self, electrons_per_l: list[int], max_cycle: int) -> tuple[Blocks, float]:
        electrons = {am: n for am, n in enumerate(electrons_per_l) if n}
        missing = [am for am in electrons if 2 * (2 * am + 1) * len(self.functions.get(am, [])) < electrons[am]]
        if missing:
            raise ValueError(f"The basis has too few functions of l = {missing[0]} for the electrons of the atom")
        occupied = self._aufbau(self.core, electrons)
        history: list[tuple[Blocks, Blocks]] = []
        last = None
        for _ in range(max_cycle):
            fock, energy, densities = self._fock(occupied)
            error = {am: self._commutator(am, fock[am], densities.get(am)) for am in fock}
            largest = max(np.abs(e).max() for e in error.values())
            if largest < 1e-8 and last is not None and abs(energy - last) < 1e-10:
                return densities, energy
            last = energy
            history = [*history, (fock, error)][-10:]
            occupied = self._aufbau(_extrapolated(history), electrons)
        raise psi4.SCFConvergenceError("atom", max_cycle, None, energy, largest)

    def _averaged(self, matrix: Array) -> Blocks:
        """Mean over m of the blocks of each angular momentum."""
        result = {}
        for am, shells in self.functions.items():
            index = np.array([list(shell) for shell in shells])
            result[am] = np.mean([matrix[np.ix_(index[:, m], index[:, m])] for m in range(2 * am + 1)], axis=0)
        return result

    def _aufbau(self, fock: Blocks, electrons: dict[int, int]) -> Blocks:
        """Orbitals (n_l, k) of each occupied l, scaled by the root of half the electrons in each function."""
        result = {}
        for am, count in electrons.items():
            root = self.orthogonal[am]
            _, vectors = np.linalg.eigh(root.T @ fock[am] @ root)
            full, rest = divmod(count, 2 * (2 * am + 1))
            filling = np.array([1.0] * full + ([rest / (2.0 * (2 * am + 1))] if rest else []))
            result[am] = (root @ vectors)[:, : len(filling)] * np.sqrt(filling)
        return result

    def _fock(self, occupied: Blocks) -> tuple[Blocks, float, Blocks]:
        """Averaged Fock matrices, energy, and total density matrices per function."""
        columns = []
        for am, orbitals in occupied.items():
            index = np.array([list(shell) for shell in self.functions[am]])
            for m in range(2 * am + 1):
                block = np.zeros((self.n_basis, orbitals.shape[1]))
                block[index[:, m]] = orbitals
                columns.append(block)
        coefficients = np.hstack(columns)
        half = coefficients @ coefficients.T
        densities = {am: 2.0 * c @ c.T for am, c in occupied.items()}
        energy = float(sum((2 * am + 1) * np.vdot(d, self.core[am]) for am, d in densities.items()))
        if not self.interacting:
            return self.core, energy, densities
        self.coulomb.C_clear()
        self.coulomb.C_left_add(psi4.core.Matrix.from_array(coefficients))
        self.coulomb.compute()
        mean_field = 2.0 * np.array(self.coulomb.J()[0])
        if self.exchange:
            mean_field -= self.exchange * np.array(self.coulomb.K()[0])
        if self.has_long_range:
            mean_field -= self.long_range * np.array(self.coulomb.wK()[0])
        energy += float(np.vdot(half, mean_field))
        if self.potential is not None:
            matrix = psi4.core.Matrix(self.n_basis, self.n_basis)
            self.potential.set_D([psi4.core.Matrix.from_array(half)])
            self.potential.compute_V([matrix])
            mean_field = mean_field + np.array(matrix)
            energy += self.potential.quadrature_values()["FUNCTIONAL"]
        averaged = self._averaged(mean_field)
        return {am: self.core[am] + averaged[am] for am in self.core}, energy, densities

    def _commutator(self, am: int, fock: Array, density: Array | None) -> Array:
        root = self.orthogonal[am]
        if density is None:
            return np.zeros((root.shape[1], root.shape[1]))
        inverse = np.linalg.pinv(root)
        product = root.T @ fock @ density @ inverse.T
        return np.asarray(product - product.T)


def _inverse_root(overlap: Array) -> Array:
    values, vectors = np.linalg.eigh(overlap)
    kept = values > 1e-10
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))


def _extrapolated(history: list[tuple[Blocks, Blocks]]) -> Blocks:
    """Pulay's direct inversion in the iterative subspace."""
    n = len(history)
    matrix = -np.ones((n + 1, n + 1))
    matrix[n, n] = 0.0
    for i, (_, left) in enumerate(history):
        for j, (_, right) in enumerate(history):
            matrix[i, j] = sum((2 * am + 1) * np.vdot(left[am], right[am]) for am in left)
    scale = np.abs(np.diag(matrix)[:n]).max()
    matrix[:n, :n] /= scale if scale > 0 else 1.0
    weights = np.linalg.lstsq(matrix, np.array([0.0] * n + [-1.0]), rcond=None)[0][:n]
    return {am: sum(w * fock[am] for w, (fock, _) in zip(weights, history, strict=True)) for am in history[-1][0]}
