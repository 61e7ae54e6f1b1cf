"""The ASE calculator of a trained model: units, refusals, and the parts of ASE that people use it with."""

from __future__ import annotations

import json
import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.vibrations import Infrared
from ase.vibrations.placzek import PlaczekStatic
from ase.vibrations.raman import StaticRamanCalculator
from densnet_ase import DenSNetCalculator, DenSNetPolarizability

from densnet_core.density.charges import coefficient_charges, hirshfeld_charges
from densnet_core.errors import InputError
from densnet_core.graphs.graph import graph_of
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.single_points import single_points
from densnet_core.spectra.harmonic import finite_differences, normal_modes
from densnet_core.structures import Array, Structure
from densnet_core.testing.potentials import PairPotential, ValencePotential

DATA = Path(__file__).parents[1] / "data"
# CODATA 2018
BOHR, HARTREE = 0.529177210903, 27.211386245988


@cache
def model() -> DenSNet:
    """Water, HF/6-31G, trained by an earlier version."""
    return DenSNet.load(DATA / "model_v1.zip")


def geometry() -> Array:
    return np.array(json.loads((DATA / "model_v1.json").read_text(encoding="utf-8"))["positions_bohr"][0])


def water(**parameters: object) -> Atoms:
    return Atoms("OHH", geometry() * BOHR, calculator=DenSNetCalculator(model(), **parameters))


@cache
def relaxed() -> Atoms:
    atoms = water()
    assert BFGS(atoms, logfile=None).run(fmax=1e-3, steps=60)
    return atoms


def test_the_calculator_gives_what_the_model_gives_in_the_units_of_ase() -> None:
    atoms = water()
    (own,) = model().predict([Structure(np.array([8, 1, 1]), geometry())])
    assert atoms.get_potential_energy() == pytest.approx(own.energy * HARTREE, rel=1e-9)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.get_forces(), own.forces * HARTREE / BOHR, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(atoms.get_dipole_moment(), own.dipole * BOHR, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(atoms.get_charges(), hirshfeld_charges(own.density), atol=1e-6)
    assert abs(atoms.get_charges().sum()) < 1e-6
    functions = water(charges="coefficients").get_charges()
    np.testing.assert_allclose(functions, coefficient_charges(own.density), atol=1e-6)
    assert np.abs(functions - atoms.get_charges()).max() > 0.01


def test_charges_are_computed_only_when_they_are_asked_for() -> None:
    atoms = water()
    atoms.get_forces()
    assert sorted(atoms.calc.results) == ["dipole", "energy", "forces", "free_energy"]
    atoms.get_charges()
    assert sorted(atoms.calc.results) == ["charges", "dipole", "energy", "forces", "free_energy"]


def test_a_potential_without_densities_has_no_charges() -> None:
    potential = ValencePotential.water()
    atoms = Atoms("OHH", potential.structure.positions * BOHR, calculator=DenSNetCalculator(potential))
    assert atoms.get_potential_energy() == pytest.approx(0.0, abs=1e-12)
    assert atoms.calc.implemented_properties == ["free_energy", "energy", "forces", "dipole"]


def test_periodic_atoms_are_refused_and_a_cell_alone_is_not() -> None:
    atoms = water()
    expected = atoms.get_potential_energy()
    atoms.set_cell([5.0, 5.0, 5.0])
    assert atoms.get_potential_energy() == expected
    atoms.pbc = (False, False, True)
    with pytest.raises(InputError, match="whole"):
        atoms.get_potential_energy()


def test_charge_and_multiplicity_are_read_checked_and_never_ignored() -> None:
    for parameters, info, message in (
        ({"charge": 1, "multiplicity": 2}, {}, "charge 1 and multiplicity 2"),
        ({}, {"charge": 2}, "charge 2"),
        ({"multiplicity": 3}, {}, "multiplicity 3"),
        ({"charge": 0}, {"charge": 1}, "give it once"),
        ({}, {"spin": 3}, "'spin'.*rename"),
        ({}, {"total_charge": -1}, "'total_charge'.*rename"),
    ):
        atoms = water(**parameters)
        atoms.info.update(info)
        with pytest.raises(InputError, match=message):
            atoms.get_forces()
    magnetic = water()
    magnetic.set_initial_magnetic_moments([2.0, 0.0, 0.0])
    with pytest.raises(InputError, match="add up to 2"):
        magnetic.get_forces()
    with pytest.raises(InputError, match="no parameter 'spin'"):
        water(spin=1)
    with pytest.raises(InputError, match="no scheme of charges 'hirschfeld'"):
        water(charges="hirschfeld")


def test_a_changed_charge_is_not_answered_from_the_cache() -> None:
    atoms = water()
    atoms.get_potential_energy()
    atoms.info["charge"] = 2
    with pytest.raises(InputError, match="charge 2"):
        atoms.get_potential_energy()


def test_one_calculator_serves_other_molecules_and_refuses_other_elements() -> None:
    calculator = DenSNetCalculator(model())
    expected = water().get_potential_energy()
    turned = Atoms("HHO", (geometry() * BOHR)[[1, 2, 0]], calculator=calculator)
    assert turned.get_potential_energy() == pytest.approx(expected, abs=1e-4)
    ammonia = molecule("NH3")
    ammonia.calc = calculator
    with pytest.raises(InputError, match="N"):
        ammonia.get_potential_energy()
    again = pickle.loads(pickle.dumps(calculator))  # noqa: S301 - our own bytes
    turned.calc = again
    assert turned.get_potential_energy() == pytest.approx(expected, abs=1e-4)


def test_infrared_of_ase_gives_the_modes_and_intensities_of_the_core(tmp_path: Path) -> None:
    atoms = relaxed()

    def calculate(structures: list[Structure]) -> list[tuple[float, Array, Array]]:
        return [(one.energy, one.forces, one.dipole) for one in model().predict(structures)]

    structure = Structure(np.array([8, 1, 1]), atoms.positions / BOHR)
    own = normal_modes(finite_differences(calculate, structure, displacement=0.01 / BOHR))
    infrared = Infrared(atoms, name=str(tmp_path / "ir"))
    infrared.run()
    frequencies = infrared.get_frequencies()[6:].real
    np.testing.assert_allclose(frequencies, own.wavenumbers, atol=3.0)
    # (debye/angstrom)^2/amu to km/mol
    np.testing.assert_allclose(infrared.intensities[6:] * 42.2561, own.intensities, rtol=0.02, atol=0.3)


def test_raman_of_ase_gives_the_activities_of_the_core(tmp_path: Path) -> None:
    """Modes, differences, units and invariants are ASE's own; energy and polarizability have closed forms."""
    potential = PairPotential()
    atoms = molecule("H2O", calculator=DenSNetCalculator(potential))
    assert BFGS(atoms, logfile=None).run(fmax=1e-4, steps=200)
    raman = StaticRamanCalculator(
        atoms, DenSNetPolarizability, {"model": potential}, name=str(tmp_path / "raman"), delta=0.005, txt=None
    )
    raman.run()
    theirs = PlaczekStatic(atoms, name=str(tmp_path / "raman"), delta=0.005, txt=None)
    structure = Structure(np.array([8, 1, 1]), atoms.positions / BOHR)
    own = normal_modes(finite_differences(single_points(potential, polarizabilities=True), structure))
    np.testing.assert_allclose(theirs.get_absolute_intensities()[6:], own.raman_activities, rtol=2e-3)
    assert own.raman_activities.max() > 1.0

    tensor = atoms.calc.get_property("polarizability", atoms)
    expected = potential.evaluate(graph_of([structure], potential.cutoff), ["polarizability"])["polarizability"][0]
    np.testing.assert_allclose(tensor * 14.399645, expected.numpy() * BOHR**3, rtol=1e-6)
    with pytest.raises(InputError, match="predicts no polarizabilities"):
        DenSNetPolarizability(model())
    assert "polarizability" not in DenSNetCalculator(model()).implemented_properties


def test_dynamics_of_ase_conserves_energy_and_thermalises() -> None:
    atoms = relaxed().copy()
    atoms.calc = DenSNetCalculator(model())
    width = np.sqrt(units.kB * 300.0 * atoms.get_masses())[:, None]
    atoms.set_momenta(width * np.random.default_rng(0).normal(size=(3, 3)))
    verlet = VelocityVerlet(atoms, 0.25 * units.fs)
    energies = []
    for _ in verlet.irun(40):
        energies.append(atoms.get_total_energy())
    assert np.ptp(energies) < 0.02 * atoms.get_kinetic_energy() + 0.002
    before = atoms.positions.copy()
    Langevin(atoms, 0.25 * units.fs, temperature_K=300, friction=0.01 / units.fs, fixcm=False).run(5)
    assert 1e-4 < np.abs(atoms.positions - before).max() < 0.5


def test_a_nudged_elastic_band_between_two_orientations_has_no_barrier() -> None:
    first = relaxed().copy()
    last = first.copy()
    last.rotate(50, "x", center="COM")
    last.rotate(30, "z", center="COM")
    images = [first, *(first.copy() for _ in range(3)), last]
    calculator = DenSNetCalculator(model())
    for image in images:
        image.calc = calculator
    band = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    band.interpolate()
    before = images[2].get_potential_energy() - first.get_potential_energy()
    FIRE(band, logfile=None).run(fmax=0.1, steps=80)
    after = images[2].get_potential_energy() - first.get_potential_energy()
    assert before > 0.1
    assert abs(after) < 0.02
