"""The standard model learns responses to a field from stores; polarizabilities against PySCF's on unseen geometries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from densnet_pyscf.backend import PySCFBackend
from densnet_pyscf.config import PySCFOptions

from densnet_core.cli.app import run as cli
from densnet_core.config.load import load_config
from densnet_core.errors import DataError, InputError
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.fields import in_field
from densnet_core.reference.config import LocalExecutorOptions
from densnet_core.reference.level import LevelOfTheory
from densnet_core.reference.local import LocalExecutor
from densnet_core.reference.runner import BackendFactory
from densnet_core.stores.reference import ReferenceStore
from densnet_core.structures import Structure
from densnet_core.testing.reference import BENT
from densnet_core.units import BOHR_TO_ANGSTROM
from densnet_core.workflow.labels import label_into, open_store
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.run import Run
from densnet_core.workflow.stores import export_file, import_file, project_store

LEVEL = LevelOfTheory("HF", "6-31G")
RESPONSE = ("polarizability", "density_response")
FIELD = np.array([0.004, -0.006, 0.008])
TRAINING = """
schema = 1
output = "run"
[data]
stores = [{stores}]
[basis.even_tempered.O]
s = {{ smallest = 0.1, ratio = 3.0, count = 4 }}
p = {{ smallest = 0.1, ratio = 3.0, count = 4 }}
d = {{ smallest = 0.3, ratio = 3.0, count = 1 }}
[basis.even_tempered.H]
s = {{ smallest = 0.1, ratio = 3.0, count = 3 }}
p = {{ smallest = 0.2, ratio = 3.0, count = 2 }}
[density]
options = {{ response = true }}
backbone_options = {{ channels = 16, product_channels = 16 }}
[training]
train = 30
validation = 4
test = 6
batch_size = 5
density = {{ steps = 500 }}
energy = {{ steps = 150 }}
"""


def geometries(count: int, seed: int) -> list[Structure]:
    """Distorted and turned."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
        found.append(BENT.with_positions((BENT.positions + random.normal(scale=0.06, size=(3, 3))) @ turn.T))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``whole.zarr`` with responses, ``plain.zarr`` without."""
    path = tmp_path_factory.mktemp("response")
    factory = BackendFactory("densnet_pyscf.backend:PySCFBackend", LEVEL, properties=RESPONSE)
    executor = LocalExecutor(LocalExecutorOptions(workers=1))
    with open_store(path / "whole.zarr", factory, "pyscf") as store:
        label_into(store, factory, geometries(34, 0), executor)
    without = replace(factory, properties=())
    with open_store(path / "plain.zarr", without, "pyscf") as store:
        label_into(store, without, geometries(8, 1), executor)
    return path


def configured(folder: Path, *stores: str) -> Run:
    file = folder / "train.toml"
    file.write_text(TRAINING.format(stores=", ".join(f'"{name}"' for name in stores)))
    return Run(load_config(file), Reporter())


def test_polarizabilities_and_energies_in_fields_of_unseen_geometries(folder: Path) -> None:
    run = configured(folder, "whole.zarr", "plain.zarr")
    errors = run.do("evaluate")
    model = DenSNet.load(run.folder.model)
    with ReferenceStore.open(folder / "whole.zarr") as store:
        tensors = np.array([store.result(i, labels=["polarizability"]).polarizability for i in range(len(store))])
    # Eigenvalues do not know that the frames are turned: how much they vary is what a constant model would miss.
    spread = float(np.linalg.eigvalsh(tensors).std(axis=0).mean()) * BOHR_TO_ANGSTROM**3
    assert (errors["polarizability"]["frames"], errors["density"]["frames"]) == (5, 6)  # those that have it
    assert errors["polarizability"]["mae_angstrom3"] < 0.25 * spread
    assert 0.01 < spread < 0.2

    for one in geometries(3, 2):
        plain = PySCFBackend(LEVEL).compute(one, ("polarizability",))
        (found,) = model.predict([one])
        np.testing.assert_allclose(found.polarizability, plain.polarizability, atol=0.15)
        np.testing.assert_allclose(found.polarizability, found.polarizability.T, atol=1e-5)
        # What the field does to the energy, against the same calculation in the field.
        shift = PySCFBackend(LEVEL, PySCFOptions(electric_field=FIELD.tolist())).compute(one).energy - plain.energy
        first, second = (in_field(model, FIELD, order=order).predict([one])[0].energy for order in (1, 2))
        assert second - found.energy == pytest.approx(shift, abs=1e-4)
        assert abs(second - found.energy - shift) < 0.5 * abs(first - found.energy - shift)


def test_an_archive_carries_them(folder: Path, tmp_path: Path) -> None:
    export_file(folder / "whole.zarr", tmp_path / "frames.npz", small=True)
    import_file(tmp_path / "frames.npz", tmp_path / "again.zarr", str(LEVEL), "pyscf")
    with ReferenceStore.open(folder / "whole.zarr") as one, ReferenceStore.open(tmp_path / "again.zarr") as other:
        for index in range(len(one)):
            first = one.result(index)
            second = other.result(other.index_of(one.structure(index).content_hash()))
            np.testing.assert_array_equal(second.polarizability, first.polarizability)
            np.testing.assert_allclose(second.response, first.response, atol=1e-5)
            assert np.abs(first.response).max() > 0.1
    with np.load(tmp_path / "frames.npz") as file:
        arrays = dict(file)
    other_units = {**arrays, "polarizability_au": arrays["polarizability_au"] * 0.148185}  # cubic angstrom
    np.savez(tmp_path / "units.npz", **other_units)
    import_file(tmp_path / "units.npz", tmp_path / "units.zarr", str(LEVEL), "pyscf")
    with pytest.raises(DataError, match=r"Frame \d+ .* of 0\.\d+ bohr\^3 .* first-order orbitals have \d"):
        project_store(tmp_path / "units.zarr", "def2-universal-jfit", "coulomb", Reporter(), "density_response")
    project_store(tmp_path / "again.zarr", "def2-universal-jfit", "coulomb", Reporter(), "density_response")
    arrays["polarizability_au"][3, 0, 1] += 0.5
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(DataError, match=r"frame 3: polarizability_au is not symmetric"):
        import_file(tmp_path / "wrong.npz", tmp_path / "wrong.zarr", str(LEVEL), "pyscf")
    del arrays["mo_coeff_occupied"]
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(DataError, match="mo_response_au belongs to mo_coeff_occupied"):
        import_file(tmp_path / "wrong.npz", tmp_path / "wrong.zarr", str(LEVEL), "pyscf")


def test_labels_that_nobody_computes_are_missed_before_the_first_calculation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "water.xyz").write_text("3\n\nO 0 0 0\nH 0 0.76 0.59\nH 0 -0.76 0.59\n")
    lines = ["schema = 1", "[system]", 'geometry = "water.xyz"', "[reference]", 'method = "PBE"', 'basis = "def2-SVP"']
    lines += ["PROPERTIES", "[basis]", 'name = "densnet-s"', "[density]", "options = { response = true }"]
    file = tmp_path / "run.toml"
    for properties, code in (("", 2), ('properties = ["density_response"]', 0)):
        file.write_text("\n".join(lines).replace("PROPERTIES", properties))
        assert cli(["config", "check", str(file)]) == code
        assert ('[reference] properties = ["polarizability", "density_response"]' in capsys.readouterr().err) == bool(
            code
        )


def test_a_model_of_responses_needs_some(folder: Path) -> None:
    with pytest.raises(InputError, match=r"predicts 'density_response', and no training frame has one.*properties"):
        configured(folder, "plain.zarr").do("train")
