"""Single points with a potential, as optimisation and second derivatives ask for them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from densnet_core.graphs.graph import graph_of
from densnet_core.graphs.pairs import portions
from densnet_core.potentials.base import Potential
from densnet_core.structures import Array, Structure


def single_points(
    potential: Potential, advance: Callable[[int, str], None] = lambda done, note: None
) -> Callable[[list[Structure]], list[tuple[float, Array, Array]]]:
    """A function from structures to their energies (hartree), forces (n_atoms, 3) in hartree/bohr and dipoles (3,).

    Parameters
    ----------
    potential : Potential
        With dipoles.
    advance : callable
        Told how many structures were computed so far, and what for.
    """
    done = 0

    def calculate(structures: list[Structure]) -> list[tuple[float, Array, Array]]:
        nonlocal done
        results: list[tuple[float, Array, Array]] = []
        for portion in portions([structure.n_atoms for structure in structures]):
            held = structures[portion.start : portion.stop]
            found = potential.evaluate(graph_of(held, potential.cutoff), ("energy", "forces", "dipole"))
            forces = torch.split(found["forces"], [structure.n_atoms for structure in held])
            results += [
                (energy, force.numpy(), dipole.numpy())
                for energy, force, dipole in zip(found["energy"].tolist(), forces, found["dipole"], strict=True)
            ]
            done += len(held)
            advance(done, "optimising" if len(structures) == 1 else "second derivatives")
        return results

    return calculate
