"""Labels that plugins describe, isotopes and fragments in a store: presence over mixed frames, merge, files, damage."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from densnet_core.errors import DataError, InputError
from densnet_core.fragments import Fragment
from densnet_core.plugins.quantity import Quantity
from densnet_core.reference.level import LevelOfTheory
from densnet_core.stores.extxyz import read_extxyz
from densnet_core.stores.labels import labels_of, partial_result, value_of
from densnet_core.stores.merge import merge_stores
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.repair import repair
from densnet_core.stores.table import Table
from densnet_core.stores.verify import verify
from densnet_core.structures import Structure
from densnet_core.workflow.stores import export_file

LEVEL = LevelOfTheory("HF", "x")
FIELD = Quantity("atomic_field", "hartree/(e bohr)", "atom", 1, False, False, "field at the nuclei", "nowhere:at_all")
TENSOR = Quantity("tensor", "e bohr^2", "molecule", 2, True, True)
GAP = Quantity("gap", "hartree", "molecule", 0, False, False)
KNOWN = {quantity.name: quantity for quantity in (FIELD, TENSOR, GAP)}


def frame(index, *names, n_atoms=2):
    """Frame number ``index`` with energy and forces and these labels; every call gives the same."""
    values = np.random.default_rng([4, index])
    structure = Structure(np.ones(n_atoms, np.int64), values.normal(size=(n_atoms, 3)), multiplicity=1 + n_atoms % 2)
    more = {
        "atomic_field": values.normal(size=(n_atoms, 3)),
        "tensor": values.normal(size=(3, 3)),
        "gap": np.array(0.5),
    }
    basic = {"energy": float(values.normal()), "forces": values.normal(size=(n_atoms, 3))}
    return structure, partial_result(basic, more={name: more[name] for name in names})


MIXED = [
    frame(0),
    frame(1, "atomic_field"),
    frame(2, "tensor", "gap", n_atoms=3),
    frame(3),
    frame(4, "atomic_field", "gap", n_atoms=4),
]


def filled(path, records, quantities=KNOWN):
    with ReferenceStore.create(path, LEVEL, "pyscf", {}) as store:
        for record in records:  # one commit each: columns come while there are frames
            store.append([record], quantities)
    return path


def check(store, records):
    assert len(store) == len(records)
    for index, (structure, sent) in enumerate(records):
        found = store.result(index)
        assert store.labels(index) == labels_of(found) == labels_of(sent)
        assert store.structure(index).content_hash() == structure.content_hash()
        for name in labels_of(sent):
            value = np.asarray(value_of(found, name))
            assert value.shape == np.shape(value_of(sent, name))
            assert value.tobytes() == np.asarray(value_of(sent, name)).tobytes()


def test_labels_of_plugins_come_back_bit_for_bit_where_frames_have_them(tmp_path):
    path = filled(tmp_path / "s.zarr", MIXED)
    assert verify(path) == []
    store = ReferenceStore.open(path)
    check(store, MIXED)
    # The store says by itself what they are, without the code that computes them.
    assert store.quantities["atomic_field"] == replace(FIELD, reference=None)
    attributes = json.loads((path / "frames" / "label_atomic_field" / "zarr.json").read_text())["attributes"]
    assert (attributes["unit"], attributes["meaning"]) == (
        "hartree/(e bohr)",
        "(n_atoms of the frames with it, 3); field at the nuclei",
    )
    assert store.info()["labels"] == {
        "energy": 5,
        "forces": 5,
        "dipole": 0,
        "orbitals": 0,
        "occupations": 0,
        "atomic_field": 2,
        "tensor": 1,
        "gap": 2,
    }
    found = store.result(2, labels=("gap", "energy"))
    assert labels_of(found) == ("energy", "gap")
    with pytest.raises(DataError, match="no tensor; its labels are: energy, gap"):
        value_of(found, "tensor")
    with pytest.raises(DataError, match=r"Frame 1 of .* has no tensor; it has: energy, forces, atomic_field"):
        store.result(1, labels=("tensor",))
    # A store grows on without the plugin; only the first frame needs to say what a label is.
    with ReferenceStore.open(path, writable=True) as again:
        again.append([frame(9, "tensor")])
    check(ReferenceStore.open(path), [*MIXED, frame(9, "tensor")])


def test_frames_committed_before_a_column_keep_their_checksums(tmp_path):
    path = filled(tmp_path / "s.zarr", MIXED[:1])
    before = ReferenceStore.open(path).frame_table.block(0, 1)[0]["checksum"]
    assert not (path / "frames" / "label_atomic_field").exists()
    assert not (path / "frames" / "dipole").exists()
    with ReferenceStore.open(path, writable=True) as store:
        store.append(MIXED[1:], KNOWN)
    after = ReferenceStore.open(path).frame_table.block(0, 1)[0]["checksum"]
    assert np.array_equal(before, after)


@pytest.mark.parametrize(
    ("change", "quantities", "message"),
    [
        ({"tensor": np.zeros(3)}, KNOWN, r"tensor must have shape \(3, 3\) for H2"),
        ({"atomic_field": np.zeros((3, 3))}, KNOWN, r"atomic_field must have shape \(2, 3\) for H2"),
        ({"gap": np.array(np.inf)}, KNOWN, "gap of a frame of H2 is not finite"),
        ({"gapp": np.array(1.0)}, KNOWN, "Nothing describes the label 'gapp'; .* Did you mean 'gap'"),
        ({"forces": np.zeros((2, 3))}, {"forces": replace(FIELD, name="forces")}, "A label cannot be called 'forces'"),
        ({"x": np.zeros(3)}, {"x": Quantity("x", "1", "function", 0, True, False)}, "is per function and of rank 0"),
        ({"a_offsets": np.zeros(())}, {"a_offsets": replace(GAP, name="a_offsets")}, "cannot be called 'a_offsets'"),
        ({"b_offsets": np.zeros(())}, {"b_offsets": GAP}, "cannot be called 'b_offsets'"),  # the name that counts
        ({"gap": np.array(1.0)}, {"gap": replace(GAP, unit="eV")}, "'gap' of .* has unit 'hartree', here it is 'eV'"),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path, change, quantities, message):
    with ReferenceStore.create(tmp_path / "s.zarr", LEVEL, "pyscf", {}) as store:
        store.append([frame(0, "gap")], KNOWN)
        structure, result = frame(1)
        with pytest.raises(InputError, match=message):
            store.append([(structure, replace_more(result, change))], quantities)
        assert len(store) == 1
    assert verify(tmp_path / "s.zarr") == []


def replace_more(result, more):
    return partial_result({"energy": result.energy, "forces": result.forces}, more=more)


def test_an_append_that_fails_after_it_made_a_column_leaves_none(tmp_path, monkeypatch):
    path = filled(tmp_path / "s.zarr", MIXED[:2])
    store = ReferenceStore.open(path, writable=True)
    commit = Table._commit

    def full_disk(table, lengths, attributes):
        if "columns" in attributes:
            raise OSError("no space")
        commit(table, lengths, attributes)

    monkeypatch.setattr(Table, "_commit", full_disk)
    with pytest.raises(OSError, match="no space"):
        store.append([MIXED[2]], KNOWN)
    assert (path / "frames" / "label_tensor").exists()
    assert verify(path) == []
    monkeypatch.undo()
    assert len(store) == 2
    store.append([MIXED[2]], KNOWN)
    store.close()
    check(ReferenceStore.open(path), MIXED[:3])
    monkeypatch.setattr(Table, "_commit", full_disk)
    store = ReferenceStore.open(path, writable=True)
    with pytest.raises(OSError, match="no space"):
        store.append(
            [(MIXED[4][0], replace_more(MIXED[4][1], {"new": np.array(1.0)}))], {"new": replace(GAP, name="new")}
        )
    monkeypatch.undo()
    store.close()
    assert not (path / "frames" / "label_new").exists()
    assert verify(path) == []


def test_a_merge_takes_labels_that_only_one_store_has(tmp_path):
    one = filled(tmp_path / "a.zarr", MIXED[:2])
    both = [frame(1, "tensor"), *MIXED[2:]]
    two = filled(tmp_path / "b.zarr", both)
    report = merge_stores(tmp_path / "m.zarr", [one, two])
    assert (report.frames, report.repeated, report.conflicts) == (5, 1, [])
    merged = ReferenceStore.open(tmp_path / "m.zarr")
    check(merged, [MIXED[0], frame(1, "atomic_field", "tensor"), *MIXED[2:]])
    assert merged.quantities.keys() == KNOWN.keys()
    assert verify(tmp_path / "m.zarr") == []
    structure, result = frame(1, "tensor")
    other = replace_more(result, {"tensor": result.more["tensor"] + 0.1})
    three = filled(tmp_path / "c.zarr", [(structure, other)])
    with pytest.raises(DataError, match=r"  tensor of the frame [0-9a-f]{16} differs by 0\.1 atomic units"):
        merge_stores(tmp_path / "n.zarr", [two, three])
    named = {"tensor": replace(TENSOR, unit="e angstrom^2")}
    four = filled(tmp_path / "d.zarr", [frame(8, "tensor")], named)
    with pytest.raises(InputError, match="'tensor' of the stores before has unit 'e bohr\\^2'"):
        merge_stores(tmp_path / "o.zarr", [two, four])


def test_extended_xyz_carries_labels_with_their_units(tmp_path):
    records = [frame(index, "atomic_field", "tensor", "gap", n_atoms=2 + index) for index in range(3)]
    path = filled(tmp_path / "s.zarr", records)
    assert export_file(path, tmp_path / "s.xyz") == {tmp_path / "s.xyz": 3}
    text = (tmp_path / "s.xyz").read_text()
    assert "species:S:1:pos:R:3:forces:R:3:atomic_field:R:3" in text
    assert "tensor_unit=e*bohr^2" in text
    imported = read_extxyz(tmp_path / "s.xyz", quantities=KNOWN)
    assert imported.ignored == ("level_of_theory",) or imported.ignored == ()
    assert imported.quantities == KNOWN
    for (_, sent), (_, found) in zip(records, imported.records, strict=True):
        assert labels_of(found) == labels_of(sent)
        for name in KNOWN:
            assert found.more[name].tobytes() == sent.more[name].tobytes()
    filled(tmp_path / "t.zarr", imported.records, imported.quantities)
    assert verify(tmp_path / "t.zarr") == []
    # Without the plugin nothing is read that nothing describes, and it is said.
    assert set(read_extxyz(tmp_path / "s.xyz", quantities={}).ignored) >= {"atomic_field", "tensor", "gap"}
    (tmp_path / "s.xyz").write_text(text.replace("gap_unit=hartree", "gap_unit=eV"))
    with pytest.raises(DataError, match=r"gap is in 'eV'; it is read in 'hartree'\. Convert it"):
        read_extxyz(tmp_path / "s.xyz", quantities=KNOWN)


@pytest.mark.parametrize("part", ["label_atomic_field", "label_atomic_field_offsets", "label_gap", "label_gap_offsets"])
def test_a_flipped_bit_of_a_label_is_found_and_repaired(tmp_path, part):
    path = filled(tmp_path / "s.zarr", MIXED)
    chunks = sorted((path / "frames" / part / "c").rglob("*"))
    chunk = next(file for file in chunks if file.is_file())
    data = bytearray(chunk.read_bytes())
    data[16 if "offsets" in part else 0] ^= 1
    chunk.write_bytes(data)
    assert any("frame" in problem for problem in verify(path))
    report = repair(path)
    assert report.kept >= 3
    assert verify(path) == []
    store = ReferenceStore.open(path)
    kept = [MIXED[i] for i in range(5) if MIXED[i][0].content_hash() in store]
    check(store, kept)


@pytest.mark.parametrize(
    ("record", "change"),
    [
        ("columns", {"label_gap": {"shape": [3]}}),
        ("columns", {"label_gap": {"dtype": "|O", "shape": [], "chunk_rows": 1, "unit": "", "meaning": ""}}),
        ("columns", {"../x": {"dtype": "<f8", "shape": [], "chunk_rows": 1, "unit": "", "meaning": ""}}),
        ("quantities", {"gap": {"unit": "x"}}),
        ("quantities", {"gap": {**vars(GAP), "name": "gap"}}),
        ("quantities", []),
    ],
)
def test_damaged_records_of_labels_are_refused(tmp_path, record, change):
    path = filled(tmp_path / "s.zarr", MIXED[:1])
    file = path / "frames" / "zarr.json"
    node = json.loads(file.read_text())
    node["attributes"][record] = change
    node["attributes"].pop("seal")
    file.write_text(json.dumps(node))
    with pytest.raises(DataError, match="damaged"):
        ReferenceStore.open(path)


def test_isotopes_and_fragments_stay_with_the_frames(tmp_path):
    structure, result = frame(0, n_atoms=4)
    heavy = replace(structure, isotope_masses=np.array([1.008, 2.01410177812, 1.008, 3.01604928]))
    ion = replace(frame(1)[0], charge=1, multiplicity=2, fragments=(Fragment((1,), 0, 2), Fragment((0,), 1, 1)))
    path = filled(tmp_path / "s.zarr", [frame(3), (heavy, result), (ion, frame(1)[1])])
    assert verify(path) == []
    merge_stores(tmp_path / "m.zarr", [path, filled(tmp_path / "b.zarr", [frame(5)])])
    shutil.copytree(path, tmp_path / "c.zarr")
    chunk = tmp_path / "c.zarr" / "frames" / "energy" / "c" / "0"
    chunk.write_bytes(b"\xff" + chunk.read_bytes()[1:])  # a repair writes the other frames anew
    repair(tmp_path / "c.zarr")
    for name, first in (("s", 1), ("m", 1), ("c", 0)):
        store = ReferenceStore.open(tmp_path / f"{name}.zarr")
        assert store.structure(first).isotope_masses.tobytes() == heavy.isotope_masses.tobytes()
        assert store.structure(first).fragments == ()
        assert store.structure(first + 1).fragments == ion.fragments
        assert store.structure(first + 1).isotope_masses is None
        assert store.labels(first) == ("energy", "forces")
    assert ReferenceStore.open(path).structure(0).isotope_masses is None
