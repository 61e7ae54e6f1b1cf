"""A density turned with its molecule, and how far its observables are from those of the original, turned."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from densnet_core.basis.harmonics import solid_harmonics
from densnet_core.density.charges import coefficient_charges, hirshfeld_charges
from densnet_core.density.electron import ExpandedDensity
from densnet_core.density.surface import surface_potential

Array = NDArray[np.float64]


def turned(density: ExpandedDensity, rotation: Array) -> ExpandedDensity:
    """Molecule and coefficients turned together, the coefficients by the Wigner matrices of the core's order.

    D_l with S_l(R r) = D_l S_l(r) is found from values on random points, for which the equations are exact.
    """
    points = np.random.default_rng(1).normal(size=(60, 3))
    structure = density.structure
    highest = density.basis.max_l(structure.numbers)
    before, after = (solid_harmonics(torch.tensor(p), highest) for p in (points, points @ rotation.T))
    wigner = [np.linalg.lstsq(b.numpy(), a.numpy(), rcond=None)[0].T for b, a in zip(before, after, strict=True)]
    degrees = [shell.l for number in structure.numbers for shell in density.basis.shells(int(number))]
    blocks = np.split(density.coefficients, np.cumsum([2 * degree + 1 for degree in degrees])[:-1])
    coefficients = np.concatenate([wigner[degree] @ block for degree, block in zip(degrees, blocks, strict=True)])
    molecule = structure.with_positions(structure.positions @ rotation.T)
    return ExpandedDensity(molecule, density.basis, coefficients, density.prior)


def changes(density: ExpandedDensity, rotation: Array) -> dict[str, float]:
    """Largest change of every observable when the density is turned, relative to its size where that exceeds one."""
    after = turned(density, rotation)
    points = np.random.default_rng(2).normal(size=(50, 3)) * 2.5
    there = points @ rotation.T
    surface, surface_after = (surface_potential(d, degree=11) for d in (density, after))
    forces = density.hellmann_feynman_forces() @ rotation.T
    pairs = {
        "electron count": (after.electron_count(), density.electron_count()),
        "dipole": (after.dipole(), rotation @ density.dipole()),
        "second moments": (after.second_moments(), rotation @ density.second_moments() @ rotation.T),
        "quadrupole": (after.quadrupole(), rotation @ density.quadrupole() @ rotation.T),
        "Hirshfeld charges": (hirshfeld_charges(after, None, 25, 17), hirshfeld_charges(density, None, 25, 17)),
        "charges from coefficients": (coefficient_charges(after), coefficient_charges(density)),
        "density": (after.evaluate(there), density.evaluate(points)),
        "difference": (after.difference(there), density.difference(points)),
        "gradient": (after.gradient(there), density.gradient(points) @ rotation.T),
        "potential": (after.electrostatic_potential(there), density.electrostatic_potential(points)),
        "field": (after.electric_field(there), density.electric_field(points) @ rotation.T),
        "Hartree energy": (after.hartree_energy(), density.hartree_energy()),
        "nuclear attraction": (after.nuclear_attraction_energy(), density.nuclear_attraction_energy()),
        "Hellmann-Feynman forces": (after.hellmann_feynman_forces(), forces),
        "surface minimum": (surface_after.minimum, surface.minimum),
        "surface maximum": (surface_after.maximum, surface.maximum),
        "surface mean": (surface_after.mean, surface.mean),
        "surface area": (surface_after.surface.area, surface.surface.area),
    }
    return {
        name: float(np.abs(np.subtract(found, expected)).max() / max(1.0, np.abs(expected).max()))
        for name, (found, expected) in pairs.items()
    }
