"""Over files drawn at random: the reader of geometries and the import give the same molecules, or both refuse."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from densnet_core.errors import DenSNetError
from densnet_core.files.header import KEYS
from densnet_core.files.units import UNITS
from densnet_core.stores.extxyz import read_extxyz
from densnet_core.structures import Structure, read_xyz

WORDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=12)
VALUES = st.one_of(
    st.integers(-3, 9).map(str),
    st.floats(-5, 5, width=32).map(lambda x: f"{x:g}"),
    st.sampled_from(
        ["T", "F", "angstrom", "bohr", "nm", "eV", "hartree", "kcal/mol", "eV/angstrom", "debye", "x", "1.0"]
    ),
    st.just("angstrom"),
    st.lists(st.sampled_from(["0", "1", "F", "T", "5", "0.5"]), min_size=1, max_size=9).map(
        lambda w: f'"{" ".join(w)}"'
    ),
)
NAMES = st.one_of(
    st.sampled_from(
        [*KEYS[1:], "spin", "total_charge", "Charge", "mult", "units", "length", "cell", "magmom", "time", "step"]
    ),
    st.sampled_from(sorted(UNITS)).map(lambda name: f"{name}_unit"),
    WORDS,
)
FURTHER = st.one_of(
    st.sampled_from(["masses", "mass", "fragment", "tags", "Z", "momenta", "initial_charges", "magmoms", "charges"]),
    WORDS,
)
ELEMENTS = st.sampled_from(["H", "he", "O", "8", "1", "D", "T", "2H", "X", "C", "99"])
NUMBERS = st.one_of(
    st.floats(-3, 3).map(lambda x: f"{x:.6f}"), st.sampled_from(["0", "1e0", "1.D0", "nan", "inf", "1,0", "-0", "x"])
)


@st.composite
def columns(draw: st.DrawFn) -> list[tuple[str, str, int]]:
    """Name, kind and width: species and positions as a rule, forces, others now and then, in any order."""
    found = [("species", "S", 1)] if draw(st.integers(0, 9)) else [("Z", "I", 1)]
    found += [("pos", "R", 3)] if draw(st.integers(0, 19)) else []
    found += [("forces", "R", 3)]  # an import needs them, whatever it says of the geometry
    found += [
        (draw(FURTHER), draw(st.sampled_from("SIRL")), draw(st.sampled_from([1, 1, 1, 3])))
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2])))
    ]
    return draw(st.permutations(found))


@st.composite
def rows(draw: st.DrawFn, made: list[tuple[str, str, int]], n_atoms: int) -> list[str]:
    broken = draw(st.integers(0, 9)) == 0
    plain = st.floats(-3, 3).map(lambda x: f"{x:.6f}")
    lines = []
    for _ in range(n_atoms):
        words: list[str] = []
        for name, kind, width in made:
            if kind == "S" or name == "Z":
                words.append(draw(ELEMENTS if broken else st.sampled_from(["C", "O"] if kind == "S" else ["6", "8"])))
            elif kind == "R":
                words += [draw(NUMBERS if broken and name != "forces" else plain) for _ in range(width)]
            else:
                words += [draw(st.sampled_from(["0", "1", "T" if kind == "L" else "2"])) for _ in range(width)]
        lines.append(draw(st.sampled_from(["  ", " ", "\t"])).join(words))
    return lines


@st.composite
def files(draw: st.DrawFn) -> str:
    """One or two frames, whose header says an energy and perhaps charge, spin, units, cells and what nobody knows."""
    frames = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        made = draw(columns())
        n_atoms = draw(st.integers(1, 3))
        pairs = [f"{draw(NAMES)}={draw(VALUES)}" for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2])))]
        layout = ":".join(f"{name}:{kind}:{width}" for name, kind, width in made)
        words = ["energy=-30.5", *([f"Properties={layout}"] if draw(st.integers(0, 9)) else []), *pairs]
        comment = " ".join(draw(st.permutations(words)))
        lines = draw(rows(made, n_atoms))
        said = n_atoms + (draw(st.sampled_from([0] * 9 + [1])))
        frames.append("\n".join([str(said), comment, *lines]))
    text = "\n".join(frames) + draw(st.sampled_from(["\n", "", "\n\n"]))
    return draw(st.sampled_from(["", "", "\ufeff"])) + text


def outcome(read: object, path: Path, charge: int | None, multiplicity: int | None) -> list[tuple[object, ...]] | str:
    """What the molecules are, or that they are refused; any other exception is a defect and goes through."""
    try:
        found = read(path, charge, multiplicity)  # type: ignore[operator]
    except DenSNetError as error:
        return UNLABELLED if "lacks forces" in str(error) else "refused"
    structures = [one if isinstance(one, Structure) else one[0] for one in getattr(found, "records", found)]
    return [(one.content_hash(), one.masses.tobytes(), one.parts) for one in structures]


TOLD: Counter[str] = Counter()
UNLABELLED = "without labels"
"""A geometry alone, without columns for forces: the import has nothing to take."""


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(files(), st.sampled_from([None] * 5 + [0, 2, -1]), st.sampled_from([None] * 5 + [1, 3, 2]))
def draw_and_compare(text: str, charge: int | None, multiplicity: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.xyz"
        path.write_text(text, encoding="utf-8")
        geometry = outcome(read_xyz, path, charge, multiplicity)
        imported = outcome(lambda *given: read_extxyz(*given, quantities={}), path, charge, multiplicity)
    assert geometry == imported or imported == UNLABELLED, text
    TOLD["refused" if geometry == "refused" else "read"] += 1


def test_import_and_geometry_readers_agree_on_every_file() -> None:
    TOLD.clear()
    draw_and_compare()
    assert min(TOLD["read"], TOLD["refused"]) > 40, TOLD


def test_positions_are_the_same_in_every_unit_that_is_known(tmp_path: Path) -> None:
    """A file in bohr and one in angstrom, read by both: one geometry."""
    found = []
    for unit, factor in (("angstrom", 0.529177210903), ("bohr", 1.0)):
        path = tmp_path / f"{unit}.xyz"
        header = f"Properties=species:S:1:pos:R:3:forces:R:3 energy=-1 length_unit={unit} energy_unit=hartree"
        path.write_text(f"2\n{header} forces_unit=hartree/bohr\nH 0 0 0 0 0 0\nH 0 0 {1.4 * factor:.12f} 0 0 0\n")
        found += [read_xyz(path)[0], read_extxyz(path).records[0][0]]
    for one in found:
        np.testing.assert_allclose(one.positions[1], [0.0, 0.0, 1.4], atol=1e-9)
