"""Heating, even start, production and spectrum of a valence force field; engines that record dipoles and not."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
import torch
from densnet_openmm.config import OpenMMOptions
from densnet_openmm.engine import OpenMMEngine
from torch import Tensor

from densnet_core.config.dynamics import MDSection, SpectrumSection
from densnet_core.errors import InputError
from densnet_core.graphs.graph import Graph
from densnet_core.md.base import MDEngine, Recording
from densnet_core.md.batched import TorchEngine
from densnet_core.stores.dynamics import MDStage
from densnet_core.stores.trajectory import DIPOLES, TrajectoryStore
from densnet_core.stores.verify import verify
from densnet_core.testing.md import at_rest
from densnet_core.testing.potentials import ValencePotential
from densnet_core.workflow.dynamics import heat_and_run
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.spectra import SpectrumFiles, spectrum_of_stores
from densnet_core.workflow.thermal import HARMONIC, START, model_harmonic
from densnet_core.workflow.weighted import Weighted

MD = MDSection(temperature=200.0, nvt_ps=1.0, nve_ps=2.6, replicas=8, seed=4)
DIPOLE = Recording(outputs=("dipole",))
SPECTRUM = SpectrumSection(resolution=25.0)


def trajectory(folder: Path, engine: MDEngine, md: MDSection = MD) -> Path:
    potential = ValencePotential.water()
    paths = folder / "nvt.zarr", folder / "nve.zarr"
    heat_and_run(md, engine, potential, potential.structure, paths, {"engine": "test"}, Reporter())
    return paths[1]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trajectory(tmp_path_factory.mktemp("torch"), TorchEngine())


def spectrum(path: Path) -> dict[str, object]:
    files = SpectrumFiles.of(path.with_name("s"))
    record = spectrum_of_stores([Weighted(path)], SPECTRUM, None, files, Reporter())
    assert files.picture.read_bytes().startswith(b"\x89PNG")
    assert files.page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "standard_error_km_cm_per_mol" in json.loads(files.record.read_text())
    return record


def test_temperature_and_intensities_are_those_asked_for(recorded: Path) -> None:
    record = spectrum(recorded)
    assert record["dynamics"]["vibrational_temperature_kelvin"] == pytest.approx(200.0, rel=0.03)
    assert record["assignment"]["lines_of"] == "model_harmonic"
    assert "harmonic" not in record
    rows = record["assignment"]["rows"]
    assert [mode for row in rows for mode in row["modes"]] == [0, 1, 2]
    for row in rows:
        allowed = max(0.15, 2.0 * row["standard_error_km_per_mol"] / row["harmonic_intensity_km_per_mol"])
        assert row["intensity_ratio"] == pytest.approx(1.0, abs=allowed)
    assert rows[0]["standard_error_km_per_mol"] < 0.1 * rows[0]["intensity_km_per_mol"]


def test_the_trajectory_says_with_what_it_started(recorded: Path) -> None:
    potential = ValencePotential.water()
    with TrajectoryStore.open(recorded) as store:
        start, harmonic = store.read_document(START), store.read_document(HARMONIC)
    assert start["mode_temperatures_kelvin"] == pytest.approx([200.0] * 3, rel=0.06)
    assert np.shape(start["mode_kinetic_energies_ev"]) == (8, 3)
    assert start["piece_femtosecond"] == pytest.approx(124.0, abs=2.0)  # an eighth of the heating
    np.testing.assert_allclose(
        harmonic["hessian_hartree_per_bohr2"], model_harmonic(potential, potential.structure).hessian, atol=1e-6
    )
    assert verify(recorded) == []


def test_dipoles_are_recorded_by_the_call_of_the_forces(recorded: Path) -> None:
    with TrajectoryStore.open(recorded) as store:
        assert (store.observable_names(), store.array_names()) == (["dipole"], [])
        expected = np.einsum("a,frax->frx", ValencePotential.water().charges.numpy(), store.positions())
        np.testing.assert_allclose(store.dipoles(), expected, atol=1e-12)
    with TrajectoryStore.open(recorded.with_name("nvt.zarr")) as heating:
        assert heating.observable_names() == []


def test_an_engine_that_records_none_is_followed_by_the_computation(tmp_path: Path) -> None:
    engine = OpenMMEngine(OpenMMOptions(force="torchforce"))
    md = MD.model_copy(update={"nvt_ps": 0.1, "nve_ps": 0.2, "replicas": 2})
    path = trajectory(tmp_path, engine, md)
    with TrajectoryStore.open(path) as store:
        assert (store.observable_names(), store.array_names()) == ([], [DIPOLES])
        before = store.dipoles()
        assert np.isfinite(before).all()
        assert START in store.document_names()
    # Another engine goes on with it: recorded frames follow computed ones, and one array has them all.
    longer = md.model_copy(update={"nve_ps": 0.3})
    assert trajectory(tmp_path, TorchEngine(), longer) == path
    with TrajectoryStore.open(path) as store:
        assert (len(store), store.observable_names()) == (301, ["dipole"])
        assert store.dipoles()[: len(before)].tobytes() == before.tobytes()
        expected = np.einsum("a,frax->frx", ValencePotential.water().charges.numpy(), store.positions())
        np.testing.assert_allclose(store.dipoles(), expected, atol=1e-12)
    potential = ValencePotential.water()
    stage = MDStage("nve", 2, 10.0, 200.0, 0.0, 1, 0)
    with pytest.raises(InputError, match="OpenMMEngine records energies and no dipole; take the engine torch or ase"):
        list(engine.run(potential, [potential.structure], stage, at_rest([potential.structure]), DIPOLE))


def test_the_script_of_the_page(recorded: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[-1]
    assert "runs/water/md/nve.zarr" in program
    exec(compile(program.replace("runs/water/md/nve.zarr", str(recorded)), "docs/engines.md", "exec"), {})


def test_without_heating_nothing_is_made_even(tmp_path: Path) -> None:
    path = trajectory(tmp_path, TorchEngine(), MD.model_copy(update={"nvt_ps": 0.0, "nve_ps": 0.05, "replicas": 2}))
    with TrajectoryStore.open(path) as store:
        assert store.document_names() == []


class Rough(ValencePotential):
    """A potential whose forces are never small, as of a model outside its training data."""

    def evaluate(self, graph: Graph, outputs: Collection[str]) -> dict[str, Tensor]:
        found = super().evaluate(graph, outputs)
        if "forces" in found:
            found["forces"] = found["forces"] + 1e-3 * torch.sin(1e12 * graph.positions)
        return found


def test_a_molecule_whose_modes_are_not_found_starts_as_the_bath_left_it(tmp_path: Path) -> None:
    water = ValencePotential.water()
    potential = Rough(water.structure, [(0, 1, 0.1866, 1.21), (0, 2, 0.1866, 1.21)], [(1, 0, 2, 0.16)])
    told: list[str] = []

    class Told(Reporter):
        def note(self, text: str) -> None:
            told.append(text)

    md = MD.model_copy(update={"nvt_ps": 0.05, "nve_ps": 0.05, "replicas": 2})
    paths = tmp_path / "nvt.zarr", tmp_path / "nve.zarr"
    heat_and_run(md, TorchEngine(), potential, water.structure, paths, {}, Told())
    assert len([text for text in told if "modes of the model are not known" in text]) == 1
    with TrajectoryStore.open(paths[1]) as store:
        assert (len(store), store.document_names()) == (51, [])
