"""Optimisation of a density basis on the frames of stores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from densnet_core.basis.base import MAX_L, SHELL_LETTERS, GaussianBasis
from densnet_core.basis.library import large_basis
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.electron import OrbitalDensity
from densnet_core.density.fitting import difference_projection
from densnet_core.density.optimize import ContractionOptimizer, TargetDensity, condition_number
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.quadrature import quadrature
from densnet_core.elements import atomic_number, symbol
from densnet_core.errors import DenSNetError, InputError
from densnet_core.reference.runner import atomic_densities, project_many
from densnet_core.stores.reference import ReferenceStore
from densnet_core.workflow.folder import write_json
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.stores import backend_factory, default_executor

_RADIAL, _DEGREE = 26, 15
"""Quadrature of the loss: within 1 % of the NMAE on the usual one, with a quarter of its points."""


def parse_shells(text: str) -> dict[int, tuple[int, ...]]:
    """Shell counts per element from text such as ``"H=4s3p1d C=7s6p4d3f1g"``.

    Raises
    ------
    InputError
        If a part cannot be read; the message shows the form.
    """
    counts: dict[int, tuple[int, ...]] = {}
    for part in text.replace(",", " ").split():
        element, equals, shells = part.partition("=")
        found = re.findall(rf"(\d+)([{SHELL_LETTERS}])", shells)
        if not equals or not found or "".join(n + letter for n, letter in found) != shells:
            raise InputError(f"Cannot read the shells {part!r}; expected for example H=4s3p1d.")
        row = [0] * (MAX_L + 1)
        for number, letter in found:
            row[SHELL_LETTERS.index(letter)] = int(number)
        while row and row[-1] == 0:
            row.pop()
        counts[atomic_number(element)] = tuple(row)
    if not counts:
        raise InputError("No shells are given; expected for example 'H=4s3p1d O=8s6p4d3f1g'.")
    return counts


def targets_of(path: Path, count: int, seed: int, reporter: Reporter) -> list[TargetDensity]:
    """Difference densities of ``count`` frames of a store, chosen at random; together they have weight 1."""
    with ReferenceStore.open(path) as store:
        chosen = sorted(np.random.default_rng(seed).permutation(len(store))[:count].tolist())
        if not chosen:
            raise InputError(f"{path} has no frame.")
        frames = [
            (store.structure(i), result.orbitals, result.occupations)
            for i in chosen
            for result in [store.result(i, labels=("orbitals", "occupations"))]
        ]
        factory = backend_factory(store.backend, store.level)
        orbital_basis = store.orbital_basis
    if orbital_basis is None:
        raise InputError(f"{path} holds no orbitals; bases are optimised on frames with orbitals.")
    elements = sorted({int(z) for structure, _, _ in frames for z in structure.numbers})
    executor = default_executor()
    prior = AtomicPrior.fit(atomic_densities(factory, elements, executor))
    large = large_basis(elements)
    targets: dict[int, TargetDensity] = {}

    def keep(index: int, projection: NDArray[np.float64]) -> None:
        structure, orbitals, occupations = frames[index]
        density = OrbitalDensity(structure, orbital_basis, orbitals, occupations)
        targets[index] = _target(density, projection, large, prior, 1.0 / len(frames))

    def fail(index: int, error: Exception) -> None:
        raise DenSNetError(f"Frame {chosen[index]} of {path} could not be projected: {error}") from error

    advance = reporter.task(f"densities of {path.name}", len(frames))
    project_many(factory, frames, large, "coulomb", executor, keep, fail, lambda done: advance(done, "frames"))
    return [targets[index] for index in sorted(targets)]


def _target(
    density: OrbitalDensity, projection: NDArray[np.float64], basis: GaussianBasis, prior: AtomicPrior, weight: float
) -> TargetDensity:
    """The difference of a density to the superposed atoms, from the projection of the density itself."""
    structure = density.structure
    difference = difference_projection(structure, projection, basis, prior)
    points, weights = quadrature(structure, _RADIAL, _DEGREE)
    atoms = MolecularBasis(prior.basis, structure.numbers)
    superposed = atoms.density(
        torch.tensor(structure.positions), prior.coefficients(structure.numbers), torch.tensor(points)
    )
    values = density.evaluate(points) - superposed.numpy()
    return TargetDensity(structure, basis, difference.numpy(), points, weights, values, weight)


def optimize_basis(
    stores: Sequence[Path],
    shells: str,
    name: str,
    output: Path,
    frames: int,
    iterations: int,
    seed: int,
    reporter: Reporter,
) -> tuple[GaussianBasis, dict[str, Any]]:
    """Optimise contractions on frames of stores and write the basis as JSON, with how it was made.

    Every store has the same weight, whatever the number of its frames. The file holds ``GaussianBasis.to_dict`` and a
    record ``made_by``; ``[basis] file`` takes its path.
    """
    counts = parse_shells(shells)
    targets = [target for path in stores for target in targets_of(path, frames, seed, reporter)]
    present = {int(z) for target in targets for z in target.structure.numbers}
    unused = set(counts) - present
    if unused:
        raise InputError(f"No frame holds {', '.join(symbol(z) for z in sorted(unused))}; leave it out or add a store.")
    optimizer = ContractionOptimizer(targets, counts)
    advance = reporter.task("optimising the contractions", 0)
    loss = optimizer.run(iterations, lambda call, value: advance(call, f"NMAE {np.exp(value):.3f} %"))
    basis = optimizer.basis(name)
    record = {
        "command": f"densnet basis optimize {' '.join(path.name for path in stores)} --shells '{shells}' --frames "
        f"{frames} --iterations {iterations} --seed {seed} --name {name}",
        "stores": [path.name for path in stores],
        "frames_hashes": [target.structure.content_hash().hex() for target in targets],
        "nmae_percent_geometric_mean": float(np.exp(loss)),
        "largest_condition_number": max(condition_number(basis, target.structure) for target in targets),
    }
    write_json(output, {**basis.to_dict(), "made_by": record})
    return basis, record
