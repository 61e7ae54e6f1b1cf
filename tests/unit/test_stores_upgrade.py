"""Stores of older formats: what DenSNet wrote at 7b202d4 (format 2) and e533e04 (format 1) opens, and is upgraded."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from densnet_core.cli.data import app
from densnet_core.errors import DataError
from densnet_core.stores.labels import labels_of
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.repair import repair
from densnet_core.stores.upgrade import upgrade
from densnet_core.stores.verify import verify

DATA = Path(__file__).parents[1] / "data"
BASIC = ("energy", "forces", "dipole", "orbitals", "occupations")


@pytest.fixture(params=[1, 2])
def old(request, tmp_path):
    """A store of that format version."""
    shutil.unpack_archive(DATA / f"reference_store_v{request.param}.zip", tmp_path / "s.zarr")
    return tmp_path / "s.zarr"


def contents(path):
    """All that a store says, bit for bit."""
    store = ReferenceStore.open(path)
    found = {"hashes": store.hashes, "level": str(store.level), "backend": store.backend, "versions": store.versions}
    found["basis"] = store.attributes["orbital_basis"]
    for index, (structure, result) in enumerate(store.frames(range(len(store)))):
        values = [(name, np.asarray(getattr(result, name)).tobytes()) for name in labels_of(result)]
        found[index] = structure.positions.tobytes(), structure.charge, values, result.seconds, result.provenance
    for name in store.fit_names():
        fit = store.fit(name)
        record = fit.basis.to_dict(), fit.metric, fit.prior, fit.constraints, fit.quantity
        found[name] = record, [fit.coefficients(index).tobytes() for index in range(len(fit))]
    found["documents"] = {name: store.read_document(name) for name in store.document_names()}
    found["failures"] = [(f.hash, f.error, f.message, f.seconds) for f in store.failures()]
    return found


def test_a_store_of_version_2_reads_as_it_was_written(tmp_path):
    shutil.unpack_archive(DATA / "reference_store_v2.zip", tmp_path / "s.zarr")
    store = ReferenceStore.open(tmp_path / "s.zarr")
    assert verify(store.path) == []
    assert (len(store), store.attributes["format_version"], store.is_current) == (4, 2, False)
    assert [store.labels(i) for i in range(4)] == [
        BASIC,
        (*BASIC, "quadrupole", "polarizability", "response"),
        BASIC,
        ("energy",),
    ]
    # HF/STO-3G of water: -74.9659 hartree at its minimum (Szabo and Ostlund, table 3.22); these are near it.
    energies = [store.result(i).energy for i in range(3)]
    assert energies == pytest.approx([-74.96] * 3, abs=0.03)
    assert store.result(3).energy == -74.1
    assert store.result(1).response.shape == (3, 7, 5)
    assert store.info()["labels"] == {
        **dict.fromkeys(BASIC, 3),
        "energy": 4,
        "quadrupole": 1,
        "polarizability": 1,
        "response": 1,
    }
    assert store.info()["energy_max_hartree"] == -74.1
    assert store.quantities == {}
    assert store.structure(3).parts[0].charge == -1


def test_an_upgrade_keeps_everything_bit_for_bit(old):
    before = contents(old)
    with pytest.raises(DataError, match=r"which is only read; 'densnet data upgrade .*' makes version 3"):
        ReferenceStore.open(old, writable=True)
    result = CliRunner().invoke(app, ["upgrade", str(old)])
    assert result.exit_code == 0
    assert "is now 3" in result.output
    assert contents(old) == before
    assert verify(old) == []
    assert [entry.name for entry in old.parent.iterdir()] == [old.name]
    assert upgrade(old) == (3, 3)
    with ReferenceStore.open(old, writable=True) as store:
        store.write_document("more", {})


def test_a_damaged_store_is_not_upgraded_but_repaired(old):
    chunk = old / "frames" / "energy" / "c" / "0"
    chunk.write_bytes(b"\x01" + chunk.read_bytes()[1:])
    with pytest.raises(DataError, match=r"is damaged .*verify --repair"):
        upgrade(old)
    before = len(ReferenceStore.open(old))
    assert repair(old).kept == before - 1
    assert verify(old) == []
    assert ReferenceStore.open(old).is_current
