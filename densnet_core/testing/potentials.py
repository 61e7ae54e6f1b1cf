"""Potentials with known answers: what engines of molecular dynamics, and the suite for potentials, are tested on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.potentials.base import Potential
from densnet_core.structures import Structure


def refuse_ignored(graph: Graph, used: Collection[str] = ()) -> None:
    """``InputError`` if a graph has optional parts other than those used."""
    if ignored := sorted(graph.optional - set(used)):
        raise InputError(f"The graph has {' and '.join(ignored)}, which this potential would ignore; leave it out.")


class ValencePotential(Potential):
    """Any number of replicas of one molecule: V = sum D (1 - exp(-a (r - r0)))^2 + sum k/2 (theta - theta0)^2.

    Morse bonds, harmonic angles, and the dipole of fixed charges on the atoms. The minimum is at energy zero. Forces
    come from ``torch.autograd``, as those of a network do.

    Parameters
    ----------
    structure : Structure
        The minimum; r0 and theta0 are measured on it. Only the same atoms in the same order are taken.
    bonds : sequence of (i, j, D, a)
        Atom indices, well depth in hartree and width parameter in 1/bohr.
    angles : sequence of (i, apex, j, k)
        Atom indices and force constant in hartree/rad^2.
    charges : (n_atoms,) or None
        Charge of each atom, e; they add up to that of the molecule. None: none.
    torn_beyond : float
        A bond longer than this (bohr) makes the energy of its replica, and the forces on it, not a number.
    """

    cutoff = None
    outputs = frozenset({"energy", "forces", "dipole"})

    def __init__(
        self,
        structure: Structure,
        bonds: Sequence[tuple[int, int, float, float]],
        angles: Sequence[tuple[int, int, int, float]] = (),
        charges: Sequence[float] | None = None,
        torn_beyond: float = 1e6,
    ) -> None:
        self.structure = structure
        self.elements = tuple(sorted({int(z) for z in structure.numbers}))
        self.torn_beyond = torn_beyond
        self.numbers = structure.numbers.tolist()
        self.charges = torch.tensor([0.0] * structure.n_atoms if charges is None else charges, dtype=torch.float64)
        self.first, self.second = (torch.tensor([bond[k] for bond in bonds]) for k in (0, 1))
        self.depth, self.width = (torch.tensor([bond[k] for bond in bonds], dtype=torch.float64) for k in (2, 3))
        corners = [[angle[k] for angle in angles] for k in range(3)]
        self.left, self.apex, self.right = (torch.tensor(corner, dtype=torch.int64) for corner in corners)
        self.stiffness = torch.tensor([angle[3] for angle in angles], dtype=torch.float64)
        minimum = torch.from_numpy(structure.positions)[None]
        self.length, self.angle = self.lengths(minimum), self._angles(minimum)

    @classmethod
    def water(cls, torn_beyond: float = 1e6) -> ValencePotential:
        """A water molecule (O, H, H) with frequencies near the real ones, and about its dipole."""
        positions = np.array([[0.0, 0.0, 0.0], [1.43, 1.11, 0.0], [-1.43, 1.11, 0.0]])
        bonds = [(0, 1, 0.1866, 1.21), (0, 2, 0.1866, 1.21)]
        structure = Structure(np.array([8, 1, 1]), positions)
        return cls(structure, bonds, [(1, 0, 2, 0.16)], (-0.66, 0.33, 0.33), torn_beyond)

    @classmethod
    def hydrogen_fluoride(cls) -> ValencePotential:
        """A Morse oscillator, whose harmonic frequency is a sqrt(2 D / mu): 4138 cm-1 in the molecule HF."""
        structure = Structure(np.array([1, 9]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.7325]]))
        return cls(structure, [(0, 1, 0.2250, 1.1741)], charges=(0.41, -0.41))

    def check(self, structures: Sequence[Structure]) -> None:
        """``InputError`` for any other molecule than the one it was made for."""
        super().check(structures)
        own = self.structure
        for other in structures:
            if other.numbers.tolist() != self.numbers or (other.charge, other.multiplicity) != (
                own.charge,
                own.multiplicity,
            ):
                raise InputError(
                    f"The potential is one of {own.formula} with charge {own.charge}, multiplicity {own.multiplicity} "
                    f"and its atoms in that order; found {other.formula} with charge {other.charge} and multiplicity "
                    f"{other.multiplicity}, or another order."
                )

    def evaluate(self, graph: Graph, outputs: Collection[str]) -> dict[str, Tensor]:
        self.check_outputs(outputs)
        refuse_ignored(graph)
        n_atoms = self.structure.n_atoms
        if graph.numbers.tolist() != self.numbers * (graph.n_atoms // n_atoms):
            raise InputError(f"The graph holds other atoms than those of {self.structure.formula} molecules.")
        positions = graph.positions.detach().reshape(-1, n_atoms, 3)
        found: dict[str, Tensor] = {}
        if "dipole" in outputs:
            found["dipole"] = torch.einsum("a,rax->rx", self.charges, positions)
        if {"energy", "forces"} & set(outputs):
            with torch.enable_grad():  # type: ignore[no-untyped-call]
                positions = positions.requires_grad_()
                energies = self.energies(positions)
                (gradient,) = torch.autograd.grad(energies.sum(), positions)
            found |= {"energy": energies.detach(), "forces": -gradient.reshape(-1, 3)}
        return {name: found[name] for name in outputs}

    def metadata(self) -> dict[str, Any]:
        return {"level_of_theory": "a valence force field for tests"}

    def energies(self, positions: Tensor) -> Tensor:
        """(n_replicas, n_atoms, 3) bohr to energies (n_replicas,) hartree, with a gradient."""
        lengths = self.lengths(positions)
        morse = self.depth * (1.0 - torch.exp(-self.width * (lengths - self.length))).square()
        bend = 0.5 * self.stiffness * (self._angles(positions) - self.angle).square()
        torn = 0.0 * (self.torn_beyond - lengths).sqrt()
        return (morse + torn).sum(-1) + bend.sum(-1)

    def lengths(self, positions: Tensor) -> Tensor:
        """(n_replicas, n_bonds) bohr."""
        return (positions[:, self.first] - positions[:, self.second]).square().sum(-1).sqrt()

    def _angles(self, positions: Tensor) -> Tensor:
        one = positions[:, self.left] - positions[:, self.apex]
        other = positions[:, self.right] - positions[:, self.apex]
        cosine = (one * other).sum(-1) / (one.square().sum(-1) * other.square().sum(-1)).sqrt()
        return torch.acos(cosine)


class PairPotential(Potential):
    """Any molecules of H, C, N, O, F: smooth pairs within a cutoff, flows of charge, polarizable atoms, a field.

    With the switch s(r) = (1 - (r / cutoff)^2)^3 of a pair, the energy is the sum of s (8 exp(-1.6 r) - 2 exp(-0.8 r))
    over pairs. The charge of atom i is an equal share of the total charge of its fragment, and sum_j 0.1 (X_j - X_i) s;
    its polarizability is (8 / X_i) 1 + sum_j 0.2 s d d^T, with X the electronegativity and d from i to j. A field F
    adds -F mu - F alpha F / 2, where mu is the dipole without it.

    Parameters
    ----------
    cutoff : float
        Bohr.
    """

    outputs = frozenset({"energy", "forces", "dipole", "polarizability"})
    elements = (1, 6, 7, 8, 9)
    electronegativity: Sequence[float] = (2.20, 2.55, 3.04, 3.44, 3.98)
    """Pauling's; the values of a ``PairPotential`` of ``elements``."""

    def __init__(self, cutoff: float = 6.0) -> None:
        self.cutoff: float = cutoff
        size = max(self.elements) + 1
        self.pull, self.softness = torch.zeros(2, size, dtype=torch.float64)
        self.pull[list(self.elements)] = torch.tensor(self.electronegativity, dtype=torch.float64)
        self.softness[list(self.elements)] = 8.0 / self.pull[list(self.elements)]

    def evaluate(self, graph: Graph, outputs: Collection[str]) -> dict[str, Tensor]:
        self.check_outputs(outputs)
        refuse_ignored(graph, ("field",))
        with torch.enable_grad():  # type: ignore[no-untyped-call]
            positions = graph.positions.detach().requires_grad_()
            moved = graph.with_positions(positions)
            vectors = self.vectors(moved)
            switch = self.switch(vectors)
            dipole, polarizability = self.dipole(moved, switch), self.polarizability(moved, vectors, switch)
            energy = self.energy(moved, vectors, switch)
            if graph.field is not None:
                induced = torch.einsum("mxy,my->mx", polarizability, graph.field)
                energy = energy - (graph.field * (dipole + 0.5 * induced)).sum(-1)
                dipole = dipole + induced
            (gradient,) = torch.autograd.grad(energy.sum(), positions)
        found = {"energy": energy, "forces": -gradient, "dipole": dipole, "polarizability": polarizability}
        return {name: found[name].detach() for name in outputs}

    def vectors(self, graph: Graph) -> Tensor:
        """(n_pairs, 3) from receiver to sender."""
        return graph.pair_vectors

    def switch(self, vectors: Tensor) -> Tensor:
        """(n_pairs,) weight of each pair: smooth, zero beyond the cutoff."""
        return (1.0 - vectors.square().sum(-1) / self.cutoff**2).clamp(min=0.0) ** 3

    def energy(self, graph: Graph, vectors: Tensor, switch: Tensor) -> Tensor:
        """(n_molecules,) without a field; each pair is there twice."""
        distance = vectors.square().sum(-1).sqrt()
        pairs = 0.5 * switch * (8.0 * torch.exp(-1.6 * distance) - 2.0 * torch.exp(-0.8 * distance))
        per_atom = torch.zeros_like(graph.positions[:, 0]).index_add(0, graph.receivers, pairs)
        return graph.sum_over_molecules(per_atom)

    def charges(self, graph: Graph, switch: Tensor) -> Tensor:
        """(n_atoms,) e; they add up to the total charge of each fragment and what flows into it."""
        difference = self.pull[graph.numbers[graph.senders]] - self.pull[graph.numbers[graph.receivers]]
        flows = torch.zeros_like(graph.positions[:, 0]).index_add(0, graph.receivers, 0.1 * difference * switch)
        return flows + (graph.charge / graph.sum_over_fragments(torch.ones_like(flows)))[graph.fragment]

    def dipole(self, graph: Graph, switch: Tensor) -> Tensor:
        """(n_molecules, 3) without a field, about the origin."""
        return graph.sum_over_molecules(self.charges(graph, switch)[:, None] * graph.positions)

    def polarizability(self, graph: Graph, vectors: Tensor, switch: Tensor) -> Tensor:
        """(n_molecules, 3, 3) bohr^3."""
        pairs = 0.2 * switch[:, None, None] * vectors[:, :, None] * vectors[:, None, :]
        own = self.softness[graph.numbers][:, None, None] * torch.eye(3, dtype=torch.float64)
        return graph.sum_over_molecules(own.index_add(0, graph.receivers, pairs))
