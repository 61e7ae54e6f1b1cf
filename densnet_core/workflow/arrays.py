"""From arrays or ASE atoms to a model in one call: what ``[data] files`` does, without a file of one's own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from densnet_core.config.load import config_of, own_tables
from densnet_core.errors import InputError
from densnet_core.plugins.manager import Manager, get_manager
from densnet_core.potentials.densnet import DenSNet
from densnet_core.structures import Array
from densnet_core.units import BOHR_TO_ANGSTROM, HARTREE_TO_EV
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.run import Run

ORBITALS: Final = "mo_coeff_occupied"


def train(
    frames: Mapping[str, Array] | Sequence[Any],
    level: str,
    folder: str | Path,
    *,
    charge: int = 0,
    multiplicity: int = 1,
    backend: str = "pyscf",
    trust: bool = False,
    reporter: Reporter | None = None,
    manager: Manager | None = None,
    **sections: Mapping[str, Any],
) -> DenSNet:
    """Train a model on frames that there are; a second call with the same arguments reads it, or goes on after a kill.

    >>> model = train(np.load("water.npz"), "PBE/aug-cc-pVDZ", "runs/water", basis={"name": "densnet-s"})

    Parameters
    ----------
    frames : mapping of arrays, sequence of such mappings, or sequence of ASE atoms
        Arrays of one molecule by the names of docs/data.md, which say their units: ``numbers`` (n, n_atoms),
        ``positions_angstrom``, ``energy_hartree``, ``forces_hartree_per_angstrom`` and, for some molecule at least,
        ``mo_coeff_occupied``. ASE atoms have energy, forces and perhaps dipole in the results of their calculator, in
        ASE's units, and may have ``mo_coeff_occupied`` (n_basis, n_occupied) in ``info``.
    level : str
        Level of theory, ``"METHOD/BASIS"``.
    folder : path
        Of the run: frames, checkpoints, curves, and the model in ``model``.
    charge, multiplicity : int
        Of all frames.
    backend : str
        The program whose order of orbital functions the frames have.
    trust : bool
        Take labels too that look wrong: units, signs, levels, repetitions.
    **sections
        Tables of a configuration, ``training={"seed": 1}``; the basis is densnet-m unless ``basis`` names another.

    Raises
    ------
    InputError, ConfigError
        Frames or sections are not what they should be; the message says which.
    """
    root = Path(folder).absolute()
    data = {"level": level, "backend": backend, "charge": charge, "multiplicity": multiplicity, "trust": trust}
    files = _written(root / "frames", list(_molecules(frames)))
    table = {"schema": 1, "output": str(root), "data": {"files": files, **data}, "basis": {"name": "densnet-m"}}
    table |= {name: dict(section) for name, section in sections.items()}
    config = config_of(table, root / "train.toml", own_tables(manager or get_manager()))
    run = Run(config, reporter, manager)
    run.do("evaluate")
    return run.model()


def _molecules(frames: Mapping[str, Array] | Sequence[Any]) -> Iterable[Mapping[str, Array]]:
    """Arrays of each molecule."""
    if isinstance(frames, Mapping):
        return [frames]
    if all(isinstance(one, Mapping) for one in frames):
        return frames
    groups: dict[tuple[int, ...], list[Any]] = {}
    for atoms in frames:
        if not hasattr(atoms, "numbers") or not hasattr(atoms, "positions"):
            raise InputError(f"Frames are mappings of arrays or ASE atoms, not {type(atoms).__name__}.")
        groups.setdefault(tuple(atoms.numbers), []).append(atoms)
    return [_arrays_of(group) for group in groups.values()]


def _arrays_of(group: Sequence[Any]) -> dict[str, Array]:
    """Arrays of ASE atoms of one composition."""
    results = [getattr(atoms.calc, "results", {}) for atoms in group]
    lacking = [f"{name} in frame {i}" for name in ("energy", "forces") for i, r in enumerate(results) if name not in r]
    if lacking:
        raise InputError(f"ASE atoms need energy and forces in the results of their calculator: no {lacking[0]}.")
    arrays = {
        "numbers": np.array([atoms.numbers for atoms in group]),
        "positions_angstrom": np.array([atoms.positions for atoms in group]),
        "energy_hartree": np.array([one["energy"] for one in results]) / HARTREE_TO_EV,
        "forces_hartree_per_angstrom": np.array([one["forces"] for one in results]) / HARTREE_TO_EV,
    }
    if all("dipole" in one for one in results):
        arrays["dipole_au"] = np.array([one["dipole"] for one in results]) / BOHR_TO_ANGSTROM
    if all(ORBITALS in atoms.info for atoms in group):
        arrays[ORBITALS] = np.array([atoms.info[ORBITALS] for atoms in group])
    return arrays


def _written(folder: Path, molecules: Sequence[Mapping[str, Array]]) -> list[str]:
    """NumPy archives of molecules in a folder, each written completely or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"frames-{index}.npz" for index in range(len(molecules))]
    for path, arrays in zip(paths, molecules, strict=True):
        partial = path.with_suffix(".partial.npz")
        named: dict[str, Any] = {str(name): np.asarray(arrays[name]) for name in arrays}
        np.savez(partial, **named)
        os.replace(partial, path)
    return [str(path) for path in paths]
