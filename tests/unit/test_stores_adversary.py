"""Stores made to do harm, and full disks: an error that says what to do, no traceback, no absurd allocation."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densnet_core.errors import DataError, DenSNetError
from densnet_core.stores.records import TWIN, sealed
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.repair import repair
from densnet_core.stores.verify import open_store, verify

sys.path.insert(0, str(Path(__file__).parent))
from store_examples import FRAMES, labelled, reference_store, trajectory_store


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    return {"s": reference_store(folder / "s.zarr"), "t": trajectory_store(folder / "t.zarr")}


@pytest.fixture
def path(pristine: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine["s"], tmp_path / "s.zarr"))


def use(path: Path) -> None:
    """All that a command does with a store."""
    store = open_store(path)
    store.info()
    if isinstance(store, ReferenceStore):
        store.frames(range(len(store)))
        store.failures()
        for name in store.fit_names():
            for index in range(len(store.fit(name))):
                store.fit(name).coefficients(index)
    else:
        store.positions()
        store.restart()
        for name in store.array_names():
            store.array(name)
    for name in store.document_names():
        store.read_document(name)


def change(file: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change metadata and seal them again, as an attacker can."""
    node = json.loads(file.read_bytes())
    edit(node)
    file.write_bytes(sealed(node))
    shutil.copy(file, file.with_name(TWIN))


def refused(path: Path, match: str) -> None:
    with pytest.raises(DataError, match=match):
        use(path)
    assert verify(path)


def test_claimed_sizes_take_no_memory(path: Path) -> None:
    huge = 10**14
    change(path / "frames" / "zarr.json", lambda node: node["attributes"]["committed"].update(frame=huge, atom=huge))
    for name in os.listdir(path / "frames"):
        file = path / "frames" / name / "zarr.json"
        if file.exists():
            change(file, lambda node: node["shape"].__setitem__(0, huge + ("offsets" in str(file))))  # noqa: B023
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, r"claims 10000000000000\d rows, but its files hold")
    with pytest.raises(DataError, match="claims"):
        repair(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    change(path / "frames" / "zarr.json", lambda node: node["attributes"]["committed"].update(frame=10**30))
    refused(path, "committed lengths must be sensible")


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda node: node["shape"].__setitem__(0, -5), "no table of rows"),
        (lambda node: node["shape"].append(3), "rows of shape"),
        (lambda node: node.update(shape="abc"), "not the metadata of an array|no table of rows"),
        (lambda node: node.update(data_type="int64"), "has type int64.*expected float64"),
        (lambda node: node.update(data_type="string"), "not the metadata|has type"),
        (lambda node: node["chunk_grid"]["configuration"].update(chunk_shape=[10**13]), "claims chunks of"),
        (lambda node: node["chunk_grid"]["configuration"].update(chunk_shape=[0]), "no table of rows"),
        (lambda node: node["codecs"].append({"name": "gzip", "configuration": {"level": 5}}), "not stored as DenSNet"),
        (lambda node: node.update(codecs=[{"name": "sharding_indexed", "configuration": {}}]), "not stored as DenSNet"),
        (lambda node: node.update(node_type="group"), "not stored as DenSNet"),
        (lambda node: node.update(zarr_format=2), "cannot be opened|not stored"),
        (lambda node: node.pop("codecs"), "not the metadata of an array"),
    ],
)
def test_arrays_that_are_not_ours_never_reach_zarr(
    path: Path, edit: Callable[[dict[str, Any]], object], match: str
) -> None:
    change(path / "frames" / "energy" / "zarr.json", edit)
    refused(path, match)


@pytest.mark.parametrize("offset", [-1, -(2**62), 2**62, 11])
def test_offsets_out_of_bounds_are_refused(path: Path, offset: int) -> None:
    chunk = path / "frames" / "atom_offsets" / "c" / "0"
    values = np.frombuffer(chunk.read_bytes(), "<i8").copy()
    values[2] = offset
    chunk.write_bytes(values.tobytes())
    refused(path, "must ascend from 0 to the committed 12 and does not; 'densnet data verify'")
    assert len(repair(path).removed) == 2
    with ReferenceStore.open(path) as store:
        assert store.hashes == [labelled(index)[0].content_hash() for index in (0, 3, 4, 5)]


def test_nothing_outside_of_the_store_is_read(path: Path, tmp_path: Path) -> None:
    chunk = path / "frames" / "energy" / "c" / "0"
    (tmp_path / "elsewhere").write_bytes(chunk.read_bytes())
    for target in (tmp_path / "elsewhere", Path("/dev/zero")):
        chunk.unlink()
        chunk.symlink_to(target)
        refused(path, "is a link or no plain file")
    chunk.unlink()
    os.mkfifo(chunk)
    refused(path, "is a link or no plain file")
    shutil.rmtree(path / "frames" / "energy")
    shutil.copytree(path / "frames" / "seconds", tmp_path / "energy")
    (path / "frames" / "energy").symlink_to(tmp_path / "energy")
    refused(path, "link|elsewhere")
    record = path / "documents" / "split" / "zarr.json"
    record.unlink()
    record.symlink_to("/dev/zero")
    assert any("split" in problem for problem in verify(path))


def test_a_linked_store_is_fine(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link.zarr").symlink_to(path)
    use(tmp_path / "link.zarr")
    assert verify(tmp_path / "link.zarr") == []


@pytest.mark.parametrize("contents", [b"", b"[" * 100_000, b"null", b"{}", b"\x80\x04\x95", b'{"attributes": 3}'])
def test_metadata_that_are_none_are_refused(path: Path, contents: bytes) -> None:
    for file in (path / "frames" / "zarr.json", path / "zarr.json"):
        file.write_bytes(contents)
        with pytest.raises(DataError):
            use(path)
        assert verify(path)


def test_folders_that_are_no_store_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing", Path("/dev/null"), Path("/proc/self")):
        with pytest.raises(DataError):
            use(path)
        with pytest.raises(DataError):
            repair(path)
        assert verify(path)


VALUES = [None, -1, 2**70, 1e308, "", "../../etc", [], [[]], {}, {"a": 1}, True, "x" * 1000, [1, "a", None]]


@pytest.mark.parametrize("kind", ["s", "t"])
def test_any_value_in_any_record_is_an_error_of_ours_or_harmless(
    kind: str, pristine: dict[str, Path], tmp_path: Path
) -> None:
    path = Path(shutil.copytree(pristine[kind], tmp_path / "f.zarr"))
    draw = np.random.default_rng(0)
    groups = [file for file in sorted(path.rglob("zarr.json")) if b'"node_type": "group"' in file.read_bytes()]
    assert len(groups) > 3
    refusals = 0
    for _ in range(40):
        file = groups[draw.integers(len(groups))]
        kept = file.read_bytes()
        node = json.loads(kept)
        place: Any = node["attributes"]
        while place:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = keys[draw.integers(len(keys))]
            if isinstance(place[key], (dict, list)) and place[key] and draw.random() < 0.7:
                place = place[key]
                continue
            if isinstance(place, dict) and draw.random() < 0.3:
                del place[key]
            else:
                place[key] = VALUES[draw.integers(len(VALUES))]
            break
        file.write_bytes(sealed(node))
        try:
            use(path)
        except DenSNetError:
            refusals += 1
        verify(path)
        file.write_bytes(kept)
    assert refusals > 8
    assert verify(path) == []


def test_a_full_disk_loses_nothing_that_was_committed(path: Path) -> None:
    program = f"""if True:
        import resource, signal, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from store_examples import labelled
        from densnet_core.errors import ResourceError
        from densnet_core.stores.reference import ReferenceStore
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = ReferenceStore.open(sys.argv[1], writable=True)
        store.append([labelled({FRAMES})])
        refused = 0
        for limit in (100_000, 20_000, 3_000, 1_000, 10):  # which files can still be written differs
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                store.append([labelled({FRAMES} + 1)])
            except ResourceError as error:
                refused += "free space" in str(error)
            assert len(store) == {FRAMES} + 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        store.append([labelled({FRAMES} + 1)])
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
        try:
            store.close()
        except ResourceError:
            refused += 1
        print(refused)
    """
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout == "6\n", done.stderr
    assert verify(path) == []
    with ReferenceStore.open(path) as store:
        assert store.hashes == [labelled(index)[0].content_hash() for index in range(FRAMES + 2)]
        assert store.result(FRAMES).forces.tobytes() == labelled(FRAMES)[1].forces.tobytes()
    with ReferenceStore.open(path, writable=True) as store:
        store.append([labelled(FRAMES + 2)])
    assert verify(path) == []
