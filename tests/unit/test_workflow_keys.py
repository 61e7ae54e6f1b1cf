"""What the key of a stage depends on: whatever its result would change with, and nothing else."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from densnet_core.config import load_config
from densnet_core.errors import CodeChangedWarning
from densnet_core.plugins.component import Kind
from densnet_core.plugins.manager import get_manager
from densnet_core.potentials.densnet import DenSNet
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.splits import read_split, write_split
from densnet_core.structures import write_xyz
from densnet_core.workflow.keys import code_of, differences
from densnet_core.workflow.run import Run
from densnet_core.workflow.stages.train import network_keys

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example
from store_examples import reference_store
from test_states import PAIR, ion_pair
from test_training import SMALL

BASIS = """
[basis]
name = "densnet-s"
[training]
"""
CONFIG = """
schema = 1
output = "out"
[system]
geometry = "pair.xyz"
[reference]
backend = "pyscf"
method = "HF"
basis = "STO-3G"
"""
DATA = 'schema = 1\noutput = "out"\n[data]\nstores = ["frames.zarr"]\n'


def keys_of(folder: Path, extra: str = "") -> dict[str, str]:
    (folder / "pair.toml").write_text(CONFIG + extra)
    run = Run(load_config(folder / "pair.toml"))
    return {name: run.key(name)[0] for name in ("harmonic", "sample", "reference")}


def training_key(folder: Path, training: str = "") -> dict[str, str]:
    """Of the training as a whole, under "train", and of its parts."""
    (folder / "data.toml").write_text(DATA + BASIS + training)
    run = Run(load_config(folder / "data.toml"))
    key, parts = run.key("train")
    return {**network_keys(parts), "train": key}


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    reference_store(tmp_path / "frames.zarr")
    return tmp_path


def test_fragments_and_their_charges_are_part_of_every_key(tmp_path: Path) -> None:
    found = []
    for structure in (PAIR, ion_pair(-1, 1), replace(PAIR, fragments=())):
        write_xyz(tmp_path / "pair.xyz", [structure])
        found.append(keys_of(tmp_path))
    for name in found[0]:
        assert len({keys[name] for keys in found}) == 3, name
    write_xyz(tmp_path / "pair.xyz", [PAIR])
    assert keys_of(tmp_path) == found[0]


def test_labels_depend_on_no_basis_and_no_training(tmp_path: Path) -> None:
    write_xyz(tmp_path / "pair.xyz", [PAIR])
    assert keys_of(tmp_path) == keys_of(tmp_path, BASIS + "train = 7")


def test_the_model_to_start_from_is_part_of_the_key_of_the_training(frames: Path) -> None:
    found = [training_key(frames)]
    for seed in (1, 2):
        example.make_densnet(options=SMALL, seed=seed).save(frames / "start.zip")
        found.append(training_key(frames, 'from = "start.zip"'))
    for name in found[0]:
        assert len({keys[name] for keys in found}) == 3, name


@pytest.mark.parametrize(
    ("change", "is_another"), [("threads = 2", False), ('device = "cpu"', False), ("batch_size = 3", True)]
)
def test_where_a_training_runs_is_part_of_no_key(frames: Path, change: str, is_another: bool) -> None:
    assert (training_key(frames)["train"] != training_key(frames, change)["train"]) == is_another


def test_another_energy_network_leaves_the_density_network_as_it_is(frames: Path) -> None:
    plain, other = training_key(frames), training_key(frames, "energy = { steps = 7 }")
    assert [name for name in plain if plain[name] != other[name]] == ["energy", "joint", "train"]


def test_other_test_frames_are_evaluated_and_not_trained_on(frames: Path) -> None:
    """And frames of which one moves from training to validation are another training."""

    def keys() -> tuple[str, str]:
        (frames / "data.toml").write_text(DATA + BASIS)
        run = Run(load_config(frames / "data.toml"))
        return run.key("train")[0], run.key("evaluate")[0]

    with ReferenceStore.open(frames / "frames.zarr") as store:
        split, hashes = read_split(store), [content.hex() for content in store.hashes]
    assert split is not None
    found = []
    for train, validation, test in ((1, 1, 1), (1, 1, 2), (2, 1, 1)):
        parts = iter(hashes)
        drawn = {
            name: [next(parts) for _ in range(count)]
            for name, count in zip(("train", "validation", "test"), (train, validation, test), strict=True)
        }
        with ReferenceStore.open(frames / "frames.zarr", writable=True) as store:
            write_split(store, {**drawn, "held_out": drawn["test"]})
        found.append(keys())
    assert found[0][0] == found[1][0] != found[2][0]
    assert len({evaluated for _, evaluated in found}) == 3


def test_what_changed_is_said_in_words() -> None:
    code = {"distribution": "densnet-rattle", "version": "0.1", "content": None}
    before = {"sampler": {"name": "rattle", "count": 3, "code": code}, "select": None, "needs": {"harmonic": "ab"}}
    now = {
        "sampler": {"name": "rattle", "count": 5, "code": {**code, "version": "0.2"}},
        "select": 4,
        "needs": {"harmonic": "cd"},
    }
    assert list(differences(before, now)) == [
        "sampler.count: 3, now 5",
        "densnet-rattle 0.1 is now densnet-rattle 0.2",
        "select: absent, now 4",
        "harmonic is another",
    ]
    assert list(differences(before, before)) == []


def test_a_model_says_when_the_code_of_its_networks_has_changed(tmp_path: Path) -> None:
    manager = get_manager()
    model = example.make_densnet(options=SMALL)
    slots = {"density_model": "equivariant", "density_backbone": "e3nn"}
    kinds = {"density_model": Kind.DENSITY_MODEL, "density_backbone": Kind.BACKBONE}
    made_by = {
        slot: {"name": name, **code_of(manager.find(kinds[slot], name), manager)} for slot, name in slots.items()
    }
    model.document["provenance"] = {"made_by": made_by}
    model.save(tmp_path / "same.zip")
    DenSNet.load(tmp_path / "same.zip")  # a warning would be an error
    made_by["density_backbone"] |= {"version": "0.0.9", "content": None}
    model.save(tmp_path / "other.zip")
    with pytest.warns(CodeChangedWarning, match=r"other.zip was made by other code: densnet-e3nn 0.0.9 is now"):
        DenSNet.load(tmp_path / "other.zip")
