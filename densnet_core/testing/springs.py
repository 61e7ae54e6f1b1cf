"""A molecule held together by springs: what samplers are tested on that need forces or normal modes.

Springs between all pairs of atoms, at rest in the given geometry, have that geometry as minimum, a Hessian that is
known in closed form, and nothing to converge; how soft a molecule really is does not matter to a sampler.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from densnet_core.basis.base import Basis, Metric
from densnet_core.basis.library import basis_by_name
from densnet_core.density.radial import RadialDensity
from densnet_core.errors import InputError
from densnet_core.options import Options
from densnet_core.reference.base import ReferenceBackend, ReferenceResult
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.runner import BackendFactory
from densnet_core.spectra.harmonic import HarmonicReference
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

Array = NDArray[np.float64]

STIFFNESS = 0.3
"""Of the spring of a bond, hartree/bohr^2."""

ETHANOL = Structure(
    np.array([6, 6, 8, 1, 1, 1, 1, 1, 1]),
    np.array(
        [
            [-1.2129, -0.2295, 0.0000],
            [0.0862, 0.5601, 0.0000],
            [1.1910, -0.3390, 0.0000],
            [-2.0688, 0.4500, 0.0000],
            [-1.2772, -0.8697, 0.8857],
            [-1.2772, -0.8697, -0.8857],
            [0.1274, 1.2081, 0.8862],
            [0.1274, 1.2081, -0.8862],
            [1.9855, 0.2039, 0.0000],
        ]
    )
    / BOHR_TO_ANGSTROM,
)
"""Ethanol, trans, within 0.01 angstrom of its minimum; carbons 1 and 2, the oxygen 3, its hydrogen last."""


class SpringOptions(Options):
    """Options of the springs."""

    positions: list[list[float]] = Field(description="Where all springs are at rest, (n_atoms, 3), bohr.")


class SpringBackend(ReferenceBackend):
    """Energy and forces of the springs; it has no electrons, and so no density."""

    options: SpringOptions

    def calculate(self, structure: Structure, properties: frozenset[str]) -> ReferenceResult:
        rest = np.array(self.options.positions)
        arms = structure.positions[:, None] - structure.positions[None]
        lengths = np.linalg.norm(arms, axis=-1) + np.eye(structure.n_atoms)
        stretch = lengths - np.linalg.norm(rest[:, None] - rest[None], axis=-1) - np.eye(structure.n_atoms)
        strength = stiffness(rest)
        forces = -(strength * stretch / lengths)[..., None] * arms
        return ReferenceResult(
            energy=float(0.25 * (strength * stretch**2).sum()),
            forces=forces.sum(axis=1),
            dipole=structure.charge * structure.positions.mean(axis=0),
            orbitals=np.zeros((0, 0)),
            occupations=np.zeros(0),
        )

    def orbital_basis(self, numbers: NDArray[np.int64]) -> Basis:
        return basis_by_name("STO-3G", numbers)

    def project(self, structure: Structure, orbitals: Array, occupations: Array, basis: Basis, metric: Metric) -> Array:
        raise InputError("Springs have no density to project.")

    def atomic_density(self, number: int) -> RadialDensity:
        raise InputError("Springs have no density.")

    def versions(self) -> dict[str, str]:
        return {"springs": "1"}


def stiffness(rest: Array) -> Array:
    """(n_atoms, n_atoms) stiffness of the springs: pairs twice as far apart as bonds are have a sixteenth of it."""
    lengths = np.linalg.norm(rest[:, None] - rest[None], axis=-1)
    np.fill_diagonal(lengths, np.inf)
    return np.asarray(STIFFNESS * (lengths.min() / lengths) ** 4)


def spring_factory(structure: Structure) -> BackendFactory:
    """Makes the backend whose springs are at rest in ``structure``, in this process and in workers."""
    return BackendFactory(
        "densnet_core.testing.springs:SpringBackend",
        LevelOfTheory("HF", "STO-3G"),
        {"positions": structure.positions.tolist()},
        "densnet_core.testing.springs:SpringOptions",
    )


def spring_reference(structure: Structure) -> HarmonicReference:
    """Minimum and Hessian of the springs that are at rest in ``structure``: sum over pairs of k u u^T."""
    n = structure.n_atoms
    arms = structure.positions[:, None] - structure.positions[None]
    units = arms / (np.linalg.norm(arms, axis=-1) + np.eye(n))[..., None]
    blocks = -stiffness(structure.positions)[..., None, None] * units[..., :, None] * units[..., None, :]
    blocks[np.arange(n), np.arange(n)] -= blocks.sum(axis=1)
    hessian = blocks.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)
    return HarmonicReference(structure, 0.0, hessian, np.zeros((3 * n, 3)))
