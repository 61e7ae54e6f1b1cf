"""The writer's lock and durable replacement of files."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from densnet_core.errors import DataError, InputError
from densnet_core.stores.commit import WriterLock, remove_stale, write_bytes
from densnet_core.stores.durable import DurableStore
from densnet_core.stores.records import SEAL, read_group, write_group


def test_a_second_writer_is_refused_with_the_holder_named(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from densnet_core.stores.commit import WriterLock\n"
        "WriterLock(Path(sys.argv[1])).acquire(); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataError, match=f"process {holder.pid} on host {os.uname().nodename}"):
            WriterLock(tmp_path).acquire()
    finally:
        holder.kill()
        holder.communicate()
    lock = WriterLock(tmp_path).acquire()  # the kernel released it
    with pytest.raises(DataError, match="already open for writing in this process"):
        WriterLock(tmp_path).acquire()
    lock.check()
    lock.release()
    lock.release()
    with pytest.raises(DataError, match="closed"):
        lock.check()
    WriterLock(tmp_path).acquire().release()


def test_a_forked_child_neither_writes_nor_keeps_the_lock(tmp_path: Path) -> None:
    program = """if True:
        import os, sys, time
        from pathlib import Path
        from densnet_core.errors import DataError
        from densnet_core.stores.commit import WriterLock
        lock = WriterLock(Path(sys.argv[1])).acquire()
        if os.fork():
            os._exit(0)
        try:
            lock.check()
        except DataError as error:
            print(error, flush=True)
        sys.stdin.read()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert f"opened for writing by process {parent.pid}" in parent.stdout.readline()
    assert parent.wait(10) == 0
    WriterLock(tmp_path).acquire().release()  # although the child lives and has inherited the open file
    parent.communicate("")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "record"
    write_bytes(path, b"old")
    with pytest.raises(TypeError):
        write_bytes(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["record"]


def test_only_leftovers_of_dead_processes_are_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f".model.{os.getpid()}.00.partial", f".model.{dead.pid}.00.partial", f".other.{dead.pid}.00.partial"]
    for name in names:
        (tmp_path / name).touch()
    remove_stale(tmp_path / "model")
    assert sorted(os.listdir(tmp_path)) == sorted([names[0], names[2]])


def test_group_attributes_are_plain_zarr_and_checked(tmp_path: Path) -> None:
    write_group(tmp_path / "group", {"a": [1, 2.5, None]})
    attributes = dict(zarr.open_group(tmp_path / "group", mode="r").attrs)
    assert len(attributes.pop(SEAL)) == 64
    assert attributes == {"a": [1, 2.5, None]}
    with pytest.raises(InputError, match="finite"):
        write_group(tmp_path / "group", {"a": float("nan")})
    assert read_group(tmp_path / "group") == {"a": [1, 2.5, None]}
    (tmp_path / "group" / "zarr.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_group(tmp_path / "group")
    with pytest.raises(DataError, match=r"There is no .*zarr\.json"):
        read_group(tmp_path / "nothing")


def test_every_file_is_flushed_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: set[int] = set()
    fsync, replace = os.fsync, Path.replace

    def recording_fsync(descriptor: int) -> None:
        flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checking_replace(self: Path, target: Path) -> Path:
        assert self.stat().st_ino in flushed, f"{target} would be renamed before its data are on the disk"
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(Path, "replace", checking_replace)
    store = DurableStore(tmp_path / "store")
    array = zarr.create_array(store, name="a", shape=(10,), chunks=(4,), dtype="f8", compressors=None)
    array[:] = np.arange(10.0)
    store.flush()
    for folder in ("", "a", "a/c"):
        assert (tmp_path / "store" / folder).stat().st_ino in flushed
    assert np.array_equal(zarr.open_array(tmp_path / "store" / "a", mode="r")[:], np.arange(10.0))
