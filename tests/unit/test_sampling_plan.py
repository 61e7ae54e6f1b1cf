"""Pools of geometries: samplers in a row, near-duplicates, the choice, and the record of it all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from densnet_rdkit.chains import ChainSampler
from densnet_rdkit.config import ChainOptions

from densnet_core.config import load_config
from densnet_core.errors import ConfigError, InputError
from densnet_core.sampling.base import Sampler, SamplingContext
from densnet_core.sampling.checks import Defect
from densnet_core.sampling.config import FileOptions
from densnet_core.sampling.files import FileSampler
from densnet_core.sampling.refusals import Refusals
from densnet_core.structures import Structure
from densnet_core.workflow.run import Run
from densnet_core.workflow.sampling import SamplingPlan, summary

WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.22], [0.0, 1.43, -0.89], [0.0, -1.43, -0.89]]))
SULPHIDE = Structure(np.array([16, 1, 1]), 1.4 * WATER.positions)


@dataclass
class Shaking(Sampler):
    """Four shaken copies of its start, one of them twice, and one geometry refused."""

    seen: list[tuple[Structure, SamplingContext]] = field(default_factory=list)

    def sample(self, structure, context=None):
        self.seen.append((structure, context))
        generator = np.random.default_rng(context.stream)
        frames = [
            structure.with_positions(structure.positions + generator.normal(scale=0.1, size=(3, 3))) for _ in "abc"
        ]
        context.refused.add(Defect("come apart", "O1-H2 is the shortest link"))
        return [*frames, frames[0].with_positions(frames[0].positions + 1e-6), frames[1]]


class Harmonic(Shaking):
    needs_harmonic = True


class Sulphide(Sampler):
    def sample(self, structure, context=None):
        return [SULPHIDE]


def test_the_record_says_what_became_of_every_geometry():
    frames, record = SamplingPlan(Shaking(), min_difference=1e-4).carry_out(WATER, SamplingContext())
    assert len(frames) == 3
    assert record == {
        "geometries": 3,
        "starts": 1,
        "made": 4,  # of equal ones only the first counts
        "near_duplicates": 1,
        "not_selected": 0,
        "refused": [{"reason": "come apart", "count": 1, "example": "O1-H2 is the shortest link"}],
    }
    assert summary(record) == (
        "Geometries: 3 taken; 1 refused, come apart (O1-H2 is the shortest link); 1 near-duplicates dropped."
    )
    assert len(SamplingPlan(Shaking()).carry_out(WATER, SamplingContext())[0]) == 4


def test_every_start_has_its_own_numbers_and_folder(tmp_path):
    second = Shaking()
    plan = SamplingPlan(second, Shaking(), 1e-4, n_selected=7)
    frames, record = plan.carry_out(WATER, SamplingContext(folder=tmp_path))
    assert [context.stream for _, context in second.seen] == list(range(5))
    assert [context.folder for _, context in second.seen] == [tmp_path / f"{i:04d}" for i in range(5)]
    assert len({structure.content_hash() for structure, _ in second.seen}) == 4
    assert (len(frames), record["starts"], record["geometries"]) == (7, 5, 7)
    assert record["made"] == 7 + record["near_duplicates"] + record["not_selected"]
    assert record["refused"][0]["count"] == 6


def test_needs_are_those_of_all_samplers():
    assert not SamplingPlan(Shaking()).needs_harmonic
    assert SamplingPlan(Harmonic()).needs_harmonic
    assert SamplingPlan(Shaking(), Harmonic()).needs_harmonic
    with pytest.raises(InputError, match="does not begin at the geometries of another"):
        SamplingPlan(Harmonic(), Shaking()).carry_out(WATER, SamplingContext())


def test_geometries_that_nobody_would_start_from_are_refused(tmp_path):
    (tmp_path / "a.xyz").write_text("3\n\nO 0 0 0.117\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n")
    file = FileSampler(FileOptions(path=tmp_path / "a.xyz"))
    assert len(SamplingPlan(Shaking(), file).carry_out(WATER, SamplingContext())[0]) == 4
    for sampler in (file, ChainSampler(ChainOptions(unit="*C*"))):
        with pytest.raises(InputError, match=r"does not begin at .* Leave \[sampling\.start\] out"):
            SamplingPlan(sampler, Shaking()).carry_out(WATER, SamplingContext())


def test_too_few_geometries_and_unknown_elements_are_refused():
    with pytest.raises(InputError, match="9 geometries are to be selected out of 3"):
        SamplingPlan(Shaking(), min_difference=1e-4, n_selected=9).carry_out(WATER, SamplingContext())
    with pytest.raises(InputError, match=r"hold S, which the molecule of \[system\], H2O, does not"):
        SamplingPlan(Sulphide()).carry_out(WATER, SamplingContext())


def test_refusals_are_counted_by_kind_with_the_first_example():
    refused = Refusals()
    assert (len(refused), str(refused), refused.example) == (0, "0 geometries refused", "")
    for kind, detail in (("a", "first"), ("b", "second"), ("a", "third")):
        refused.add(Defect(kind, detail))
    assert str(refused) == "3 geometries refused: 2 a (first); 1 b (second)"
    copy = Refusals()
    copy.add_records(refused.records())
    assert copy.records() == refused.records()
    assert copy.example == "first"


CONFIG = """
schema = 1
[system]
geometry = "water.xyz"
[sampling]
{sampling}
[reference]
method = "PBE"
basis = "def2-SVP"
[basis]
name = "densnet-s"
"""


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ("count = 100\nselect = { count = 20 }", r"sampling\.select\.count = 20\. Sample more or train on fewer"),
        ("count = 100\nselect = { count = 200 }", r"sampling\.select\.count = 200, but sampling\.count = 100"),
        ("min_diference = 0.1", r"Did you mean 'min_difference'"),
        ('start = { method = "chians" }', r"sampling\.start\.method: .*Did you mean 'chains'"),
        ('start = { method = "langevin", cuont = 3 }', r"sampling\.start\.cuont: unknown key\. Did you mean 'count'"),
    ],
)
def test_mistakes_in_the_section_are_found_before_anything_is_computed(tmp_path: Path, sampling, message):
    (tmp_path / "water.xyz").write_text("3\n\nO 0 0 0.117\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n")
    (tmp_path / "water.toml").write_text(CONFIG.format(sampling=sampling))
    with pytest.raises(ConfigError, match=message):
        Run(load_config(tmp_path / "water.toml")).check("train")


@pytest.mark.parametrize(
    ("system", "message"),
    [
        ("charge = 0", "expected either geometry or smiles, found neither"),
        ('geometry = "water.xyz"\nsmiles = "O"', "found both"),
        ('smiles = "C1CC"', r"system\.smiles: RDKit does not understand"),
    ],
)
def test_the_molecule_is_a_geometry_or_smiles(tmp_path: Path, system, message):
    text = CONFIG.replace('geometry = "water.xyz"', system).format(sampling="count = 100")
    (tmp_path / "water.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Run(load_config(tmp_path / "water.toml")).check("train")


def test_the_key_of_the_geometries_holds_spin_and_what_their_file_holds(tmp_path: Path):
    """Otherwise a triplet would be served with a singlet's results, and an edited file with the old frames."""
    water = "3\n\nO 0 0 0.117\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n"
    (tmp_path / "frames.xyz").write_text(water)

    def key(system: str, sampling: str) -> str:
        text = CONFIG.replace('geometry = "water.xyz"', system).format(sampling=sampling)
        (tmp_path / "run.toml").write_text(text)
        return Run(load_config(tmp_path / "run.toml")).key("sample")[0]

    singlet, triplet = (key(f'smiles = "O"\nmultiplicity = {m}', "count = 100") for m in (1, 3))
    assert singlet != triplet
    assert key('smiles = "O"', "count = 100") == singlet
    file = 'method = "file"\npath = "frames.xyz"'
    before = key('smiles = "O"', file)
    assert key('smiles = "O"', file) == before
    (tmp_path / "frames.xyz").write_text(water.replace("0.763", "0.764"))
    assert key('smiles = "O"', file) != before


def test_isotopes_change_the_keys_of_what_moves(tmp_path: Path):
    def keys(symbols: str) -> dict[str, str]:
        first, second, third = symbols
        water = f"3\n\n{first} 0 0 0.117\n{second} 0 0.763 -0.477\n{third} 0 -0.763 -0.477\n"
        (tmp_path / "water.xyz").write_text(water)
        (tmp_path / "run.toml").write_text(CONFIG.format(sampling="count = 100"))
        run = Run(load_config(tmp_path / "run.toml"))
        (tmp_path / "out" / "stages").mkdir(parents=True, exist_ok=True)
        return {stage: run.key(stage)[0] for stage in ("harmonic", "sample", "reference")}

    light, heavy, mixed = keys("OHH"), keys("ODD"), keys("ODH")
    assert keys("OHH") == light
    for stage in light:
        assert len({light[stage], heavy[stage], mixed[stage]}) == 3, stage
