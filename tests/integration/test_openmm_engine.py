"""What is particular to OpenMM: two routes to the same force, platforms, plugins that are missing, restarts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openmm
import pytest
import torch
from densnet_openmm.config import OpenMMOptions
from densnet_openmm.engine import OpenMMEngine
from densnet_openmm.system import make_system

from densnet_core.errors import DataError, DenSNetError, InputError, PluginError
from densnet_core.md.base import Recording
from densnet_core.md.runner import run_stage
from densnet_core.potentials.bound import BoundPotential
from densnet_core.stores.dynamics import MDFrames
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.testing.md import NVE, NVT, at_rest, joined, replicas, shaken, velocity_verlet
from densnet_core.testing.potentials import ValencePotential

ROUTES = ("torchforce", "python")
EXAMPLE = Path(__file__).parents[2] / "examples" / "openmm_torchforce.py"


def engine(force: str, platform: str = "CPU") -> OpenMMEngine:
    return OpenMMEngine(OpenMMOptions(force=force, platform=platform))


@pytest.mark.parametrize("platform", ["CPU", "Reference"])
@pytest.mark.parametrize("force", ["torchforce", "python"])
def test_openmm_feels_the_forces_of_the_potential(force: str, platform: str) -> None:
    potential = ValencePotential.water()
    structures = replicas(potential, 3)
    start = shaken(structures, 2000.0)
    positions = velocity_verlet(potential, structures, start, 20.0, 5)[0][-1]
    made = engine(force, platform)
    bound = made.bind(potential, structures)
    context = made.context(bound, structures, NVE, replace(start, positions=positions), [])
    state = context.getState(energy=True, forces=True)
    energies, forces = bound.energy_and_forces(positions)
    unit = openmm.unit
    # CODATA 2018: hartree in kJ/mol, bohr in nm.
    found = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    expected = forces.reshape(-1, 3) * 2625.4996394799 / 0.0529177210903
    # Much tighter than single precision: the platforms must not round positions or forces on the way.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    assert energy == pytest.approx(energies.sum() * 2625.4996394799, rel=1e-11)


def test_particles_have_the_masses_of_the_isotopes() -> None:
    light = ValencePotential.water().structure
    heavy = replace(light, isotope_masses=np.array([15.999, 2.01410177812, 1.008]))
    system = make_system([light, heavy], openmm.CustomExternalForce("0"))
    masses = [system.getParticleMass(index).value_in_unit(openmm.unit.dalton) for index in range(6)]
    assert masses == [15.999, 1.008, 1.008, 15.999, 2.01410177812, 1.008]


def test_both_routes_give_the_same_trajectory() -> None:
    potential = ValencePotential.water()
    structures = replicas(potential, 4)
    for stage in (NVE, NVT):  # the noise is the same: it is OpenMM's, with one seed
        one, other = (
            joined(list(engine(f).run(potential, structures, stage, shaken(structures, 500.0)))) for f in ROUTES
        )
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-9)
        np.testing.assert_allclose(one.potential_energy, other.potential_energy, atol=1e-11)


def test_openmm_and_the_core_agree_on_the_kinetic_energy() -> None:
    potential = ValencePotential.water()
    structures = replicas(potential, 2)
    start = shaken(structures, 500.0)
    made = engine("python")
    state = made.context(made.bind(potential, structures), structures, NVE, start, []).getState(energy=True)
    expected = joined(list(engine("python").run(potential, structures, replace(NVE, n_steps=1), start))).kinetic_energy[
        0
    ]
    found = state.getKineticEnergy().value_in_unit(openmm.unit.kilojoule_per_mole)
    assert found == pytest.approx(expected * 2625.4996394799, rel=1e-8)


@pytest.mark.parametrize("force", ROUTES)
def test_nve_evaluates_the_potential_once_a_step(force: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = BoundPotential.evaluate
    monkeypatch.setattr(BoundPotential, "evaluate", lambda *given: (calls.append(0), original(*given))[1])
    potential = ValencePotential.water()
    structures = replicas(potential, 1)
    recording = Recording(outputs=("dipole",) if force == "python" else ())  # which come with the forces
    list(engine(force).run(potential, structures, NVE, shaken(structures, 300.0), recording))
    # Two more before the first step: the check of the start, and the integrator's own.
    assert len(calls) == (0 if force == "torchforce" else NVE.n_steps + 2)


def test_an_unknown_platform_is_refused_with_those_there_are() -> None:
    potential = ValencePotential.water()
    structures = replicas(potential, 1)
    with pytest.raises(InputError, match=r"'Abacus'.*Reference, CPU"):
        list(engine("python", "Abacus").run(potential, structures, NVE, at_rest(structures)))


def test_an_unknown_route_is_refused() -> None:
    with pytest.raises(InputError, match="torchforce"):
        OpenMMEngine(SimpleNamespace(force="telepathy"))


def test_without_openmmtorch_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    potential = ValencePotential.water()
    structures = replicas(potential, 1)
    monkeypatch.setitem(sys.modules, "openmmtorch", None)  # Python's own way to forbid an import
    with pytest.raises(PluginError, match=r'force = "python"'):
        list(engine("torchforce").run(potential, structures, NVE, at_rest(structures)))
    list(engine("python").run(potential, structures, replace(NVE, n_steps=1), at_rest(structures)))


@pytest.mark.parametrize("order", ["import openmm, torch", "import torch, openmm"])
def test_the_order_of_imports_does_not_matter(order: str) -> None:
    program = (
        f"{order}\n"
        "from densnet_core.testing.md import *\n"
        "from densnet_openmm.engine import OpenMMEngine\n"
        "p = ValencePotential.water()\n"
        "molecules = [p.structure]\n"
        "print(len(list(OpenMMEngine().run(p, molecules, NVE, at_rest(molecules), Recording(101)))))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1\n"
    assert "deprecated" not in done.stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("a defect")], ids=lambda e: type(e).__name__)
def test_the_python_route_hands_on_interrupts_and_defects(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, left = BoundPotential.evaluate, [5]

    def failing(self: BoundPotential, positions: np.ndarray, outputs: tuple[str, ...]) -> dict[str, np.ndarray]:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return original(self, positions, outputs)

    monkeypatch.setattr(BoundPotential, "evaluate", failing)
    potential = ValencePotential.water()
    structures = replicas(potential, 1)
    with pytest.raises(type(error)) as caught:
        list(engine("python").run(potential, structures, NVE, at_rest(structures)))
    assert caught.value is error


def test_a_potential_is_exported_once_and_its_file_removed_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Path] = []
    original = BoundPotential.save_torchscript
    monkeypatch.setattr(
        BoundPotential, "save_torchscript", lambda self, path: (saved.append(path), original(self, path))[1]
    )
    potential = ValencePotential.water()
    structures = replicas(potential, 1)
    both = engine("torchforce")
    for stage in (NVT, NVE):
        list(both.run(potential, structures, replace(stage, n_steps=2), at_rest(structures)))
    assert len(saved) == 1
    assert saved[0].is_file()
    del potential
    assert not saved[0].exists()
    list(both.run(ValencePotential.water(), structures, replace(NVE, n_steps=2), at_rest(structures)))
    assert not saved[1].exists()


@pytest.mark.parametrize("force", ROUTES)
def test_a_stage_continues_where_it_was_interrupted(force: str) -> None:
    potential = ValencePotential.water()
    structures = replicas(potential, 2)
    stage, start = replace(NVE, record_every=2), shaken(structures, 500.0)
    whole: list[MDFrames] = []
    run_stage(engine(force), potential, structures, stage, start, whole.append, block_frames=4)

    written: list[MDFrames] = []

    def until_full(block: MDFrames) -> None:
        if len(written) == 5:
            raise OSError("No space left on device")
        written.append(block)

    with pytest.raises(OSError, match="No space"):
        run_stage(engine(force), potential, structures, stage, start, until_full, block_frames=4)
    told: list[int] = []
    end = run_stage(engine(force), potential, structures, stage, start, written.append, written[-1].end, told.append, 4)
    one, other = joined(written), joined(whole)
    np.testing.assert_array_equal(one.steps, other.steps)
    np.testing.assert_allclose(one.positions, other.positions, atol=1e-10)
    assert (end.step, told[0], told[-1]) == (100, 38, 100)
    again: list[MDFrames] = []
    assert run_stage(engine(force), potential, structures, stage, start, again.append, end) is end
    assert again == []


def test_a_stage_ignores_the_step_of_the_stage_before_it() -> None:
    potential = ValencePotential.water()
    structures = replicas(potential, 1)
    frames: list[MDFrames] = []
    end = run_stage(
        engine("python"), potential, structures, replace(NVT, n_steps=3), at_rest(structures), frames.append
    )
    run_stage(engine("python"), potential, structures, replace(NVE, n_steps=2), end, frames.append)
    assert [frame.steps.tolist() for frame in frames] == [[0, 1, 2, 3], [0, 1, 2]]


def test_a_trajectory_of_another_run_is_not_continued() -> None:
    potential = ValencePotential.water()
    structures = replicas(potential, 2)
    start = at_rest(structures)
    for restart, text in ((replace(start, step=101), "101 steps"), (at_rest([potential.structure] * 3), "(3, 3, 3)")):
        with pytest.raises(DataError) as caught:
            run_stage(engine("python"), potential, structures, NVE, start, lambda _: None, restart)
        assert text in str(caught.value)


def test_the_example_runs_a_model_without_densnet(tmp_path: Path) -> None:
    potential = ValencePotential.water()
    structures = replicas(potential, 8)
    BoundPotential(potential, structures).save_torchscript(tmp_path / "water.pt")
    program = (
        "import runpy, sys\n"
        "sys.modules['densnet_core'] = None\n"
        f"sys.argv = ['openmm_torchforce.py', 'water.pt']\n"
        f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    title, *rows = done.stdout.splitlines()
    assert title.startswith("H2O, 8 replicas")
    fields = [row.split() for row in rows]
    assert [int(row[0]) for row in fields] == list(range(100, 1001, 100))
    kinetic = np.array([float(row[3]) for row in fields])
    # 72 degrees of freedom at 300 K hold 89.8 kJ/mol; single values scatter by 17 %.
    assert abs(kinetic.mean() - 89.8) < 45.0
    assert all(0.0 < float(row[1]) < 180.0 for row in fields)


def test_an_energy_that_is_not_finite_is_found_although_the_forces_are() -> None:
    class Nameless(ValencePotential):
        def energies(self, positions: torch.Tensor) -> torch.Tensor:
            torn = 0.0 * (2.6 - self.lengths(positions.detach())).sqrt().sum(-1)
            return super().energies(positions) + torn

    potential = Nameless.water()
    structures = replicas(potential, 2)
    start = at_rest(structures)
    start.positions[1, 1] *= 1.8
    with pytest.raises(DenSNetError, match=r"step 0.*energy"):
        list(engine("torchforce").run(potential, structures, NVE, start))


def test_a_stage_is_written_to_a_trajectory_store(tmp_path: Path) -> None:
    potential = ValencePotential.water()
    structures = replicas(potential, 2)
    stage, start = replace(NVE, n_steps=40, record_every=2), shaken(structures, 500.0)
    whole = joined(list(engine("torchforce").run(potential, structures, stage, start)))
    with TrajectoryStore.create(tmp_path / "nve.zarr", structures[0], 2, stage, {}) as store:
        blocks = engine("torchforce").run(potential, structures, stage, start, Recording(5))
        store.append(next(blocks))
    with TrajectoryStore.open(tmp_path / "nve.zarr", writable=True) as store:
        run_stage(engine("torchforce"), potential, structures, stage, start, store.append, store.restart())
    with TrajectoryStore.open(tmp_path / "nve.zarr") as store:
        np.testing.assert_array_equal(store.steps, whole.steps)
        np.testing.assert_allclose(store.positions(), whole.positions, atol=1e-6)
