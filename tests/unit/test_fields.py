"""Models in an electric field: derivatives in field and positions, rotations, engines, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from densnet_core.errors import InputError
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.fields import in_field

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example

FIELD = np.array([0.004, -0.002, 0.007])
MOLECULES = [example.WATER, example.FORMALDEHYDE, example.HYDROXIDE]


def energies(field: np.ndarray) -> np.ndarray:
    model = example.make_densnet(torch.float64, seed=2)
    return np.array([one.energy for one in in_field(model, field).predict(MOLECULES)])


def test_the_energy_falls_by_the_field_times_the_predicted_dipole() -> None:
    model = example.make_densnet(torch.float64, seed=2)
    plain, within = model.predict(MOLECULES), in_field(model, FIELD).predict(MOLECULES)
    for one, other in zip(plain, within, strict=True):
        assert other.energy - one.energy == pytest.approx(-one.dipole @ FIELD, abs=1e-12)
        np.testing.assert_allclose(other.dipole, one.dipole, atol=1e-12)
        assert np.abs(one.dipole).max() > 0.01
    np.testing.assert_allclose(energies(np.zeros(3)), [one.energy for one in plain], rtol=0, atol=1e-12)


def test_forces_are_the_gradient_of_the_energy_in_the_field() -> None:
    model = in_field(example.make_densnet(torch.float64, seed=2), FIELD)
    structure, step = example.FORMALDEHYDE, 1e-4
    forces = model.predict([structure])[0].forces
    assert np.abs(forces - example.make_densnet(torch.float64, seed=2).predict([structure])[0].forces).max() > 1e-5
    for atom, axis in ((0, 2), (1, 0), (3, 1)):
        moved = []
        for sign in (1, -1):
            positions = structure.positions.copy()
            positions[atom, axis] += sign * step
            moved.append(model.predict([structure.with_positions(positions)])[0].energy)
        assert forces[atom, axis] == pytest.approx((moved[1] - moved[0]) / (2 * step), abs=1e-8)


def test_the_total_force_is_that_on_the_charge() -> None:
    """And nothing on a neutral molecule, which the field can only turn."""
    model = in_field(example.make_densnet(torch.float64, seed=2), FIELD)
    for structure, found in zip(MOLECULES, model.predict(MOLECULES), strict=True):
        np.testing.assert_allclose(found.forces.sum(axis=0), structure.charge * FIELD, atol=1e-10)


def test_molecule_and_field_turn_together() -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    model = example.make_densnet(torch.float64, seed=2)
    turned = example.WATER.with_positions(example.WATER.positions @ rotation.T)
    (one,), (other,) = (
        in_field(model, FIELD).predict([example.WATER]),
        in_field(model, rotation @ FIELD).predict([turned]),
    )
    assert other.energy == pytest.approx(one.energy, abs=1e-10)
    np.testing.assert_allclose(other.forces, one.forces @ rotation.T, atol=1e-10)


def test_engines_feel_it() -> None:
    model = in_field(example.make_densnet(torch.float64, seed=2), FIELD)
    bound = BoundPotential(model, [example.WATER] * 2)  # traced
    found = bound.evaluate(np.stack([example.WATER.positions] * 2), ("energy", "forces", "dipole"))
    expected = model.predict([example.WATER])[0]
    np.testing.assert_allclose(found["energy"], expected.energy, atol=1e-10)
    np.testing.assert_allclose(found["forces"][:3], expected.forces, atol=1e-10)
    assert model.metadata()["electric_field"] == FIELD.tolist()


def test_what_is_refused(tmp_path: Path) -> None:
    model = example.make_densnet(torch.float64, seed=2)
    for wrong in ((0.0, 0.1), (0.0, 0.0, float("nan"))):
        with pytest.raises(InputError, match="three finite numbers"):
            in_field(model, wrong)
    within = in_field(model, FIELD)
    with pytest.raises(InputError, match="in a field already"):
        in_field(within, FIELD)
    with pytest.raises(InputError, match="not saved"):
        within.save(tmp_path / "model")
