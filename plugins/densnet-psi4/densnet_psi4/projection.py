"""Right-hand side of a density fit from Psi4's three-centre integrals, in blocks that fit into the memory allowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from densnet_core.basis.base import Basis, Metric
from densnet_core.elements import symbol
from densnet_core.errors import InputError
from densnet_core.structures import Structure
from densnet_psi4.basis import check_basis_used, gaussian_text, psi4_order
from densnet_psi4.installation import Installation
from densnet_psi4.process import Limits, run_job

Array = NDArray[np.float64]
MAX_BLOCK_MB: Final = 256.0


@dataclass(frozen=True)
class _Block:
    """Shells ``part`` of one element, on all its atoms."""

    number: int
    atoms: list[int]
    part: slice


def project_density(
    installation: Installation,
    limits: Limits,
    structure: Structure,
    orbital_basis: Basis,
    density_matrices: Array,
    basis: Basis,
    metric: Metric,
) -> Array:
    """<P|rho> or (P|rho) for every density and every function P of ``basis``: (n_densities, n_functions).

    Parameters
    ----------
    installation : Installation
    limits : Limits
    structure : Structure
    orbital_basis : Basis
    density_matrices : (n_densities, n_basis, n_basis)
        Symmetric, in the core's order.
    basis : Basis
        Density basis; the result follows its order of functions.
    metric : {"coulomb", "overlap"}
    """
    if metric not in get_args(Metric):
        raise InputError(f"Metric {metric!r} is unknown; it must be one of {', '.join(get_args(Metric))}.")
    order = psi4_order(orbital_basis, structure.numbers)
    blocks = list(_blocks(structure, basis, len(order), limits.max_memory_mb))
    request = {
        "symbols": [symbol(z) for z in structure.numbers.tolist()],
        "orbital_basis": gaussian_text(orbital_basis, structure.numbers),
        "metric": metric,
        "blocks": [
            {"atoms": block.atoms, "basis": gaussian_text(basis, [block.number], block.part)} for block in blocks
        ],
    }
    arrays = {
        "positions": structure.positions,
        "numbers": structure.numbers,
        "densities": density_matrices[:, order[:, None], order],
    }
    label = f"The projection of {structure.formula} on {basis.name}"
    answer = run_job(installation, "project", request, arrays, limits, label)
    check_basis_used(answer.arrays, "", orbital_basis, structure)
    result = np.empty((len(density_matrices), basis.n_functions(structure.numbers)))
    for index, block in enumerate(blocks):
        atoms = Structure(structure.numbers[block.atoms], structure.positions[block.atoms], 0, _possible(block))
        check_basis_used(answer.arrays, f"block_{index}_", basis, atoms, block.part)
        columns = _columns(structure, basis, block)
        result[:, columns[psi4_order(basis, atoms.numbers, block.part)]] = answer.arrays[f"block_{index}"]
    return result


def _possible(block: _Block) -> int:
    """A multiplicity that the neutral atoms of a block can have."""
    return 1 + block.number * len(block.atoms) % 2


def _blocks(structure: Structure, basis: Basis, n_basis: int, max_memory_mb: float) -> Iterator[_Block]:
    """Blocks whose integrals, and their copy, fit into half of the memory."""
    allowed = max(1, int(min(max_memory_mb / 4.0, MAX_BLOCK_MB) * 1e6 / (8 * n_basis**2)))
    for number in np.unique(structure.numbers).tolist():
        atoms = np.flatnonzero(structure.numbers == number).tolist()
        shells = basis.shells(number)
        start = 0
        while start < len(shells):
            stop, size = start, 0
            while stop < len(shells) and (stop == start or size + len(atoms) * shells[stop].size <= allowed):
                size += len(atoms) * shells[stop].size
                stop += 1
            yield _Block(number, atoms, slice(start, stop))
            start = stop


def _columns(structure: Structure, basis: Basis, block: _Block) -> NDArray[np.int64]:
    """Positions of the block's functions (core's order) among those of the whole basis."""
    firsts = np.cumsum([0] + [basis.n_functions([z]) for z in structure.numbers.tolist()])
    shells = basis.shells(block.number)
    before = sum(shell.size for shell in shells[: block.part.start])
    size = sum(shell.size for shell in shells[block.part])
    return np.concatenate([firsts[atom] + before + np.arange(size) for atom in block.atoms])
