"""Shipped models by their names: in Python, on the command line, in a configuration, and in engines."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from densnet_models.plugin import SUMMARIES
from densnet_openmm.config import OpenMMOptions
from densnet_openmm.engine import OpenMMEngine

import densnet_core
from densnet_core.cli.app import run
from densnet_core.config.dynamics import MDSection
from densnet_core.config.load import load_config, select
from densnet_core.errors import CodeChangedWarning, DataError, InputError, PluginError
from densnet_core.graphs.graph import graph_of
from densnet_core.plugins.manager import Manager
from densnet_core.plugins.registry import load_registry
from densnet_core.potentials.choice import NetworkChoice
from densnet_core.potentials.densnet import DenSNet
from densnet_core.potentials.shipped import CHECKS, ShippedModel, model_path
from densnet_core.stores.molecules import structure_from
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.structures import Structure
from densnet_core.training.train import check_start
from densnet_core.workflow.dynamics import heat_and_run
from densnet_core.workflow.keys import start_path
from densnet_core.workflow.learning import network_choices
from densnet_core.workflow.reporter import Reporter
from densnet_core.workflow.shipping import model_cards, pack

SYSTEMS = Path(__file__).parents[2] / "science" / "systems"
WATER = SYSTEMS.parents[1] / "examples" / "water" / "water.xyz"
LABELS = SYSTEMS / "water" / "labels-2.npz"


@pytest.fixture(scope="module")
def water():
    return densnet_core.load_model("water")


def test_the_front_door_knows_the_names_of_shipped_models(water):
    (molecule,) = densnet_core.read_structures(WATER)
    (prediction,) = water.predict([molecule])
    assert water.document["name"] == "water"
    assert np.linalg.norm(prediction.dipole) * 2.5417 == pytest.approx(1.80, abs=0.03)  # PBE/aug-cc-pVDZ


def test_a_shipped_model_does_not_complain_of_newer_code():
    with warnings.catch_warnings():
        warnings.simplefilter("error", CodeChangedWarning)
        DenSNet.load("water")


def test_a_model_in_the_folder_comes_before_the_shipped_one_of_its_name(tmp_path, monkeypatch, water):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "water").mkdir()  # a folder of something else
    assert model_path("water").name == "water.zip"
    shutil.rmtree(tmp_path / "water")
    water.save(tmp_path / "water")
    assert model_path("water") == Path("water")


def test_a_name_that_nobody_knows_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"none of this name is shipped\. Did you mean 'water'"):
        DenSNet.load("watr")


def test_a_path_is_never_taken_for_a_name(tmp_path):
    for path in (tmp_path / "water", Path("runs/water"), Path("water.zip")):
        assert model_path(path) == path


def test_a_known_model_that_is_not_installed_comes_with_its_install_line():
    bare = Manager(load_registry(), {"DENSNET_PLUGINS": "densnet-gaunt"})
    with pytest.raises(PluginError, match="densnet-models"):
        model_path("water", bare)
    cards, problems = model_cards(bare)
    assert cards == []
    assert len(problems) == len(SUMMARIES)
    assert all("densnet-models" in one for one in problems)


def test_the_list_has_the_errors_of_every_molecule(capsys):
    assert run(["models", "--json"]) == 0
    (water,) = [one for one in json.loads(capsys.readouterr().out) if one["name"] == "water"]
    errors = water["held_out"]["H2O"]
    assert errors["frames"] == 30
    # Worse than what docs/models.md says by a factor of two is another model.
    assert errors["forces_mae_mev_per_angstrom"] < 3.0
    assert errors["dipole_mae_debye"] < 0.003
    assert water["training_frames"] == 160
    assert run(["models"]) == 0
    table = capsys.readouterr().out
    for text in ("water", "H2O", "PBE/aug-cc-pVDZ"):
        assert text in table


def test_the_list_needs_no_torch():
    code = (
        "import sys; from densnet_core.workflow.shipping import model_cards\n"
        "cards, problems = model_cards(); assert cards and not problems, problems\n"
        "print([m for m in ('torch', 'zarr') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_a_package_that_is_missing_or_broken_is_told_and_the_others_are_listed(tmp_path, monkeypatch):
    from densnet_models import packages

    class Broken(ShippedModel):
        @classmethod
        def path(cls):
            (tmp_path / "broken.zip").write_bytes(b"\x80\x04not a model")
            return tmp_path / "broken.zip"

    monkeypatch.setattr(packages, "Ethanol", Broken)
    monkeypatch.setattr(packages.Ethanethiol, "file", "nowhere.zip")
    cards, problems = model_cards()
    assert [card["name"] for card in cards] == sorted(set(SUMMARIES) - {"ethanol", "ethanethiol"})
    assert len(problems) == 2
    for text in ("pickle", "install the distribution again"):
        assert any(text in one for one in problems)


def test_verbs_take_the_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(WATER, tmp_path / "molecule.xyz")
    assert run(["predict", "water", "molecule.xyz", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["level_of_theory"] == "PBE/aug-cc-pVDZ"
    assert found["frames"][0]["electron_count"] == pytest.approx(10.0, abs=1e-8)
    short = ["--ps", "0.01", "--heating-ps", "0.01", "--replicas", "1", "--engine", "torch"]
    assert run(["md", "water", "molecule.xyz", *short]) == 0
    assert (tmp_path / "molecule-md" / "md" / "nve.zarr").is_dir()
    capsys.readouterr()
    assert run(["vibrations", "water", "molecule.xyz", "--json"]) == 0
    frequencies = [mode["wavenumber_per_cm"] for mode in json.loads(capsys.readouterr().out)["modes"]]
    assert frequencies == pytest.approx([1585, 3689, 3802], abs=8)  # PBE/aug-cc-pVDZ


def test_a_training_starts_from_a_name_unless_a_file_beside_it_has_it(tmp_path, water):
    text = '[training]\nfrom = "water"\n'
    config = tmp_path / "run.toml"
    config.write_text(f'schema = 1\n[data]\nfiles = ["{LABELS}"]\nlevel = "PBE/aug-cc-pVDZ"\n{text}')
    (tmp_path / "water").mkdir()  # of something else
    assert load_config(config).training.start == Path("water")
    assert start_path(load_config(config).training) == model_path("water")
    shutil.rmtree(tmp_path / "water")
    water.save(tmp_path / "water")
    assert start_path(load_config(config).training) == tmp_path / "water"


def test_a_shipped_model_made_before_an_option_came_is_a_start_and_one_of_other_networks_is_not(tmp_path, water):
    config = tmp_path / "run.toml"
    text = f'schema = 1\n[data]\nfiles = ["{LABELS}"]\nlevel = "PBE/aug-cc-pVDZ"\n[basis]\nname = "densnet-l"\n'
    config.write_text(text + '[training]\nfrom = "water"\n')
    check_start(water, network_choices(select(load_config(config))), water.specification)
    config.write_text(text + "[density.backbone_options]\nchannels = 16\n")
    with pytest.raises(InputError, match="another density network"):
        check_start(water, network_choices(select(load_config(config))), water.specification)


@pytest.mark.filterwarnings("ignore::densnet_core.errors.CodeChangedWarning")  # of a folder, which is not shipped
def test_packing_takes_out_paths_and_refuses_what_cannot_be_checked(tmp_path, water, capsys):
    store = tmp_path / "water.zarr"
    assert run(["data", "import", str(LABELS), str(store), "--level", "PBE/aug-cc-pVDZ"]) == 0
    water.document["stores"] = [{"path": str(store)}]
    del water.document[CHECKS]
    water.save(tmp_path / "model")
    pack(tmp_path / "model", store, tmp_path / "mine.zip", "mine")
    mine = DenSNet.load(tmp_path / "mine.zip")
    assert mine.document["stores"] == [{"path": "water.zarr"}]
    assert mine.document["name"] == "mine"
    seen = set(mine.document["training_frames"])
    checks = [structure_from(one["structure"]).content_hash().hex() for one in mine.document[CHECKS]]
    assert len(checks) == 3
    assert not seen & set(checks)
    with pytest.raises(InputError, match="suffix"):
        pack(tmp_path / "model", store, tmp_path / "mine", "mine")
    water.document["metrics"] = {}
    water.save(tmp_path / "model")
    with pytest.raises(InputError, match="held-out"):
        pack(tmp_path / "model", store, tmp_path / "mine.zip", "mine")


def test_other_outputs_are_recorded_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(WATER, tmp_path / "molecule.xyz")
    command = ["md", "water", "molecule.xyz", "--ps", "0.01", "--heating-ps", "0", "--replicas", "2"]
    names = ["charges", "polarizability", "coefficients"]
    assert run([*command, *(word for name in names for word in ("--record", name))]) == 0
    model = densnet_core.load_model("water")
    with TrajectoryStore.open(tmp_path / "molecule-md" / "md" / "nve.zarr") as store:
        assert store.observable_names() == sorted([*names, "dipole"])
        assert store.observable_unit("polarizability") == "bohr^3"
        structures = [replace(store.structure, positions=one) for one in store.positions()[-1]]
        last = {name: store.observable(name)[-1] for name in names}
    expected = model.evaluate(graph_of(structures), names)
    for name in names:
        assert last[name].shape == expected[name].shape
        np.testing.assert_allclose(last[name], expected[name], atol=1e-6, err_msg=name)
    capsys.readouterr()
    assert run([*command, "--record", "magnetisation"]) == 2
    assert "the model gives no magnetisation; it gives charges, coefficients" in capsys.readouterr().err
    engine = OpenMMEngine(OpenMMOptions(force="torchforce"))
    with pytest.raises(InputError, match="does not record charges by the call that gives the forces"):
        heat_and_run(
            MDSection(engine="openmm", record=["charges"]), engine, model, structures[0],
            (tmp_path / "a.zarr", tmp_path / "b.zarr"), {}, Reporter(),
        )  # fmt: skip


def test_a_model_without_a_geometry_and_options_of_a_model_for_a_configuration_are_refused(capsys):
    assert run(["md", "water"]) == 2
    assert "name the geometry too" in capsys.readouterr().err
    assert run(["md", str(WATER.with_suffix(".toml")), "--ps", "50"]) == 2
    assert "is set in [md]" in capsys.readouterr().err


def test_what_is_asked_for_in_the_wrong_place_is_told_where_it_belongs(tmp_path, capsys, water):
    config = WATER.with_suffix(".toml")
    assert run(["train", str(config), "--steps", "10"]) == 2
    assert "--steps and --output are for --data" in capsys.readouterr().err
    assert run(["predict", "water", str(WATER), "--properties", "dipole"]) == 2
    assert "dipole is always given" in capsys.readouterr().err
    assert run(["plugins", "check", "watr"]) == 2
    assert "There is no component 'watr'. Did you mean 'water'" in capsys.readouterr().err
    (molecule,) = densnet_core.read_structures(WATER)
    assert len(repr(water.predict([molecule])[0])) < 1000  # no coefficients in a notebook
    for wrong in (molecule, [WATER]):
        with pytest.raises(InputError, match=r"predict takes a list of structures, not (Structure|list)"):
            water.predict(wrong)
        with pytest.raises(InputError, match="densities takes a list of structures"):
            water.densities(wrong)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensor: tensor * float("nan"), "is not finite"),
        (lambda tensor: tensor.to(torch.float16), "has the precision torch.float16"),
    ],
)
def test_damaged_weights_are_refused(tmp_path, water, change, says):
    """And not computed with."""
    copy = DenSNet.load(model_path("water"))
    parameter = next(copy.energy.parameters())
    parameter.data = change(parameter.data)
    copy.save(tmp_path / "model")
    with pytest.raises(DataError, match=says):
        DenSNet.load(tmp_path / "model")


def test_a_refused_output_and_a_senseless_cube_touch_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(WATER, tmp_path / "molecule.xyz")
    command = ["md", "water", "molecule.xyz", "--ps", "0.01", "--heating-ps", "0", "--replicas", "1"]
    assert run(command) == 0
    before = sorted((tmp_path / "molecule-md" / "md").iterdir())
    assert run([*command, "--record", "nothing"]) == 2
    assert sorted((tmp_path / "molecule-md" / "md").iterdir()) == before
    capsys.readouterr()
    for spacing in ("nan", "inf", "1e-9", "1e-300"):
        assert run(["predict", "water", "molecule.xyz", "--cube", "a.cube", "--spacing", spacing]) == 2
        assert "spacing" in capsys.readouterr().err
    assert not (tmp_path / "a.cube").exists()
    with pytest.raises(InputError, match="Atomic numbers must be whole"):
        Structure(np.array([8.7, 1.2]), np.eye(2, 3))


def test_a_malformed_package_of_another_distribution_hides_no_other(tmp_path, monkeypatch):
    from densnet_models import packages

    class Malformed(ShippedModel):
        @classmethod
        def path(cls):
            (tmp_path / "bad").mkdir(exist_ok=True)
            (tmp_path / "bad" / "model.json").write_text('{"metrics": {"held_out": null}, "basis": null}')
            return tmp_path / "bad"

    class Nameless(ShippedModel):
        pass

    monkeypatch.setattr(packages, "Ethanol", Malformed)
    monkeypatch.setattr(packages, "Ethanethiol", Nameless)
    cards, problems = model_cards()
    assert [card["name"] for card in cards] == sorted(set(SUMMARIES) - {"ethanol", "ethanethiol"})
    assert [one.partition(":")[0] for one in problems] == ["ethanethiol", "ethanol"]


def test_stores_of_one_name_stay_two_without_their_paths():
    from densnet_core.workflow.shipping import _without_paths

    stores = {"/a/labels.zarr": 1, "/b/labels.zarr": 2, "../c/labels.zarr": 3}
    assert _without_paths(stores) == {"labels.zarr": 1, "labels.zarr (2)": 2, "labels.zarr (3)": 3}
    assert _without_paths(["PBE/aug-cc-pVDZ", {"path": "/x/y"}]) == ["PBE/aug-cc-pVDZ", {"path": "y"}]


def test_an_interaction_that_begins_beyond_the_networks_reach_is_refused(water):
    choice = NetworkChoice("shared", None, {"long_range": "coulomb", "long_range_angstrom": 6.0})
    with pytest.raises(InputError, match="Give a smaller distance"):
        choice.build("energy_model", water.specification, density=water.density)
