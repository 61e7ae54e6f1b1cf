"""Electrostatics of a density given as sums of Gaussian functions: analytic potential, energies and forces.

A density is a sequence of parts, each a set of functions with their coefficients; all parts are numbers of electrons
per volume around the same nuclei. Electrons have charge -1; the potential is that which a positive unit charge feels,
so it is positive near nuclei.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import pi, sqrt
from typing import Final

import torch
from torch import Tensor

from densnet_core.basis.integrals import two_center
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.basis.potential import fields, nuclear_attractions, potentials

PRIMITIVES_AT_ONCE: Final = 1 << 19
"""Points times primitive shells in one call: bounds the memory, and larger blocks fall out of the processor's cache."""


@dataclass(frozen=True, eq=False)
class Part:
    """Coefficients (n_functions,) of some functions."""

    functions: MolecularBasis
    coefficients: Tensor


def electron_potential(part: Part, positions: Tensor, points: Tensor) -> Tensor:
    """Integral rho(r) / |r - C| dr at points C, (n_points,), hartree/e; positive for a positive number density."""
    blocks = [potentials(part.functions, positions, some) @ part.coefficients for some in _blocks(part, points)]
    return torch.cat(blocks) if blocks else points.new_zeros(0)


def electron_field(part: Part, positions: Tensor, points: Tensor) -> Tensor:
    """Minus the gradient of ``electron_potential``, (n_points, 3)."""
    blocks = [fields(part.functions, positions, some) @ part.coefficients for some in _blocks(part, points)]
    return torch.cat(blocks) if blocks else points.new_zeros((0, 3))


def atom_potential(atoms: Part, positions: Tensor, points: Tensor) -> Tensor:
    """Potential of neutral spherical atoms, nuclei and electrons, (n_points,); infinite at a nucleus.

    An s function with exponent a and q electrons screens q (1 - erfc(sqrt(a) d)) of its nucleus, so that what is left
    is sum q erfc(sqrt(a) d) / d, free of the cancellation between nuclei and electrons.

    Parameters
    ----------
    atoms : Part
        One contracted s function for every atom, its electrons as many as the charge of the nucleus.
    positions : (n_atoms, 3)
    points : (n_points, 3)
    """
    amounts, roots = _screening(atoms)
    blocks = []
    for some in _blocks(atoms, points):
        distances = torch.linalg.vector_norm(some[:, None, :] - positions[None, :, :], dim=-1)
        left = (amounts * torch.erfc(roots * distances[..., None])).sum(-1)
        blocks.append((left / distances).sum(-1))
    return torch.cat(blocks) if blocks else points.new_zeros(0)


def atom_field(atoms: Part, positions: Tensor, points: Tensor) -> Tensor:
    """Minus the gradient of ``atom_potential``, (n_points, 3)."""
    amounts, roots = _screening(atoms)
    blocks = []
    for some in _blocks(atoms, points):
        offsets = some[:, None, :] - positions[None, :, :]
        distances = torch.linalg.vector_norm(offsets, dim=-1)
        reduced = roots * distances[..., None]
        left = (amounts * (torch.erfc(reduced) + 2.0 / sqrt(pi) * reduced * torch.exp(-(reduced**2)))).sum(-1)
        blocks.append(((left / distances**3)[..., None] * offsets).sum(1))
    return torch.cat(blocks) if blocks else points.new_zeros((0, 3))


def _screening(atoms: Part) -> tuple[Tensor, Tensor]:
    """Electrons and square roots of the exponents of each atom's primitives, (n_atoms, n_primitives) both."""
    (group,) = atoms.functions.groups  # one s function for every atom, in order
    amounts = group.coefficients * (pi / group.exponents) ** 1.5 / sqrt(4.0 * pi)
    return amounts * atoms.coefficients[group.functions], torch.sqrt(group.exponents)


def hartree_energy(parts: Sequence[Part], positions: Tensor) -> Tensor:
    """Electrons' classical repulsion 1/2 (rho|rho) from two-centre integrals, hartree, a scalar."""
    energy = positions.new_zeros(())
    for i, first in enumerate(parts):
        own = two_center("coulomb", first.functions, positions)
        energy = energy + 0.5 * first.coefficients @ own @ first.coefficients
        for second in parts[:i]:
            between = two_center("coulomb", first.functions, positions, second.functions, positions)
            energy = energy + first.coefficients @ between @ second.coefficients
    return energy


def nuclear_attraction_energy(parts: Sequence[Part], positions: Tensor, nuclei: Tensor, charges: Tensor) -> Tensor:
    """Energy -sum_A Z_A integral rho / |r - R_A| of the electrons in the field of nuclei, hartree, a scalar.

    Parameters
    ----------
    positions : (n_atoms, 3)
        Centres of the functions.
    nuclei : (n_atoms, 3)
        Nuclei; where they are not at the centres the energy is that of a density that did not follow them.
    charges : (n_atoms,)
    """
    energies = [nuclear_attractions(p.functions, positions, nuclei, charges) @ p.coefficients for p in parts]
    return torch.stack(energies).sum()


def nuclear_repulsion_energy(nuclei: Tensor, charges: Tensor) -> Tensor:
    """Repulsion of point charges, hartree, a scalar."""
    first, second = torch.triu_indices(len(charges), len(charges), 1, device=nuclei.device)
    distances = torch.linalg.vector_norm(nuclei[first] - nuclei[second], dim=-1)
    energy: Tensor = (charges[first] * charges[second] / distances).sum()
    return energy


def hellmann_feynman_forces(parts: Sequence[Part], positions: Tensor, charges: Tensor) -> Tensor:
    """Forces of the electrons' and the other nuclei's field on the nuclei, (n_atoms, 3), hartree/bohr.

    Minus the derivative of nuclear attraction and repulsion with respect to the nuclei with the density held fixed
    (Feynman, Phys. Rev. 56, 340, 1939). The exact density would make it the whole force. That of a finite orbital basis
    leaves out how its functions move with the nuclei, and the density next to a nucleus decides it: a diagnostic.
    """
    field = -torch.stack([electron_field(part, positions, positions) for part in parts]).sum(0)
    between = positions[:, None, :] - positions[None, :, :]
    cubes = torch.linalg.vector_norm(between, dim=-1) ** 3
    cubes = torch.where(cubes == 0, torch.inf, cubes)  # a nucleus does not act on itself
    field = field + (charges[None, :, None] * between / cubes[..., None]).sum(1)
    return charges[:, None] * field


def _blocks(part: Part, points: Tensor) -> Iterator[Tensor]:
    primitives = sum(group.exponents.shape[-2] * group.exponents.shape[-1] for group in part.functions.groups)
    if len(points):
        yield from torch.split(points, max(1, PRIMITIVES_AT_ONCE // primitives))
