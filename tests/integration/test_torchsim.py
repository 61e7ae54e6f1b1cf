"""Models in torch-sim: units, batches of different molecules, its integrators and optimisers, refusals."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_sim as ts
from ase import Atoms
from ase.build import molecule
from densnet_torchsim import DenSNetModel
from torch_sim.integrators.md import MDState

from densnet_core.density.charges import coefficient_charges, hirshfeld_charges
from densnet_core.errors import DenSNetError, InputError
from densnet_core.graphs.graph import graph_of
from densnet_core.md.batched import run_together
from densnet_core.md.velocities import kinetic_energy, thermal_velocities
from densnet_core.potentials.base import Potential
from densnet_core.potentials.densnet import DenSNet
from densnet_core.stores.dynamics import MDStage
from densnet_core.structures import Array, Structure
from densnet_core.testing.potentials import PairPotential, ValencePotential
from densnet_core.testing.springs import ETHANOL

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
import network_examples as example

DATA = Path(__file__).parents[1] / "data"
# CODATA 2018
BOHR, HARTREE, MASS = 0.529177210903, 27.211386245988, 1822.888486209
# torch-sim's unit of time, angstrom (dalton / eV)^1/2, in atomic units
TIME = float(np.sqrt(MASS * HARTREE) / BOHR)
MIXED = (example.WATER, example.FORMALDEHYDE, example.HYDROXIDE, example.WATER, example.HYDRONIUM)
CHARGES = {"OH": -1, "H3O": 1}


@cache
def trained() -> DenSNet:
    """Water, HF/6-31G, trained by an earlier version."""
    return DenSNet.load(DATA / "model_v1.zip")


@cache
def network() -> DenSNet:
    return example.make_densnet(options=example.OPTIONS.model_copy(update={"layers": 1}))


def state_of(structures: Sequence[Structure], velocities: Sequence[Array] | None = None) -> ts.SimState:
    """Molecules in the units of torch-sim; its integrators take velocities (bohr per atomic unit of time)."""
    masses = torch.from_numpy(np.concatenate([one.masses for one in structures]))
    parts = {
        "positions": torch.from_numpy(np.concatenate([one.positions for one in structures]) * BOHR),
        "masses": masses,
        "cell": torch.zeros(len(structures), 3, 3, dtype=torch.float64),
        "pbc": False,
        "atomic_numbers": torch.from_numpy(np.concatenate([one.numbers for one in structures])),
        "system_idx": torch.repeat_interleave(torch.tensor([one.n_atoms for one in structures])),
    }
    if velocities is None:
        return ts.SimState(**parts)
    momenta = masses[:, None] * torch.from_numpy(np.concatenate(velocities)) * (BOHR * TIME)
    nothing = torch.zeros(len(structures), dtype=torch.float64)
    return MDState(**parts, momenta=momenta, energy=nothing, forces=torch.zeros_like(momenta))


def atoms_of(structure: Structure) -> Atoms:
    return Atoms(structure.numbers, structure.positions * BOHR)


def thermal(structures: Sequence[Structure], temperature: float = 300.0) -> list[Array]:
    return [thermal_velocities(m.masses, m.positions[None], temperature, seed)[0] for seed, m in enumerate(structures)]


@pytest.mark.parametrize("native", [False, True])
def test_a_batch_gives_what_each_molecule_gives_alone_in_the_units_of_torch_sim(native: bool) -> None:
    outputs = ["dipole", "charges"]
    model = DenSNetModel(network(), outputs=outputs, charge=CHARGES, native=native)
    molecules = MIXED[:1] + MIXED[2:4] if native else MIXED  # traces take their time
    state = state_of(molecules)
    found = model(state)
    assert list(found) == ["energy", "forces", "dipole", "charges"]
    start = 0
    for index, one in enumerate(molecules):
        own = network().evaluate(graph_of([one]), list(found))
        atoms = slice(start, start := start + one.n_atoms)
        assert float(found["energy"][index]) == pytest.approx(float(own["energy"][0]) * HARTREE, rel=1e-10)
        for name, value, factor in (
            ("forces", found["forces"][atoms], HARTREE / BOHR),
            ("dipole", found["dipole"][index], BOHR),
            ("charges", found["charges"][atoms], 1.0),
        ):
            np.testing.assert_allclose(value, own[name].squeeze(0) * factor, rtol=0, atol=1e-9, err_msg=name)
        alone = DenSNetModel(network(), charge=CHARGES)(state[index])
        np.testing.assert_allclose(alone["forces"], found["forces"][atoms], rtol=0, atol=1e-9)
    assert {value.dtype for value in found.values()} == {torch.float64}


def test_charges_of_a_scheme_are_those_of_the_densities() -> None:
    densities = network().densities(MIXED[:3])
    model, state = DenSNetModel(network(), charge=CHARGES), state_of(MIXED[:3])
    for scheme, function in (("hirshfeld", hirshfeld_charges), ("coefficients", coefficient_charges)):
        expected = np.concatenate([function(density) for density in densities])
        np.testing.assert_allclose(model.charges(state, scheme), expected, atol=1e-7)
    with pytest.raises(InputError, match="no scheme of charges 'mulliken'"):
        model.charges(state, "mulliken")


def test_its_velocity_verlet_goes_where_ours_goes() -> None:
    velocities, stage = thermal(MIXED), MDStage("nve", 60, 4.0, 0.0, 0.0, 20, 0)
    model = DenSNetModel(network(), outputs=["dipole"], charge=CHARGES)
    begin, step = ts.nve(model, dt=torch.tensor(stage.time_step / TIME, dtype=torch.float64), kT=torch.tensor(0.0))
    state = begin(state_of(MIXED, velocities))
    moved = 0.0
    for snapshot in run_together(network(), MIXED, velocities, stage, ("dipole",)):
        for _ in range(stage.record_every if snapshot.step else 0):
            state = step(state)
        positions = np.concatenate(snapshot.positions) * BOHR
        np.testing.assert_allclose(state.positions, positions, rtol=0, atol=1e-6)
        np.testing.assert_allclose(state.energy, snapshot.outputs["energy"] * HARTREE, rtol=0, atol=1e-6)
        np.testing.assert_allclose(model(state)["dipole"], snapshot.outputs["dipole"] * BOHR, rtol=0, atol=1e-6)
        moved = np.abs(positions - np.concatenate([one.positions for one in MIXED]) * BOHR).max()
    assert moved > 0.05


def test_its_dynamics_conserves_the_energy_better_with_a_smaller_step() -> None:
    potential = ValencePotential.water()
    structures = [potential.structure] * 3
    velocities = thermal(structures)
    model, spreads = DenSNetModel(trained()), []
    start = ts.optimize([molecule("H2O")] * 3, model, optimizer=ts.optimizers.fire)
    for n_steps, femtoseconds in ((200, 0.5), (400, 0.25)):
        begin, step = ts.nve(model, dt=torch.tensor(femtoseconds * 41.341374575751 / TIME), kT=torch.tensor(0.0))
        state = state_of(structures, velocities)
        state.positions = start.positions.clone()
        state, totals = begin(state), []
        for _ in range(n_steps):
            state = step(state)
            kinetic = (state.momenta**2 / (2 * state.masses[:, None])).sum(-1)
            totals.append((state.energy + torch.zeros(3).double().index_add(0, state.system_idx, kinetic)).numpy())
        spreads.append(np.ptp(np.array(totals), axis=0))
    heat = [kinetic_energy(one, structures[0].masses) * HARTREE for one in velocities]
    assert (spreads[1] < 0.02 * np.array(heat)).all()
    np.testing.assert_allclose(spreads[0] / spreads[1], 4.0, rtol=0.25)


def test_large_molecules_keep_their_pairs_and_get_the_forces_of_all_pairs() -> None:
    potential = PairPotential(cutoff=6.0)
    random = np.random.default_rng(0)
    sites = np.stack(np.unravel_index(np.arange(60), (4, 4, 4)), axis=1)
    large = Structure(np.full(60, 8), 3.5 * sites + random.normal(scale=0.2, size=(60, 3)))
    molecules = [ETHANOL, large]
    model, direction = DenSNetModel(potential), random.normal(scale=0.05, size=(69, 3))
    searches = []
    for k in range(8):
        state = state_of(molecules)
        positions = np.concatenate([one.positions for one in molecules]) + k * direction
        state.positions = torch.from_numpy(positions * BOHR)
        found = model(state)
        parts = np.split(positions, [9])
        graph = graph_of([one.with_positions(part) for one, part in zip(molecules, parts, strict=True)])
        own = potential.evaluate(graph, ("energy", "forces"))
        np.testing.assert_allclose(found["forces"], own["forces"] * HARTREE / BOHR, rtol=0, atol=1e-9)
        (held,) = model._held.values()
        searches.append(held.neighbours.searches)
    assert searches[0] == 1
    assert 1 < searches[-1] < 8


def test_optimisers_and_autobatchers_find_the_minimum_of_each() -> None:
    model = DenSNetModel(trained())
    atoms = [molecule("H2O") for _ in range(5)]
    for seed, one in enumerate(atoms):
        one.rattle(0.02 * (seed + 1), seed=seed)
    converged = ts.generate_force_convergence_fn(0.02, include_cell_forces=False)
    batcher = ts.InFlightAutoBatcher(model, memory_scales_with=model.memory_scales_with, max_memory_scaler=7)
    relaxed = ts.optimize(
        atoms, model, optimizer=ts.optimizers.fire, convergence_fn=converged, autobatcher=batcher, max_steps=400
    )
    found = model(relaxed)
    assert float(found["forces"].norm(dim=-1).max()) < 0.02
    assert np.ptp(found["energy"].numpy()) < 1e-3
    in_bins = ts.BinningAutoBatcher(model, memory_scales_with=model.memory_scales_with, max_memory_scaler=7)
    properties = ts.static(atoms, model, autobatcher=in_bins)
    expected = model(ts.io.atoms_to_state(atoms, model.device, model.dtype))["energy"]
    np.testing.assert_allclose(torch.cat([one["potential_energy"] for one in properties]), expected, rtol=0, atol=1e-5)


def test_reporters_write_dipoles(tmp_path: Path) -> None:
    model = DenSNetModel(trained(), outputs=["dipole"])
    files = [str(tmp_path / f"{number}.h5") for number in range(2)]
    calculators = {5: {"dipole": lambda state, model: model(state)["dipole"]}}
    reporter = ts.TrajectoryReporter(files, state_frequency=5, prop_calculators=calculators)
    final = ts.integrate(
        [molecule("H2O")] * 2,
        model,
        integrator=ts.nvt_langevin,
        n_steps=10,
        temperature=300,
        timestep=0.0005,
        trajectory_reporter=reporter,
    )
    for number, path in enumerate(files):
        with ts.TorchSimTrajectory(path) as trajectory:
            dipoles = trajectory.get_array("dipole")
        assert dipoles.shape[0] == 2
        np.testing.assert_allclose(dipoles[-1].reshape(3), model(final)["dipole"][number], atol=1e-6)


def test_single_precision_is_that_of_the_results() -> None:
    state = state_of([example.WATER])
    found, single = DenSNetModel(network())(state), DenSNetModel(network(), dtype=torch.float32)
    coarse = single(state)
    assert single.dtype == coarse["energy"].dtype == coarse["forces"].dtype == torch.float32
    np.testing.assert_array_equal(coarse["forces"], found["forces"].float())
    rounded = state.to(dtype=torch.float32)
    assert DenSNetModel(network())(rounded)["energy"].dtype == torch.float64


def test_a_periodic_state_is_refused_and_a_cell_alone_is_not() -> None:
    model, state = DenSNetModel(network()), state_of([example.WATER])
    expected = model(state)["energy"]
    state.cell = 5.0 * torch.eye(3, dtype=torch.float64)[None]
    np.testing.assert_array_equal(model(state)["energy"], expected)
    state.pbc = True
    with pytest.raises(InputError, match="whole"):
        model(state)


def test_there_is_no_stress() -> None:
    model = DenSNetModel(network())
    assert not model.compute_stress
    assert model.compute_forces
    model.compute_stress = False
    with pytest.raises(NotImplementedError, match="no stress"):
        model.compute_stress = True
    assert not model.compute_stress


def test_charges_are_told_by_formula_or_for_all_and_never_guessed() -> None:
    state = state_of([example.HYDROXIDE])
    expected = network().evaluate(graph_of([example.HYDROXIDE]), ("energy",))["energy"] * HARTREE
    for charge in (-1, {"OH": -1}, {"HO": -1, "H3O": 1}):
        np.testing.assert_allclose(DenSNetModel(network(), charge=charge)(state)["energy"], expected, rtol=1e-12)
    with pytest.raises(InputError, match="Multiplicity 1 is impossible with 9 electrons"):
        DenSNetModel(network())(state)
    with pytest.raises(InputError, match="charge 3"):
        DenSNetModel(network(), charge=3)(state)
    with pytest.raises(InputError, match="no element 'Xy'"):
        DenSNetModel(network(), charge={"Xy": 1})
    with pytest.raises(InputError, match="'water' is not the formula"):
        DenSNetModel(network(), charge={"water": 1})


def test_what_a_state_says_of_charges_is_checked() -> None:
    class Charged(ts.SimState):
        charge: torch.Tensor
        _system_attributes = ts.SimState._system_attributes | {"charge"}

    class Spinning(ts.SimState):
        spin: torch.Tensor
        _system_attributes = ts.SimState._system_attributes | {"spin"}

    plain = vars(state_of([example.HYDROXIDE]))
    charged, spinning = Charged(**plain), Spinning(**plain)
    charged.charge, spinning.spin = torch.tensor([-1.0]), torch.tensor([0.0])
    assert torch.isfinite(DenSNetModel(network(), charge=-1)(charged)["energy"]).all()
    with pytest.raises(InputError, match=r"forget state\.charge"):
        DenSNetModel(network())(charged)
    with pytest.raises(InputError, match="give it once"):
        DenSNetModel(network(), charge=1)(charged)
    with pytest.raises(InputError, match=r"state\.spin would not be read"):
        DenSNetModel(network(), charge=-1)(spinning)


def test_what_cannot_be_is_refused() -> None:
    state = state_of([example.WATER, example.WATER])
    with pytest.raises(InputError, match=r"does not give 'dipol'.*dipole"):
        DenSNetModel(network(), outputs=["dipol"])
    with pytest.raises(InputError, match="basis functions"):
        DenSNetModel(network(), outputs=["coefficients"])
    with pytest.raises(InputError, match="float16"):
        DenSNetModel(network(), dtype=torch.float16)
    elsewhere = state.clone()
    elsewhere.positions = elsewhere.positions.to("meta")
    with pytest.raises(InputError, match="on meta"):
        DenSNetModel(network())(elsewhere)
    with pytest.raises(InputError, match="N"):
        DenSNetModel(network())(ts.io.atoms_to_state(molecule("NH3"), torch.device("cpu"), torch.float64))
    backwards = state.clone()
    backwards.system_idx = 1 - backwards.system_idx
    with pytest.raises(InputError, match="ascending"):
        DenSNetModel(network())(backwards)


@pytest.mark.parametrize(("native", "says"), [(False, "molecule 1"), (True, r"systems \[0, 1\].*replica 1")])
def test_a_system_that_breaks_down_is_named(native: bool, says: str) -> None:
    state, model = state_of([example.WATER] * 2), DenSNetModel(PairPotential(), native=native)
    model(state)
    state.positions = state.positions.clone()
    state.positions[4, 0] = torch.nan
    with pytest.raises(DenSNetError, match=says):
        model(state)


def test_any_potential_serves_and_models_are_pickled() -> None:
    potential: Potential = ValencePotential.water()
    model, state = DenSNetModel(potential, outputs=["dipole"]), state_of([ValencePotential.water().structure])
    assert float(model(state)["energy"][0]) == pytest.approx(0.0, abs=1e-12)
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(again(state)["dipole"], model(state)["dipole"])
    with pytest.raises(InputError, match="charges"):
        DenSNetModel(potential, outputs=["charges"])


def test_the_dictionary_of_a_state_will_do() -> None:
    state, model = state_of([example.WATER, example.FORMALDEHYDE]), DenSNetModel(network())
    given = {name: value for name, value in vars(state).items() if name != "masses"}
    np.testing.assert_array_equal(model(given)["forces"], model(state)["forces"])
