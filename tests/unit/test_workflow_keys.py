"""What the key of a stage depends on: whatever its result would change with, and nothing else."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from densnet_core.config import load_config
from densnet_core.structures import write_xyz
from densnet_core.workflow.run import Run

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example
from test_states import PAIR, ion_pair
from test_training import SMALL

CONFIG = """
schema = 1
output = "out"
[system]
geometry = "pair.xyz"
[reference]
backend = "pyscf"
method = "HF"
basis = "STO-3G"
[basis]
name = "densnet-s"
[training]
"""


def keys_of(folder: Path, training: str = "") -> dict[str, str]:
    (folder / "pair.toml").write_text(CONFIG + training)
    return Run(load_config(folder / "pair.toml"))._keys


def test_fragments_and_their_charges_are_part_of_every_key(tmp_path: Path) -> None:
    found = []
    for structure in (PAIR, ion_pair(-1, 1), replace(PAIR, fragments=())):
        write_xyz(tmp_path / "pair.xyz", [structure])
        found.append(keys_of(tmp_path))
    for name in found[0]:
        assert len({keys[name] for keys in found}) == 3, name
    write_xyz(tmp_path / "pair.xyz", [PAIR])
    assert keys_of(tmp_path) == found[0]


def test_the_model_to_start_from_is_part_of_the_keys_of_the_training_alone(tmp_path: Path) -> None:
    write_xyz(tmp_path / "pair.xyz", [PAIR])
    plain, found = keys_of(tmp_path), []
    for seed in (1, 2):
        example.make_densnet(options=SMALL, seed=seed).save(tmp_path / "start.zip")
        found.append(keys_of(tmp_path, 'from = "start.zip"'))
    for name in plain:
        different = len({plain[name], *(keys[name] for keys in found)})
        expected = 1 if name in ("harmonic", "sample", "reference", "basis") else 3
        assert different == expected, name


@pytest.mark.parametrize(
    ("change", "is_another"), [("threads = 2", False), ('device = "cpu"', False), ("batch_size = 3", True)]
)
def test_where_a_training_runs_is_part_of_no_key(tmp_path: Path, change: str, is_another: bool) -> None:
    write_xyz(tmp_path / "pair.xyz", [PAIR])
    plain, other = keys_of(tmp_path), keys_of(tmp_path, change)
    assert (plain["train"] != other["train"]) == is_another
    assert plain["reference"] == other["reference"]
