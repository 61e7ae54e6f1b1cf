"""Optimisation of a density basis on the frames of stores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from densnet_core.basis.base import MAX_L, SHELL_LETTERS, GaussianBasis
from densnet_core.basis.library import basis_by_name, basis_from_file, large_basis, shipped_document
from densnet_core.basis.molecular import MolecularBasis
from densnet_core.density.electron import OrbitalDensity
from densnet_core.density.fitting import difference_projection
from densnet_core.density.optimize import ContractionOptimizer, Counts, TargetDensity, condition_number
from densnet_core.density.prior import AtomicPrior
from densnet_core.density.quadrature import quadrature
from densnet_core.elements import atomic_number, symbol
from densnet_core.errors import DenSNetError, InputError
from densnet_core.reference.runner import atomic_densities, project_many
from densnet_core.stores.reference import ReferenceStore
from densnet_core.workflow.folder import read_json, write_json
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


@dataclass(frozen=True)
class KeptBasis:
    """A basis whose functions stay as they are, and how they were made.

    Parameters
    ----------
    basis : GaussianBasis
    records : list of dict
        The ``made_by`` of the optimisations that made it, the oldest first.
    """

    basis: GaussianBasis
    records: list[dict[str, Any]]

    @classmethod
    def find(cls, name: str) -> KeptBasis:
        """A basis by the path of its JSON file, or by its name; ``InputError`` if there is none."""
        if name.lower().endswith(".json"):
            basis = basis_from_file(Path(name))
            document = read_json(Path(name))
        else:
            basis = basis_by_name(name)
            document = shipped_document(name) or {}
        made_by = document.get("made_by")
        return cls(basis, [*document.get("kept", []), *([] if made_by is None else [made_by])])


def functions_to_fit(elements: Iterable[int], keep: GaussianBasis | None, counts: Counts) -> GaussianBasis:
    """Primitives for the elements that are optimised, the functions of ``keep`` for the others that it covers."""
    primitives = large_basis(sorted(set(elements)))
    kept = set() if keep is None else set(keep.elements) - set(counts)
    shells = {z: primitives.shells(z) if keep is None or z not in kept else keep.shells(z) for z in primitives.elements}
    return GaussianBasis("to fit", shells)


def targets_of(
    path: Path, count: int, seed: int, reporter: Reporter, counts: Counts, keep: GaussianBasis | None = None
) -> list[TargetDensity]:
    """Difference densities of ``count`` frames of a store, chosen at random; together they have weight 1."""
    with ReferenceStore.open(path) as opened:
        chosen = sorted(np.random.default_rng(seed).permutation(len(opened))[:count].tolist())
        if not chosen:
            raise InputError(f"{path} has no frame.")
        frames = [
            (opened.structure(i), result.orbitals, result.occupations)
            for i in chosen
            for result in [opened.result(i, labels=("orbitals", "occupations"))]
        ]
        factory = backend_factory(opened.backend, opened.level)
        orbital_basis = opened.orbital_basis
    if orbital_basis is None:
        raise InputError(f"{path} holds no orbitals; bases are optimised on frames with orbitals.")
    elements = sorted({int(z) for structure, _, _ in frames for z in structure.numbers})
    executor = default_executor()
    prior = AtomicPrior.fit(atomic_densities(factory, elements, executor))
    functions = functions_to_fit(elements, keep, counts)
    targets: dict[int, TargetDensity] = {}

    def store(index: int, projection: NDArray[np.float64]) -> None:
        structure, orbitals, occupations = frames[index]
        density = OrbitalDensity(structure, orbital_basis, orbitals, occupations)
        targets[index] = _target(density, projection, functions, prior, 1.0 / len(frames))

    def fail(index: int, error: Exception) -> None:
        raise DenSNetError(f"Frame {chosen[index]} of {path} could not be projected: {error}") from error

    advance = reporter.task(f"densities of {path.name}", len(frames))
    project_many(factory, frames, functions, "coulomb", executor, store, fail, lambda done: advance(done, "frames"))
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
    keep: str | None = None,
) -> tuple[GaussianBasis, dict[str, Any]]:
    """Optimise contractions on frames of stores and write the basis as JSON, with how it was made.

    Every store has the same weight, whatever the number of its frames. The file holds ``GaussianBasis.to_dict``, a
    record ``made_by`` and, under ``kept``, such records of what was kept, the oldest first; ``[basis] file`` takes its
    path.

    Parameters
    ----------
    shells : str
        Of the elements to be optimised, as ``parse_shells`` reads them.
    keep : str or None
        Name or JSON file of a basis: elements that ``shells`` does not name have its functions, unchanged.
    """
    counts = parse_shells(shells)
    kept = None if keep is None else KeptBasis.find(keep)
    old = None if kept is None else kept.basis
    targets = [target for path in stores for target in targets_of(path, frames, seed, reporter, counts, old)]
    present = {int(z) for target in targets for z in target.structure.numbers}
    unused = set(counts) - present
    if unused:
        raise InputError(f"No frame holds {', '.join(symbol(z) for z in sorted(unused))}; leave it out or add a store.")
    optimizer = ContractionOptimizer(targets, counts, old)
    advance = reporter.task("optimising the contractions", 0)
    loss = optimizer.run(iterations, lambda call, value: advance(call, f"NMAE {np.exp(value):.3f} %"))
    basis = optimizer.basis(name)
    record = {
        "command": f"densnet basis optimize {' '.join(path.name for path in stores)} --shells '{shells}' --frames "
        f"{frames} --iterations {iterations} --seed {seed} --name {name}" + ("" if keep is None else f" --keep {keep}"),
        "stores": [path.name for path in stores],
        "frames_hashes": [target.structure.content_hash().hex() for target in targets],
        "nmae_percent_geometric_mean": float(np.exp(loss)),
        "largest_condition_number": max(condition_number(basis, target.structure) for target in targets),
    }
    history = {} if kept is None else {"kept": kept.records}
    write_json(output, {**basis.to_dict(), "made_by": record, **history})
    return basis, record
