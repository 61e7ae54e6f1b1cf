"""The ten-line scripts of docs/engines.md run as they stand, with fewer steps, on a trained model of water."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import openmm
import pytest
from ase import Atoms
from openmm import app, unit
from torch_sim.integrators.md import MDState

from densnet_core.md.batched import Snapshot

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests" / "data" / "model_v1.zip"


def script(number: int, **steps: str) -> str:
    """A program of the page, with the model of the tests and other numbers of steps."""
    text = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[number]
    lines = [line for line in program.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(lines) <= 10
    for before, after in {"runs/water/model": str(MODEL), **steps}.items():
        assert before in program
        program = program.replace(before, after)
    return program


def water(box: float | None = None) -> app.Modeller:
    topology = app.Topology()
    residue = topology.addResidue("HOH", topology.addChain())
    atoms = [topology.addAtom(name, app.Element.getBySymbol(name[0]), residue) for name in ("O", "H1", "H2")]
    for hydrogen in atoms[1:]:
        topology.addBond(atoms[0], hydrogen)
    places = [(0.0, 0.0, 0.0), (0.0957, 0.0, 0.0), (-0.024, 0.0927, 0.0)]
    made = app.Modeller(topology, [openmm.Vec3(*place) for place in places] * unit.nanometer)
    if box is not None:
        made.addSolvent(app.ForceField("tip3p.xml"), boxSize=openmm.Vec3(box, box, box) * unit.nanometer)
    return made


def write(made: app.Modeller, path: Path) -> None:
    with open(path, "w", encoding="utf-8") as file:
        app.PDBFile.writeFile(made.topology, made.positions, file)


def run(program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    exec(compile(program, "docs/engines.md", "exec"), names)
    return names


def test_the_script_for_ase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run(script(0, **{"run(1000)": "run(5)"}), tmp_path, monkeypatch)
    atoms = names["water"]
    assert isinstance(atoms, Atoms)
    assert 1.5 < np.linalg.norm(atoms.get_dipole_moment()) / 0.2081943 < 3.5  # debye; 1.85, of HF/6-31G more
    assert atoms.get_charges()[0] < -0.1


def test_the_script_for_openmm_ml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(water(box=1.8), tmp_path / "solvated.pdb")
    steps = {"maxIterations=100": "maxIterations=10", "step(1000)": "step(5)"}
    names = run(script(1, **steps), tmp_path, monkeypatch)
    simulation = names["simulation"]
    assert isinstance(simulation, app.Simulation)
    assert simulation.topology.getNumAtoms() > 300
    state = simulation.context.getState(energy=True)
    assert state.getKineticEnergy() < 3000.0 * unit.kilojoule_per_mole
    # the model's total energy, 76 hartree, and water around it
    assert state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) == pytest.approx(-76.0 * 2625.5, rel=0.05)


def test_the_script_for_openmm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(water(), tmp_path / "water.pdb")
    run(script(2, **{"step(100)": "step(20)"}), tmp_path, monkeypatch)
    with open(tmp_path / "density.csv", encoding="utf-8") as file:
        title, *rows = list(csv.reader(file))
    assert title[-3:] == ["O0 (e)", "H1 (e)", "H2 (e)"]
    assert [row[0] for row in rows] == ["10", "20"]
    assert abs(sum(float(value) for value in rows[1][-3:])) < 1e-5


def test_the_script_for_torch_sim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = run(script(3, **{"n_steps=1000": "n_steps=20"}), tmp_path, monkeypatch)
    final = names["final"]
    assert isinstance(final, MDState)
    assert final.energy.numpy() / 27.211386 == pytest.approx(np.full(8, -75.98), abs=0.1)
    assert len(set(final.energy.tolist())) == 8
    dipoles, charges = (np.array(json.loads(line)) for line in capsys.readouterr().out.splitlines()[-2:])
    assert dipoles.shape == (8, 3)
    assert charges.shape == (24,)
    assert np.abs(charges.reshape(8, 3).sum(axis=1)).max() < 1e-6


def test_the_script_without_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "water.xyz").write_text("3\n\nO 0 0 0\nH 0.957 0 0\nH -0.24 0.927 0\n")
    names = run(script(4, **{"n_steps=1000": "n_steps=20"}), tmp_path, monkeypatch)
    frame = names["frame"]
    assert isinstance(frame, Snapshot)
    assert frame.step == 20
    assert frame.outputs["energy"] == pytest.approx(np.full(4, -75.98), abs=0.1)
    assert frame.outputs["dipole"].shape == (4, 3)
    assert len({round(float(energy), 8) for energy in frame.outputs["energy"]}) == 4
    assert capsys.readouterr().out.startswith("0 [-75.9")
