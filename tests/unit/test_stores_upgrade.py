"""Stores of older formats: what DenSNet wrote at 7b202d4 (format 2) and e533e04 (format 1) opens, and is upgraded."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from densnet_core.cli.data import app
from densnet_core.errors import DataError
from densnet_core.stores.commit import PARTIAL_SUFFIX
from densnet_core.stores.exchange import previous_of
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
    damage(old)
    with pytest.raises(DataError, match=r"is damaged .*verify --repair"):
        upgrade(old)
    before = len(ReferenceStore.open(old))
    assert repair(old).kept == before - 1
    assert verify(old) == []
    assert ReferenceStore.open(old).is_current


def damage(path):
    chunk = path / "frames" / "energy" / "c" / "0"
    chunk.write_bytes(b"\x01" + chunk.read_bytes()[1:])


@pytest.mark.parametrize("change", [upgrade, repair])
def test_no_writer_comes_between_the_parts_of_an_upgrade_or_a_repair(old, change):
    """Another process waits for the lock as soon as it is taken: what it then finds must be the new store."""
    program = """if True:
        import fcntl, os, sys
        from pathlib import Path
        from densnet_core.stores.commit import LOCK_NAME
        from densnet_core.stores.records import read_group

        root = Path(sys.argv[1])
        lock = os.open(root / LOCK_NAME, os.O_RDWR | os.O_CREAT)
        print("waiting", flush=True)
        while not os.fstat(lock).st_size:  # until its holder has written who that is
            pass
        fcntl.lockf(lock, fcntl.LOCK_EX)
        print(read_group(root)["format_version"])
    """
    if change is repair:
        damage(old)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for index in range(2000):  # what it left is removed first, which gives the other process time to see the lock
        old.with_name(f".{old.name}.{dead.pid}.{index}{PARTIAL_SUFFIX}").touch()
    other = subprocess.Popen([sys.executable, "-c", program, str(old)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "waiting\n"
        change(old)
        assert other.communicate(timeout=60)[0] == "3\n"
    finally:
        other.kill()
        other.communicate()
    assert [entry.name for entry in old.parent.iterdir()] == [old.name]


def test_a_store_is_not_put_back_while_its_rewriting_is_alive(old):
    """Where two names cannot be exchanged in one step, the old store waits under another name for a moment."""
    program = """if True:
        import sys
        from pathlib import Path
        from densnet_core.stores.commit import WriterLock

        lock = WriterLock(Path(sys.argv[1])).acquire()
        print("held", flush=True)
        sys.stdin.read()
    """
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(old)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        old.rename(previous_of(old))
        with pytest.raises(DataError, match=f"is being written by process {other.pid}"):
            upgrade(old)
        assert previous_of(old).is_dir()
        assert not old.exists()
    finally:
        other.kill()
        other.communicate()
    assert upgrade(old)[1] == 3
    assert verify(old) == []
