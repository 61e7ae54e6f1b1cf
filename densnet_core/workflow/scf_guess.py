"""Starting density matrices for quantum-chemistry programs, from the densities that a model predicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np

from densnet_core.density.electron import ExpandedDensity
from densnet_core.errors import DataError, InputError
from densnet_core.potentials.densnet import DenSNet
from densnet_core.reference.level import LevelOfTheory
from densnet_core.workflow.stores import backend_factory

ORDER: Final = (
    "atoms as in numbers, shells of an element as in shells, within a shell m = -l..l of real spherical harmonics, "
    "l = 1 as x, y, z: PySCF's order"
)


def write_scf_guess(path: Path, model: DenSNet, density: ExpandedDensity) -> None:
    """Write the density matrix from which an SCF at the model's level of theory starts, as a NumPy archive.

    It is made by the reference backend that the model was trained with
    (``ReferenceBackend.starting_density_matrix``). Beside ``density_matrix`` the archive holds what it belongs to:
    ``numbers``, ``positions_bohr``, ``charge``, ``multiplicity``, ``method``, ``basis`` (the orbital basis by name),
    ``shells`` (its record as JSON, ``Basis.to_dict``) and ``order`` (of the functions, in words). Nothing is pickled.

    Parameters
    ----------
    path : Path
    model : DenSNet
    density : ExpandedDensity
        One of its predictions.

    Raises
    ------
    InputError
        The backend makes no such matrix, or the file cannot be written.
    DataError
        The model does not say with which backend and at which level of theory it was trained.
    PluginError
        The backend is not installed; the message has its install line.
    """
    try:
        level = LevelOfTheory.parse(model.document["level_of_theory"])
        # models made before "backend" stood there say it in their configuration
        name = str(model.document.get("backend") or model.document["config"]["reference"]["backend"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            "The model's document does not say with which reference backend and at which level of theory it was "
            "trained, so no orbital basis is known for the density matrix."
        ) from error
    backend, structure = backend_factory(name, level).make(), density.structure
    arrays = {
        "density_matrix": backend.starting_density_matrix(density),
        "numbers": structure.numbers,
        "positions_bohr": structure.positions,
        "charge": np.array(structure.charge),
        "multiplicity": np.array(structure.multiplicity),
        "method": np.array(level.method),
        "basis": np.array(level.basis),
        "shells": np.array(json.dumps(backend.orbital_basis(structure.numbers).to_dict())),
        "order": np.array(ORDER),
    }
    try:
        with path.open("wb") as file:  # given a name, NumPy would append .npz to it
            np.savez(file, allow_pickle=False, **arrays)
    except OSError as error:
        raise InputError(f"The starting density matrix {path} cannot be written: {error.strerror}.") from error
