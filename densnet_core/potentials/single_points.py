"""Single points with a potential, as optimisation and second derivatives ask for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from densnet_core.graphs.graph import graph_of
from densnet_core.graphs.pairs import portions
from densnet_core.potentials.base import Potential
from densnet_core.structures import Structure


def single_points(
    potential: Potential,
    advance: Callable[[int, str], None] = lambda done, note: None,
    polarizabilities: bool = False,
) -> Callable[[list[Structure]], list[tuple[Any, ...]]]:
    """A function from structures to their energies (hartree), forces (n_atoms, 3) in hartree/bohr and dipoles (3,).


    Parameters
    ----------
    potential : Potential
        With dipoles.
    advance : callable
        Told how many structures were computed so far, and what for.
    polarizabilities : bool
        Also those, (3, 3) in bohr^3, if the potential has them, of several structures at once: a step of an
        optimisation needs none.
    """
    done = 0
    tensors = {"polarizability"} & potential.outputs if polarizabilities else set[str]()

    def calculate(structures: list[Structure]) -> list[tuple[Any, ...]]:
        nonlocal done
        names = ("energy", "forces", "dipole", *(tensors if len(structures) > 1 else ()))
        results: list[tuple[Any, ...]] = []
        for portion in portions([structure.n_atoms for structure in structures]):
            held = structures[portion.start : portion.stop]
            found = potential.evaluate(graph_of(held, potential.cutoff), names)
            forces = torch.split(found["forces"], [structure.n_atoms for structure in held])
            others = [[value.numpy() for value in found[name]] for name in names[2:]]
            energies = found["energy"].tolist()
            results += zip(energies, (force.numpy() for force in forces), *others, strict=True)
            done += len(held)
            advance(done, "optimising" if len(structures) == 1 else "second derivatives")
        return results

    return calculate
