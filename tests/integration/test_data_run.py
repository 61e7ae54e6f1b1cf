"""One model from several stores and a file: other molecules, charges, missing labels; through the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from densnet_core.basis.molecular import MolecularBasis
from densnet_core.cli.app import run
from densnet_core.config import load_config
from densnet_core.datasets.drawing import Draws
from densnet_core.density.prior import AtomicPrior
from densnet_core.errors import InputError
from densnet_core.potentials.densnet import DenSNet
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.extxyz import write_extxyz
from densnet_core.stores.labels import partial_result
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import read_split, split_store
from densnet_core.stores.verify import verify
from densnet_core.structures import Structure, write_xyz
from densnet_core.testing.reference import BENT, HYDROXIDE
from densnet_core.workflow.labels import fit_name
from densnet_core.workflow.learning import _dataset, _fitted
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.run import Run
from densnet_core.workflow.stages.train import network_keys
from densnet_core.workflow.stores import backend_factory

LEVEL = LevelOfTheory("HF", "STO-3G")
CONFIG = """
schema = 1
output = "out"
[data]
stores = ["water.zarr", "hydroxide.zarr"]
files = ["forces.xyz"]
level = "HF/STO-3G"
[basis.even_tempered.O]
s = { smallest = 0.2, ratio = 3.0, count = 4 }
p = { smallest = 0.2, ratio = 3.0, count = 3 }
[basis.even_tempered.H]
s = { smallest = 0.2, ratio = 3.0, count = 3 }
p = { smallest = 0.5, ratio = 3.0, count = 1 }
[density.backbone_options]
channels = 8
product_channels = 8
[training]
train = 6
validation = 1
test = 1
batch_size = 6
density = { steps = 30, learning_rate = 1e-2, validate_every = 15 }
energy = { steps = 30, learning_rate = 1e-2, validate_every = 15 }
"""


def moved(structure: Structure, count: int, seed: int) -> list[Structure]:
    random = np.random.default_rng(seed)
    shape = structure.positions.shape
    return [structure.with_positions(structure.positions + random.normal(0.0, 0.06, shape)) for _ in range(count)]


def make_store(path: Path, structures: Sequence[Structure], level: LevelOfTheory = LEVEL) -> None:
    """Frames with all labels, but for the dipole of the first, and the density of the second, of a neutral molecule."""
    factory = backend_factory("pyscf", level)
    with ReferenceStore.create(path, level, "pyscf", {}) as store:
        store.set_orbital_basis(factory.make().orbital_basis(structures[0].numbers))
        for index, structure in enumerate(structures):
            result = factory.compute(structure)
            labels = {name: getattr(result, name) for name in ("energy", "forces", "dipole", "orbitals", "occupations")}
            if index == 0 and structure.charge == 0:
                del labels["dipole"]
            if index == 1 and structure.charge == 0:
                del labels["orbitals"], labels["occupations"]
            store.append([(structure, partial_result(labels))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_store(folder / "water.zarr", moved(BENT, 8, 1))
    make_store(folder / "hydroxide.zarr", moved(HYDROXIDE, 8, 2))
    with ReferenceStore.open(folder / "hydroxide.zarr", writable=True) as store:
        split_store(store, {"train": 4, "validation": 1, "test": 2}, 5)
    factory = backend_factory("pyscf", LEVEL)
    computed = [(structure, factory.compute(structure)) for structure in moved(BENT, 8, 3)]
    with (folder / "forces.xyz").open("w") as out:
        write_extxyz(out, [(s, partial_result({"energy": r.energy, "forces": r.forces})) for s, r in computed], {})
    (folder / "run.toml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> tuple[Path, str, str]:
    """The folder, and what the training printed."""
    import contextlib
    import io

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert run(["train", str(folder / "run.toml")]) == 0, err.getvalue()
    return folder, out.getvalue(), err.getvalue()


def test_held_out_errors_are_those_of_each_store_and_formula(trained: tuple[Path, str, str]) -> None:
    folder, told, _ = trained
    record = json.loads((folder / "out" / "model" / "model.json").read_text())
    record = record.get("document", record)
    held_out = record["metrics"]["held_out"]
    by_name = {Path(path).name.split("-")[0]: errors for path, errors in held_out["stores"].items()}
    assert {name: errors["frames"] for name, errors in by_name.items()} == {
        "water.zarr": 1, "hydroxide.zarr": 2, "forces": 1,
    }  # fmt: skip
    assert {name: errors["frames"] for name, errors in held_out["formulas"].items()} == {"H2O": 2, "HO-": 2}
    assert "density" not in by_name["forces"]
    assert np.isfinite(by_name["forces"]["forces"]["rmse_mev_per_angstrom"])
    assert by_name["hydroxide.zarr"]["density"]["frames"] == 2
    assert by_name["hydroxide.zarr"]["density"]["electron_count_max_error"] < 1e-6
    assert json.loads((folder / "out" / "evaluation.json").read_text()) == held_out
    for of in ("water.zarr", "hydroxide.zarr", "HO-"):
        assert f"{of}" in told
    assert [one["frames"] for one in record["stores"]] == [
        {"train": 6, "validation": 1, "test": 1},
        {"train": 4, "validation": 1, "test": 2},
        {"train": 6, "validation": 1, "test": 1},
    ]


def test_what_a_store_holds_out_is_never_learned(trained: tuple[Path, str, str]) -> None:
    folder, _, told = trained
    model = DenSNet.load(folder / "out" / "model")
    learned = set(model.document["training_frames"])
    with ReferenceStore.open(folder / "hydroxide.zarr") as store:
        split = read_split(store)
        assert split is not None
        assert not learned & set(split["test"])
        assert len(learned & {content.hex() for content in store.hashes}) == 5
    assert "1 frames of" in told.replace("\n", " ")
    assert model.specification.states == ((-1, 1), (0, 1))


def test_all_densities_are_differences_to_the_same_atoms(trained: tuple[Path, str, str]) -> None:
    folder = trained[0]
    model = DenSNet.load(folder / "out" / "model")
    name = fit_name(model.specification.label_basis, model.label_method)
    for path in ("water.zarr", "hydroxide.zarr"):
        with ReferenceStore.open(folder / path) as store:
            assert AtomicPrior.from_dict(store.fit(name).prior).difference(model.prior) < 1e-12
    with ReferenceStore.open(folder / "water.zarr") as store:
        assert store.fit(name).gaps == [1]  # the frame without orbitals
    assert verify(folder / "water.zarr") == []


def test_a_store_without_densities_is_evaluated_as_it_is(
    trained: tuple[Path, str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    out = trained[0] / "out"
    [path] = (out / "reference").glob("forces-*.zarr")
    assert run(["evaluate", str(out / "model"), str(path), "--json"]) == 0
    record = json.loads(capfd.readouterr().out)
    assert record["frames"] == 1
    assert "density" not in record
    with ReferenceStore.open(path) as store:
        assert store.fit_names() == []


def test_a_model_says_which_program_its_guess_is_for(trained: tuple[Path, str, str], tmp_path: Path) -> None:
    """[data] names no backend: the stores do."""
    write_xyz(tmp_path / "water.xyz", [BENT])
    model, guess = str(trained[0] / "out" / "model"), tmp_path / "guess.npz"
    assert run(["predict", model, str(tmp_path / "water.xyz"), "--scf-guess", str(guess)]) == 0
    made = np.load(guess)
    functions = backend_factory("pyscf", LEVEL).make().orbital_basis(BENT.numbers)
    assert made["density_matrix"].shape == (MolecularBasis(functions, BENT.numbers).n_functions,) * 2
    assert (str(made["method"]), str(made["basis"])) == (LEVEL.method, LEVEL.basis)


def test_weights_of_stores_decide_what_is_drawn_and_which_training_it_is(trained: tuple[Path, str, str]) -> None:
    folder = trained[0]
    weights = 'weights = { "hydroxide.zarr" = 1, "water.zarr" = 2, "forces.xyz" = 1 }\n[basis.even_tempered.O]'
    (folder / "weighed.toml").write_text(CONFIG.replace("[basis.even_tempered.O]", weights))
    plain, weighed = (Run(load_config(folder / name)) for name in ("run.toml", "weighed.toml"))
    density, other = (network_keys(run.key("train")[1])["density"] for run in (plain, weighed))
    assert density != other
    _, fits = _fitted(weighed)
    data, validation = (_dataset(weighed, part, ["energy"], fits) for part in ("train", "validation"))
    assert _dataset(plain, "train", ["energy"], fits).shares is None
    assert validation.shares is None
    assert data.shares is not None
    assert data.shares.weights == (2.0, 1.0, 1.0)  # in the order of stores, then files
    drawn = Draws(np.arange(len(data)), 4, 0, data.shares)
    parts = [int(data.shares.part[i]) for step in range(10) for i in drawn.of_step(step)]
    assert [parts.count(part) for part in range(3)] == [20, 10, 10]


def test_the_second_time_everything_is_current(trained: tuple[Path, str, str]) -> None:
    class Said(Reporter):
        def __init__(self) -> None:
            self.current: list[str] = []
            self.started: list[str] = []

        def stage_current(self, stage: str) -> None:
            self.current.append(stage)

        def stage_started(self, stage: str, summary: str) -> None:
            self.started.append(stage)

    weights = trained[0] / "out" / "model" / "weights.safetensors"
    before, said = weights.stat().st_mtime_ns, Said()
    record = Run(load_config(trained[0] / "run.toml"), said).do("evaluate")
    assert (said.current, said.started) == (["imports", "train", "evaluate"], [])
    assert weights.stat().st_mtime_ns == before
    assert record["frames"] == 4


def test_a_fit_to_other_atoms_is_made_again_beside_it(trained: tuple[Path, str, str], tmp_path: Path) -> None:
    """The prior of a model trained at another level would do; a fit to it is no label of this one."""
    folder = trained[0]
    model = DenSNet.load(folder / "out" / "model")
    make_store(tmp_path / "water.zarr", moved(BENT, 4, 1))
    make_store(tmp_path / "hydroxide.zarr", moved(HYDROXIDE, 4, 2))
    basis, method = model.specification.label_basis, model.label_method
    shells = {z: model.prior.basis.shells(1) for z in (1, 8)}  # hydrogen's shape for all
    other = AtomicPrior(type(model.prior.basis)("other", shells))
    assert 0.1 < other.difference(model.prior) < 2.0
    with ReferenceStore.open(tmp_path / "hydroxide.zarr", writable=True) as store:
        store.create_fit(fit_name(basis, method), basis, method.metric, other.to_dict(), method.constraints)
    with ReferenceStore.open(tmp_path / "water.zarr", writable=True) as store:
        store.create_fit(fit_name(basis, method), basis, method.metric, model.prior.to_dict(), method.constraints)
    text = CONFIG.replace('files = ["forces.xyz"]\n', "").replace("steps = 30", "steps = 2")
    (tmp_path / "run.toml").write_text(text)
    Run(load_config(tmp_path / "run.toml")).do("train")
    with ReferenceStore.open(tmp_path / "hydroxide.zarr") as store:
        assert len(store.fit_names()) == 2
        made = {name: store.fit(name) for name in store.fit_names()}
        assert len(made.pop(fit_name(basis, method))) == 0
        [fit] = made.values()
        assert len(fit) == 4
        assert AtomicPrior.from_dict(fit.prior).difference(model.prior) < 1e-12


def test_stores_of_two_levels_are_refused_with_the_reason(folder: Path, tmp_path: Path) -> None:
    make_store(tmp_path / "other.zarr", moved(BENT, 3, 4), LevelOfTheory("PBE", "STO-3G"))
    text = CONFIG.replace('"water.zarr", "hydroxide.zarr"', f'"{folder}/water.zarr", "other.zarr"')
    (tmp_path / "run.toml").write_text(text.replace('files = ["forces.xyz"]\n', ""))
    with pytest.raises(
        InputError, match=r"HF/STO-3G and .*other\.zarr holds PBE/STO-3G.*no model here takes the level"
    ):
        Run(load_config(tmp_path / "run.toml")).check("train")


def test_frames_of_another_level_are_learned_first_but_those_that_are_held_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cheap store has the geometries of the run too: its test frames, and a turned copy of one, are left out."""
    with ReferenceStore.open(folder / "hydroxide.zarr") as store:
        held_out = read_split(store)["test"]
        own = [store.structure(index) for index in range(len(store))]
        tested = store.structure(store.index_of(bytes.fromhex(held_out[0])))
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned = tested.with_positions(tested.positions @ turn.T + 1.0)
    make_store(tmp_path / "cheap.zarr", [*own, turned], LevelOfTheory("SVWN", "STO-3G"))
    text = CONFIG[: CONFIG.index("density = {")].replace('files = ["forces.xyz"]\n', "")
    text = text.replace('"water.zarr", "hydroxide.zarr"', f'"{folder}/hydroxide.zarr"').replace("HF/STO-3G", "")
    text = text.replace('level = ""\n', "")
    stages = 'pretraining = { stores = ["cheap.zarr"], steps = 4 }\ndensity = { steps = 2 }\nenergy = { steps = 2 }\n'
    (tmp_path / "run.toml").write_text(text + stages)
    assert run(["train", str(tmp_path / "run.toml")]) == 0
    assert "3 frames of" in capsys.readouterr().err
    record = json.loads((tmp_path / "out" / "model" / "model.json").read_text())
    [cheap] = record.get("document", record)["pretraining"]
    assert (cheap["level_of_theory"], cheap["frames"]) == ("SVWN/STO-3G", 6)
    atoms = DenSNet.load(tmp_path / "out" / "model").energy.element_energies
    assert sum(atoms[z] for z in (1, 8)) == pytest.approx(-74.1, abs=0.6)  # of HF, not of SVWN
    (tmp_path / "run.toml").write_text((text + stages).replace("cheap.zarr", "none.zarr"))
    assert run(["config", "check", str(tmp_path / "run.toml")]) == 2
    assert "none.zarr" in capsys.readouterr().err


def test_stages_that_need_a_molecule_say_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["md", str(folder / "run.toml")]) == 2
    assert "this needs a molecule" in capsys.readouterr().err
    assert run(["config", "check", str(folder / "run.toml")]) == 0
    assert "24 frames of 3 stores, HF/STO-3G" in capsys.readouterr().out
