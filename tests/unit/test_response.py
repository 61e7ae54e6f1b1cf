"""Responses to a field: computed where they are asked for, the same by every route, kept in a package."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from densnet_core.errors import InputError
from densnet_core.graphs.graph import graph_of
from densnet_core.models.layout import CoefficientLayout
from densnet_core.models.response import FieldResponse
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.workflow.observables import prediction_record

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example

MOLECULES = [example.WATER, example.FORMALDEHYDE, example.HYDROXIDE]


@pytest.fixture
def model() -> DenSNet:
    return example.make_densnet(torch.float64, seed=3, response=True)


def test_nothing_is_computed_for_those_who_do_not_ask(model: DenSNet) -> None:
    calls: list[int] = []
    model.density.response.register_forward_hook(lambda *_: calls.append(1))
    graph = graph_of(MOLECULES, model.cutoff)
    model.evaluate(graph, ["energy", "forces", "dipole", "coefficients"])
    model.densities(MOLECULES)
    assert not calls
    assert set(model.evaluate(graph, ["forces", "polarizability"])) == {"forces", "polarizability"}
    assert len(calls) == 1


def test_what_else_is_asked_for_changes_nothing(model: DenSNet) -> None:
    """The polarizability alone takes features of low degree, all coefficients those of every degree."""
    graph = graph_of(MOLECULES, model.cutoff)
    alone = model.evaluate(graph, ["polarizability"])["polarizability"]
    found = model.evaluate(graph, ["energy", "forces", "dipole", "coefficients", "polarizability"])
    np.testing.assert_allclose(found["polarizability"], alone, atol=1e-12)
    others = model.evaluate(graph, ["energy", "forces", "dipole", "coefficients"])
    for name, value in others.items():
        np.testing.assert_allclose(found[name], value, atol=1e-12, err_msg=name)


def test_traced_and_in_a_batch(model: DenSNet) -> None:
    positions = np.stack([example.WATER.positions, example.WATER.positions * 1.02])
    bound = BoundPotential(model, [example.WATER] * 2)
    found = bound.evaluate(positions, ("energy", "forces", "dipole", "polarizability"))
    for place, one in enumerate(positions):
        graph = graph_of([example.WATER.with_positions(one)], model.cutoff)
        alone = model.evaluate(graph, ["polarizability"])["polarizability"][0]
        np.testing.assert_allclose(found["polarizability"][place], alone, atol=1e-10)
        assert float(alone.abs().max()) > 0.1


def test_predictions_have_it(model: DenSNet) -> None:
    expected = model.evaluate(graph_of(MOLECULES, model.cutoff), ["polarizability"])["polarizability"].numpy()
    for one, tensor in zip(model.predict(MOLECULES), expected, strict=True):
        np.testing.assert_allclose(one.polarizability, tensor, atol=1e-12)
        in_angstrom = np.array(prediction_record(one)["polarizability_angstrom3"])
        np.testing.assert_allclose(in_angstrom, tensor * 0.529177210903**3)
    plain = example.make_densnet(torch.float64, seed=3).predict(MOLECULES)[0]
    assert plain.polarizability is None
    assert "polarizability_angstrom3" not in prediction_record(plain)


def test_a_package_keeps_it(model: DenSNet, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    again = DenSNet.load(tmp_path / "model")
    graph = graph_of(MOLECULES, model.cutoff)
    for one in (model, again):
        assert "polarizability" in one.outputs
    np.testing.assert_array_equal(
        again.evaluate(graph, ["polarizability"])["polarizability"],
        model.evaluate(graph, ["polarizability"])["polarizability"],
    )


def test_a_basis_of_s_functions_is_refused() -> None:
    basis = example.specification().basis
    only = type(basis)("s", {z: [one for one in basis.shells(z) if one.l == 0] for z in example.ELEMENTS})
    with pytest.raises(InputError, match="needs p functions"):
        FieldResponse(CoefficientLayout(only, example.ELEMENTS), 4, 9.0)
