"""Models in an electric field: derivatives in field and positions, rotations, engines, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from densnet_core.errors import InputError
from densnet_core.graphs.graph import graph_of
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.fields import in_field

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example

FIELD = np.array([0.004, -0.002, 0.007])
MOLECULES = [example.WATER, example.FORMALDEHYDE, example.HYDROXIDE]


@pytest.fixture(params=[False, True], ids=["first order", "second order"])
def model(request: pytest.FixtureRequest) -> DenSNet:
    """Of the second kind, it predicts how the density answers to a field."""
    return example.make_densnet(torch.float64, seed=2, response=request.param)


def polarizabilities(model: DenSNet) -> np.ndarray:
    """(n, 3, 3); zero of a model without."""
    if "polarizability" not in model.outputs:
        return np.zeros((len(MOLECULES), 3, 3))
    return model.evaluate(graph_of(MOLECULES, model.cutoff), ["polarizability"])["polarizability"].numpy()


def test_energies_and_dipoles_are_the_series_in_the_field(model: DenSNet) -> None:
    plain, within = model.predict(MOLECULES), in_field(model, FIELD).predict(MOLECULES)
    for one, other, alpha in zip(plain, within, polarizabilities(model), strict=True):
        second = 0.5 * FIELD @ alpha @ FIELD
        assert other.energy - one.energy == pytest.approx(-one.dipole @ FIELD - second, abs=1e-12)
        np.testing.assert_allclose(other.dipole, one.dipole + alpha @ FIELD, atol=1e-12)
        np.testing.assert_allclose(other.density.dipole(), other.dipole, atol=1e-12)
        assert np.abs(one.dipole).max() > 0.01
        assert (abs(second) > 1e-5) == ("polarizability" in model.outputs)
    for one, other in zip(plain, in_field(model, np.zeros(3)).predict(MOLECULES), strict=True):
        assert other.energy == pytest.approx(one.energy, abs=1e-12)


def test_the_dipole_is_minus_the_derivative_of_the_energy_in_the_field(model: DenSNet) -> None:
    step = 1e-3
    for axis, unit in enumerate(np.eye(3)):
        higher, lower = (in_field(model, FIELD + sign * step * unit).predict(MOLECULES) for sign in (1, -1))
        for up, down, one in zip(higher, lower, in_field(model, FIELD).predict(MOLECULES), strict=True):
            assert (down.energy - up.energy) / (2 * step) == pytest.approx(one.dipole[axis], abs=1e-9)


def test_forces_are_the_gradient_of_the_energy_in_the_field(model: DenSNet) -> None:
    within, structure, step = in_field(model, FIELD), example.FORMALDEHYDE, 1e-4
    forces = within.predict([structure])[0].forces
    assert np.abs(forces - model.predict([structure])[0].forces).max() > 1e-5
    for atom, axis in ((0, 2), (1, 0), (3, 1)):
        moved = []
        for sign in (1, -1):
            positions = structure.positions.copy()
            positions[atom, axis] += sign * step
            moved.append(within.predict([structure.with_positions(positions)])[0].energy)
        assert forces[atom, axis] == pytest.approx((moved[1] - moved[0]) / (2 * step), abs=1e-8)


def test_the_total_force_is_that_on_the_charge(model: DenSNet) -> None:
    """And nothing on a neutral molecule, which the field can only turn."""
    for structure, found in zip(MOLECULES, in_field(model, FIELD).predict(MOLECULES), strict=True):
        np.testing.assert_allclose(found.forces.sum(axis=0), structure.charge * FIELD, atol=1e-10)


def test_molecule_and_field_turn_together(model: DenSNet) -> None:
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    turned = example.WATER.with_positions(example.WATER.positions @ rotation.T)
    (one,), (other,) = (
        in_field(model, FIELD).predict([example.WATER]),
        in_field(model, rotation @ FIELD).predict([turned]),
    )
    assert other.energy == pytest.approx(one.energy, abs=1e-10)
    np.testing.assert_allclose(other.forces, one.forces @ rotation.T, atol=1e-10)
    np.testing.assert_allclose(other.dipole, rotation @ one.dipole, atol=1e-10)


def test_engines_feel_it(model: DenSNet) -> None:
    within = in_field(model, FIELD)
    bound = BoundPotential(within, [example.WATER] * 2)  # traced
    found = bound.evaluate(np.stack([example.WATER.positions] * 2), ("energy", "forces", "dipole"))
    expected = within.predict([example.WATER])[0]
    np.testing.assert_allclose(found["energy"], expected.energy, atol=1e-10)
    np.testing.assert_allclose(found["forces"][:3], expected.forces, atol=1e-10)
    np.testing.assert_allclose(found["dipole"][1], expected.dipole, atol=1e-10)
    assert within.metadata()["electric_field"] == FIELD.tolist()


def test_the_first_order_can_be_had_of_both() -> None:
    model = example.make_densnet(torch.float64, seed=2, response=True)
    plain, within = model.predict(MOLECULES), in_field(model, FIELD, order=1).predict(MOLECULES)
    for one, other in zip(plain, within, strict=True):
        assert other.energy - one.energy == pytest.approx(-one.dipole @ FIELD, abs=1e-12)
        np.testing.assert_allclose(other.dipole, one.dipole, atol=1e-12)
    with pytest.raises(InputError, match="does not know how its density answers"):
        in_field(example.make_densnet(torch.float64, seed=2), FIELD, order=2)


def test_what_is_refused(model: DenSNet, tmp_path: Path) -> None:
    for wrong in ((0.0, 0.1), (0.0, 0.0, float("nan"))):
        with pytest.raises(InputError, match="three finite numbers"):
            in_field(model, wrong)
    within = in_field(model, FIELD)
    with pytest.raises(InputError, match="in a field already"):
        in_field(within, FIELD)
    with pytest.raises(InputError, match="not saved"):
        within.save(tmp_path / "model")
