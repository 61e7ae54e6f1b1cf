"""The directory of a run: where each result lies, and which configuration it belongs to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from densnet_core.errors import DataError
from densnet_core.files import records
from densnet_core.stores.commit import WriterLock


def has_store(path: Path) -> bool:
    """Whether a store was made at ``path``; a folder whose making was interrupted is none and can be made again."""
    return (path / "zarr.json").is_file()


def key_of(*parts: Any) -> str:
    """Identity of plain data: 16 hex digits that change when anything in it does."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write plain data atomically into a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write_json(path, record)


def read_json(path: Path, advice: str = " Remove it to have it made again.") -> dict[str, Any]:
    """Read what ``write_json`` wrote; ``DataError`` if it cannot be read, with what to do about a file of a run.

    Of files that people give, ``advice`` is empty.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"Cannot read {path}: {error}.{advice}") from error
    if not isinstance(record, dict):
        raise DataError(f"{path} does not hold a JSON object.{advice}")
    return record


class RunFolder:
    """Paths of a run and the records of its finished stages.

    A stage's record holds the key of everything the stage depends on, so a stage is current exactly if its record has
    the wanted key and its results are there. Results of another configuration are set aside, never overwritten.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.samples = root / "samples.xyz"
        self.sampling = root / "sampling.json"
        self.unfinished_sampling = root / "sampling"
        self.harmonic = root / "harmonic.json"
        self.basis = root / "basis.json"
        self.training = root / "training"
        self.atoms = root / "reference" / "atoms.json"
        self.model = root / "model"
        self.evaluation = root / "evaluation.json"
        self.parity = root / "evaluation.png"
        self.potential = root / "potential.pt"
        self.heating = root / "md" / "nvt.zarr"
        self.production = root / "md" / "nve.zarr"
        self.spectrum = root / "spectrum.json"
        self.picture = root / "spectrum.png"
        self.page = root / "spectrum.html"
        self._depth = 0
        self._lock: WriterLock | None = None

    def store(self, name: str) -> Path:
        """The reference store of a backend, level of theory and options."""
        return self.root / "reference" / f"{name}.zarr"

    def training_files(self, network: str) -> tuple[Path, ...]:
        """Checkpoint and logs of the training of a network."""
        files = (f"{network}.checkpoint", f"{network}.csv", f"{network}.png", f"tensorboard/{network}")
        return tuple(self.training / name for name in files)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out of the directory; may be nested.

        Raises
        ------
        DataError
            If another process works in it, which the message names, or the directory cannot be written.
        """
        if not self._depth:
            try:
                self.root.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DataError(f"The directory {self.root} cannot be made: {error.strerror}.") from error
            self._lock = WriterLock(self.root).acquire()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth and self._lock is not None:
                self._lock.release()

    def _record(self, stage: str) -> Path:
        return self.root / "stages" / f"{stage}.json"

    def record(self, stage: str) -> dict[str, Any] | None:
        """What was written when a stage was finished; None if it never was, or was begun again since."""
        path = self._record(stage)
        return read_json(path) if path.exists() else None

    def key(self, stage: str) -> str | None:
        """The key with which a stage was last finished."""
        record = self.record(stage)
        return None if record is None else str(record.get("key"))

    def is_current(self, stage: str, key: str, *results: Path) -> bool:
        """True if the stage was finished with this key and its results are there."""
        record = self.record(stage)
        return record is not None and record.get("key") == key and all(path.exists() for path in results)

    def begin(self, stage: str) -> None:
        """Forget that a stage was finished: whatever becomes of it, its results are no longer those of the record."""
        self._record(stage).unlink(missing_ok=True)

    def finish(self, stage: str, key: str, seconds: float, **more: Any) -> None:
        """Record that a stage is done; ``more`` says with what, and is plain data."""
        write_json(self._record(stage), {"stage": stage, "key": key, "seconds": round(seconds, 3), **more})

    def own(self, path: Path, key: str | None) -> Path | None:
        """Make ``path`` belong to ``key``: a result of another key there is renamed, and its new path returned.

        With None whatever is there is renamed.
        """
        owner = self.root / "stages" / f"owner-{path.relative_to(self.root).as_posix().replace('/', '-')}.json"
        previous = str(read_json(owner).get("key")) if owner.exists() else None
        aside = None
        if key is None or previous != key:
            if path.exists():
                aside = path.with_name(f"{path.stem}-{previous or 'unknown'}{path.suffix}")
                number = 1
                while aside.exists():
                    number += 1
                    aside = path.with_name(f"{path.stem}-{previous or 'unknown'}-{number}{path.suffix}")
                path.rename(aside)
            if key is None:
                owner.unlink(missing_ok=True)
            else:
                write_json(owner, {"path": str(path.relative_to(self.root)), "key": key})
        path.parent.mkdir(parents=True, exist_ok=True)
        return aside
