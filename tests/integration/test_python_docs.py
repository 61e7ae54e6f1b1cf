"""The examples of docs/python.md run as they stand, with fewer steps; ASE atoms give what arrays give."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Hartree

from densnet_core import train
from densnet_core.errors import InputError
from densnet_core.potentials.densnet import DenSNet
from densnet_core.structures import Structure
from densnet_core.units import BOHR_TO_ANGSTROM

ROOT = Path(__file__).parents[2]
WATER = ROOT / "tests" / "data" / "water5.npz"
ORBITALS = "mo_coeff_occupied"
NAMES = ("numbers", "positions_angstrom", "energy_hartree", "forces_hartree_per_angstrom", ORBITALS)
STAGES = {"density": {"steps": 40, "learning_rate": 8e-3}, "energy": {"steps": 40}}
SETTINGS: dict[str, Any] = {"basis": {"name": "densnet-s"}, "training": {"batch_size": 3, **STAGES}}


def example(number: int) -> str:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[number]
    return program.replace("tests/data/water5.npz", str(WATER))


def test_ten_lines_train_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, changed = re.subn(r'"steps": 1000', '"steps": 40', example(0))
    assert changed == 2
    assert len([line for line in program.splitlines() if line]) <= 10
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(program, "docs/python.md", "exec"), names)
    model = names["model"]
    assert isinstance(model, DenSNet)
    assert model.document["metrics"]["held_out"]["forces"]["frames"] == 1
    package = tmp_path / "water" / "model"
    before = {path: path.stat().st_mtime_ns for path in package.iterdir()}
    assert str(train(np.load(WATER), "PBE/aug-cc-pVDZ", "water", **SETTINGS)) == str(model)
    assert {path: path.stat().st_mtime_ns for path in package.iterdir()} == before  # read, not made again


def test_ase_atoms_give_what_arrays_give(tmp_path: Path) -> None:
    file = np.load(WATER)
    atoms = []
    for i in range(len(file["numbers"])):
        one = Atoms(file["numbers"][i], file["positions_angstrom"][i], info={"mo_coeff_occupied": file[ORBITALS][i]})
        forces = file["forces_hartree_per_angstrom"][i] * Hartree
        one.calc = SinglePointCalculator(one, energy=file["energy_hartree"][i] * Hartree, forces=forces)
        atoms.append(one)
    models = [train(given, "PBE/aug-cc-pVDZ", tmp_path / name, **SETTINGS) for name, given in
              (("arrays", {k: file[k] for k in NAMES}), ("atoms", atoms))]  # fmt: skip
    found = [model.predict([model_structure(file)])[0] for model in models]
    # ASE's hartree is of another CODATA than ours
    np.testing.assert_allclose(found[0].energy, found[1].energy, rtol=1e-6)
    np.testing.assert_allclose(found[0].forces, found[1].forces, atol=1e-4)
    atoms[0].calc.results.pop("forces")
    with pytest.raises(InputError, match="no forces in frame 0"):
        train(atoms, "PBE/aug-cc-pVDZ", tmp_path / "lacking")


def model_structure(file: Mapping[str, np.ndarray]) -> Structure:
    return Structure(file["numbers"][0], file["positions_angstrom"][0] / BOHR_TO_ANGSTROM)


def test_the_example_in_parts_trains_and_saves_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = example(1)
    program, changed = re.subn(r"LoopOptions\(1000,", "LoopOptions(60,", program)
    assert changed == 2
    program = program.replace("validate_every=100", "validate_every=20")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(program, "docs/python.md", "exec"), names)
    model = DenSNet.load(tmp_path / "model")
    structures, file = names["structures"], names["file"]
    predictions = model.predict(structures)  # type: ignore[arg-type]
    energies = np.array([one.energy for one in predictions])
    errors = energies - file["energy_hartree"]  # type: ignore[index]
    assert np.abs(errors).max() < 0.02
    assert sorted(os.listdir(tmp_path / "training"))[:3] == ["density.checkpoint", "density.csv", "density.png"]
    assert "fix 1 of 2" in model.document["atomic_energies"]["unknown"]
