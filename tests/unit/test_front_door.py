"""``from densnet_core import load_model, read_structures``: what a chemist types, and what they are told."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import densnet_core
from densnet_core import load_model, read_structures
from densnet_core.errors import DataError, DenSNetError, InputError
from densnet_core.potentials.densnet import DenSNet

sys.path.insert(0, str(Path(__file__).parent))
import network_examples as example
from test_training import SMALL

FRAMES = """3
water
O 0.0 0.0 0.1
H 0.0 0.75 -0.5
H 0.0 -0.75 -0.5

2
another molecule
F 0.0 0.0 0.0
H 0.0 0.0 0.529177210903
"""


@cache
def model() -> DenSNet:
    return example.make_densnet(options=SMALL)


@pytest.mark.parametrize("form", [str, Path])
def test_all_frames_of_a_file_are_read_in_bohr(tmp_path: Path, form: type) -> None:
    path = tmp_path / "frames.xyz"
    path.write_text(FRAMES)
    water, fluoride = read_structures(form(path))
    assert (water.formula, fluoride.formula) == ("H2O", "FH")
    assert fluoride.positions[1].tolist() == pytest.approx([0.0, 0.0, 1.0], abs=1e-12)
    assert water.positions[0, 2] == pytest.approx(0.1 / 0.529177210903, rel=1e-10)


def test_charge_and_multiplicity_are_those_that_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "hydroxyl.xyz"
    path.write_text("2\n\nO 0 0 0\nH 0 0 0.97\n")
    with pytest.raises(InputError, match="Multiplicity 1 is impossible with 9 electrons"):
        read_structures(path)
    path.with_name("header.xyz").write_text("2\ncharge=-1\nO 0 0 0\nH 0 0 0.97\n")
    assert read_structures(path.with_name("header.xyz"))[0].charge == -1
    with pytest.raises(DataError, match="charge"):
        read_structures(path.with_name("header.xyz"), charge=1)
    (ion,), (radical,) = read_structures(path, charge=-1), read_structures(path, multiplicity=2)
    assert (ion.charge, ion.multiplicity, ion.n_electrons) == (-1, 1, 10)
    assert (radical.charge, radical.multiplicity, radical.n_electrons) == (0, 2, 9)


def test_lengths_are_in_the_unit_that_the_file_names(tmp_path: Path) -> None:
    (tmp_path / "frames.xyz").write_text("2\nlength_unit=bohr\nH 0 0 0\nH 0 0 1.4\n")
    (found,) = read_structures(tmp_path / "frames.xyz")
    assert found.positions[1, 2] == pytest.approx(1.4, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no frame; expected the XYZ format"),
        ("2\nlength_unit=parsec\nH 0 0 0\nH 0 0 1.4\n", "parsec"),
        ("3\n\nH 0 0 0\nH 0 0 0.74\n", "frames.xyz"),
        ("2\n\nH 0 0 0\nHa 0 0 0.74\n", "frames.xyz"),
        ("2\n\nH 0 0 0\nH 0 zero 0.74\n", "frames.xyz"),
    ],
)
def test_a_file_that_means_something_else_is_refused_with_its_name(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "frames.xyz"
    path.write_text(text)
    with pytest.raises(DenSNetError, match=says) as told:
        read_structures(path)
    assert "frames.xyz" in str(told.value)


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.xyz", tmp_path):
        with pytest.raises(DataError, match=f"{path} cannot be read"):
            read_structures(path)
    (tmp_path / "picture.xyz").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match=r"picture\.xyz .*UTF-8"):
        read_structures(tmp_path / "picture.xyz")


@pytest.mark.parametrize("form", [str, Path])
@pytest.mark.parametrize("name", ["model", "model.zip"])
def test_a_saved_model_says_the_same_after_loading(tmp_path: Path, name: str, form: type) -> None:
    model().save(tmp_path / name)
    loaded = load_model(form(tmp_path / name))
    before, after = (one.predict([example.WATER, example.HYDROXIDE]) for one in (model(), loaded))
    for one, other in zip(before, after, strict=True):
        assert one.energy == other.energy
        np.testing.assert_array_equal(one.forces, other.forces)
        np.testing.assert_array_equal(one.density.coefficients, other.density.coefficients)
    assert loaded.specification.states == model().specification.states
    assert loaded.document["name"] == "an example"


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "frames.xyz").write_text(FRAMES)
    (tmp_path / "folder").mkdir()
    for name in ("nowhere", "frames.xyz", "folder"):
        with pytest.raises(DenSNetError, match=name):
            load_model(str(tmp_path / name))
    model().save(tmp_path / "model")
    (tmp_path / "model" / "model.json").write_text("{}")
    with pytest.raises(DataError, match="model"):
        load_model(tmp_path / "model")


def test_the_front_door_has_three_names_and_no_more() -> None:
    assert set(densnet_core.__all__) == {"__version__", "load_model", "read_structures", "train"}
    with pytest.raises(AttributeError, match="has no attribute 'load_modle'"):
        _ = densnet_core.load_modle
