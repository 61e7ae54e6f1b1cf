"""Energies of isolated atoms that the energy of a model stands on, as a configuration has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from densnet_core.elements import atomic_number, ground_multiplicity, symbol
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.runner import BackendFactory
from densnet_core.structures import Structure
from densnet_core.workflow.folder import read_json, write_json
from densnet_core.workflow.reporter import Reporter


def atomic_energies(
    wanted: Literal["fit", "reference"] | dict[str, float],
    path: Path,
    level: LevelOfTheory,
    factory: Callable[[], BackendFactory],
    elements: Iterable[int],
    reporter: Reporter,
) -> dict[int, float]:
    """Energies by atomic number, hartree; none for a fit.

    Parameters
    ----------
    wanted : {"fit", "reference"} or dict
        ``[training.energy] atoms``.
    path : Path
        Where computed energies are kept.
    factory : callable
        Makes the backend that computes them, atoms in their ground multiplicity.
    """
    if isinstance(wanted, dict):
        return {atomic_number(name): energy for name, energy in wanted.items()}
    if wanted == "fit":
        return {}
    record = read_json(path) if path.exists() else {}
    known = record.get("hartree", {}) if record.get("level") == str(level) else {}
    missing = [z for z in elements if symbol(z) not in known]
    advance = reporter.task("energies of atoms", len(missing))
    for number, z in enumerate(missing):
        atom = Structure(np.array([z]), np.zeros((1, 3)), 0, ground_multiplicity(z))
        known[symbol(z)] = float(factory().compute(atom).energy)
        write_json(path, {"level": str(level), "hartree": known})
        advance(number + 1, symbol(z))
    return {z: known[symbol(z)] for z in elements}
