"""Responses to a field: computed where they are asked for, the same by every route, kept in a package."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from densnet_core.config.vibrations import VibrationOptions
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.expansion import Expansion
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph, graph_of
from densnet_core.models.density import densities_up_to
from densnet_core.models.equivariant_density import EquivariantDensityModel
from densnet_core.models.layout import CoefficientLayout
from densnet_core.models.response import FieldResponse
from densnet_core.potentials.bound import BoundPotential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.single_points import single_points
from densnet_core.spectra.harmonic import finite_differences, normal_modes
from densnet_core.training import LoopOptions, Plan, Stage
from densnet_core.training.linearised import bytes_needed
from densnet_core.workflow.observables import prediction_record
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.vibrations import vibrations_of_model

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example
from test_training import SMALL
from training_parallel import CHOICE, frames, short, train

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


def responding(of: set[int]) -> Dataset:
    """Frames of which those with atoms of these elements alone have responses, by a teacher."""
    data = frames()
    teacher = example.make_models(seed=99, options=SMALL, response=True)[0]
    labels = [
        teacher(graph_of([one]))["density_response"].coefficients.detach().numpy()
        if set(one.numbers.tolist()) <= of
        else None
        for one in data.structures
    ]
    return Dataset(data.structures, {**data.labels, "density_response": labels})


RESPONDING = replace(CHOICE, options={"response": True})


def plan(steps: int = 2, rate: float = 5e-3) -> Plan:
    stage = [Stage(LoopOptions(steps, rate, ema_decay=0.0))]
    return Plan(stage, stage, [], 4, device="cpu", precision="float64")


def test_elements_that_no_response_teaches_are_refused() -> None:
    """Their part of the response would stay as random as it began."""
    with pytest.raises(InputError, match=r"predicts 'density_response', and no training frame has one"):
        train(None, plan(), choices=(RESPONDING, CHOICE))
    with pytest.raises(InputError, match=r"no training frame that has one contains C\."):
        train(None, plan(), responding({1, 8}), choices=(RESPONDING, CHOICE))
    whole = train(None, plan(), responding({1, 6, 8}), choices=(RESPONDING, CHOICE))
    assert "polarizability" in whole.outputs
    # What the model to start from knows of carbon need not be taught again, but some response must be.
    both = (RESPONDING, CHOICE)
    assert "polarizability" in train(None, plan(), responding({1, 8}), start=whole, choices=both).outputs
    with pytest.raises(InputError, match="no training frame has one"):
        train(None, plan(), start=whole, choices=both)


def test_a_finished_model_is_taught_its_response_or_goes_on_without() -> None:
    still = plan(1, 1e-12)
    old = train(None, Plan([short(2)], [short(2)], [], 4, device="cpu", precision="float64"))
    with_response = train(None, still, responding({1, 6, 8}), start=old, choices=(RESPONDING, CHOICE))
    without = train(None, still, start=with_response, choices=(CHOICE, CHOICE))
    assert "polarizability" in with_response.outputs
    assert "polarizability" not in without.outputs
    for model in (with_response, without):
        for one, other in zip(old.predict(MOLECULES), model.predict(MOLECULES), strict=True):
            assert other.energy == pytest.approx(one.energy, abs=1e-7)
            np.testing.assert_allclose(other.density.coefficients, one.density.coefficients, atol=1e-7)


def test_densities_kept_fixed_leave_out_what_the_energy_does_not_read() -> None:
    density, energy = example.make_models(options=SMALL, response=True)
    data = frames()
    whole, needed = bytes_needed(density, data), bytes_needed(density, data, energy.densities)
    assert needed == bytes_needed(example.make_models(options=SMALL)[0], data)
    assert whole > 2.5 * needed


def test_a_model_of_one_density_that_truncates_is_not_asked_for_names() -> None:
    """Third-party models take the degree alone."""
    asked = []

    class Truncating(EquivariantDensityModel):
        def forward(self, graph: Graph, l_max: int | None = None) -> dict[str, Expansion]:  # type: ignore[override]
            asked.append(l_max)
            return super().forward(graph, l_max)

    torch.manual_seed(0)
    model = Truncating(example.specification(), None, example.backbone_maker(SMALL))
    densities_up_to(model, graph_of(MOLECULES), 1, {"density"})
    assert asked == [1]


def test_raman_activities_of_a_model(tmp_path: Path) -> None:
    model = example.make_densnet(torch.float64, seed=3, response=True)
    model.save(tmp_path / "model")
    options = VibrationOptions(optimise=False)
    record = vibrations_of_model(tmp_path / "model", example.WATER, options, tmp_path / "found", Reporter())
    activities = [mode["raman_activity_angstrom4_per_dalton"] for mode in record["modes"]]
    shift, tensors = 1e-3, []
    modes = normal_modes(finite_differences(single_points(model), example.WATER))
    assert modes.raman_activities is None  # nobody asked for them
    for vector in modes.displacements:
        ends = [example.WATER.with_positions(example.WATER.positions + s * shift * vector) for s in (1, -1)]
        up, down = (one.polarizability for one in model.predict(ends))
        tensors.append((up - down) / (2 * shift))
    mean = np.trace(tensors, axis1=1, axis2=2) / 3.0
    rest = np.array(tensors) - mean[:, None, None] * np.eye(3)
    expected = (45.0 * mean**2 + 10.5 * (rest**2).sum((1, 2))) * 0.529177210903**4 * 1822.888486
    np.testing.assert_allclose(activities, expected, rtol=1e-3)
    assert max(activities) > 1.0
