"""Models as forces in Systems of OpenMM's users: subsets, boxes, both routes, OpenMM-ML, refusals, the reporter."""

from __future__ import annotations

import csv
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from densnet_openmm import DensityReporter, add_force
from openmm import app, unit
from openmmml import MLPotential

from densnet_core.cli.app import run
from densnet_core.density.charges import hirshfeld_charges
from densnet_core.errors import InputError
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.torchscript import read_metadata
from densnet_core.structures import Array, Structure
from densnet_core.testing.potentials import ValencePotential

DATA = Path(__file__).parents[1] / "data"
EXAMPLE = Path(__file__).parents[2] / "examples" / "openmm_torchforce.py"
# CODATA 2018
BOHR, HARTREE = 0.0529177210903, 2625.4996394799
SHAPE = np.array([[0.0, 0.0, 0.0], [0.097, 0.01, 0.0], [-0.03, 0.091, 0.02]])
"""A distorted water molecule, O H H, nm."""


@cache
def model() -> DenSNet:
    """Water, HF/6-31G, trained by an earlier version."""
    return DenSNet.load(DATA / "model_v1.zip")


def topology(n_waters: int, order: str = "OHH", box: float | None = None) -> app.Topology:
    made = app.Topology()
    chain = made.addChain()
    for _ in range(n_waters):
        residue = made.addResidue("HOH", chain)
        count = iter(("H1", "H2"))
        atoms = [
            made.addAtom("O" if letter == "O" else next(count), app.Element.getBySymbol(letter), residue)
            for letter in order
        ]
        oxygen = atoms[order.index("O")]
        for atom in atoms:
            if atom is not oxygen:
                made.addBond(oxygen, atom)
    if box is not None:
        made.setPeriodicBoxVectors(np.diag([box] * 3) * unit.nanometer)
    return made


def positions(n_waters: int) -> Array:
    """Molecules 0.31 nm apart on a lattice."""
    edge = int(np.ceil(n_waters ** (1 / 3)))
    places = np.stack(np.unravel_index(np.arange(n_waters), (edge,) * 3), axis=1) * 0.31
    return (places[:, None] + SHAPE).reshape(-1, 3)


def empty_system(made: app.Topology) -> openmm.System:
    system = openmm.System()
    for atom in made.atoms():
        system.addParticle(atom.element.mass if atom.element else 0.0)
    if made.getPeriodicBoxVectors() is not None:
        system.setDefaultPeriodicBoxVectors(*made.getPeriodicBoxVectors())
    return system


def context_of(system: openmm.System, at: Array, platform: str = "Reference") -> openmm.Context:
    context = openmm.Context(system, openmm.VerletIntegrator(0.0002), openmm.Platform.getPlatformByName(platform))
    context.setPositions(at)
    return context


def felt(context: openmm.Context, **selection: Any) -> tuple[float, Array]:
    """Energy in kJ/mol and forces in kJ/(mol nm)."""
    state = context.getState(energy=True, forces=True, **selection)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole), forces


def expected(at: Array) -> tuple[float, Array]:
    """Of one water molecule (3, 3) in nm, by the valence potential itself."""
    potential = ValencePotential.water()
    energies, forces = BoundPotential(potential, [potential.structure]).energy_and_forces(at[None] / BOHR)
    return energies[0] * HARTREE, forces[0] * HARTREE / BOHR


@pytest.mark.parametrize("box", [None, 1.0])
@pytest.mark.parametrize("platform", ["CPU", "Reference"])
@pytest.mark.parametrize("route", ["python", "torchforce"])
def test_a_subset_feels_the_forces_of_the_potential_and_others_nothing(
    route: str, platform: str, box: float | None
) -> None:
    made, at = topology(3, box=box), positions(3)
    own = [3, 4, 5]
    energy, forces = expected(at[own])
    if box is not None:
        at[4] -= [0.0, 2.0, 1.0]
        at[5, 0] += 3.0
    system = empty_system(made)
    force = add_force(system, made, ValencePotential.water(), own, group=4, route=route, positions=at)
    assert force.getForceGroup() == 4
    assert force.usesPeriodicBoundaryConditions() == (box is not None)
    found, felt_forces = felt(context_of(system, at, platform))
    assert found == pytest.approx(energy, rel=1e-6)
    np.testing.assert_allclose(felt_forces[own], forces, rtol=1e-6, atol=1e-5 * np.abs(forces).max())
    assert not felt_forces[[0, 1, 2, 6, 7, 8]].any()


def test_groups_contexts_and_serialised_systems_keep_the_force() -> None:
    made, at = topology(2), positions(2)
    system = empty_system(made)
    add_force(system, made, ValencePotential.water(), [0, 1, 2], group=1)
    add_force(system, made, ValencePotential.water(), [3, 4, 5], group=2)
    moved = at.copy()
    moved[4, 0] += 0.01
    first, second = context_of(system, at), context_of(system, moved)
    for _ in range(2):  # the contexts take turns
        for context, place in ((first, at), (second, moved)):
            for group, own in ((1, slice(0, 3)), (2, slice(3, 6))):
                energy, forces = expected(place[own])
                found, felt_forces = felt(context, groups={group})
                assert found == pytest.approx(energy, rel=1e-6)
                np.testing.assert_allclose(felt_forces[own], forces, rtol=1e-6, atol=1e-4)
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))  # our own
    assert felt(context_of(again, moved))[0] == pytest.approx(felt(second)[0], rel=1e-12)


def test_a_model_takes_the_elements_from_the_topology_in_any_order() -> None:
    energies = []
    for order, places in (("OHH", [0, 1, 2]), ("HHO", [1, 2, 0])):
        made = topology(1, order)
        system = empty_system(made)
        add_force(system, made, model(), positions=SHAPE[places] * unit.nanometer)
        energies.append(felt(context_of(system, SHAPE[places]))[0])
    (own,) = model().predict([Structure(np.array([8, 1, 1]), SHAPE / BOHR)])
    np.testing.assert_allclose(energies, own.energy * HARTREE, rtol=1e-7)


def test_a_potential_of_atoms_in_an_order_notices_another_one() -> None:
    made = topology(1, "HOH")
    at = SHAPE[[1, 0, 2]]
    for route in ("python", "torchforce"):
        with pytest.raises(InputError, match="another order"):
            add_force(empty_system(made), made, ValencePotential.water(), route=route, positions=at)
    system = empty_system(made)
    add_force(system, made, ValencePotential.water())
    with pytest.raises(openmm.OpenMMException, match="another order"):
        felt(context_of(system, at))


def test_what_cannot_be_right_is_refused() -> None:
    made, water = topology(2), ValencePotential.water()
    own = [0, 1, 2]

    def refused(message: str, system: openmm.System, of: app.Topology = made, **more: Any) -> None:
        before = system.getNumForces()
        with pytest.raises(InputError, match=message):
            add_force(system, of, more.pop("model", water), more.pop("atoms", own), **more)
        assert system.getNumForces() == before

    constrained = empty_system(made)
    constrained.addConstraint(0, 1, 0.1)
    refused("rigidWater=False", constrained)
    bonded = empty_system(made)
    force = openmm.HarmonicBondForce()
    force.addBond(0, 1, 0.1, 1000.0)
    bonded.addForce(force)
    refused("createMixedSystem", bonded)
    refused("6 particles and the topology 9", empty_system(made), topology(3))
    for atoms in ([0, 1, 1], [0, 1, 6], [-1, 0, 1], []):
        refused("different indices from 0 to 5", empty_system(made), atoms=atoms)
    refused("route is", empty_system(made), route="telepathy")
    refused("needs positions", empty_system(made), route="torchforce")
    periodic = topology(2, box=2.0)
    refused("2 separate molecules", empty_system(periodic), periodic, atoms=None)
    site = topology(1)
    site.addAtom("M", None, next(site.residues()))
    refused("no element: M", empty_system(site), site, atoms=None)
    ammonia = topology(1, "NHO")
    refused("does not know N", empty_system(ammonia), ammonia, atoms=None)
    refused("charge 2", empty_system(made), model=model(), charge=2, positions=positions(2))


def test_openmm_ml_makes_systems_of_the_model() -> None:
    made = topology(1)
    system = MLPotential("densnet", model=model()).createSystem(made, charge=0, multiplicity=1)
    (own,) = model().predict([Structure(np.array([8, 1, 1]), SHAPE / BOHR)])
    energy, forces = felt(context_of(system, SHAPE))
    assert energy == pytest.approx(own.energy * HARTREE, rel=1e-7)
    np.testing.assert_allclose(forces, own.forces * HARTREE / BOHR, rtol=1e-4, atol=0.1)
    with pytest.raises(InputError, match=r"model=\.\.\."):
        MLPotential("densnet")
    with pytest.raises(InputError, match=r"'multiplicty'.*'multiplicity'"):
        MLPotential("densnet", model=model()).createSystem(made, multiplicty=1)


def test_openmm_ml_mixes_the_model_with_a_force_field_in_a_box() -> None:
    made, at = topology(27, box=1.9), positions(27)
    own = [39, 40, 41]
    field = app.ForceField("tip3p.xml")
    mm = field.createSystem(
        made, nonbondedMethod=app.PME, nonbondedCutoff=0.8 * unit.nanometer, rigidWater=True, hydrogenMass=2.0
    )
    mixed = MLPotential("densnet", model=ValencePotential.water()).createMixedSystem(made, mm, own, forceGroup=5)
    assert mixed.getNumConstraints() == mm.getNumConstraints() - 3
    context = context_of(mixed, at, "CPU")
    energy, forces = felt(context, groups={5})
    assert energy == pytest.approx(expected(at[own])[0], rel=1e-6)
    np.testing.assert_allclose(forces[own], expected(at[own])[1], rtol=1e-5, atol=0.1)
    context.applyConstraints(1e-6)
    openmm.LocalEnergyMinimizer.minimize(context, 10.0, 30)
    context.setVelocitiesToTemperature(200.0, 1)
    totals = []
    for _ in range(5):
        context.getIntegrator().step(10)
        state = context.getState(energy=True)
        totals.append((state.getKineticEnergy() + state.getPotentialEnergy()).value_in_unit(unit.kilojoule_per_mole))
    assert np.ptp(totals) < 2.0  # of 200 kJ/mol of kinetic energy
    between = MLPotential("densnet", model=ValencePotential.water()).createMixedSystem(made, mm, own, interpolate=True)
    halfway = context_of(between, at)
    ends = []
    for value in (0.0, 0.5, 1.0):
        halfway.setParameter("lambda_interpolate", value)
        ends.append(felt(halfway)[0])
    assert ends[1] == pytest.approx((ends[0] + ends[2]) / 2, abs=0.01)


def test_the_reporter_writes_dipole_and_charges(tmp_path: Path) -> None:
    made = topology(2, box=2.0)
    at = positions(2)
    at[4] += [0.0, 0.0, 2.0]
    system = empty_system(made)
    add_force(system, made, ValencePotential.water(), [3, 4, 5])
    simulation = app.Simulation(
        made, system, openmm.VerletIntegrator(0.0002), openmm.Platform.getPlatformByName("Reference")
    )
    simulation.context.setPositions(at)
    simulation.reporters.append(DensityReporter(tmp_path / "density.csv", 2, made, model(), [3, 4, 5]))
    simulation.step(4)
    with open(tmp_path / "density.csv", encoding="utf-8") as file:
        title, *rows = list(csv.reader(file))
    assert title == ["step", "time (ps)", "dipole x (D)", "dipole y (D)", "dipole z (D)", "O3 (e)", "H4 (e)", "H5 (e)"]
    assert [(row[0], float(row[1])) for row in rows] == [("2", 0.0004), ("4", 0.0008)]
    end = simulation.context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)[3:]
    end = end - [[0.0, 0.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
    (own,) = model().predict([Structure(np.array([8, 1, 1]), end / BOHR)])
    np.testing.assert_allclose([float(value) for value in rows[1][2:5]], own.dipole * 2.541746473, atol=1e-4)
    np.testing.assert_allclose([float(value) for value in rows[1][5:]], hirshfeld_charges(own.density), atol=1e-4)
    with pytest.raises(InputError, match="at least one step"):
        DensityReporter(tmp_path / "none.csv", 0, made, model())


def test_the_command_exports_for_some_particles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{name} {x} {y} {z}" for name, (x, y, z) in zip("OHH", SHAPE * 10.0, strict=True)]
    (tmp_path / "water.xyz").write_text("\n".join(["3", "", *rows, ""]))
    command = ["export", str(DATA / "model_v1.zip"), str(tmp_path / "water.xyz"), str(tmp_path / "water.pt"), "--atoms"]
    assert run([*command, "3-x"]) == 2
    assert "no list of indices" in capsys.readouterr().err
    assert run([*command, "3,5-6"]) == 0
    assert read_metadata(tmp_path / "water.pt")["atoms"] == [3, 5, 6]


def test_the_example_notices_atoms_in_another_order(tmp_path: Path) -> None:
    water = ValencePotential.water()
    BoundPotential(water, [water.structure]).save_torchscript(tmp_path / "water.pt", [3, 4, 5])
    for order, returned in (("OHH", 0), ("HOH", 1)):
        with open(tmp_path / "waters.pdb", "w", encoding="utf-8") as file:
            places = positions(2).reshape(2, 3, 3)[:, [0, 1, 2] if order == "OHH" else [1, 0, 2]].reshape(-1, 3)
            app.PDBFile.writeFile(topology(2, order, box=2.0), places * unit.nanometer, file)
        command = [sys.executable, str(EXAMPLE), "water.pt", "waters.pdb"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == returned, done.stderr
        assert ("other elements in these places" in done.stderr) == bool(returned)
        assert len(done.stdout.splitlines()) == (0 if returned else 11)
