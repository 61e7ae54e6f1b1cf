"""Repair keeps every sound frame bit for bit, takes the broken ones out by name, and can be killed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from densnet_core.cli.app import run
from densnet_core.errors import DataError, ResourceError
from densnet_core.stores.commit import WriterLock
from densnet_core.stores.records import read_group
from densnet_core.stores.reference import ReferenceStore
from densnet_core.stores.repair import repair
from densnet_core.stores.splits import read_split, split_store
from densnet_core.stores.trajectory import TrajectoryStore
from densnet_core.stores.verify import verify

sys.path.insert(0, str(Path(__file__).parent))
from store_examples import FRAMES, reference_store, trajectory_store


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference_store(tmp_path_factory.mktemp("stores") / "s.zarr")


@pytest.fixture
def path(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "s.zarr"))


def contents(path: Path) -> dict[bytes, tuple[bytes, ...]]:
    """Every frame's labels, provenance and fitted coefficients as bytes, by content hash."""
    found = {}
    with ReferenceStore.open(path) as store:
        fits = [store.fit(name) for name in ("f", "r")]
        for index, content in enumerate(store.hashes):
            structure, result = store.frames([index])[0]
            assert structure.content_hash() == content
            labels = [np.asarray(getattr(result, name)).tobytes() for name in store.labels(index)]
            fitted = [fit.coefficients(index).tobytes() if index < len(fit) else b"" for fit in fits]
            found[content] = (*labels, str(sorted(result.provenance.items())).encode(), *fitted)
    return found


def flip(file: Path, at: int, bit: int = 0) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << bit
    file.write_bytes(data)


def test_any_flipped_byte_costs_at_most_the_frame_it_lies_in(path: Path, pristine: Path) -> None:
    before = contents(path)
    files = [file.relative_to(path) for file in sorted(path.rglob("*")) if file.is_file() and file.stat().st_size]
    draw = np.random.default_rng(0)
    for file in (files[i] for i in draw.permutation(len(files))[:12]):
        shutil.rmtree(path)
        shutil.copytree(pristine, path)
        # Among the first rows, where the frames are, and in the rest of the chunk.
        flip(path / file, int(draw.integers(min(64, (path / file).stat().st_size))), int(draw.integers(8)))
        assert verify(path), file
        report = repair(path)
        assert verify(path) == [], file
        after = contents(path)
        lost = set(before) - set(after)
        assert len(lost) <= (2 if "offsets" in str(file) else 1), file
        assert not set(after) - set(before)
        for content in lost:
            assert any(content.hex()[:8] in line for line in report.removed) or "hash" in str(file), report
        assert report.kept == len(after)
        for content in after:
            # Coefficients may have to be fitted again, but only those of the fit that was damaged.
            damaged = {("fits", "f"): -2, ("fits", "r"): -1}.get(file.parts[:2])
            parts = set(range(-len(before[content]), 0)) - {damaged}
            assert all(after[content][part] == before[content][part] for part in parts), file
        if file.name in ("zarr.json", ".zarr.json.twin"):
            assert after == before
            assert report.restored == [str(file)]
            assert not report.removed


def test_what_is_left_of_a_truncated_or_a_missing_chunk_is_kept(path: Path, pristine: Path) -> None:
    before = contents(path)
    chunk = path / "frames" / "energy" / "c" / "0"
    chunk.write_bytes(chunk.read_bytes()[: 3 * 8 + 4])
    assert any("bytes instead of" in problem for problem in verify(path))
    report = repair(path)
    assert len(report.removed) == FRAMES - 3
    assert contents(path) == dict(list(before.items())[:3])
    # All charges are zero, as a missing chunk reads: nothing is lost then.
    shutil.rmtree(path)
    shutil.copytree(pristine, path)
    (path / "frames" / "charge" / "c" / "0").unlink()
    assert any("is missing" in problem for problem in verify(path))
    assert repair(path).removed == []
    assert contents(path) == before
    assert verify(path) == []


def test_broken_frames_are_kept_aside_with_what_can_be_read(path: Path) -> None:
    before = contents(path)
    second = list(before)[1]
    flip(path / "frames" / "energy" / "c" / "0", 8, bit=3)
    repair(path)
    with ReferenceStore.open(path) as store:
        (name,) = store.removed_names()
        record = read_group(path / "removed" / name)
        assert store.read_document("split")["test"] == [next(iter(before)).hex()]
        assert len(store.failures()) == 1
    assert record["frame"] == 1
    assert record["name"] == second.hex()
    assert "checksum" in record["problem"]
    assert record["rows"]["numbers"]["shape"] == [2]
    flip(path / "frames" / "dipole" / "c" / "0" / "0", 1)  # a second repair keeps what the first took out
    assert len(repair(path).removed) == 1
    with ReferenceStore.open(path) as store:
        assert len(store.removed_names()) == 2
        assert len(store) == FRAMES - 2
    assert verify(path) == []


def test_a_fit_keeps_all_coefficients_but_the_broken_ones(path: Path) -> None:
    before = contents(path)
    flip(path / "fits" / "f" / "coefficients" / "c" / "0", 2 * 8 * 8, bit=1)  # of frame 2
    report = repair(path)
    assert report.removed == []
    assert any("1 frames have to be fitted again" in line for line in report.to_do)
    after = contents(path)
    assert set(after) == set(before)
    third = list(before)[2]
    assert {content for content in after if after[content] != before[content]} == {third}
    assert list(after)[-1] == third


def test_broken_documents_and_fits_are_taken_out(path: Path) -> None:
    for file in (path / "documents" / "split", path / "fits" / "f"):
        for name in ("zarr.json", ".zarr.json.twin"):
            flip(file / name, 5)
    report = repair(path)
    assert verify(path) == []
    assert sorted(line.split(":")[0] for line in report.removed) == ["documents/split", "fits/f"]
    with ReferenceStore.open(path) as store:
        assert store.document_names() == []
        assert store.fit_names() == ["r"]
        assert len(store) == FRAMES


@pytest.mark.parametrize("way", ["changed", "removed", "all removed"])
def test_held_out_frames_whose_record_is_lost_are_not_trained_on_unsaid(
    path: Path, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(path / "documents")  # the example's split, which was not drawn
    with ReferenceStore.open(path, writable=True) as store:
        before = split_store(store, {"train": 2, "validation": 1, "test": 3}, 3)
    if way == "changed":
        for name in ("zarr.json", ".zarr.json.twin"):
            file = path / "documents" / "split" / name
            file.write_text(file.read_text().replace('"validation"', '"validatiom"'))
    else:
        shutil.rmtree(path / "documents" if way == "all removed" else path / "documents" / "split")
    assert any("documents/split" in problem for problem in verify(path))
    draw = ["data", "split", str(path), "--test", "3", "--validation", "1", "--train", "2", "--seed", "3"]
    assert run(draw) == 2
    assert run(["data", "verify", "--repair", str(path)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "held out for testing is lost" in told
    assert "--redraw" in told
    assert verify(path) == []
    assert run(draw) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "was lost" in told
    assert "--redraw" in told
    assert run([*draw, "--redraw"]) == 0
    with ReferenceStore.open(path) as store:
        assert {part: set(hashes) for part, hashes in (read_split(store) or {}).items()} == {
            part: set(hashes) for part, hashes in before.items()
        }
    assert (
        run(["data", "split", str(path), "--test", "1", "--validation", "1", "--redraw"]) == 0
    )  # a split that is there is not drawn anew
    with ReferenceStore.open(path) as store:
        assert (read_split(store) or {})["held_out"] == before["held_out"]
    shutil.rmtree(path / "documents" / "split")  # and may be lost once more
    assert any("documents/split" in problem for problem in verify(path))
    assert run(draw) == 2


def test_a_repair_of_other_parts_keeps_the_split_and_knows_of_it(path: Path) -> None:
    with ReferenceStore.open(path, writable=True) as store:
        before = split_store(store, {"train": 3, "validation": 1, "test": 2}, 3)
    flip(path / "frames" / "energy" / "c" / "0", 8)
    repair(path)
    with ReferenceStore.open(path) as store:
        assert read_split(store) == before
    shutil.rmtree(path / "documents" / "split")
    assert any("documents/split" in problem for problem in verify(path))


def test_what_cannot_be_repaired_is_left_as_it_is(path: Path) -> None:
    for name in ("zarr.json", ".zarr.json.twin"):
        flip(path / "frames" / name, 5)
    files = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(DataError, match=r"so are their twins: .*Restore them from a copy"):
        repair(path)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == files
    with pytest.raises(DataError, match="no store"):
        repair(path / "nothing")


def test_a_sound_store_is_left_as_it_is(path: Path) -> None:
    stamps = {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file() and file.name != ".lock"}
    report = repair(path)
    assert (report.restored, report.removed, report.to_do, report.kept) == ([], [], [], FRAMES)
    assert {
        file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file() and file.name != ".lock"
    } == stamps


def test_a_writer_at_work_keeps_repairs_out(path: Path) -> None:
    lock = WriterLock(path).acquire()
    try:
        with pytest.raises(DataError, match="open for writing"):
            repair(path)
    finally:
        lock.release()


def test_a_trajectory_keeps_its_sound_frames_and_its_restart_state(tmp_path: Path) -> None:
    path = trajectory_store(tmp_path / "t.zarr")
    with TrajectoryStore.open(path) as store:
        steps, positions, state = store.steps, store.positions(), store.restart()
        dipoles = store.array("dipole")
        store.check_regular()
    assert state is not None
    flip(path / "frames" / "potential_energy" / "c" / "0", 3 * 8)
    report = repair(path)
    assert [line.split(":")[0] for line in report.removed] == [f"frame 3 (step-{steps[3]})"]
    kept = [0, 1, 2, 4, 5, 6, 7]
    with TrajectoryStore.open(path) as store:
        assert store.steps.tolist() == steps[kept].tolist()
        assert store.positions().tobytes() == positions[kept].tobytes()
        assert store.array("dipole").tobytes() == dipoles[kept].tobytes()
        again = store.restart()
        assert again is not None
        assert again.velocities.tobytes() == state.velocities.tobytes()
        with pytest.raises(DataError, match=f"no frames between the steps {steps[2]} and {steps[4]}"):
            store.check_regular()
    assert verify(path) == []
    slot = json.loads((path / "frames" / "zarr.json").read_text())["attributes"]["restart"]["slot"]
    flip(path / f"restart_positions/c/{slot}/0/0/0", 1)
    assert any("cannot be continued" in line for line in repair(path).to_do)
    assert verify(path) == []
    with TrajectoryStore.open(path) as store:
        assert len(store) == len(kept)
        with pytest.raises(DataError, match="was lost"):
            store.restart()


def test_a_full_disk_leaves_the_damaged_store_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    flip(path / "frames" / "energy" / "c" / "0", 8)
    program = (
        "import resource, signal, sys; from densnet_core.stores.repair import repair\n"
        "from densnet_core.errors import ResourceError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: repair(sys.argv[1])\n"
        "except ResourceError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert "cannot be written (File too large)" in done.stdout, done.stderr
    flip(path / "frames" / "energy" / "c" / "0", 8)
    assert {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert issubclass(ResourceError, Exception)


def test_the_command_names_what_it_took_out(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "verify", str(path)]) == 0
    flip(path / "frames" / "energy" / "c" / "0", 8)
    flip(path / "documents" / "split" / "zarr.json", 30)
    capsys.readouterr()
    assert run(["data", "verify", str(path)]) == 2
    told = capsys.readouterr().err
    assert "has 3 problems" in told
    assert "--repair" in told
    assert run(["data", "verify", "--repair", str(path)]) == 0
    told = capsys.readouterr().out
    assert "restored:\n  documents/split/zarr.json\n" in told
    assert "taken out, see 'removed' in the store:\n  frame 1 (" in told
    assert f"repaired, {FRAMES - 1} frames" in told
    assert run(["data", "verify", str(path)]) == 0
    assert run(["data", "verify", "--repair", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.partition("sound\n")[2])["kept"] == FRAMES - 1
