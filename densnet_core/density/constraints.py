"""Linear conditions on the coefficients of a fit: electron count, dipole and second moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

import torch
from torch import Tensor

from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.moments import second_moments as moments_of
from densnet_core.errors import InputError

DEPENDENT: Final = 1e-8
"""A combination of rows shorter than this, relative to the longest of its kind, is one that the basis cannot change."""
MET: Final = 1e-6
"""Atomic units: how well a combination that the basis cannot change must be met as it is."""

_PAIRS: Final = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


@dataclass(frozen=True, eq=False)
class Constraint:
    """Conditions rows @ coefficients = values that share a name and a unit.

    Parameters
    ----------
    name : str
        For messages: what is held.
    rows : (k, n_functions)
        Of all components of one vector or tensor, so that no choice of axes matters.
    values : (k,)
    needs : str
        For messages: the functions that a basis lacks which cannot change what is held.
    """

    name: str
    rows: Tensor
    values: Tensor
    needs: str = "more functions"

    def missed(self, coefficients: Tensor) -> float:
        """Length of rows @ coefficients - values."""
        return float(torch.linalg.vector_norm(self.rows @ coefficients - self.values))


def moment_constraints(
    functions: MolecularBasis,
    positions: Tensor,
    electrons: float,
    dipole: Tensor | None = None,
    second_moments: Tensor | None = None,
) -> tuple[Constraint, ...]:
    """Constraints on the integrals of a fitted density rho times 1, r and r r^T.

    They are imposed about the centroid of the atoms, so that a fit does not depend on where an ion stands; together
    they are the same conditions about any origin.

    Parameters
    ----------
    functions : MolecularBasis
    positions : (n_atoms, 3)
        Bohr.
    electrons : float
        Integral of rho.
    dipole : (3,), optional
        Integral of r rho about the origin, bohr.
    second_moments : (3, 3), optional
        Integral of r r^T rho about the origin, bohr^2.

    Raises
    ------
    InputError
        Second moments without a dipole: they would depend on the origin.
    """
    counts = functions.electron_counts()
    total = counts.new_tensor(electrons)
    result = [Constraint("charge", counts[None, :], total[None], "s functions")]
    if dipole is None:
        if second_moments is not None:
            raise InputError("A fit that holds the second moments must hold the dipole too; give both.")
        return tuple(result)
    dipole = torch.as_tensor(dipole, dtype=counts.dtype)
    centre = positions.mean(0)
    centred = positions - centre
    result.append(Constraint("dipole", functions.dipoles(centred).T, dipole - total * centre, "p functions"))
    if second_moments is not None:
        shift = torch.outer(centre, dipole)
        wanted = torch.as_tensor(second_moments, dtype=counts.dtype)
        wanted = wanted - shift - shift.T + total * torch.outer(centre, centre)
        # The factor makes the length of six components that of the tensor, whatever the axes.
        factors = [(i, j, 1.0 if i == j else sqrt(2.0)) for i, j in _PAIRS]
        own = moments_of(functions, centred)
        rows = torch.stack([factor * own[:, i, j] for i, j, factor in factors])
        values = torch.stack([factor * wanted[i, j] for i, j, factor in factors])
        result.append(Constraint("quadrupole", rows, values, "d functions"))
    return tuple(result)


def independent_rows(constraints: Sequence[Constraint], scale: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal rows (k, n) and values (k,) with the same meaning for coefficients in units of ``scale`` (n,).

    Combinations of the components of a constraint that no coefficient changes, beyond what the constraints before it
    fix, are left out if they are met as they are: the dipole of a linear molecule perpendicular to its axis in a basis
    of s functions. Which combinations those are is a question of the shells alone as long as some atom has the
    functions that the constraint needs; so nothing comes or goes along a path of such a molecule.

    Raises
    ------
    InputError
        A combination of components cannot be changed and is not met, or shapes and values that cannot be used.
    """
    rows, values = scale.new_zeros((0, len(scale))), scale.new_zeros(0)
    for constraint in constraints:
        _check(constraint, len(scale))
        scaled = constraint.rows * scale
        overlap = scaled @ rows.T
        left, lengths, right = torch.linalg.svd(scaled - overlap @ rows, full_matrices=False)
        rest = left.T @ (constraint.values - overlap @ values)
        longest = torch.linalg.matrix_norm(scaled, 2)
        keep = lengths > DEPENDENT * longest
        missed = float(torch.linalg.vector_norm(rest[~keep]))
        if missed > MET:
            raise InputError(
                f"No coefficients have the {constraint.name} that is asked for: {missed:.2g} atomic units of it are in "
                f"directions which the functions cannot change. The basis needs {constraint.needs}."
            )
        rows = torch.cat([rows, right[keep]])
        values = torch.cat([values, rest[keep] / lengths[keep]])
    return rows, values


def _check(constraint: Constraint, n_functions: int) -> None:
    if constraint.rows.shape != (len(constraint.values), n_functions):
        raise InputError(
            f"The constraint on the {constraint.name} has rows of shape {tuple(constraint.rows.shape)} for "
            f"{len(constraint.values)} values and {n_functions} functions."
        )
    if not bool(torch.isfinite(constraint.rows).all() & torch.isfinite(constraint.values).all()):
        raise InputError(f"The constraint on the {constraint.name} has values that are not finite.")
