"""From frames to a model in one call: stages, a model to start from, atoms, densities that are kept fixed."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example
from test_training import SMALL, energies_of, teacher_frames
from training_parallel import CHOICE, PRIOR, frames, short, train

from densnet_core.config.schema import DEFAULT_BACKBONE, DensitySection, EnergySection, TrainingSection
from densnet_core.datasets.dataset import Dataset
from densnet_core.density.specification import DensitySpecification
from densnet_core.elements import ground_multiplicity
from densnet_core.errors import InputError
from densnet_core.graphs.graph import concatenated, graph_of
from densnet_core.models.density import densities_up_to
from densnet_core.models.statistics import energy_unit, reference_energies, undetermined
from densnet_core.potentials.choice import STANDARD, NetworkChoice
from densnet_core.potentials.densnet import DenSNet
from densnet_core.testing.networks import degrees_of
from densnet_core.training import Plan, Stage, train_model
from densnet_core.training.energy import EnergyObjective
from densnet_core.training.joint import JointObjective
from densnet_core.training.plan import device_of, joint_objectives
from densnet_core.training.schedule import LoopOptions
from densnet_core.training.terms import wanted_objectives
from densnet_core.workflow.learning import plan_of


def plan(**changes) -> Plan:
    usual = {"density": [short(4)], "energy": [short(4)], "batch_size": 4, "device": "cpu", "precision": "float64"}
    return Plan(**{**usual, **changes})


# --- graphs, densities kept fixed


def test_graphs_of_single_frames_put_together_are_the_graph_of_all() -> None:
    structures = frames().structures
    for cutoff in (None, 6.0):
        whole, parts = graph_of(structures, cutoff), concatenated([graph_of([s], cutoff) for s in structures])
        for name in ("numbers", "positions", "masses", "molecule", "sizes", "senders", "receivers", "fragment",
                     "charge", "multiplicity", "fragment_molecule"):  # fmt: skip
            assert torch.equal(getattr(whole, name), getattr(parts, name)), name
    field = [[0.0, 0.0, 0.01]]
    with pytest.raises(InputError, match="1 of 2 graphs have no field"):
        concatenated([graph_of([example.WATER]), graph_of([example.WATER], field=field)])


@pytest.mark.parametrize("largest_factor", [1.0, 1.5])
def test_linearised_densities_change_neither_loss_nor_gradient(largest_factor: float) -> None:
    """Against the way through the density network, whose forces and second derivatives are tested elsewhere."""
    data = teacher_frames()
    data = Dataset(data.structures, {name: data.labels[name] for name in ("energy", "forces")})
    losses, gradients = [], []
    for steps in (0, 10_000):
        density, energy = example.make_models(seed=3, options=SMALL, largest_factor=largest_factor)
        objective = EnergyObjective(energy, density, data, wanted_objectives("energy", {}), 4, 5, steps=steps)
        loss, told = objective.step(1)
        loss.backward()
        assert (objective._linearised is not None) == (steps > 0)
        losses.append([loss.item(), told["force_rms_mev_per_angstrom"]])
        gradients.append({name: p.grad for name, p in energy.named_parameters()})
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    for name, value in gradients[0].items():
        torch.testing.assert_close(value, gradients[1][name], rtol=1e-6, atol=1e-10 + 1e-8 * float(value.abs().max()))


# --- stages


def test_a_second_stage_goes_on_from_the_first_with_other_weights(tmp_path: Path) -> None:
    second = Stage(LoopOptions(3, 1e-4, validate_every=1), {"energy": 10.0, "forces": 0.0})
    train(tmp_path, plan(energy=[short(4), second]))
    names = {path.name for path in tmp_path.glob("*.csv")}
    assert names == {"density.csv", "energy.csv", "energy-2.csv"}
    with (tmp_path / "energy-2.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["learning_rate"]) == pytest.approx(1e-4)
    for row in rows:
        assert not any("force" in name for name in row)
        error = float(row["energy_rms_mev_per_atom"]) / 27211.386246 / energy_unit(frames())
        assert float(row["loss"]) == pytest.approx(10.0 * error**2, rel=1e-5)
    again: list[str] = []

    class Listener:
        def note(self, text: str) -> None:
            again.append(text)

        def task(self, description: str, total: int):
            def advance(done: int, note: str) -> None:
                raise AssertionError("a finished training takes no step")

            return advance

    first = DenSNet.load(save(train(tmp_path, plan(energy=[short(4), second]), listener=Listener()), tmp_path / "m"))
    assert all("goes on" not in text for text in again)
    assert np.isfinite(first.predict([example.WATER])[0].energy)


def test_a_table_of_the_configuration_is_a_plan_with_its_stages_and_weights() -> None:
    then = {"steps": 30, "learning_rate": 1e-4, "weights": {"energy": 10.0, "forces": 0.0}}
    energy = {"steps": 70, "learning_rate": 1e-3, "schedule": "constant", "weights": {"forces": 3.0}, "then": then}
    section = TrainingSection.model_validate({"density": {"weights": {"dipole": 0.5}}, "energy": energy})
    made = plan_of(section)
    assert made.stage_names == [("density", "density"), ("energy", "energy"), ("energy", "energy-2")]
    first, second = made.energy
    assert (first.options.steps, first.options.learning_rate, first.options.schedule) == (70, 1e-3, "constant")
    assert second.options == replace(first.options, steps=30, learning_rate=1e-4)
    weights = [{one.objective.name: one.weight for one in made.wanted("energy", stage)} for stage in made.energy]
    assert weights == [{"energy": 1.0, "forces": 3.0}, {"energy": 10.0}]
    assert {one.objective.name: one.weight for one in made.wanted("density", made.density[0])}["dipole"] == 0.5


def cheaper(data: Dataset) -> Dataset:
    """Energies and forces of another level: other atoms, softer bonds."""
    energies = [0.7 * float(energy) - 3.0 for energy in data.labels["energy"]]
    return Dataset(data.structures, {"energy": energies, "forces": [0.7 * force for force in data.labels["forces"]]})


def test_pretraining_leaves_features_and_no_energy_of_the_other_level(tmp_path: Path) -> None:
    """Against a training without it, and one that was killed on the way."""
    data, shared = frames(), {"energy": NetworkChoice("shared", None)}
    own = plan(shared=True, pretraining=[short(6)])
    plain = train(tmp_path / "plain", plan(shared=True), **shared)
    model = train(tmp_path / "own", own, pretraining=cheaper(data), **shared)
    assert {path.stem for path in (tmp_path / "own").glob("*.csv")} == {"pretraining", "density", "energy"}
    assert model.energy.element_energies == plain.energy.element_energies
    assert torch.equal(model.energy.energy_scale, plain.energy.energy_scale)
    assert not torch.equal(model.energy.hidden.weight, plain.energy.hidden.weight)
    with (tmp_path / "own" / "pretraining.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert any("force" in name for name in last)
    assert any("density" in name for name in last)
    assert not any(name.startswith("validation_density") for name in last)  # cheap frames have none
    train(tmp_path / "killed", plan(shared=True, pretraining=[short(6)], density=[short(2)], energy=[short(1)]),
          pretraining=cheaper(data), keys=dict.fromkeys(own.stages, "same"), **shared)  # fmt: skip
    for name in ("density", "energy"):
        (tmp_path / "killed" / f"{name}.checkpoint").unlink()
    again = train(tmp_path / "killed", own, pretraining=cheaper(data), keys=dict.fromkeys(own.stages, "same"), **shared)
    for name, value in model.energy.state_dict().items():
        assert torch.equal(value, again.energy.state_dict()[name]), name


def test_a_model_to_start_from_hands_no_energies_of_atoms_to_the_cheap_level(tmp_path: Path) -> None:
    data, shared = frames(), {"energy": NetworkChoice("shared", None)}
    start = train(None, plan(shared=True), **shared)
    own = plan(shared=True, pretraining=[short(1)])
    model = train(tmp_path, own, pretraining=cheaper(data), start=start, **shared)
    with (tmp_path / "pretraining.csv").open() as file:
        [row] = csv.DictReader(file)
    unit = 27211.386246 * energy_unit(cheaper(data))
    assert float(row["validation_energy_rms_mev_per_atom"]) < 10.0 * unit  # the levels are 3 hartree apart
    assert model.energy.element_energies == start.energy.element_energies


def save(model: DenSNet, path: Path) -> Path:
    model.save(path)
    return path


def test_the_gradient_of_the_joint_loss_is_right() -> None:
    """Of a parameter of each network, against differences; the energy terms reach the density network."""
    density, energy = example.make_models(seed=3, options=SMALL)
    objective = JointObjective(density, energy, teacher_frames(), joint_objectives({}), 4, 5)
    assert {term.objective.name for term in objective.terms} >= {"density", "dipole", "energy", "forces"}
    objective.step(0)[0].backward()
    step = 1e-5
    for parameter in (density.head, energy.embedding):
        assert parameter.grad is not None
        place = int(parameter.grad.abs().argmax())
        flat, values = parameter.data.view(-1), []
        for sign in (1, -1):
            flat[place] += sign * step
            values.append(float(objective.step(0)[0].detach()))
            flat[place] -= sign * step
        expected = (values[0] - values[1]) / (2 * step)
        assert float(parameter.grad.view(-1)[place]) == pytest.approx(expected, rel=1e-5)
    assert objective.metrics(teacher_frames())["loss"] > 0.0


def test_joint_weights_are_those_of_both_stages() -> None:
    found = {one.objective.name: one.weight for one in joint_objectives({"dipole": 3.0, "energy": 2.0})}
    assert found["dipole"] == 3.0
    assert found["energy"] == 2.0
    with pytest.raises(InputError, match="there is no objective 'enrgy'"):
        joint_objectives({"enrgy": 1.0})


def test_device_and_precision() -> None:
    assert device_of("cpu").type == "cpu"
    if not torch.cuda.is_available():
        assert device_of("auto").type == "cpu"
        with pytest.raises(InputError, match=r"device = \"cuda\".*no CUDA device"):
            device_of("cuda")
    single = train(None, plan(precision="float32", density=[short(1)], energy=[short(1)]))
    assert {p.dtype for p in single.density.parameters()} == {torch.float32}
    assert single.energy.atomic_energies.dtype == torch.float64


# --- atoms


def test_given_atoms_are_taken_and_the_others_fitted() -> None:
    data = teacher_frames()
    elements, states = example.ELEMENTS, example.specification().states
    atoms, _ = reference_energies(replace(data, atomic_energies={8: -75.1}), elements, states)
    assert atoms[elements.index(8)] == -75.1
    free, _ = reference_energies(data, elements, states)
    assert atoms[0] != free[0]
    counts = np.array([[np.sum(s.numbers == z) for z in elements] for s in data.structures])
    neutral = [i for i, s in enumerate(data.structures) if s.charge == 0]
    residual = energies_of(data) - counts @ atoms
    assert abs(residual[neutral].mean()) < 1.0


def test_a_fit_says_what_it_cannot_know() -> None:
    one = teacher_frames(mixed=False)
    told = undetermined(one, (1, 8), ((0, 1),))
    assert told is not None
    assert "fix 1 of 2" in told
    assert undetermined(replace(one, atomic_energies={1: -0.5}), (1, 8), ((0, 1),)) is None
    atoms = [example.molecule("1 0 0 0"), example.molecule("8 0 0 0")]
    known = Dataset([*one.structures, *atoms], {"energy": [*one.labels["energy"], np.array(-0.5), np.array(-75.0)]})
    assert undetermined(known, (1, 8), ((0, 1),)) is None


def test_ground_states_of_atoms() -> None:
    """Hund's first rule for the p block; chromium and palladium are the well-known exceptions of the d block."""
    assert [ground_multiplicity(z) for z in (1, 2, 6, 7, 8, 9, 10, 16, 24, 26, 46, 54)] == [
        *(2, 1, 3, 4, 3, 2, 1, 3, 7, 5, 1, 1)
    ]
    assert all((ground_multiplicity(z) + z) % 2 == 1 for z in range(1, 55))
    with pytest.raises(InputError, match="Cs is not in the table"):
        ground_multiplicity(55)


# --- from a finished model


def test_a_model_hands_over_what_it_learned_and_knows_a_new_element() -> None:
    """The old model says of its own molecules what the new one says before its first step."""
    everything = frames()
    known = [i for i, s in enumerate(everything.structures) if 6 not in s.numbers]
    small = everything.subset(known)
    without = DensitySpecification(example.BASIS, "coulomb", (1, 8), 1.0, example.specification().states)
    old = train(None, plan(), small, specification=without)
    still = plan(
        density=[Stage(LoopOptions(1, 1e-12, ema_decay=0.0))], energy=[Stage(LoopOptions(1, 1e-12, ema_decay=0.0))]
    )
    new = train(None, still, everything, start=old)
    for structure in small.structures[:3]:
        before, after = old.predict([structure])[0], new.predict([structure])[0]
        assert after.energy == pytest.approx(before.energy, abs=1e-7)
        np.testing.assert_allclose(after.forces, before.forces, atol=1e-7)
        np.testing.assert_allclose(after.density.coefficients, before.density.coefficients, atol=1e-7)
    assert new.energy.element_energies[8] == old.energy.element_energies[8]
    assert new.energy.element_energies[6] != 0.0
    assert "unknown" in new.document["atomic_energies"]


def test_another_model_to_start_from_is_another_training(tmp_path: Path) -> None:
    """Checkpoints in the folder of a training that nobody named go on only if they began with the same model."""
    once = [Stage(LoopOptions(1, 1e-12, ema_decay=0.0))]
    data, known = frames(), example.specification()
    for seed in (1, 2, 1):
        start = example.make_densnet(options=SMALL, seed=seed)
        made = train_model(data, data, known, PRIOR, plan(density=once, energy=once), start=start, folder=tmp_path)
        before, after = (one.predict([example.HYDROXIDE])[0].energy for one in (start, made))
        assert after == pytest.approx(before, abs=1e-7)


def test_a_model_of_another_architecture_or_basis_is_no_start() -> None:
    old = train(None, plan(density=[short(1)], energy=[short(1)]))
    other = NetworkChoice("equivariant", "e3nn", {}, {"channels": 4})
    data = frames()
    with pytest.raises(InputError, match=r"has another density network"):
        train_model(data, data, example.specification(), PRIOR, plan(), (other, CHOICE), start=old)
    with pytest.raises(InputError, match=r"metric coulomb.*metric overlap"):
        train_model(data, data, example.specification("overlap"), PRIOR, plan(), (CHOICE, CHOICE), start=old)


SHARED = NetworkChoice("shared", None, {"head_width": 8})


class Killed(Exception):
    pass


class Stopping:
    """A listener that ends the energy stage after a step, as a signal would."""

    def note(self, text: str) -> None:
        pass

    def task(self, description: str, total: int):
        def advance(done: int, note: str) -> None:
            if "both" in description and done == 4:
                raise Killed

        return advance


def test_an_energy_model_that_shares_the_density_network_learns_with_it(tmp_path: Path) -> None:
    """Its stage changes the density network, with the terms of both in the loss, and goes on after a kill."""
    alone = train(None, plan(energy=[short(6)]))
    made = train(tmp_path / "one", plan(energy=[short(6)]), energy=SHARED)
    head, before = (model.density.get_parameter("head") for model in (made, alone))
    assert not torch.equal(head, before)
    with (tmp_path / "one" / "energy.csv").open() as file:
        columns = next(csv.reader(file))
    assert {"density_rms_error_relative", "force_rms_mev_per_angstrom"} <= set(columns)
    with pytest.raises(Killed):
        train(tmp_path / "two", plan(energy=[short(6)]), energy=SHARED, listener=Stopping())
    resumed = train(tmp_path / "two", plan(energy=[short(6)]), energy=SHARED)
    loaded = DenSNet.load(save(made, tmp_path / "m"))
    for other in (resumed, loaded):
        for network in ("density", "energy"):
            for name, value in getattr(made, network).state_dict().items():
                assert torch.equal(value, getattr(other, network).state_dict()[name]), name


def test_energy_and_dipole_of_a_shared_network_are_those_with_all_coefficients() -> None:
    """Dynamics computes no coefficient of higher l than the dipole needs, and none at all without it."""
    model = train(None, plan(density=[short(2)], energy=[short(2)]), energy=SHARED)
    graph = graph_of([example.WATER, example.HYDROXIDE])
    whole = model.evaluate(graph, ("energy", "forces", "dipole", "charges", "coefficients"))
    for names in (("energy", "forces"), ("energy", "forces", "dipole"), ("charges",)):
        found = model.evaluate(graph, names)
        for name in names:
            torch.testing.assert_close(found[name], whole[name], rtol=0, atol=1e-12)


def test_coefficients_above_a_degree_are_left_out_and_those_below_stay() -> None:
    """As the model says of itself (``truncates``): none of the highest l, which the dipole does not need."""
    density = train(None, plan(density=[short(2)], energy=[short(2)]), energy=SHARED).density
    graph = graph_of([example.WATER, example.HYDROXIDE])
    degrees = degrees_of(example.BASIS, graph.numbers.tolist())
    assert density.truncates
    assert int(degrees.max()) >= 2
    with torch.no_grad():
        whole = densities_up_to(density, graph, None)["density"]
        assert bool((whole.coefficients != 0).all())
        for l_max in (-1, 0, 1):
            found = densities_up_to(density, graph, l_max)["density"]
            below = degrees <= l_max
            torch.testing.assert_close(found.coefficients[below], whole.coefficients[below], rtol=0, atol=1e-12)
            assert not found.coefficients[~below].any()
            torch.testing.assert_close(found.invariants, whole.invariants, rtol=0, atol=1e-12)


def test_the_standard_networks_are_those_of_a_configuration_that_names_none() -> None:
    density, energy = STANDARD
    assert (density.model, density.backbone) == (DensitySection().model, DEFAULT_BACKBONE)
    assert (energy.model, energy.backbone) == (EnergySection().model, None)


def test_what_shares_the_density_network_is_refused_where_it_cannot_learn() -> None:
    model = train(None, plan(density=[short(1)], energy=[short(1)]), energy=SHARED)
    wanted = wanted_objectives("energy", {})
    with pytest.raises(InputError, match="learns together with the density model"):
        EnergyObjective(model.energy, model.density, frames(), wanted, 4, 0)
    model.density.n_invariants = 0
    with pytest.raises(InputError, match="hands none on"):
        SHARED.build("energy_model", model.specification, None, model.density)
