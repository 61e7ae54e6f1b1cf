"""Trajectories as extended XYZ and DCD: the store's numbers, read by others; nothing half-written stays."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import ase.io
import ase.units
import numpy as np
import pytest
from scipy.io import FortranFile

from densnet_core.cli.app import run
from densnet_core.errors import DataError, InputError
from densnet_core.stores.dcd import DCDWriter
from densnet_core.stores.dynamics import MDFrames, MDStage, MDState
from densnet_core.stores.trajectory import DIPOLES, TrajectoryStore
from densnet_core.structures import Structure, read_xyz
from densnet_core.workflow.stores import export_file

STAGE = MDStage("nve", 1000, 20.67, 300.0, 0.0, 5, 1)
HYDROXIDE = Structure(np.array([8, 1]), np.eye(2, 3), -1)
FS = 0.02418884326  # of an atomic unit of time
ANGSTROM, EV = 0.529177210903, 27.211386245988
N_FRAMES = 300


def make(path: Path, replicas: int, n_frames: int = N_FRAMES) -> Path:
    values = np.random.default_rng(0)
    with TrajectoryStore.create(path, HYDROXIDE, replicas, STAGE, {}) as store:
        positions, energies = values.normal(size=(n_frames, replicas, 2, 3)), values.normal(size=(2, n_frames))
        steps = 5 * np.arange(n_frames)
        end = MDState(int(steps[-1]), positions[-1], values.normal(size=(replicas, 2, 3)))
        store.append(MDFrames(steps, positions, energies[0], energies[1], end))
        store.set_array(DIPOLES, values.normal(size=(n_frames, replicas, 3)), "e bohr")
    return path


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("one") / "nve.zarr", 1)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("two") / "nve.zarr", 2)


def test_ase_reads_the_numbers_of_the_store(one: Path, tmp_path: Path) -> None:
    assert export_file(one, tmp_path / "t.xyz") == {tmp_path / "t.xyz": N_FRAMES}
    frames, store = ase.io.read(tmp_path / "t.xyz", index=":"), TrajectoryStore.open(one)
    assert len(frames) == N_FRAMES
    for index, frame in enumerate(frames):
        assert frame.get_chemical_symbols() == ["O", "H"]
        np.testing.assert_allclose(frame.positions, store.positions()[index, 0] * ANGSTROM, rtol=1e-12)
        assert frame.get_potential_energy() == pytest.approx(store.potential_energy[index] * EV, rel=1e-12)
        assert frame.info["kinetic_energy"] == pytest.approx(store.kinetic_energy[index] * EV, rel=1e-12)
        np.testing.assert_allclose(frame.get_dipole_moment(), store.array(DIPOLES)[index, 0] * ANGSTROM, rtol=1e-12)
        assert (frame.info["step"], frame.info["charge"]) == (5 * index, -1)
        assert frame.info["time"] == pytest.approx(5 * index * 20.67 * FS, rel=1e-9)
        assert not frame.pbc.any()
        assert ("velocities" in frame.arrays) == (index == N_FRAMES - 1)
    velocities = store.restart().velocities[0] * ANGSTROM / FS  # type: ignore[union-attr]
    np.testing.assert_allclose(frames[-1].arrays["velocities"], velocities, rtol=1e-9)
    read = read_xyz(tmp_path / "t.xyz", charge=-1)
    np.testing.assert_allclose([r.positions for r in read], store.positions()[:, 0], atol=1e-14)


def test_every_so_many_th_frame_of_one_replica_or_of_all(two: Path, tmp_path: Path) -> None:
    positions = TrajectoryStore.open(two).positions()
    files = [tmp_path / f"t-{replica}.xyz" for replica in (0, 1)]
    assert export_file(two, tmp_path / "t.xyz", every=130) == dict.fromkeys(files, 3)
    for replica, file in enumerate(files):
        frames = ase.io.read(file, index=":")
        np.testing.assert_allclose([f.positions for f in frames], positions[::130, replica] * ANGSTROM, rtol=1e-12)
        assert [f.info["step"] for f in frames] == [0, 650, 1300]
        assert {f.info["replica"] for f in frames} == {replica}
        # The sum over the replicas is nobody's energy.
        assert frames[0].calc is None or "energy" not in frames[0].calc.results
        total = TrajectoryStore.open(two).potential_energy[130] * EV
        assert frames[1].info["potential_energy_of_all_replicas"] == pytest.approx(total, rel=1e-12)
    assert export_file(two, tmp_path / "second.xyz", replica=1) == {tmp_path / "second.xyz": N_FRAMES}
    assert (tmp_path / "second.xyz").read_text().startswith(files[1].read_text().split("\n2\n")[0])


def test_a_dcd_file_by_the_reader_of_fortran_files(two: Path, tmp_path: Path) -> None:
    (written,) = export_file(two, tmp_path / "t.dcd", every=2, replica=1)
    with FortranFile(written, "r", "<u4") as file:
        header = file.read_record("S4", "<9i4", "<f4", "<10i4")
        assert header[0][0] == b"CORD"
        assert header[1].ravel()[:4].tolist() == [150, 0, 10, 1490]  # frames, first step, interval, last step
        assert header[2][0] == pytest.approx(20.67 * FS / 48.88821, rel=1e-6)
        assert header[3].ravel().tolist() == [*(0,) * 9, 24]
        assert b"HO, replica 1" in file.read_record("S1").tobytes()
        assert file.read_ints("<i4").tolist() == [2]
        read = [[file.read_reals("<f4") for _ in range(3)] for _ in range(150)]
        assert written.stat().st_size == file._fp.tell()
    expected = TrajectoryStore.open(two).positions()[::2, 1] * ANGSTROM
    np.testing.assert_allclose(np.swapaxes(read, 1, 2), expected, rtol=1e-7)


def test_a_dcd_file_is_that_of_openmm(one: Path, tmp_path: Path) -> None:
    """Byte by byte, but for the lines of the title."""
    app, unit = pytest.importorskip("openmm.app"), pytest.importorskip("openmm.unit")
    topology = app.Topology()
    residue = topology.addResidue("HO", topology.addChain())
    for name in "OH":
        topology.addAtom(name, app.Element.getBySymbol(name), residue)
    theirs, ours = io.BytesIO(), io.BytesIO()
    positions = TrajectoryStore.open(one).positions(slice(0, 7))[:, 0] * ANGSTROM
    file = app.DCDFile(theirs, topology, 0.5 * unit.femtoseconds, firstStep=20, interval=5)
    writer = DCDWriter(ours, 2, 7, 20, 5, 0.5, "water")
    for frame in positions:
        file.writeModel(frame * unit.angstrom)
        writer.write(frame)

    def parts(data: bytes) -> tuple[bytes, bytes]:
        (title,) = struct.unpack_from("<i", data, 92)
        return data[:92], data[92 + 8 + title :]

    (head, rest), (their_head, their_rest) = parts(ours.getvalue()), parts(theirs.getvalue())
    assert head == their_head
    assert np.abs(np.frombuffer(rest, "<i4") - np.frombuffer(their_rest, "<i4")).max() <= 1  # last bit of a position


def test_what_cannot_be_exported_is_refused(two: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file, options, message in (
        ("t.json", {}, "is a trajectory; the suffix must be .xyz"),
        ("t.xyz", {"replica": 2}, "has 2 replicas, counted from 0; there is no replica 2"),
    ):
        with pytest.raises(InputError, match=message):
            export_file(two, tmp_path / file, **options)
    assert run(["data", "export", str(two), str(tmp_path / "t.dcd"), "--every", "100"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{tmp_path}/t-{r}.dcd: 3 frames" for r in (0, 1)]
    with TrajectoryStore.create(tmp_path / "empty.zarr", HYDROXIDE, 1, STAGE, {}) as store, pytest.raises(InputError):
        export_file(store.path, tmp_path / "t.xyz")
    with pytest.raises(InputError, match="does not fit into a DCD file"):
        DCDWriter(io.BytesIO(), 2, 10, 0, 2**30, 0.5, "")


def test_a_damaged_frame_ends_it_and_leaves_no_file(tmp_path: Path) -> None:
    path = make(tmp_path / "t.zarr", 1, 200)
    chunk = max((path / "frames" / "positions").rglob("*"), key=lambda f: f.stat().st_size if f.is_file() else 0)
    data = bytearray(chunk.read_bytes())
    data[48 * 150] ^= 1
    chunk.write_bytes(data)
    for name in ("t.xyz", "t.dcd"):
        with pytest.raises(DataError, match=r"Frame 150 of .* is damaged"):
            export_file(path, tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.zarr"]
    assert export_file(path, tmp_path / "t.xyz", every=100) == {tmp_path / "t.xyz": 2}


def test_a_kill_leaves_the_file_of_before(one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "t.dcd"
    file.write_text("before")
    child = os.fork()
    if child == 0:
        calls = iter(range(100))
        monkeypatch.setattr(DCDWriter, "write", lambda self, positions: os._exit(9) if next(calls) == 50 else None)
        export_file(one, file)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert file.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 2  # the part that was written
    export_file(one, file)
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.dcd"]
